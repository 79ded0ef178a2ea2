//! Connections to services: TCP, and TLS where the address says https, within one deadline.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::tls;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// The service is there and TLS with it does not come about.
#[derive(Debug, thiserror::Error)]
#[error("TLS with the service failed: {0}")]
struct TlsFailed(String);

/// A connector whose whole work (name, TCP, TLS) has a deadline.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Timed {
    pub(crate) const fn new(inner: HttpsConnector<HttpConnector>, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl Service<Uri> for Timed {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            let late = |_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} ms", limit.as_millis()),
                )
            };
            let connected = tokio::time::timeout(limit, connecting).await.map_err(late)?;
            connected.map_err(|fault| match tls::failure(fault.as_ref()) {
                Some(why) => Box::new(TlsFailed(why)),
                None => fault,
            })
        })
    }
}
