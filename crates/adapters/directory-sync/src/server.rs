//! The registry's gRPC door: own TLS 1.3 acceptor, `Watch`, `Parts`, `Submit`, `Witness` and `Witnessed`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};
use truc_model::Digest;
use truc_places::{AtWork, Place, Places};
use truc_wire::registry::registry_server::{Registry, RegistryServer as Generated};
use truc_wire::registry::{
    HeadUpdate, Part, PartsRequest, SubmitAnswer, SubmitRequest, WatchRequest, WitnessAnswer, WitnessRequest,
    WitnessedLog, WitnessedRequest,
};

use crate::announce::{Announcer, News};
use crate::submit::{DOCUMENT_LIMIT, RequestDesk, Submissions};
use crate::witness::{WitnessDesk, Witnesses};

/// Connections at once, half of them from one address. When there is no place, the one on which nothing has been asked for
/// longest makes way.
const CONNECTIONS: usize = 4096;
/// TLS handshakes at once, likewise.
const HANDSHAKES: usize = 512;
/// Calls at once on one connection; a node has one `Watch` and one `Parts`.
const STREAMS: u32 = 4;
/// Limit for a call until its answer begins, reading the request included: a request that never ends holds no memory for long.
const CALL: Duration = Duration::from_secs(45);
/// Longest list of header fields of one call, bytes.
const HEAD: u32 = 16 * 1024;
/// Limit for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open answers may take when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Most parts in one request.
const PARTS_LIMIT: usize = 1024;
/// Longest request: a document, or [`PARTS_LIMIT`] digests, with their framing.
const REQUEST_LIMIT: usize = DOCUMENT_LIMIT + 1024;

/// What is published; the registry keeps it.
#[async_trait]
pub trait Publication: Send + Sync + 'static {
    /// The signed head in force, and every one that follows.
    fn heads(&self) -> watch::Receiver<Bytes>;

    /// A part by its digest.
    ///
    /// # Errors
    /// A sentence for the registry's log; the asking node is told only that it failed.
    async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String>;
}

/// Why the door did not open or closed by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The TLS key or certificate cannot be used.
    #[error("the registry's TLS key or certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The server stopped.
    #[error("the registry's door stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// The door, ready to serve.
pub struct RegistryServer {
    tls: Arc<ServerConfig>,
    publication: Arc<dyn Publication>,
    requests: Option<Arc<Submissions>>,
    witnesses: Option<Arc<Witnesses>>,
}

impl RegistryServer {
    /// A door that shows `certificate`, whose fingerprint the anchor pins.
    ///
    /// # Errors
    /// [`ServeError::Tls`].
    pub fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        publication: Arc<dyn Publication>,
    ) -> Result<Self, ServeError> {
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        Ok(Self { tls: Arc::new(tls), publication, requests: None, witnesses: None })
    }

    /// The same door taking management requests, too.
    #[must_use]
    pub fn with_requests(mut self, desk: Arc<dyn RequestDesk>) -> Self {
        self.requests = Some(Arc::new(Submissions::new(desk)));
        self
    }

    /// The same door taking in the heads of nodes' logs, too.
    #[must_use]
    pub fn with_witness(mut self, desk: Arc<dyn WitnessDesk>) -> Self {
        self.witnesses = Some(Arc::new(Witnesses::new(desk)));
        self
    }

    /// Serves on `listener` until `stop`.
    ///
    /// # Errors
    /// [`ServeError::Transport`].
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<(), ServeError> {
        let (sender, incoming) = mpsc::channel(64);
        let acceptor = tokio::spawn(accept(listener, TlsAcceptor::from(self.tls), sender, stop.clone()));
        let (announcer, news) = Announcer::new(Arc::clone(&self.publication));
        let announcing = tokio::spawn(announcer.run(stop.clone()));
        let service = Generated::new(Service {
            publication: self.publication,
            news,
            requests: self.requests,
            witnesses: self.witnesses,
            stop: stop.clone(),
        })
        .max_decoding_message_size(REQUEST_LIMIT);
        let server = Server::builder()
            .timeout(CALL)
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .concurrency_limit_per_connection(STREAMS as usize)
            .max_concurrent_streams(STREAMS)
            .http2_max_header_list_size(HEAD)
            .add_service(service)
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.clone().cancelled_owned());
        let bounded = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        // A peer that misbehaves can hold a graceful shutdown open for ever.
        let outcome = tokio::select! {
            outcome = server => outcome.map_err(ServeError::from),
            () = bounded => Ok(()),
        };
        stop.cancel();
        for (what, task) in [("acceptor", acceptor), ("announcer", announcing)] {
            if let Err(error) = task.await {
                tracing::error!(%error, "the {what} did not end well");
            }
        }
        outcome
    }
}

