//! How a register is served: HTTP/1.1 with keep-alive, bounded in size, number and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::answers::{Problem, json};
use super::cap::MismatchCap;
use super::config::{RegisterConfig, RegisterKind};
use super::parcel::Cadastre;
use super::population::Population;
use super::{WATERMARK, dancu, datdai};

const MAX_BODY: usize = 64 * 1024;
/// Request line and headers must fit; hyper answers 431 to more.
const MAX_HEAD: usize = 16 * 1024;
const MAX_CONNECTIONS: usize = 512;
/// A head must be complete, and an idle connection used again, within this time.
const HEAD_DEADLINE: Duration = Duration::from_secs(75);
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);
/// A pause after the system refused a connection (no more file handles), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a register did not run.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another `listen` address")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data could not be made.
    #[error("making the synthetic data stopped early; lower `citizens` and `parcels` or free memory")]
    Generate,
}

/// What both registers share: who failed how often, and how much was done.
pub(super) struct Desk {
    cap: MismatchCap,
    calls: AtomicU64,
    records: usize,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    records: usize,
    calls: u64,
    watermark: &'static str,
}

impl Desk {
    /// Carries out a business call under the cap of its client: counted when it was carried out,
    /// whatever came of it, and noted as a failure when it found nothing.
    pub(super) fn business(
        &self,
        client: &str,
        call: impl FnOnce() -> Result<Response, Problem>,
    ) -> Response {
        let now = Instant::now();
        if let Some(seconds) = self.cap.wait(client, now) {
            return Problem::too_many(seconds).into_response();
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        call().unwrap_or_else(|problem| {
            self.cap.failed(client, now);
            problem.into_response()
        })
    }
}

/// The subsystem that asks, as its node forwards it; callers without the header share one count.
pub(super) fn client_of(headers: &HeaderMap) -> &str {
    headers.get("x-road-client").and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// Makes the data, then serves the register until `shutdown`. `ready` is told the bound address
/// once requests are answered.
///
/// # Errors
/// [`RegisterError`] when the address cannot be bound or the data cannot be made.
pub async fn run(
    config: RegisterConfig,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: CancellationToken,
) -> Result<(), RegisterError> {
    let listen = |source| RegisterError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let kind = config.kind;
    let router =
        tokio::task::spawn_blocking(move || router(&config)).await.map_err(|_| RegisterError::Generate)?;
    tracing::info!(register = kind.as_str(), %address, "the register answers; all its data is synthetic");
    ready(address);
    serve(listener, router, &shutdown).await;
    tracing::info!(register = kind.as_str(), "the register stopped");
    Ok(())
}

/// All routes of the configured register over freshly made data.
fn router(config: &RegisterConfig) -> Router {
    let people = Population::generate(config.seed, config.citizens);
    let desk = |records| {
        let cap = MismatchCap::new(config.mismatch_cap_per_minute);
        Arc::new(Desk { cap, calls: AtomicU64::new(0), records })
    };
    let (routes, desk, description) = match config.kind {
        RegisterKind::DanCu => {
            let desk = desk(people.len());
            (dancu::routes(people, Arc::clone(&desk)), desk, dancu::OPENAPI)
        }
        RegisterKind::DatDai => {
            let land = Cadastre::generate(people, config.parcels);
            let desk = desk(land.len());
            (datdai::routes(land, Arc::clone(&desk)), desk, datdai::OPENAPI)
        }
    };
    let describe = move || async move {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))], description)
            .into_response()
    };
    let common =
        Router::new().route("/health", get(health)).with_state(desk).route("/openapi.json", get(describe));
    routes
        .merge(common)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(in_time))
}

async fn health(State(desk): State<Arc<Desk>>) -> Response {
    let calls = desk.calls.load(Ordering::Relaxed);
    json(StatusCode::OK, &Health { status: "ok", records: desk.records, calls, watermark: WATERMARK })
}

async fn no_such_path() -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        "Không có dịch vụ ở đường dẫn này. Hãy xem các đường dẫn trong /openapi.json.",
        "There is no service at this path. See the paths in /openapi.json.",
    )
    .into_response()
}

async fn no_such_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "NO_SUCH_METHOD",
        "Đường dẫn này không nhận phương thức đã gửi. Hãy xem phương thức đúng trong /openapi.json.",
        "This path does not take that method. See the right one in /openapi.json.",
    )
    .into_response()
}

/// Ends a request whose body does not arrive.
async fn in_time(request: Request, next: Next) -> Response {
    timeout(REQUEST_DEADLINE, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "TOO_SLOW",
            "Yêu cầu không đến đủ trong 10 giây. Hãy gửi lại.",
            "The request did not arrive whole within 10 s. Send it again.",
        )
        .into_response()
    })
}

async fn serve(listener: TcpListener, router: Router, shutdown: &CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // No permit, no accept: what is too much waits in the system's backlog.
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            pair = next => pair,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = graceful.watch(connection(stream, router.clone()));
        connections.spawn(async move {
            // A caller that hangs up is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    if timeout(SHUTDOWN_DEADLINE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time and were cut");
    }
    connections.shutdown().await;
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // Small answers must not wait for more bytes.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
