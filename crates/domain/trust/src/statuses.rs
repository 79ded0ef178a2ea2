//! What is known about certificate status, and when that is good enough (protocol P3.5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::ApprovedAuthority;
use truc_model::{Digest, Fingerprint, Timestamp};

use crate::asking::Flights;
use crate::certificate::Certificate;
use crate::lists::{KnownList, Lists};
use crate::ocsp::{self, CertificateStatus, Verdict};
use crate::standing::Standings;
use crate::trust_error::TrustError;

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

/// Fetches from one trust service at a time. Adapters set a deadline for each attempt; whom to ask, in which order and how
/// often, and what the answer is worth, is decided here ([`StatusBook`]).
#[async_trait]
pub trait StatusSource: Send + Sync {
    /// What the responder at `url` says of `certificate` (RFC 6960, DER), unread.
    ///
    /// # Errors
    /// [`StatusSourceError`] when it did not answer.
    async fn ocsp(
        &self,
        url: &str,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<Bytes, StatusSourceError>;

    /// The revocation list (RFC 5280, DER) that lies at `url`, unread.
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
    /// The OCSP response relied on; none when there is only the list, or when the response is too old to count.
    pub known: Option<Arc<KnownStatus>>,
    /// The revocation list relied on, when no responder answered.
    pub list: Option<Arc<KnownList>>,
    /// `thisUpdate` of what was relied on; of the newer one, where it is both.
    pub this_update: Timestamp,
    /// True when it is past freshness and accepted by grace.
    pub graced: bool,
}

/// More certificates than any bus has; a bound against growth without end.
const BOOK_LIMIT: usize = 20_000;

#[derive(Default)]
pub(crate) struct Page {
    newest: Option<Arc<KnownStatus>>,
    /// When our own query about it last failed.
    pub(crate) failed_at: Option<Timestamp>,
    /// A revocation list named it: that stays.
    listed: bool,
}

/// The newest status ever seen of each certificate; the newest wins, whoever brought it.
pub struct StatusBook {
    pub(crate) inner: Arc<Inner>,
}

/// Shared with queries under way.
pub(crate) struct Inner {
    pages: Mutex<HashMap<Fingerprint, Page>>,
    pub(crate) policy: StatusPolicy,
    pub(crate) source: Arc<dyn StatusSource>,
    pub(crate) lists: Lists,
    pub(crate) flights: Flights,
    /// Responders and lists, by URL.
    pub(crate) services: Standings,
    /// The OCSP queries of each authority as a whole, by its name.
    pub(crate) authorities: Standings,
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

impl Inner {
    pub(crate) fn pages(&self) -> MutexGuard<'_, HashMap<Fingerprint, Page>> {
        // A page is replaced whole, so a panic elsewhere cannot leave half a one.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.pages().get(certificate).and_then(|page| page.newest.clone())
    }

    /// Checks a response that someone carried or fetched, and keeps it if it is the newest.
    pub(crate) fn offer(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        response: &Bytes,
        now: Timestamp,
    ) -> Result<CertificateStatus, ocsp::OcspError> {
        let digest = Digest::of(response);
        let fingerprint = certificate.fingerprint();
        if let Some(known) = self.newest(&fingerprint).filter(|known| known.digest == digest) {
            return Ok(known.status);
        }
        let status = ocsp::read(response)?.judge(certificate, issuer, now)?;
        let known =
            KnownStatus { certificate: certificate.clone(), response: response.clone(), digest, status };
        let mut pages = self.pages();
        if pages.len() >= BOOK_LIMIT && !pages.contains_key(&fingerprint) {
            pages.clear();
        }
        let page = pages.entry(fingerprint).or_default();
        // Of two statuses of one moment the worse one counts.
        let newer = |old: &Arc<KnownStatus>| {
            let good = matches!(status.verdict, Verdict::Good);
            let (was, is) = (old.status.this_update, status.this_update);
            was < is || (was == is && !good)
        };
        if page.newest.as_ref().is_none_or(newer) {
            page.newest = Some(Arc::new(known));
        }
        Ok(status)
    }

    pub(crate) fn is_fresh(&self, this_update: Timestamp, now: Timestamp) -> bool {
        now <= this_update.plus(self.policy.freshness)
    }

    fn is_graced(&self, this_update: Timestamp, now: Timestamp) -> bool {
        now <= this_update.plus(self.policy.grace)
    }

    /// What a revocation list once said stays, even when the list at hand has expired or a later one is silent.
    fn refuse_listed(&self, subject: &Subject<'_>) -> Result<(), TrustError> {
        let fingerprint = subject.certificate.fingerprint();
        if self.pages().get(&fingerprint).is_some_and(|page| page.listed) {
            return Err(TrustError::Revoked);
        }
        if self.lists.revokes(subject.certificate, subject.issuer) {
            self.pages().entry(fingerprint).or_default().listed = true;
            return Err(TrustError::Revoked);
        }
        Ok(())
    }

