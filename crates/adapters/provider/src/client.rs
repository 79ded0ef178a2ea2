//! One call over a pool of kept-open connections.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use truc_exchange::ports::{ServiceAnswer, ServiceFailure};

use crate::answer;
use crate::connector::Timed;
use crate::outgoing::{Outgoing, RequestBody};

/// Unused connections are closed after this time, before most services close them.
const IDLE: Duration = Duration::from_secs(20);

/// Most header fields in a service's answer.
const MOST_FIELDS: usize = 256;

/// Calls services.
#[derive(Debug, Clone)]
pub(crate) struct ServiceClient {
    inner: Client<Timed, RequestBody>,
    body_limit: u64,
}

impl ServiceClient {
    /// A client with a pool of its own: connections are shared only by services that are trusted in the same way.
    pub(crate) fn new(tls: ClientConfig, connect: Duration, body_limit: u64) -> Self {
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
        Self { inner, body_limit }
    }

    /// Calls once: no retry, no redirect followed.
    ///
    /// # Errors
    /// [`ServiceFailure`] says whether anything was sent.
    pub(crate) async fn call(&self, outgoing: Outgoing) -> Result<ServiceAnswer, ServiceFailure> {
        let timeout = outgoing.timeout;
        let sent = Arc::<AtomicU64>::default();
        let mut request = outgoing.request(Arc::clone(&sent))?;
        let captured = capture_connection(&mut request);
        let whole = async {
            let response = self.inner.request(request).await.map_err(|e| failure(&e))?;
            answer::read(response, self.body_limit, timeout).await
        };
        match while_it_moves(timeout, &sent, whole).await {
            Some(outcome) => outcome,
            None if captured.connection_metadata().is_none() => {
                Err(ServiceFailure::Unreachable(format!("no connection within {} ms", timeout.as_millis())))
            }
            None => Err(ServiceFailure::Timeout(timeout.as_millis())),
        }
    }
}

/// Waits for `whole` until `timeout` after the last piece of the request's body has left: a big body takes as long as it
/// takes to flow.
async fn while_it_moves<T>(timeout: Duration, sent: &AtomicU64, whole: impl Future<Output = T>) -> Option<T> {
    let mut whole = pin!(whole);
    let mut before = 0;
    loop {
        if let Ok(outcome) = tokio::time::timeout(timeout, whole.as_mut()).await {
            return Some(outcome);
        }
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return None;
        }
        before = now;
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
