//! How a node is, for load balancers and monitoring: `/healthz` and `/metrics`, without a token and without anything personal
//! (`docs/trust-outages.md`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_model::{Fingerprint, Timestamp};

use crate::small_server::{self, Limits};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// What connections may take on a listener of its own.
const LIMITS: Limits = Limits {
    open: 32,
    head: Duration::from_secs(15),
    life: Duration::from_secs(600),
    drain: Duration::from_secs(2),
};
/// OpenMetrics, which Prometheus reads.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The body of `/healthz`. Every `state` is `fresh`, `degraded` or `expired`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether the node can carry messages: then the answer is 200, and otherwise 503.
    pub serving: bool,
    /// The worst of all states below, and degraded at best while there is an alarm.
    pub state: String,
    /// The node's id.
    pub node: String,
    /// The directory and the link to the registry.
    pub directory: DirectoryHealth,
    /// The approved CAs, as this node's own queries of their responders went.
    pub authorities: Vec<AuthorityHealth>,
    /// The node's own certificates.
    pub certificates: Vec<CertificateHealth>,
    /// How far the time-stamps are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_stamps: Option<TimeStampHealth>,
    /// Logs, this node's own or another's, that are not what they were (protocol P5.3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_alarms: Vec<String>,
    /// Evidence that is not kept as configured: the last record could not be written, the disk is nearly full, the archive away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeping_alarms: Vec<String>,
}

/// The directory in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryHealth {
    /// Fresh up to 10 minutes after its head was signed, expired after 72 hours.
    pub state: String,
    /// When its head was signed.
    pub issued: Timestamp,
    /// When it stops counting.
    pub expires: Timestamp,
    /// Whether heads are arriving from the registry.
    pub connected: bool,
    /// Whether the registry was caught showing two directories under one number, or an older one, or a node holds another
    /// directory under the number of this one's.
    pub alarm: bool,
    /// The nodes that do: no exchange passes between them and this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// One approved CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityHealth {
    /// Its name in the directory.
    pub name: String,
    /// Degraded while no responder of it answers, expired when that has lasted longer than the grace.
    pub state: String,
    /// When a responder last answered this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Since when none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
}

/// The time-stamps on what the node records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeStampHealth {
    /// Degraded when a record has waited for more than 10 minutes or no authority answers, expired past the grace: new
    /// exchanges are refused then.
    pub state: String,
    /// Records without a stamp.
    pub backlog: u64,
    /// How long the oldest of them has waited, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
    /// The time of the newest token, by its authority's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The authorities that are asked, in their order.
    pub authorities: Vec<AuthorityHealth>,
}

/// One of the node's own certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateHealth {
    /// `auth` for the node's TLS identity, `sign` for a member's seal.
    pub usage: String,
    /// Which certificate.
    pub fingerprint: Fingerprint,
    /// Degraded in its last 30 days, expired after its end.
    pub state: String,
    /// Its last moment.
    pub not_after: Timestamp,
    /// The status that the node carries: fresh, degraded (graced by others while they cannot ask), expired (too old or none), or
    /// `revoked` or `unknown` as the responder says.
    pub status: String,
    /// When that status was true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_this_update: Option<Timestamp>,
}

/// Tells how the node is. Asked often: it must not ask anybody in turn.
#[async_trait]
pub trait HealthSource: Send + Sync {
    /// How the node is now.
    fn health(&self) -> Health;
    /// The same and more in numbers, as OpenMetrics text.
    async fn metrics(&self) -> String;
}

/// The routes, to be added to the admin API's or served by themselves.
pub(crate) fn router(source: Arc<dyn HealthSource>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/healthz/live", get(async || no_store(Json(serde_json::json!({"live": true})))))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(source)
}

/// Serves health and metrics alone on `listener` until `stop` is cancelled.
pub async fn serve_health(listener: TcpListener, source: Arc<dyn HealthSource>, stop: CancellationToken) {
    small_server::serve(listener, router(source), LIMITS, stop).await;
}

fn no_store(answer: impl IntoResponse) -> Response {
    let mut answer = answer.into_response();
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

const fn code(health: &Health) -> StatusCode {
    if health.serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn health(State(source): State<Arc<dyn HealthSource>>) -> Response {
    let health = source.health();
    no_store((code(&health), Json(health)))
}

async fn ready(State(source): State<Arc<dyn HealthSource>>) -> Response {
    let health = source.health();
    no_store((code(&health), Json(serde_json::json!({"serving": health.serving, "state": health.state}))))
}

async fn metrics(State(source): State<Arc<dyn HealthSource>>) -> Response {
    match tokio::time::timeout(DEADLINE, source.metrics()).await {
        Ok(text) => no_store(([(CONTENT_TYPE, METRICS_TYPE)], text)),
        Err(_) => no_store(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tower::ServiceExt as _;

    struct Told(bool);

    #[async_trait]
    impl HealthSource for Told {
        fn health(&self) -> Health {
            let at = Timestamp::from_millis(0);
            let (state, connected) = ("fresh".to_owned(), true);
            let (alarm, conflicts) = (false, vec![]);
            let directory = DirectoryHealth { state, issued: at, expires: at, connected, alarm, conflicts };
            Health {
                serving: self.0,
                state: "fresh".into(),
                node: "VN/GOV/H26/ss1".into(),
                directory,
                authorities: vec![],
                certificates: vec![],
                time_stamps: None,
                log_alarms: vec![],
                keeping_alarms: vec![],
            }
        }
        async fn metrics(&self) -> String {
            "# EOF\n".into()
        }
    }

    async fn asked(serving: bool, path: &str) -> (StatusCode, String) {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let answer = router(Arc::new(Told(serving))).oneshot(request).await.unwrap();
        let status = answer.status();
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        let body = axum::body::to_bytes(answer.into_body(), 65536).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_status_code_says_whether_it_serves() {
        for path in ["/healthz", "/healthz/ready"] {
            assert_eq!(asked(true, path).await.0, StatusCode::OK);
            assert_eq!(asked(false, path).await.0, StatusCode::SERVICE_UNAVAILABLE);
        }
        for serving in [true, false] {
            assert_eq!(asked(serving, "/healthz/live").await, (StatusCode::OK, "{\"live\":true}".into()));
            assert_eq!(asked(serving, "/metrics").await, (StatusCode::OK, "# EOF\n".into()));
        }
        let whole: Health = serde_json::from_str(&asked(true, "/healthz").await.1).unwrap();
        assert_eq!(whole, Told(true).health());
    }
}
