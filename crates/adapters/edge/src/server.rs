//! The listener and its connections.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truc_exchange::ports::ConsumerSide;
use truc_model::Clock;

use crate::config::EdgeConfig;
use crate::edge::{Edge, EdgeDirectory};
use crate::watched::{Moved, Watched};

/// Smallest head buffer that hyper accepts.
const SMALLEST_HEAD: usize = 8 * 1024;

/// Most header fields that are parsed; a request with more is answered 431.
const MOST_FIELDS: usize = 256;

/// Pause after a failed accept (file descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the edge on `listener`, HTTP/1.1 and HTTP/2 with prior knowledge, until `shutdown`; then lets calls under way
/// end within [`EdgeConfig::drain`] and cuts the rest. When it returns, none of its tasks is left.
///
/// Check the listener's address with [`crate::check_plain_http`] before binding.
pub async fn serve(
    listener: TcpListener,
    consumer: Arc<dyn ConsumerSide>,
    directory: Arc<dyn EdgeDirectory>,
    config: EdgeConfig,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let halt = CancellationToken::new();
    let edge = Arc::new(Edge {
        consumer,
        directory,
        clock,
        config,
        bodies: Semaphore::new(usize::try_from(config.body_memory).unwrap_or(Semaphore::MAX_PERMITS)),
        calls: Arc::new(Semaphore::new(config.max_calls)),
        tasks: tasks.clone(),
        halt: halt.clone(),
    });
    let connections = Arc::new(Semaphore::new(config.max_connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, place)) = accepted else { break };
        let (edge, shutdown) = (Arc::clone(&edge), shutdown.clone());
        tasks.spawn(async move {
            connection(stream, edge, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(config.drain, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "the edge stops before every call has ended");
        halt.cancel();
        tasks.wait().await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(connections).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
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

async fn connection(stream: TcpStream, edge: Arc<Edge>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let config = edge.config;
    let halt = edge.halt.clone();
    let (moved, under_way) = (Moved::default(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&under_way);
    let service = service_fn(move |request| {
        let (edge, guard) = (Arc::clone(&edge), UnderWay::new(&counter));
        async move {
            let answer = edge.answer(request).await;
            drop(guard);
            answer
        }
    });
    let builder = protocol(&config);
    let io = TokioIo::new(Watched::new(stream, moved.clone()));
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
