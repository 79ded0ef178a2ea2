//! Certificate status from an authority's responders.

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::ApprovedAuthority;
use truc_trust::{Certificate, StatusSource, StatusSourceError, ocsp};

use crate::http_client::{FetchLimits, HttpClient};

/// Asks OCSP responders over HTTP, and fetches revocation lists.
pub struct OcspHttp {
    client: HttpClient,
    limits: FetchLimits,
}

impl OcspHttp {
    /// A client of its own; connections to a responder are kept open for 30 s.
    pub fn new(limits: FetchLimits) -> Self {
        Self { client: HttpClient::new(limits.connect), limits }
    }

    /// An OCSP response (DER) for `certificate`, from the first responder whose answer is one. It is not judged, only read: a responder that
    /// says "try later" or sends something else is passed over. The total time is shared evenly among the responders.
    ///
    /// # Errors
    /// No responder answered; the sentence says for each why.
    pub async fn fetch(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        responder_urls: &[String],
    ) -> Result<Bytes, StatusSourceError> {
        let question = Bytes::from(ocsp::request(certificate, issuer));
        let share = self.limits.total / u32::try_from(responder_urls.len()).unwrap_or(u32::MAX).max(1);
        let mut reasons = Vec::new();
        for url in responder_urls {
            let body = Some(("application/ocsp-request", question.clone()));
            let fetched = self.client.fetch(url, body, share, self.limits.ocsp_bytes).await;
            match fetched.and_then(|answer| ocsp::read(&answer).map(|_| answer).map_err(|e| e.to_string())) {
                Ok(answer) => return Ok(answer),
                Err(reason) => {
                    tracing::debug!(url, reason, "OCSP responder passed over");
                    reasons.push(format!("{url}: {reason}"));
                }
            }
        }
        if reasons.is_empty() {
            return Err(StatusSourceError("the directory names no OCSP responder for this authority".into()));
        }
        Err(StatusSourceError(reasons.join("; ")))
    }

    /// The revocation list (DER) that lies at `url`, unread.
    ///
    /// # Errors
    /// It could not be fetched in time, or is larger than the limit.
    pub async fn fetch_crl(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        let fetched = self.client.fetch(url, None, self.limits.total, self.limits.crl_bytes).await;
        fetched.map_err(|reason| StatusSourceError(format!("{url}: {reason}")))
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
        certificate: &Certificate,
        issuer: &Certificate,
        authority: &ApprovedAuthority,
    ) -> Result<Bytes, StatusSourceError> {
        self.fetch(certificate, issuer, &authority.ocsp).await
    }

    async fn revocation_list(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        self.fetch_crl(url).await
    }
}
