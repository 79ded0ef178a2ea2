//! Serving the API on a listener.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::AdminBackend;
use crate::router::{App, router};
use crate::tokens::TokenTable;

/// How long a connection may take to send a request's head; an idle one is closed after it.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// How long open requests and decisions may go on after the order to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Open connections at most; further ones wait in the listener's queue.
const CONNECTIONS: usize = 128;
/// Pause after a failed accept, which is mostly a lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on `listener` until `shutdown` is cancelled, then lets open requests end and returns. A decision that
/// has begun is waited for, so that journal and policy in force never part.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn AdminBackend>,
    tokens: TokenTable,
    shutdown: CancellationToken,
) {
    let decisions = TaskTracker::new();
    let service = TowerToHyperService::new(router(App::new(backend, tokens, decisions.clone())));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    let (graceful, connections) = (GracefulShutdown::new(), TaskTracker::new());
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, stream) = tokio::select! {
            () = shutdown.cancelled() => break,
            (slot, accepted) = accept => match accepted {
                Ok((stream, _)) => (slot, stream),
                Err(error) => {
                    tracing::warn!(%error, "admin API: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service.clone()));
        connections.spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin API: a connection ended early");
            }
        });
    }
    drop(listener);
    connections.close();
    decisions.close();
    let ended = async { tokio::join!(graceful.shutdown(), connections.wait(), decisions.wait()) };
    if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
        tracing::warn!("admin API: stopped with requests still open");
    }
}
