//! One small HTTP client with a deadline and a size limit on everything.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long and how much a trust service may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the whole answer of one service is there, waiting for a place included.
    pub total: Duration,
    /// Bytes of an OCSP answer.
    pub ocsp_bytes: usize,
    /// Bytes of a revocation list.
    pub crl_bytes: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(5),
            ocsp_bytes: 64 * 1024,
            crl_bytes: 1024 * 1024,
        }
    }
}

/// A client that follows no redirects and asks no proxy.
pub(crate) struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(connect: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .build(connector);
        Self(client)
    }

    /// The body of a 200 answer; the sentence says why there is none.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        body: Option<(&'static str, Bytes)>,
        deadline: Duration,
        limit: usize,
    ) -> Result<Bytes, String> {
        self.fetch_of_type(url, body, None, deadline, limit).await
    }

    /// As [`Self::fetch`], for an answer that must say it is of this media type.
    pub(crate) async fn fetch_of_type(
        &self,
        url: &str,
        body: Option<(&'static str, Bytes)>,
        expected: Option<&'static str>,
        deadline: Duration,
        limit: usize,
    ) -> Result<Bytes, String> {
        let request = request(url, body)?;
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|e| with_causes(&e))?;
            if answer.status() != StatusCode::OK {
                return Err(format!("it answered with status {}", answer.status().as_u16()));
            }
            if let Some(expected) = expected
                && !is_of_type(answer.headers(), expected)
            {
                return Err(format!("its answer is not {expected}"));
            }
            let body = Limited::new(answer.into_body(), limit).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|e| e.to_string())
        };
        let in_time = tokio::time::timeout(deadline, exchange).await;
        in_time.unwrap_or_else(|_| Err(format!("no whole answer within {} ms", deadline.as_millis())))
    }
}

/// Whether the media type is the expected one, whatever parameters it has.
fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = stated.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

fn request(url: &str, body: Option<(&'static str, Bytes)>) -> Result<Request<Full<Bytes>>, String> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL".to_owned())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err("only http:// URLs are asked (the answers are signed)".into());
    }
    let request = match body {
        None => Request::builder().method(Method::GET).uri(uri).body(Full::default()),
        Some((content_type, body)) => Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body)),
    };
    request.map_err(|e| e.to_string())
}

/// hyper says "client error (Connect)" and keeps the reason in its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
