//! One call over a pool of kept-open connections.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use truc_exchange::ports::{ServiceAnswer, ServiceFailure};

use crate::answer;
use crate::connector::Timed;
use crate::outgoing::Outgoing;

/// Unused connections are closed after this time, before most services close them.
const IDLE: Duration = Duration::from_secs(20);

/// Most header fields in a service's answer.
const MOST_FIELDS: usize = 256;

/// Calls services.
#[derive(Debug, Clone)]
pub(crate) struct ServiceClient {
    inner: Client<Timed, Full<Bytes>>,
    body_limit: u64,
}

impl ServiceClient {
    /// # Errors
    /// rustls's, when its provider has no TLS 1.3.
    pub(crate) fn new(
        roots: RootCertStore,
        connect: Duration,
        body_limit: u64,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(64)
            .http1_max_headers(MOST_FIELDS)
            .retry_canceled_requests(false)
            .build(Timed::new(https, connect));
        Ok(Self { inner, body_limit })
    }

    /// Calls once: no retry, no redirect followed.
    ///
    /// # Errors
    /// [`ServiceFailure`] says whether anything was sent.
    pub(crate) async fn call(&self, outgoing: Outgoing) -> Result<ServiceAnswer, ServiceFailure> {
        let timeout = outgoing.timeout;
        let mut request = outgoing.request()?;
        let captured = capture_connection(&mut request);
        let whole = async {
            let response = self.inner.request(request).await.map_err(|e| failure(&e))?;
            answer::read(response, self.body_limit).await
        };
        match tokio::time::timeout(timeout, whole).await {
            Ok(outcome) => outcome,
            Err(_) if captured.connection_metadata().is_none() => {
                Err(ServiceFailure::Unreachable(format!("no connection within {} ms", timeout.as_millis())))
            }
            Err(_) => Err(ServiceFailure::Timeout(timeout.as_millis())),
        }
    }
}

/// Everything an error says, outermost first.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        inner = cause.source();
    }
    text
}

/// Not connected, or given back by hyper before a byte of it was written (the service had closed an idle connection):
/// unreachable. Anything else may have been acted on.
fn failure(error: &ClientError) -> ServiceFailure {
    let unsent = error.is_connect() || {
        let cause = error.source().and_then(|e| e.downcast_ref::<hyper::Error>());
        cause.is_some_and(hyper::Error::is_canceled)
    };
    if unsent { ServiceFailure::Unreachable(told(error)) } else { ServiceFailure::Broken(told(error)) }
}
