//! Accepts connections: TCP, then TLS, then a place among the connections; each step bounded.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use truc_exchange::ports::CurrentDirectory;
use truc_message::Peer;
use truc_places::Places;

use crate::connections::{Connections, Followed};
use crate::net::{ByteStream, Listener};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Handshakes under way at once, half of them from one address. One more takes the place of the oldest, so that silent
/// connections do not keep honest ones out, not even behind the same address.
const HANDSHAKES_AT_ONCE: usize = 512;

/// Accepts TCP, shakes hands with a deadline, and gives what came through to the gRPC server.
pub(crate) struct Acceptor {
    pub(crate) tls: TlsAcceptor,
    pub(crate) connections: Connections,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) accepted: mpsc::Sender<Result<Link, io::Error>>,
}

impl Acceptor {
    pub(crate) async fn run(self, mut listener: impl Listener, shutdown: CancellationToken) {
        let handshakes = TaskTracker::new();
        let places = Places::new(HANDSHAKES_AT_ONCE);
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, from)) => {
                    // No handshake is at work: there is always one to take a place from.
                    let Some(place) = places.enter(from.ip()) else { continue };
                    let shake = self.shake_hands(tcp, from);
                    handshakes.spawn(async move {
                        tokio::select! {
                            () = place.gone().cancelled_owned() => {
                                tracing::debug!(%from, "a handshake made way for another");
                            }
                            () = shake => {}
                        }
                    });
                }
                // Out of file handles, mostly: give those in use time to close.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        handshakes.close();
        handshakes.wait().await;
    }

    fn shake_hands(
        &self,
        tcp: Box<dyn ByteStream>,
        from: SocketAddr,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, connections, accepted) =
            (self.tls.clone(), self.connections.clone(), self.accepted.clone());
        let directory = Arc::clone(&self.directory);
        async move {
            let stream = match timeout(HANDSHAKE_DEADLINE, tls.accept(tcp)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::info!(%from, %error, "handshake refused");
                    return;
                }
                Err(_) => {
                    tracing::info!(%from, "handshake not done within 5 s");
                    return;
                }
            };
            let chain: Vec<Bytes> = stream
                .get_ref()
                .1
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| Bytes::copy_from_slice(certificate))
                .collect();
            let Some((leaf, rest)) = chain.split_first() else { return };
            let peer = Peer::new(leaf.clone(), rest.to_vec());
            let known = |directory: Arc<truc_directory::Directory>| {
                directory.node_of_auth_certificate(&peer.fingerprint()).is_some()
            };
            let known = directory.current().is_some_and(known);
            let Some(stream) = connections.follow(stream, peer.fingerprint(), known) else {
                tracing::info!(%from, certificate = %peer.fingerprint(), "too many connections: refused");
                return;
            };
            let peer = Connection { peer, streaming: Arc::default() };
            drop(accepted.send(Ok(Link { stream, peer })).await);
        }
    }
}

/// An accepted connection with the peer that the handshake proved.
pub(crate) struct Link {
    stream: Followed<tokio_rustls::server::TlsStream<Box<dyn ByteStream>>>,
    peer: Connection,
}

/// What every call on a connection knows of it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// Set once the connection has its one shared stream.
    pub(crate) streaming: Arc<AtomicBool>,
}

impl Connected for Link {
    type ConnectInfo = Connection;
    fn connect_info(&self) -> Connection {
        self.peer.clone()
    }
}

impl tokio::io::AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
