//! What is known about certificate status, and when that is good enough (protocol P3.5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::ApprovedAuthority;
use truc_model::{Digest, Fingerprint, Timestamp};

use crate::certificate::Certificate;
use crate::crl;
use crate::ocsp::{self, CertificateStatus, Verdict};
use crate::verify::TrustError;

/// How old a status may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPolicy {
    /// A status is fresh this long after its `thisUpdate`.
    pub freshness: Duration,
    /// A good status past freshness is accepted this long after its `thisUpdate`, but only if our own query failed.
    pub grace: Duration,
}

impl Default for StatusPolicy {
    fn default() -> Self {
        Self { freshness: Duration::from_secs(3600), grace: Duration::from_secs(12 * 3600) }
    }
}

/// Why a trust service gave no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate status to be had: {0}")]
pub struct StatusSourceError(pub String);

/// Asks trust services for a certificate's status. Adapters set their own deadlines.
#[async_trait]
pub trait StatusSource: Send + Sync {
    /// An OCSP response (RFC 6960, DER) for `certificate`, from one of the authority's responders.
    ///
    /// # Errors
    /// [`StatusSourceError`] when no responder answered.
    async fn ocsp(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        authority: &ApprovedAuthority,
    ) -> Result<Bytes, StatusSourceError>;

    /// The authority's revocation list (RFC 5280, DER) that lies at `url`: asked for when no responder answered.
    ///
    /// # Errors
    /// [`StatusSourceError`] when it is not to be had; also from a source that has no lists.
    async fn revocation_list(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        Err(StatusSourceError(format!("{url}: this source has no revocation lists")))
    }
}

/// A status that was checked once, with the response that says so.
#[derive(Debug, Clone)]
pub struct KnownStatus {
    /// The certificate it is about.
    pub certificate: Certificate,
    /// The OCSP response, DER, as it goes into evidence.
    pub response: Bytes,
    /// Its digest.
    pub digest: Digest,
    /// What it says.
    pub status: CertificateStatus,
}

/// A status good enough to act on.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The status relied on.
    pub known: Arc<KnownStatus>,
    /// True when it is past freshness and accepted by grace.
    pub graced: bool,
}

/// More certificates than any bus has; a bound against growth without end.
const BOOK_LIMIT: usize = 20_000;

/// A failed query is not repeated for the same certificate within this time.
const QUERY_PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Page {
    newest: Option<Arc<KnownStatus>>,
    failed_at: Option<Timestamp>,
}

/// The newest status ever seen of each certificate; the newest wins, whoever brought it.
#[derive(Default)]
pub struct StatusBook {
    pages: Mutex<HashMap<Fingerprint, Page>>,
}

/// The certificate asked about, with what is needed to judge answers.
pub struct Subject<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Its issuer.
    pub issuer: &'a Certificate,
    /// The approved authority above it.
    pub authority: &'a ApprovedAuthority,
}

impl StatusBook {
    fn pages(&self) -> MutexGuard<'_, HashMap<Fingerprint, Page>> {
        // A page is replaced whole, so a panic elsewhere cannot leave half a one.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every newest status, for whoever keeps them over a restart.
    pub fn all(&self) -> Vec<Arc<KnownStatus>> {
        self.pages().values().filter_map(|page| page.newest.clone()).collect()
    }

