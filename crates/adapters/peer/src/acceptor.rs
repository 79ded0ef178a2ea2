//! Accepts connections: TCP, then TLS, then a place among the connections; each step bounded.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use truc_message::Peer;

use crate::connections::{Connections, Followed};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Handshakes under way at once, in all and from one address. One more is dropped at once, so that silent connections do
/// not keep honest ones waiting.
const HANDSHAKES_AT_ONCE: usize = 512;
const HANDSHAKES_FROM_ONE: usize = 32;

/// Accepts TCP, shakes hands with a deadline, and gives what came through to the gRPC server.
pub(crate) struct Acceptor {
    pub(crate) tls: TlsAcceptor,
    pub(crate) connections: Connections,
    pub(crate) accepted: mpsc::Sender<Result<Link, io::Error>>,
}

impl Acceptor {
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let handshakes = TaskTracker::new();
        let under_way = UnderWay::default();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, from)) => {
                    let Some(place) = under_way.take(from.ip()) else {
                        tracing::debug!(%from, "too many handshakes under way: dropped");
                        continue;
                    };
                    let shake = self.shake_hands(tcp, from);
                    handshakes.spawn(async move {
                        shake.await;
                        drop(place);
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

    fn shake_hands(&self, tcp: TcpStream, from: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let (tls, connections, accepted) =
            (self.tls.clone(), self.connections.clone(), self.accepted.clone());
        async move {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%from, %error, "no TCP_NODELAY");
            }
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
            let Some(stream) = connections.follow(stream, peer.fingerprint()) else {
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
    stream: Followed<tokio_rustls::server::TlsStream<TcpStream>>,
    peer: Connection,
}

/// What every call on a connection knows of it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// Set once the connection has its one shared stream.
    pub(crate) streaming: Arc<AtomicBool>,
}

/// Counts handshakes by address.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<IpAddr, usize>>>);

struct Place(UnderWay, IpAddr);

impl UnderWay {
    fn take(&self, from: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let ours = counts.get(&from).copied().unwrap_or(0);
        if all >= HANDSHAKES_AT_ONCE || ours >= HANDSHAKES_FROM_ONE {
            return None;
        }
        counts.insert(from, ours + 1);
        Some(Place(self.clone(), from))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
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
