//! The listeners and their connections.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truc_exchange::ports::ConsumerSide;
use truc_model::Clock;

use crate::config::EdgeConfig;
use crate::connection::{Caller, ClientConnections};
use crate::edge::{Edge, EdgeDirectory};
use crate::signed_documents::{self, EdgeEvidence};
use crate::tls::{EdgeIdentity, server_config};
use crate::watched::{Moved, Watched};

/// Smallest head buffer that hyper accepts.
const SMALLEST_HEAD: usize = 8 * 1024;

/// Most header fields that are parsed; a request with more is answered 431.
const MOST_FIELDS: usize = 256;

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
        documents: Arc::new(Semaphore::new(signed_documents::AT_ONCE)),
        tasks: tasks.clone(),
        halt: halt.clone(),
    });
    let places = Arc::new(Semaphore::new(config.max_connections));
    let plain = doors.plain.map(|listener| (listener, None));
    let tls = match doors.tls {
        Some((listener, identity)) => {
            let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)?));
            let handshakes = Arc::new(Semaphore::new(config.max_handshakes));
            Some((listener, Some(Handshakes { acceptor, under_way: handshakes })))
        }
        None => None,
    };
    let listening = [plain, tls].map(|door| {
        let (edge, places, shutdown) = (Arc::clone(&edge), Arc::clone(&places), shutdown.clone());
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
    under_way: Arc<Semaphore>,
}

async fn listen(
    listener: TcpListener,
    handshakes: Option<Handshakes>,
    edge: Arc<Edge>,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, from, place)) = accepted else { break };
        let (handshakes, shutdown) = (handshakes.clone(), shutdown.clone());
        let (tasks, edge) = (edge.tasks.clone(), Arc::clone(&edge));
        tasks.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let moved = Moved::default();
            let stream = Watched::new(stream, moved.clone());
            match handshakes {
                None => {
                    let caller = Arc::new(Caller::plain(from));
                    connection(stream, moved, caller, edge, shutdown).await;
                }
                Some(handshakes) => {
                    let shaken = tokio::select! {
                        () = shutdown.cancelled() => None,
                        shaken = shake_hands(stream, from, handshakes, edge.config.handshake_timeout) => shaken,
                    };
                    if let Some((stream, caller)) = shaken {
                        Box::pin(connection(stream, moved, Arc::new(caller), edge, shutdown)).await;
                    }
                }
            }
            drop(place);
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
    let shaking = async {
        // Closed never.
        let _one_of_them = handshakes.under_way.acquire().await.ok()?;
        Some(handshakes.acceptor.accept(stream).await)
    };
    match tokio::time::timeout(within, shaking).await {
        Ok(Some(Ok(stream))) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown.map(|der| Bytes::copy_from_slice(der));
            Some((stream, Caller::secured(from, certificate)))
        }
        Ok(Some(Err(error))) => {
            tracing::debug!(%from, %error, "a TLS handshake at the edge failed");
            None
        }
        Ok(None) | Err(_) => {
            tracing::debug!(%from, "a TLS handshake at the edge was not done in time");
            None
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(connections).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return Some((stream, from.ip(), place)),
            Err(error) => {
                tracing::warn!(%error, "the edge cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts a request as under way until it is dropped.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn protocol(config: &EdgeConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.header_limit.max(SMALLEST_HEAD))
        .max_headers(MOST_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.header_limit).unwrap_or(u32::MAX))
        .max_concurrent_streams(Some(u32::try_from(config.max_calls).unwrap_or(u32::MAX).min(250)));
    builder
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    moved: Moved,
    caller: Arc<Caller>,
    edge: Arc<Edge>,
    shutdown: CancellationToken,
) {
    let config = edge.config;
    let halt = edge.halt.clone();
    let under_way = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&under_way);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&caller));
        let (edge, guard) = (Arc::clone(&edge), UnderWay::new(&counter));
        async move {
            let answer = edge.answer(request).await;
            drop(guard);
            answer
        }
    });
    let builder = protocol(&config);
    let io = TokioIo::new(stream);
    let mut serving = pin!(builder.serve_connection(io, service));
    let (mut stopping, mut seen) = (false, 0);
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the edge ended early");
                }
                return;
            }
            () = halt.cancelled() => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(config.idle_timeout) => {
                let now = moved.so_far();
                if now == seen && under_way.load(Ordering::Relaxed) == 0 {
                    return;
                }
                seen = now;
            }
        }
    }
}