    /// The newest status seen.
    pub fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.pages().get(certificate).and_then(|page| page.newest.clone())
    }

    /// Checks a response that someone carried or fetched, and keeps it if it is the newest.
    ///
    /// # Errors
    /// [`TrustError::Status`] when the response does not hold for this certificate.
    pub fn offer(&self, subject: &Subject<'_>, response: &Bytes, now: Timestamp) -> Result<(), TrustError> {
        let digest = Digest::of(response);
        let fingerprint = subject.certificate.fingerprint();
        if self.newest(&fingerprint).is_some_and(|known| known.digest == digest) {
            return Ok(());
        }
        let status = ocsp::read(response)
            .and_then(|read| read.judge(subject.certificate, subject.issuer, now))
            .map_err(|e| TrustError::Status(e.to_string()))?;
        let known = Arc::new(KnownStatus {
            certificate: subject.certificate.clone(),
            response: response.clone(),
            digest,
            status,
        });
        let mut pages = self.pages();
        if pages.len() >= BOOK_LIMIT && !pages.contains_key(&fingerprint) {
            pages.clear();
        }
        let page = pages.entry(fingerprint).or_default();
        // Of two statuses of one moment the worse one counts.
        let newer = |old: &Arc<KnownStatus>| {
            let good = matches!(known.status.verdict, Verdict::Good);
            let (was, is) = (old.status.this_update, known.status.this_update);
            was < is || (was == is && !good)
        };
        if page.newest.as_ref().is_none_or(newer) {
            page.newest = Some(known);
        }
        Ok(())
    }

    /// Judges by what is known now. `Ok(None)` means: ask the trust service.
    fn judge(
        &self,
        subject: &Subject<'_>,
        policy: &StatusPolicy,
        now: Timestamp,
    ) -> Result<Option<Accepted>, TrustError> {
        let Some(known) = self.newest(&subject.certificate.fingerprint()) else { return Ok(None) };
        refuse_bad(&known)?;
        let fresh = now <= known.status.this_update.plus(policy.freshness);
        Ok(fresh.then_some(Accepted { known, graced: false }))
    }

    /// The status to act on: carried ones first, then our own query, then grace.
    ///
    /// # Errors
    /// [`TrustError::Revoked`], [`TrustError::StatusUnavailable`].
    pub async fn establish(
        &self,
        subject: &Subject<'_>,
        carried: &[Bytes],
        source: &dyn StatusSource,
        policy: &StatusPolicy,
        now: Timestamp,
    ) -> Result<Accepted, TrustError> {
        for response in carried {
            // Statuses of several certificates travel together: one that is not this certificate's is no error here.
            if let Err(error) = self.offer(subject, response, now) {
                tracing::debug!(%error, "a carried status is not for this certificate");
            }
        }
        if let Some(accepted) = self.judge(subject, policy, now)? {
            return Ok(accepted);
        }
        if self.may_query(subject, now) {
            match source.ocsp(subject.certificate, subject.issuer, subject.authority).await {
                // A stale answer is a query that failed: whoever could replay one could have dropped the query too.
                Ok(response) => self.offer(subject, &response, now)?,
                Err(error) => {
                    tracing::warn!(certificate = %subject.certificate.fingerprint(), %error, "certificate status not to be had");
                    not_on_the_list(subject, source, now).await?;
                    self.pages().entry(subject.certificate.fingerprint()).or_default().failed_at = Some(now);
                }
            }
        }
        if let Some(accepted) = self.judge(subject, policy, now)? {
            return Ok(accepted);
        }
        self.grace(subject, policy, now)
    }

    fn may_query(&self, subject: &Subject<'_>, now: Timestamp) -> bool {
        let pages = self.pages();
        let failed = pages.get(&subject.certificate.fingerprint()).and_then(|page| page.failed_at);
        failed.is_none_or(|at| now >= at.plus(QUERY_PAUSE) || now < at)
    }

    /// Past freshness and our own query failed: good for as long as the grace lasts.
    fn grace(
        &self,
        subject: &Subject<'_>,
        policy: &StatusPolicy,
        now: Timestamp,
    ) -> Result<Accepted, TrustError> {
        let fingerprint = subject.certificate.fingerprint();
        let known = self.newest(&fingerprint).ok_or(TrustError::StatusUnavailable(fingerprint))?;
        refuse_bad(&known)?;
        if now <= known.status.this_update.plus(policy.grace) {
            Ok(Accepted { known, graced: true })
        } else {
            Err(TrustError::StatusUnavailable(fingerprint))
        }
    }
}

/// With the responder away, the revocation list can still say "revoked". It is no OCSP response and so never makes an old
/// status fresh: without one within grace there is nothing that evidence could show.
async fn not_on_the_list(
    subject: &Subject<'_>,
    source: &dyn StatusSource,
    now: Timestamp,
) -> Result<(), TrustError> {
    let Some(url) = &subject.authority.crl else { return Ok(()) };
    let list = match source.revocation_list(url).await {
        Ok(list) => list,
        Err(error) => {
            tracing::warn!(%error, "revocation list not to be had");
            return Ok(());
        }
    };
    let judged = crl::read(&list, subject.issuer).and_then(|list| list.judge(subject.certificate, now));
    match judged.map(|status| status.verdict) {
        Ok(Verdict::Revoked { .. }) => Err(TrustError::Revoked),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "the revocation list does not count");
            Ok(())
        }
    }
}

/// `revoked` and `unknown` are never graced.
fn refuse_bad(known: &KnownStatus) -> Result<(), TrustError> {
    match known.status.verdict {
        Verdict::Good => Ok(()),
        Verdict::Revoked { .. } => Err(TrustError::Revoked),
        Verdict::Unknown => Err(TrustError::StatusIsUnknown),
    }
}

/// The statuses of this node's own certificates, fetched ahead by their owner and carried with every message.
#[derive(Default)]
pub struct OwnStatuses {
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    seals: HashMap<Fingerprint, Bytes>,
    auth: Option<Bytes>,
}

impl OwnStatuses {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a freshly fetched response for a sign certificate in place.
    pub fn renew_seal(&self, certificate: Fingerprint, response: Bytes) {
        self.newest().seals.insert(certificate, response);
    }

    /// Puts a freshly fetched response for the node's auth certificate in place.
    pub fn renew_auth(&self, response: Bytes) {
        self.newest().auth = Some(response);
    }

    /// The responses to carry with a message under the seal `certificate`: its own, then the node's; one that was never
    /// fetched is left out.
    pub fn carried(&self, certificate: &Fingerprint) -> Vec<Bytes> {
        let newest = self.newest();
        newest.seals.get(certificate).cloned().into_iter().chain(newest.auth.clone()).collect()
    }
}
