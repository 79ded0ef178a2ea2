//! How requests travel to an object store: our own hyper and rustls, one deadline and one size limit for each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector as MakesClients, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use truc_evidence::OBJECT_LIMIT;

use crate::OpenError;

const CONNECT: Duration = Duration::from_secs(5);
/// A request and its answer, when neither has a body to speak of.
const REQUEST: Duration = Duration::from_secs(30);
/// More time for each MiB of a body, either way.
const PER_MIB: Duration = Duration::from_secs(1);

/// One request at a time over pooled connections; follows no redirect, asks no proxy.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, HttpRequestBody>,
    deadline: Duration,
}

impl Transport {
    /// Trusts the CAs in `ca_file` for https, and no others.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, OpenError> {
        let roots = ca_file.map_or_else(|| Ok(RootCertStore::empty()), read_roots)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|e| OpenError::Settings(e.to_string()))?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self { client, deadline: REQUEST })
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, OpenError> {
    let bad = |problem: String| OpenError::File { path: path.to_owned(), problem };
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|e| bad(e.to_string()))?;
    if all.is_empty() {
        return Err(bad("no certificate in it".into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in all {
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    Ok(roots)
}

impl MakesClients for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("{0}")]
    Connection(String),
    #[error("no whole answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the answer is cut off or longer than any segment: {0}")]
    Body(String),
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = request.body().content_length() as u64;
        let begun = tokio::time::Instant::now();
        let allowed = |bytes: u64| self.deadline + PER_MIB * u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let late = |allowed: Duration| HttpError::new(HttpErrorKind::Timeout, NoAnswer::Late(allowed));
        let answer = tokio::time::timeout_at(begun + allowed(sent), self.client.request(request)).await;
        let answer = answer.map_err(|_| late(allowed(sent)))?.map_err(|e| {
            let kind = if e.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, NoAnswer::Connection(with_causes(&e)))
        })?;
        let (parts, body) = answer.into_parts();
        let announced = parts.headers.get(http::header::CONTENT_LENGTH);
        let announced = announced.and_then(|v| v.to_str().ok()?.parse::<u64>().ok()).unwrap_or(OBJECT_LIMIT);
        let allowed = allowed(sent.saturating_add(announced.min(OBJECT_LIMIT)));
        let limit = usize::try_from(OBJECT_LIMIT).unwrap_or(usize::MAX);
        let whole = tokio::time::timeout_at(begun + allowed, Limited::new(body, limit).collect()).await;
        let whole = whole
            .map_err(|_| late(allowed))?
            .map_err(|e| HttpError::new(HttpErrorKind::Interrupted, NoAnswer::Body(e.to_string())))?;
        Ok(HttpResponse::from_parts(parts, whole.to_bytes().into()))
    }
}

/// hyper says "client error (Connect)" and keeps the reason in its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