    /// Judges by what is known now. `Ok(None)` means: ask the trust service.
    fn judge(&self, subject: &Subject<'_>, now: Timestamp) -> Result<Option<Accepted>, TrustError> {
        self.refuse_listed(subject)?;
        let Some(known) = self.newest(&subject.certificate.fingerprint()) else { return Ok(None) };
        refuse_bad(&known)?;
        let this_update = known.status.this_update;
        let accepted = Accepted { known: Some(known), list: None, this_update, graced: false };
        Ok(self.is_fresh(this_update, now).then_some(accepted))
    }

    /// No responder answered: what the revocation list says, and else good for as long as the grace lasts.
    fn without_responder(&self, subject: &Subject<'_>, now: Timestamp) -> Result<Accepted, TrustError> {
        self.refuse_listed(subject)?;
        let fingerprint = subject.certificate.fingerprint();
        let known = self.newest(&fingerprint);
        if let Some(known) = &known {
            refuse_bad(known)?;
        }
        let known = known.filter(|known| self.is_graced(known.status.this_update, now));
        // Never older than a response may be: whoever keeps the responder away must not live longer by an old list.
        let list = self.lists.newest(subject.issuer).filter(|known| {
            known
                .list
                .judge(subject.certificate, now)
                .is_ok_and(|status| matches!(status.verdict, Verdict::Good))
                && self.is_graced(known.list.this_update(), now)
        });
        let by_response = known.as_ref().map(|known| known.status.this_update);
        let list = list.filter(|list| by_response.is_none_or(|at| at < list.list.this_update()));
        let by_list = list.as_ref().map(|list| list.list.this_update());
        let this_update = by_list.or(by_response).ok_or(TrustError::StatusUnavailable(fingerprint))?;
        Ok(Accepted { known, list, this_update, graced: !self.is_fresh(this_update, now) })
    }
}

impl StatusBook {
    /// An empty book over `source`. `seed` makes this node's rests between attempts differ from other nodes'.
    pub fn new(source: Arc<dyn StatusSource>, policy: StatusPolicy, seed: Digest) -> Self {
        let inner = Inner {
            pages: Mutex::default(),
            policy,
            source,
            lists: Lists::default(),
            flights: Flights::default(),
            services: Standings::new(seed),
            authorities: Standings::new(seed),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Every newest status, for whoever keeps them over a restart.
    pub fn all(&self) -> Vec<Arc<KnownStatus>> {
        self.inner.pages().values().filter_map(|page| page.newest.clone()).collect()
    }

    /// Every newest revocation list, for whoever keeps them over a restart.
    pub fn lists(&self) -> Vec<Arc<KnownList>> {
        self.inner.lists.all()
    }

    /// The newest status seen.
    pub fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.inner.newest(certificate)
    }

    /// Checks a response that someone carried or fetched, and keeps it if it is the newest.
    ///
    /// # Errors
    /// [`TrustError::Status`] when the response does not hold for this certificate.
    pub fn offer(&self, subject: &Subject<'_>, response: &Bytes, now: Timestamp) -> Result<(), TrustError> {
        let offered = self.inner.offer(subject.certificate, subject.issuer, response, now);
        offered.map(drop).map_err(|e| TrustError::Status(e.to_string()))
    }

    /// Checks a revocation list of `issuer`, and keeps it if it is the newest.
    ///
    /// # Errors
    /// [`TrustError::Status`] when the list does not hold or is not in force.
    pub fn offer_list(&self, issuer: &Certificate, list: &Bytes, now: Timestamp) -> Result<(), TrustError> {
        self.inner.lists.offer(issuer, list, now).map_err(|e| TrustError::Status(e.to_string()))
    }

    /// The status to act on: carried ones first, then our own query of responders, then of the revocation list, then grace.
    ///
    /// # Errors
    /// [`TrustError::Revoked`], [`TrustError::StatusIsUnknown`], [`TrustError::StatusUnavailable`].
    pub async fn establish(
        &self,
        subject: &Subject<'_>,
        carried: &[Bytes],
        now: Timestamp,
    ) -> Result<Accepted, TrustError> {
        for response in carried {
            // Statuses of several certificates travel together: one that is not this certificate's is no error here.
            if let Err(error) = self.offer(subject, response, now) {
                tracing::debug!(%error, "a carried status is not for this certificate");
            }
        }
        if let Some(accepted) = self.inner.judge(subject, now)? {
            return Ok(accepted);
        }
        self.inner.ask(subject, now).await;
        if let Some(accepted) = self.inner.judge(subject, now)? {
            return Ok(accepted);
        }
        self.inner.ask_list(subject, now).await;
        self.inner.without_responder(subject, now)
    }

    /// Asks the responders now, however fresh what is known; for a node's own certificates.
    ///
    /// # Errors
    /// [`TrustError::Status`] when none gave an answer that holds and is fresh.
    pub async fn renew(&self, subject: &Subject<'_>, now: Timestamp) -> Result<Arc<KnownStatus>, TrustError> {
        self.inner.ask_anew(subject, now).await.map_err(|why| TrustError::Status(why.to_string()))?;
        let fingerprint = subject.certificate.fingerprint();
        self.newest(&fingerprint).ok_or(TrustError::StatusUnavailable(fingerprint))
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
