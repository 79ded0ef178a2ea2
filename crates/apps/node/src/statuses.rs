//! Keeps the statuses of this node's own certificates fresh, so that every message can carry them (protocol P3.5).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use truc_directory::Usage;
use truc_exchange::Ground;
use truc_exchange::ports::CurrentDirectory;
use truc_model::{Clock, Digest, Fingerprint, Timestamp};
use truc_peer::Identity;
use truc_trust::{Certificate, OwnStatuses, Verdict};

/// After a failure the next attempt comes this soon, then twice as late each time, up to the longest; peers are graced meanwhile.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Never sooner than this, whatever a responder says.
const SHORTEST: Duration = Duration::from_secs(10);
const DAY: u64 = 24 * 3600;
/// When the end of a certificate is near, and when it is very near.
pub(crate) const SOON: [Duration; 2] = [Duration::from_secs(30 * DAY), Duration::from_secs(7 * DAY)];

/// This node's certificates, each with its intermediates and its usage.
pub(crate) type OwnCertificates = Vec<(Certificate, Vec<Certificate>, Usage)>;

/// Fetches and renews.
pub(crate) struct StatusKeeper {
    pub(crate) certificates: Arc<ArcSwap<OwnCertificates>>,
    /// Told when the certificates have been replaced.
    pub(crate) replaced: Arc<Notify>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) own: Arc<OwnStatuses>,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) every: Duration,
    pub(crate) told: Told,
}

/// What the log has said already, so that it says it once.
#[derive(Default)]
pub(crate) struct Told(Mutex<Said>);

#[derive(Default)]
struct Said {
    failing: HashSet<Fingerprint>,
    bad: HashMap<Fingerprint, Verdict>,
    ending: HashSet<(Fingerprint, Duration)>,
}

impl Told {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a failed attempt is news.
    fn failed(&self, certificate: Fingerprint) -> bool {
        self.said().failing.insert(certificate)
    }

    /// Whether a success after failures is news.
    fn succeeded(&self, certificate: Fingerprint) -> bool {
        self.said().failing.remove(&certificate)
    }

    /// Whether a verdict other than good is news.
    fn bad(&self, certificate: Fingerprint, verdict: Verdict) -> bool {
        let mut said = self.said();
        match verdict {
            Verdict::Good => {
                said.bad.remove(&certificate);
                false
            }
            verdict => said.bad.insert(certificate, verdict) != Some(verdict),
        }
    }

    /// Whether the nearness of a certificate's end is news: at 30 days, at 7 days and at the end.
    fn ending(&self, certificate: &Certificate, now: Timestamp) -> bool {
        let left = certificate.not_after().since(now);
        let near = [Duration::ZERO, SOON[1], SOON[0]].into_iter().find(|soon| left <= *soon);
        near.is_some_and(|near| self.said().ending.insert((certificate.fingerprint(), near)))
    }
}

