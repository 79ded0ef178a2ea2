//! The HTTP server of the pilot PKI. Plain HTTP: everything it answers is public and signed. Issuing has an address of its own
//! ([`crate::issuing`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_admin::small_server::{self, Limits};
use truc_keystores::Passphrase;
use truc_model::SystemClock;

use crate::config::PkiConfig;
use crate::error::{PkiError, blocking};
use crate::issuing::{self, Token};
use crate::ocsp::Responder;
use crate::pki::Pki;
use crate::tsa;

/// Requests to the responder and the TSA have a few hundred bytes.
const BODY_LIMIT: usize = 16 * 1024;
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits {
    open: 256,
    head: Duration::from_secs(15),
    life: Duration::from_secs(600),
    drain: Duration::from_secs(5),
};

pub(crate) struct App {
    pub(crate) pki: Pki,
    responder: Responder,
}

/// Where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Status, time-stamps, the CA's certificate.
    pub public: SocketAddr,
    /// Issuing and revoking, if configured.
    pub issuing: Option<SocketAddr>,
}

/// What the server listens on.
#[derive(Debug)]
pub struct Listeners {
    /// Status, time-stamps, the CA's certificate.
    pub public: TcpListener,
    /// Issuing and revoking; the configuration must have `[issuing]` then.
    pub issuing: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, issuing: None }
    }
}

/// Opens the PKI of `config` and serves it until `shutdown` is cancelled; `ready` is told the addresses once it listens.
///
/// # Errors
/// The PKI does not open, an address cannot be listened on, or the token of `[issuing]` is not usable.
pub async fn run(
    config: &PkiConfig,
    ready: impl FnOnce(Listening),
    shutdown: CancellationToken,
) -> Result<(), PkiError> {
    let file = config.passphrase_file.clone();
    let passphrase = blocking(move || Ok(Passphrase::from_file(&file)?)).await?;
    let pki = Pki::open(config, &passphrase, Arc::new(SystemClock)).await?;
    let (public, at) = listen(config.listen).await?;
    let mut listening = Listening { public: at, issuing: None };
    let mut listeners = Listeners::from(public);
    if let Some(issuing) = &config.issuing {
        // A token that is of no use is told before anything is up.
        Token::read(&issuing.token_file).await?;
        let (listener, at) = listen(issuing.listen).await?;
        (listening.issuing, listeners.issuing) = (Some(at), Some(listener));
    }
    ready(listening);
    serve(pki, listeners, shutdown).await
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), PkiError> {
    let failed = |source| PkiError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

/// Serves an open PKI until `shutdown` is cancelled; requests in progress then have 5 s to finish.
///
/// # Errors
/// There is an address to issue on without a usable token. A listener that fails to accept is tried again.
pub async fn serve(
    pki: Pki,
    listeners: impl Into<Listeners>,
    shutdown: CancellationToken,
) -> Result<(), PkiError> {
    let Listeners { public, issuing } = listeners.into();
    let issuing = match (issuing, &pki.config.issuing) {
        (None, _) => None,
        (Some(_), None) => return Err(PkiError::NotIssuing),
        (Some(listener), Some(config)) => Some((listener, Token::read(&config.token_file).await?)),
    };
    let app = Arc::new(App { pki, responder: Responder::default() });
    let issue = async {
        if let Some((listener, token)) = issuing {
            let router = issuing::router(Arc::clone(&app), token);
            small_server::serve(listener, router, LIMITS, shutdown.clone()).await;
        }
    };
    let tell = small_server::serve(public, router(Arc::clone(&app)), LIMITS, shutdown.clone());
    tokio::join!(tell, issue);
    Ok(())
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/ocsp", post(ocsp_post))
        .route("/ocsp/{*request}", get(ocsp_get))
        .route("/tsa", post(time_stamp))
        .route("/crl", get(crl))
        .route("/ca.pem", get(ca_pem))
        .route("/health", get(health))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(deadline))
        .with_state(app)
}

/// A client that sends slowly is not waited for.
pub(crate) async fn deadline(request: Request, next: Next) -> Response {
    let in_time = tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await;
    in_time.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

fn typed(content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
}

async fn ocsp_post(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    if !has_type(&headers, "application/ocsp-request") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    typed("application/ocsp-response", app.responder.answer(&app.pki, &body).await)
}

/// RFC 6960 appendix A.1: the request in base64 within the path.
async fn ocsp_get(State(app): State<Arc<App>>, UrlPath(text): UrlPath<String>) -> Response {
    let request = STANDARD.decode(text.trim_start_matches('/')).unwrap_or_default();
    typed("application/ocsp-response", app.responder.answer(&app.pki, &request).await)
}

async fn time_stamp(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    if !has_type(&headers, "application/timestamp-query") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    typed("application/timestamp-reply", tsa::answer(&app.pki, &body).await)
}

async fn crl(State(app): State<Arc<App>>) -> Response {
    app.pki.crl().await.map_or_else(failed, |list| typed("application/pkix-crl", list))
}

async fn ca_pem(State(app): State<Arc<App>>) -> Response {
    app.pki.ca_pem().map_or_else(failed, |pem| typed("application/pem-certificate-chain", pem))
}

async fn health() -> Response {
    typed("application/json", "{\"status\":\"up\"}")
}

#[allow(clippy::needless_pass_by_value, reason = "the shape map_or_else asks for")]
fn failed(error: PkiError) -> Response {
    tracing::error!(%error, "no answer was made");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
