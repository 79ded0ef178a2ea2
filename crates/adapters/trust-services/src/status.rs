//! Certificate status from one responder, and one revocation list.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use truc_trust::{Certificate, StatusSource, StatusSourceError, ocsp};

use crate::http_client::{FetchLimits, HttpClient};

/// Requests to trust services under way at once; more wait within their own deadline.
const AT_ONCE: usize = 16;

/// Asks OCSP responders over HTTP, and fetches revocation lists.
pub struct OcspHttp {
    client: HttpClient,
    limits: FetchLimits,
    places: Semaphore,
}

impl OcspHttp {
    /// A client of its own; connections to a responder are kept open for 30 s.
    pub fn new(limits: FetchLimits) -> Self {
        Self { client: HttpClient::new(limits.connect), limits, places: Semaphore::new(AT_ONCE) }
    }

    async fn fetch(
        &self,
        url: &str,
        body: Option<(&'static str, Bytes)>,
        limit: usize,
    ) -> Result<Bytes, StatusSourceError> {
        let fetched = async {
            let _place = self.places.acquire().await.map_err(|e| e.to_string())?;
            self.client.fetch(url, body, self.limits.total, limit).await
        };
        let in_time = tokio::time::timeout(self.limits.total, fetched).await;
        let late = || Err(format!("no whole answer within {} ms", self.limits.total.as_millis()));
        in_time.unwrap_or_else(|_| late()).map_err(StatusSourceError)
    }
}

impl Default for OcspHttp {
    fn default() -> Self {
        Self::new(FetchLimits::default())
    }
}

#[async_trait]
impl StatusSource for OcspHttp {
    async fn ocsp(
        &self,
        url: &str,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<Bytes, StatusSourceError> {
        let question = Bytes::from(ocsp::request(certificate, issuer));
        self.fetch(url, Some(("application/ocsp-request", question)), self.limits.ocsp_bytes).await
    }

    async fn revocation_list(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        self.fetch(url, None, self.limits.crl_bytes).await
    }
}
