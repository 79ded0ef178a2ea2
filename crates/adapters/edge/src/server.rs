//! The listeners and their connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truc_exchange::ports::ConsumerSide;
use truc_model::Clock;
use truc_places::Places;

use crate::config::EdgeConfig;
use crate::connection::{Caller, ClientConnections};
use crate::edge::{Edge, EdgeDirectory, FLOWS};
use crate::served::{Served, connection};
use crate::signed_documents::{self, EdgeEvidence};
use crate::tls::{EdgeIdentity, server_config};
use crate::watched::{Moved, Watched};

/// Pause after a failed accept (file descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The edge's sockets; at least one, or nobody can call.
#[derive(Default)]
pub struct EdgeDoors {
    /// Plain HTTP. Check its address with [`crate::check_plain_http`] before binding.
    pub plain: Option<TcpListener>,
    /// HTTPS, TLS 1.2 and 1.3.
    pub tls: Option<(TcpListener, Arc<EdgeIdentity>)>,
}

/// What the edge asks of the node.
pub struct EdgePorts {
    /// Where calls go.
    pub consumer: Arc<dyn ConsumerSide>,
    /// Where `listClients` looks.
    pub directory: Arc<dyn EdgeDirectory>,
    /// Where signed documents come from.
    pub evidence: Arc<dyn EdgeEvidence>,
    /// How each subsystem's information system must be connected; replaceable.
    pub connections: Arc<ArcSwap<ClientConnections>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Serves the edge, HTTP/1.1 and HTTP/2 (with prior knowledge, and by ALPN under TLS), until `shutdown`; then lets calls under
/// way end within [`EdgeConfig::drain`] and cuts the rest. When it returns, none of its tasks is left.
///
/// # Errors
/// rustls's, when TLS cannot be set up at all; then nothing was served.
pub async fn serve(
    doors: EdgeDoors,
    ports: EdgePorts,
    config: EdgeConfig,
    shutdown: CancellationToken,
) -> Result<(), rustls::Error> {
    let tasks = TaskTracker::new();
    let halt = CancellationToken::new();
    let edge = Arc::new(Edge {
        consumer: ports.consumer,
        directory: ports.directory,
        evidence: ports.evidence,
        connections: ports.connections,
        clock: ports.clock,
        config,
        bodies: Arc::new(Semaphore::new(
            usize::try_from(config.body_memory).unwrap_or(Semaphore::MAX_PERMITS),
        )),
        calls: Arc::new(Semaphore::new(config.max_calls)),
        flows: Arc::new(Semaphore::new(FLOWS)),
        documents: Arc::new(Semaphore::new(signed_documents::AT_ONCE)),
        tasks: tasks.clone(),
        halt: halt.clone(),
    });
    let places = Places::new(config.max_connections);
    let plain = doors.plain.map(|listener| (listener, None));
    let tls = match doors.tls {
        Some((listener, identity)) => {
            let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)?));
            Some((listener, Some(Handshakes { acceptor, places: Places::new(config.max_handshakes) })))
        }
        None => None,
    };
    let listening = [plain, tls].map(|door| {
        let (edge, places, shutdown) = (Arc::clone(&edge), places.clone(), shutdown.clone());
        async move {
            if let Some((listener, handshakes)) = door {
                listen(listener, handshakes, edge, places, shutdown).await;
            }
        }
    });
    let [plain, tls] = listening;
    tokio::join!(plain, tls);
    tasks.close();
    if tokio::time::timeout(config.drain, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "the edge stops before every call has ended");
        halt.cancel();
        tasks.wait().await;
    }
    Ok(())
}

/// How a TLS door shakes hands.
#[derive(Clone)]
struct Handshakes {
    acceptor: TlsAcceptor,
    places: Places,
}

async fn listen(
    listener: TcpListener,
    handshakes: Option<Handshakes>,
    edge: Arc<Edge>,
    places: Places,
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let (stream, from) = accepted;
        let Some(place) = places.enter(from) else {
            tracing::debug!(%from, "no place for a connection to the edge: dropped");
            continue;
        };
        let (handshakes, shutdown) = (handshakes.clone(), shutdown.clone());
        let (tasks, edge) = (edge.tasks.clone(), Arc::clone(&edge));
        tasks.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let moved = Moved::default();
            let stream = Watched::new(stream, moved.clone());
            let served = |caller| Served { caller: Arc::new(caller), place, moved, edge: Arc::clone(&edge) };
            match handshakes {
                None => connection(stream, served(Caller::plain(from)), shutdown).await,
                Some(handshakes) => {
                    let within = edge.config.handshake_timeout;
                    let shaken = tokio::select! {
                        () = shutdown.cancelled() => None,
                        shaken = shake_hands(stream, from, handshakes, within) => shaken,
                    };
                    if let Some((stream, caller)) = shaken {
                        Box::pin(connection(stream, served(caller), shutdown)).await;
                    }
                }
            }
        });
    }
}

/// The TLS connection, once it stands; `None` when that takes too long or fails.
async fn shake_hands(
    stream: Watched,
    from: IpAddr,
    handshakes: Handshakes,
    within: Duration,
) -> Option<(TlsStream<Watched>, Caller)> {
    // No handshake is at work: the one that has waited for longest makes way.
    let place = handshakes.places.enter(from)?;
    let shaken = tokio::select! {
        () = place.gone().cancelled_owned() => None,
        shaken = tokio::time::timeout(within, handshakes.acceptor.accept(stream)) => shaken.ok(),
    };
    match shaken {
        Some(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown.map(|der| Bytes::copy_from_slice(der));
            Some((stream, Caller::secured(from, certificate)))
        }
        Some(Err(error)) => {
            tracing::debug!(%from, %error, "a TLS handshake at the edge failed");
            None
        }
        None => {
            tracing::debug!(%from, "a TLS handshake at the edge was not done in time");
            None
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from.ip()),
            Err(error) => {
                tracing::warn!(%error, "the edge cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
