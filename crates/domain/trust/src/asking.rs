//! Asking trust services: in order, once for all who wait, and not again and again while they are away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use truc_directory::ApprovedAuthority;
use truc_model::{Fingerprint, Timestamp};

use crate::certificate::Certificate;
use crate::ocsp::{OcspError, Verdict};
use crate::statuses::{Inner, Subject};

/// A failed query is not repeated for the same certificate within this time.
const QUERY_PAUSE: Duration = Duration::from_secs(10);
/// A failure counts as news for this long: until then only one exchange at a time waits for another attempt.
const KNOWN_AWAY: Duration = Duration::from_secs(120);
/// Responders tried for one query; each has its own deadline.
const TRIES: usize = 4;

/// What a query came to; an error says why, for a person.
type Outcome = Result<(), Arc<str>>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Status(Fingerprint),
    List(Fingerprint),
}

/// The queries under way. One that nobody waits for any more is dropped with its last waiter.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, WeakShared<BoxFuture<'static, Outcome>>>>);

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<Key, WeakShared<BoxFuture<'static, Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self, key: Key) -> Option<Flight> {
        self.open().get(&key).and_then(WeakShared::upgrade)
    }

    /// The query under way for `key`, or the one that `begin` makes.
    fn join(&self, key: Key, begin: impl FnOnce() -> BoxFuture<'static, Outcome>) -> Flight {
        let mut open = self.open();
        if let Some(flight) = open.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        open.retain(|_, flight| flight.upgrade().is_some());
        let flight = begin().shared();
        if let Some(weak) = flight.downgrade() {
            open.insert(key, weak);
        }
        flight
    }

    fn ended(&self, key: Key) {
        self.open().remove(&key);
    }
}

/// A [`Subject`] that a query can take along.
struct Asked {
    certificate: Certificate,
    issuer: Certificate,
    authority: ApprovedAuthority,
}

impl From<&Subject<'_>> for Asked {
    fn from(subject: &Subject<'_>) -> Self {
        Self {
            certificate: subject.certificate.clone(),
            issuer: subject.issuer.clone(),
            authority: subject.authority.clone(),
        }
    }
}

impl Inner {
    /// Asks the responders about the certificate, unless that failed a moment ago, and takes the answer in.
    pub(crate) async fn ask(self: &Arc<Self>, subject: &Subject<'_>, now: Timestamp) {
        let fingerprint = subject.certificate.fingerprint();
        let failed = self.pages().get(&fingerprint).and_then(|page| page.failed_at);
        let within = |pause| failed.is_some_and(|at| now < at.plus(pause) && now >= at);
        if within(QUERY_PAUSE) {
            return;
        }
        if within(KNOWN_AWAY) && self.flights.under_way(Key::Status(fingerprint)).is_some() {
            return;
        }
        drop(self.ask_anew(subject, now).await);
    }

    /// Asks the responders, together with whoever asks the same.
    pub(crate) async fn ask_anew(self: &Arc<Self>, subject: &Subject<'_>, now: Timestamp) -> Outcome {
        let key = Key::Status(subject.certificate.fingerprint());
        let begin = || {
            let (inner, asked) = (Arc::clone(self), Asked::from(subject));
            async move {
                let outcome = inner.try_responders(&asked, now).await;
                inner.flights.ended(key);
                outcome
            }
            .boxed()
        };
        self.flights.join(key, begin).await
    }

    async fn try_responders(&self, asked: &Asked, now: Timestamp) -> Outcome {
        let authority = &asked.authority;
        if authority.ocsp.is_empty() {
            return Err("the directory names no OCSP responder for this authority".into());
        }
        let order = self.services.order(&authority.ocsp, now);
        if order.is_empty() {
            return Err("every OCSP responder has failed and is given a rest of at most a minute".into());
        }
        let mut reasons = Vec::new();
        for url in order.iter().take(TRIES) {
            match self.try_responder(url, asked, now).await {
                Ok(()) => {
                    if self.authorities.answered(&authority.name, now) {
                        tracing::info!(authority = authority.name, "certificate status is to be had again");
                    }
                    return Ok(());
                }
                Err(reason) => reasons.push(format!("{url}: {reason}")),
            }
        }
        let reasons = reasons.join("; ");
        self.pages().entry(asked.certificate.fingerprint()).or_default().failed_at = Some(now);
        if self.authorities.failed(&authority.name, false, now) {
            tracing::warn!(authority = authority.name, reasons, "certificate status not to be had");
        } else {
            tracing::debug!(authority = authority.name, reasons, "certificate status still not to be had");
        }
        Err(reasons.into())
    }

    /// `Ok` when the responder's answer settles the matter, for good or bad.
    async fn try_responder(&self, url: &str, asked: &Asked, now: Timestamp) -> Result<(), String> {
        let response = match self.source.ocsp(url, &asked.certificate, &asked.issuer).await {
            Ok(response) => response,
            Err(error) => {
                self.services.failed(url, true, now);
                return Err(error.0);
            }
        };
        match self.offer(&asked.certificate, &asked.issuer, &response, now) {
            Ok(status) if status.verdict != Verdict::Good || self.is_fresh(status.this_update, now) => {
                self.services.answered(url, now);
                Ok(())
            }
            // Whoever could replay a stale answer could have dropped the query too: it is a query that failed.
            Ok(status) => {
                self.services.failed(url, false, now);
                Err(format!("its answer is stale, of {}", status.this_update))
            }
            // "Internal error" and "try later" are of the responder, the other refusals of this certificate alone.
            Err(OcspError::NotSuccessful(status)) => {
                if matches!(status, 2 | 3) {
                    self.services.failed(url, true, now);
                }
                Err(OcspError::NotSuccessful(status).to_string())
            }
            // No rest: it answers, and may well answer for other certificates.
            Err(error) => {
                self.services.failed(url, false, now);
                Err(error.to_string())
            }
        }
    }

    /// Fetches the revocation list of the certificate's CA when it is time to, together with whoever needs it too.
    pub(crate) async fn ask_list(self: &Arc<Self>, subject: &Subject<'_>, now: Timestamp) {
        let Some(url) = subject.authority.crl.clone() else { return };
        if !self.lists.due(subject.issuer, now)
            || self.services.order(std::slice::from_ref(&url), now).is_empty()
        {
            return;
        }
        let key = Key::List(subject.issuer.fingerprint());
        let begin = || {
            let (inner, issuer) = (Arc::clone(self), subject.issuer.clone());
            async move {
                let outcome = inner.fetch_list(&url, &issuer, now).await;
                inner.flights.ended(key);
                outcome
            }
            .boxed()
        };
        drop(self.flights.join(key, begin).await);
    }

    async fn fetch_list(&self, url: &str, issuer: &Certificate, now: Timestamp) -> Outcome {
        let fetched = self.source.revocation_list(url).await.map_err(|error| error.0);
        let taken = fetched.and_then(|list| self.lists.offer(issuer, &list, now).map_err(|e| e.to_string()));
        match taken {
            Ok(()) => {
                self.services.answered(url, now);
                Ok(())
            }
            Err(reason) => {
                if self.services.failed(url, true, now) {
                    tracing::warn!(url, reason, "the revocation list is not to be had either");
                }
                Err(reason.into())
            }
        }
    }
}