/// Accepts, shakes hands beside the loop, hands over.
async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    sender: mpsc::Sender<std::io::Result<Connection>>,
    stop: CancellationToken,
) {
    let (places, shaking) = (Places::new(CONNECTIONS), Places::new(HANDSHAKES));
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = handshakes.join_next(), if !handshakes.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, mostly: give the others a moment to close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (Some(place), Some(handshake)) = (places.enter(peer.ip()), shaking.enter(peer.ip())) else {
            tracing::warn!(%peer, "no place for a connection: turned away");
            continue;
        };
        let (tls, sender) = (tls.clone(), sender.clone());
        handshakes.spawn(async move {
            let shaken = tokio::select! {
                () = handshake.gone().cancelled_owned() => return,
                () = place.gone().cancelled_owned() => return,
                shaken = timeout(HANDSHAKE, shake(tls, tcp)) => shaken,
            };
            drop(handshake);
            match shaken {
                // The server is gone only when it stops.
                Ok(Ok(io)) => drop(sender.send(Ok(Connection::new(io, place))).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
    handshakes.shutdown().await;
}

async fn shake(tls: TlsAcceptor, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    tls.accept(tcp).await
}

struct Service {
    publication: Arc<dyn Publication>,
    news: watch::Receiver<Arc<News>>,
    requests: Option<Arc<Submissions>>,
    witnesses: Option<Arc<Witnesses>>,
    stop: CancellationToken,
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl Registry for Service {
    type WatchStream = Answer<HeadUpdate>;
    type PartsStream = Answer<Part>;
    type WitnessedStream = Answer<WitnessedLog>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let work = work_on(&request);
        let WatchRequest { epoch, version } = request.into_inner();
        let mut held = (epoch, version);
        let heads = WatchStream::new(self.news.clone())
            .map(move |news| Ok(news.update_for(&mut held)))
            .take_until(self.stop.clone().cancelled_owned());
        let heads = while_at_work(heads, work);
        Ok(Response::new(Box::pin(heads)))
    }

    async fn parts(&self, request: Request<PartsRequest>) -> Result<Response<Self::PartsStream>, Status> {
        let work = work_on(&request);
        let wanted = request.into_inner().digests;
        if wanted.is_empty() || wanted.len() > PARTS_LIMIT {
            return Err(Status::invalid_argument(format!("ask for 1 to {PARTS_LIMIT} parts at a time")));
        }
        let digests: Option<Vec<Digest>> = wanted.iter().map(|d| Digest::from_slice(d)).collect();
        let digests = digests.ok_or_else(|| Status::invalid_argument("a digest has 32 bytes"))?;
        let publication = Arc::clone(&self.publication);
        let parts = futures::stream::iter(digests)
            .then(move |digest| one_part(Arc::clone(&publication), digest))
            .take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(while_at_work(parts, work))))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitAnswer>, Status> {
        let _work = work_on(&request);
        let requests = self.requests.as_ref();
        let requests =
            requests.ok_or_else(|| Status::unimplemented("this door takes no management requests"))?;
        let standing = requests.take(address_of(&request), request.into_inner().document).await?;
        Ok(Response::new(SubmitAnswer { standing }))
    }

    async fn witness(&self, request: Request<WitnessRequest>) -> Result<Response<WitnessAnswer>, Status> {
        let _work = work_on(&request);
        let answer = self.witnesses()?.show(address_of(&request), request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn witnessed(
        &self,
        request: Request<WitnessedRequest>,
    ) -> Result<Response<Self::WitnessedStream>, Status> {
        let work = work_on(&request);
        let logs = self.witnesses()?.tell(address_of(&request), request.into_inner()).await?;
        let logs =
            futures::stream::iter(logs.into_iter().map(Ok)).take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(while_at_work(logs, work))))
    }
}

impl Service {
    fn witnesses(&self) -> Result<&Witnesses, Status> {
        self.witnesses.as_deref().ok_or_else(|| Status::unimplemented("this door takes no heads of logs"))
    }
}

fn address_of<T>(request: &Request<T>) -> Option<IpAddr> {
    request.extensions().get::<Arc<Place>>().map(|place| place.address())
}

async fn one_part(publication: Arc<dyn Publication>, digest: Digest) -> Result<Part, Status> {
    match publication.part(&digest).await {
        Ok(Some(content)) => Ok(Part { digest: Bytes::copy_from_slice(digest.as_bytes()), content }),
        Ok(None) => Err(Status::not_found(format!("no part {digest} was ever published here"))),
        Err(error) => {
            tracing::error!(%digest, error, "a part cannot be read");
            Err(Status::internal("the registry cannot read this part"))
        }
    }
}

/// The connection that a call came on is at work until its answer ends.
fn work_on<T>(request: &Request<T>) -> Option<AtWork> {
    request.extensions().get::<Arc<Place>>().map(|place| place.work())
}

fn while_at_work<S: Stream>(stream: S, work: Option<AtWork>) -> impl Stream<Item = S::Item> {
    stream.inspect(move |_| {
        let _held = &work;
    })
}

/// A connection with its place, and ended when that is taken away.
struct Connection {
    io: TlsStream<TcpStream>,
    place: Arc<Place>,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(io: TlsStream<TcpStream>, place: Place) -> Self {
        let gone = Box::pin(place.gone().cancelled_owned());
        Self { io, place: Arc::new(place), gone }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Place>;
    fn connect_info(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OnePart(watch::Sender<Bytes>);

    #[async_trait]
    impl Publication for OnePart {
        fn heads(&self) -> watch::Receiver<Bytes> {
            self.0.subscribe()
        }
        async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String> {
            Ok((*digest == Digest::of(b"part")).then(|| Bytes::from_static(b"part")))
        }
    }

    async fn ask(digests: Vec<Bytes>) -> Result<Vec<Bytes>, tonic::Code> {
        let publication = Arc::new(OnePart(watch::Sender::new(Bytes::new())));
        let (_announcer, news) = Announcer::new(publication.clone());
        let service =
            Service { publication, news, requests: None, witnesses: None, stop: CancellationToken::new() };
        let stream = service.parts(Request::new(PartsRequest { digests })).await.map_err(|s| s.code())?;
        let parts: Vec<_> = stream.into_inner().collect().await;
        parts.into_iter().map(|p| p.map(|p| p.content).map_err(|s| s.code())).collect()
    }

    #[tokio::test]
    async fn parts_are_asked_for_by_digest_and_within_limits() {
        let digest = |b: &[u8]| Bytes::copy_from_slice(Digest::of(b).as_bytes());
        assert_eq!(ask(vec![digest(b"part"); 3]).await.unwrap(), vec![Bytes::from_static(b"part"); 3]);
        assert_eq!(ask(vec![digest(b"part"), digest(b"other")]).await, Err(tonic::Code::NotFound));
        assert_eq!(ask(vec![]).await, Err(tonic::Code::InvalidArgument));
        assert_eq!(ask(vec![digest(b"part"); PARTS_LIMIT + 1]).await, Err(tonic::Code::InvalidArgument));
        assert_eq!(ask(vec![Bytes::from_static(b"short")]).await, Err(tonic::Code::InvalidArgument));
    }
}
