//! Nodes that do as they like, over real gRPC and real TLS: a client that sends any frames, and the TLS of both ends.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tower::service_fn;
use truc_model::{Digest, MessageId};
use truc_peer::Identity;
use truc_testkit::Anybody;
use truc_wire::peer::frame::Kind;
use truc_wire::peer::peer_client::PeerClient;
use truc_wire::peer::{BodyChunk, FetchRequest, Frame, Open, OutcomeRequest, outcome_reply};

use crate::wire::{Said, Tape};

/// How a hostile node connects; without an identity it shows no certificate.
pub(crate) fn client_tls(
    identity: Option<&Arc<Identity>>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[u8],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// How a hostile node accepts.
pub(crate) fn server_tls(
    identity: &Arc<Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::clone(identity) as _);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A gRPC client over TLS that this node shook hands for.
pub(crate) async fn dial(config: ClientConfig, address: &str) -> Result<PeerClient<Channel>, String> {
    let tcp = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("node.invalid").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| e.to_string())?;
    let once = Arc::new(Mutex::new(Some(TokioIo::new(tls))));
    let connector = service_fn(move |_| {
        let stream = once.lock().unwrap().take();
        async move { stream.ok_or_else(|| io::Error::other("the connection has ended")) }
    });
    let endpoint = Endpoint::from_static("http://node.invalid");
    let channel = endpoint.connect_with_connector(connector).await.map_err(|e| format!("{e:?}"))?;
    Ok(PeerClient::new(channel))
}

/// What tonic wants of an accepted connection.
pub(crate) struct Accepted(pub(crate) TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A consumer's node that sends what it likes.
pub(crate) struct Hostile {
    pub(crate) client: PeerClient<Channel>,
    out: mpsc::Sender<Frame>,
    incoming: Streaming<Frame>,
    next: u64,
}

impl Hostile {
    pub(crate) async fn connect(identity: &Arc<Identity>, address: &str) -> Result<Self, String> {
        let config = client_tls(Some(identity), &[&rustls::version::TLS13], b"h2");
        let mut client = dial(config, address).await?;
        let (out, frames) = mpsc::channel(1024);
        let incoming = client.exchange(ReceiverStream::new(frames)).await.map_err(|s| s.to_string())?;
        Ok(Self { client, out, incoming: incoming.into_inner(), next: 1 })
    }

    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(crate) async fn say(&self, tape: &Tape) {
        for frame in &tape.frames {
            self.out.send(frame.clone()).await.unwrap();
        }
    }

    /// Hears one exchange to its end.
    pub(crate) async fn hear(&mut self, number: u64) -> Tape {
        let mut heard = Tape::default();
        while let Some(frame) = self.incoming.message().await.unwrap() {
            if frame.exchange != number {
                continue;
            }
            let last = matches!(frame.kind, Some(Kind::Recorded(_) | Kind::Fault(_)));
            heard.frames.push(frame);
            if last {
                break;
            }
        }
        heard
    }

    /// Sends a message as a new exchange and hears what comes of it.
    pub(crate) async fn play(&mut self, tape: &Tape) -> Tape {
        let number = self.fresh_number();
        self.say(&tape.numbered(number)).await;
        self.hear(number).await
    }

    pub(crate) async fn said(&mut self, tape: &Tape) -> Said {
        self.play(tape).await.said()
    }

    /// Everything said so far has been read at the other end: it answers in order what is no header at all.
    pub(crate) async fn barrier(&mut self) {
        let number = self.fresh_number();
        let open = Open { header: Bytes::from_static(b"{}"), ..Open::default() };
        let frame = Frame { exchange: number, kind: Some(Kind::Open(open)) };
        self.out.send(frame).await.unwrap();
        self.hear(number).await;
    }

    pub(crate) async fn send(&mut self, chunks: Vec<BodyChunk>) -> Result<u64, Code> {
        let reply = self.client.send(stream::iter(chunks)).await.map_err(|s| s.code())?;
        Ok(reply.into_inner().length)
    }

    pub(crate) async fn fetch(&mut self, ticket: &[u8]) -> Result<Vec<u8>, Code> {
        let request = FetchRequest { ticket: Bytes::copy_from_slice(ticket) };
        let mut chunks = self.client.fetch(request).await.map_err(|s| s.code())?.into_inner();
        let mut body = Vec::new();
        while let Some(chunk) = chunks.message().await.map_err(|s| s.code())? {
            body.extend_from_slice(&chunk.bytes);
        }
        Ok(body)
    }

    pub(crate) async fn outcome(
        &mut self,
        id: MessageId,
        digest: Digest,
    ) -> Result<outcome_reply::Kind, Code> {
        let digest = Bytes::copy_from_slice(digest.as_bytes());
        let request = OutcomeRequest { id: id.to_string(), digest };
        let reply = self.client.outcome(request).await.map_err(|s| s.code())?;
        Ok(reply.into_inner().kind.unwrap())
    }
}
