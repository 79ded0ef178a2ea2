//! Revocation lists as a second source of statuses (protocol P3.5, ADR 0019): fetched only when no responder answers, kept, and
//! looked at for "revoked" for ever after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use truc_model::{Digest, Fingerprint, Timestamp};

use crate::certificate::Certificate;
use crate::crl::{self, Crl, CrlError};
use crate::ocsp::Verdict;

/// More CAs than any bus has.
const LIMIT: usize = 64;
/// A list is fetched at most this often while it is in force.
const FETCH_EVERY: Duration = Duration::from_secs(600);
/// And this often when the one at hand has expired.
const FETCH_EXPIRED_EVERY: Duration = Duration::from_secs(60);

/// A list that was checked once, with its bytes.
#[derive(Debug, Clone)]
pub struct KnownList {
    /// The list, DER, as it goes into evidence.
    pub bytes: Bytes,
    /// Its digest.
    pub digest: Digest,
    /// The CA that it is of.
    pub issuer: Certificate,
    /// What it says.
    pub list: Crl,
}

#[derive(Default)]
struct Page {
    newest: Option<Arc<KnownList>>,
    fetched_at: Option<Timestamp>,
}

/// The newest list of each CA, by the CA certificate's fingerprint.
#[derive(Default)]
pub(crate) struct Lists {
    pages: Mutex<HashMap<Fingerprint, Page>>,
}

impl Lists {
    fn pages(&self) -> MutexGuard<'_, HashMap<Fingerprint, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Arc<KnownList>> {
        self.pages().values().filter_map(|page| page.newest.clone()).collect()
    }

    pub(crate) fn newest(&self, issuer: &Certificate) -> Option<Arc<KnownList>> {
        self.pages().get(&issuer.fingerprint()).and_then(|page| page.newest.clone())
    }

    /// Whether the list at hand says "revoked" of `certificate`; an expired list still does.
    pub(crate) fn revokes(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.newest(issuer).is_some_and(|known| {
            let at = known.list.this_update();
            let judged = known.list.judge(certificate, at);
            judged.is_ok_and(|status| matches!(status.verdict, Verdict::Revoked { .. }))
        })
    }

    /// Whether it is time to fetch the issuer's list.
    pub(crate) fn due(&self, issuer: &Certificate, now: Timestamp) -> bool {
        let pages = self.pages();
        let Some(page) = pages.get(&issuer.fingerprint()) else { return true };
        let Some(fetched) = page.fetched_at else { return true };
        let in_force = page.newest.as_ref().is_some_and(|known| known.list.in_force(now).is_ok());
        let pause = if in_force { FETCH_EVERY } else { FETCH_EXPIRED_EVERY };
        now >= fetched.plus(pause) || now < fetched
    }

    /// Checks a list of `issuer` and keeps it if it is the newest.
    pub(crate) fn offer(&self, issuer: &Certificate, bytes: &Bytes, now: Timestamp) -> Result<(), CrlError> {
        let list = crl::read(bytes, issuer)?;
        list.in_force(now)?;
        let mut pages = self.pages();
        if pages.len() >= LIMIT && !pages.contains_key(&issuer.fingerprint()) {
            pages.clear();
        }
        let page = pages.entry(issuer.fingerprint()).or_default();
        page.fetched_at = Some(now);
        // An older list may be somebody's replay: it does not take the newer one's place.
        if page.newest.as_ref().is_none_or(|known| known.list.this_update() < list.this_update()) {
            let known =
                KnownList { bytes: bytes.clone(), digest: Digest::of(bytes), issuer: issuer.clone(), list };
            page.newest = Some(Arc::new(known));
        }
        Ok(())
    }
}