impl StatusKeeper {
    /// Runs until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let wait = match self.renew().await {
                Some(wait) => {
                    failures = 0;
                    wait
                }
                None => {
                    failures = failures.saturating_add(1);
                    retry(failures, self.ground.me.as_str())
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.replaced.notified() => failures = 0,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Fetches each status once; says when to do so again, or nothing when one was not to be had.
    pub(crate) async fn renew(&self) -> Option<Duration> {
        let mut wait = Some(self.every);
        for (certificate, intermediates, usage) in self.certificates.load_full().iter() {
            let fingerprint = certificate.fingerprint();
            self.warn_of_the_end(certificate);
            match self.fetch(certificate, intermediates, *usage).await {
                Ok(next) => {
                    wait = wait.map(|wait| wait.min(next));
                    if self.told.succeeded(fingerprint) {
                        tracing::info!(certificate = %fingerprint, "own certificate status is renewed again");
                    }
                }
                Err(reason) if self.told.failed(fingerprint) => {
                    tracing::warn!(certificate = %fingerprint, %reason, "own certificate status not renewed; trying on");
                    wait = None;
                }
                Err(reason) => {
                    tracing::debug!(certificate = %fingerprint, %reason, "own certificate status still not renewed");
                    wait = None;
                }
            }
        }
        wait
    }

    fn warn_of_the_end(&self, certificate: &Certificate) {
        if self.told.ending(certificate, self.clock.now()) {
            let (certificate, end) = (certificate.fingerprint(), certificate.not_after());
            tracing::warn!(%certificate, %end, "own certificate ends soon: renew it");
        }
    }

    /// How long the fetched status may be carried before the next should be there.
    async fn fetch(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        usage: Usage,
    ) -> Result<Duration, String> {
        let directory = self.directory.current().ok_or("no directory yet")?;
        let now = self.clock.now();
        let verifier = &self.ground.verifier;
        let renewed = verifier.renew(certificate, intermediates, usage, &directory, now).await;
        let known = renewed.map_err(|e| e.to_string())?;
        let verdict = known.status.verdict;
        if self.told.bad(certificate.fingerprint(), verdict) {
            tracing::error!(certificate = %certificate.fingerprint(), ?verdict, "own certificate is not good");
        }
        self.carry(certificate, usage, known.response.clone());
        Ok(ahead(known.status.this_update, verifier.status_policy().freshness, now).min(self.every))
    }

    /// Begins with what was kept over the restart; what is newer replaces it.
    pub(crate) fn take_kept(&self) {
        let kept = self.ground.verifier.statuses();
        for (certificate, _, usage) in self.certificates.load_full().iter() {
            let status = kept.iter().find(|status| status.certificate == *certificate);
            if let Some(status) = status {
                self.carry(certificate, *usage, status.response.clone());
            }
        }
    }

    fn carry(&self, certificate: &Certificate, usage: Usage, response: bytes::Bytes) {
        match usage {
            Usage::Auth => {
                if self.identity.staple(&certificate.fingerprint(), &response) {
                    self.own.renew_auth(response);
                }
            }
            Usage::Sign => self.own.renew_seal(certificate.fingerprint(), response),
        }
    }
}

/// So that the next status is there when two thirds of this one's freshness are over.
fn ahead(this_update: Timestamp, freshness: Duration, now: Timestamp) -> Duration {
    this_update.plus(freshness * 2 / 3).since(now).max(SHORTEST)
}

/// 5 s, 10 s … up to a minute, and of that a share between one half and the whole, which the node's id and the count decide: the
/// nodes of a bus do not come back all at once.
fn retry(failures: u32, node: &str) -> Duration {
    let whole = (RETRY * (1 << failures.saturating_sub(1).min(4))).min(LONGEST_RETRY);
    let drawn = Digest::of(&[node.as_bytes(), &failures.to_be_bytes()].concat());
    whole / 2 + whole / 2 * u32::from(drawn.0[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_ahead_and_failures_spread() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let hour = Duration::from_secs(3600);
        assert_eq!(ahead(now, hour, now), Duration::from_secs(2400));
        assert_eq!(
            ahead(now.minus(Duration::from_secs(3000)), hour, now),
            SHORTEST,
            "a responder that answers from stock"
        );
        for failures in 1..100 {
            let wait = retry(failures, "VN/GOV/H26/ss1");
            assert!(wait >= RETRY / 2 && wait <= LONGEST_RETRY, "{failures}: {wait:?}");
        }
        assert!(retry(40, "VN/GOV/H26/ss1") >= LONGEST_RETRY / 2);
        assert_ne!(retry(9, "VN/GOV/H26/ss1"), retry(9, "VN/GOV/H27/ss1"));
    }

    #[test]
    fn the_log_says_it_once() {
        let told = Told::default();
        let name = Fingerprint([1; 32]);
        assert!(told.failed(name) && !told.failed(name));
        assert!(told.succeeded(name) && !told.succeeded(name) && told.failed(name));
        let revoked = Verdict::Revoked { at: Timestamp::from_millis(0) };
        assert!(told.bad(name, revoked) && !told.bad(name, revoked) && told.bad(name, Verdict::Unknown));
        assert!(!told.bad(name, Verdict::Good) && told.bad(name, Verdict::Unknown));
    }

    #[test]
    fn the_end_of_a_certificate_is_told_three_times() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        let certificate = Certificate::from_der(&der).unwrap();
        let told = Told::default();
        let days = |n: u64| certificate.not_after().minus(Duration::from_secs(n * DAY));
        assert!(!told.ending(&certificate, days(31)));
        assert!(told.ending(&certificate, days(30)) && !told.ending(&certificate, days(8)));
        assert!(told.ending(&certificate, days(7)) && !told.ending(&certificate, days(1)));
        assert!(told.ending(&certificate, certificate.not_after()));
    }
}
