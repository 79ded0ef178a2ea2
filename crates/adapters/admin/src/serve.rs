//! Serving the API on a listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backend::AdminBackend;
use crate::router::{App, Tasks, router};
use crate::small_server::{self, Limits};
use crate::tokens::TokenTable;

/// What connections may take. Open requests, and decisions after them, have 5 s when the API stops.
const LIMITS: Limits = Limits {
    open: 128,
    head: Duration::from_secs(15),
    life: Duration::from_secs(600),
    drain: Duration::from_secs(5),
};

/// Serves the API on `listener` until `shutdown` is cancelled, then lets open requests end and returns. A decision that
/// has begun is waited for, so that journal and policy in force never part.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn AdminBackend>,
    tokens: TokenTable,
    shutdown: CancellationToken,
) {
    let tasks = Tasks::default();
    let health = backend.health();
    let mut router = router(App::new(backend, tokens, tasks.clone()));
    if let Some(health) = health {
        router = router.merge(crate::health::router(health));
    }
    small_server::serve(listener, router, LIMITS, shutdown).await;
    let open = [(tasks.decisions, "decisions"), (tasks.reading, "searches or exports")];
    for (tasks, what) in open {
        tasks.close();
        if tokio::time::timeout(LIMITS.drain, tasks.wait()).await.is_err() {
            tracing::warn!(what, "admin API: stopped with work still open");
        }
    }
}
