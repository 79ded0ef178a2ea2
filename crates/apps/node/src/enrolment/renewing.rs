//! The running node's part of a renewal: begins it in time, switches to the new certificates once the directory lists them and
//! their statuses are there, and has the old ones deleted when nothing stands on them any more.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use truc_directory::{Directory, Usage};
use truc_directory_sync::DirectoryHandle;
use truc_exchange::Ground;
use truc_keys::Signer as _;
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Timestamp;
use truc_trust::{Certificate, Verdict, find_path};

use super::compose::delete_certificate;
use super::errand::Office;
use super::error::EnrolmentError;
use super::folder::Outbox;
use super::registrar::{Patience, Registrar, approved};
use super::renewal::{RenewOptions, Renewal, Successor};
use super::settle::put;
use super::slots::Own;
use crate::config::NodeConfig;
use crate::statuses::OwnCertificates;

/// How often a renewal that somebody ordered, or that is under way, is looked after.
const TICK: Duration = Duration::from_secs(5);
/// How often it is looked whether one is due.
const DUE_EVERY: Duration = Duration::from_secs(3600);
/// The first wait after a failure; each is twice as long as the one before.
const RETRY: Duration = Duration::from_secs(30);
/// ... up to this while a renewal is under way, so that it goes on soon when what kept it is over,
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// ... and up to this when none could be begun, e.g. because an external CA must certify first.
const LONGEST_BEFORE: Duration = Duration::from_secs(6 * 3600);
/// Limit for one certificate's status.
const STATUS: Duration = Duration::from_secs(30);
/// A certificate is renewed when a third of its life is left, and no sooner than this before its end.
const LONGEST_AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whether it is time to renew: a third of its life or 30 days are left, whichever comes later.
fn is_due(certificate: &Certificate, now: Timestamp) -> bool {
    let life = certificate.not_after().since(certificate.not_before());
    certificate.not_after().since(now) <= (life / 3).min(LONGEST_AHEAD)
}

/// The task.
pub(crate) struct Renewing {
    pub(crate) config: NodeConfig,
    pub(crate) store: Arc<FileKeyStore>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) directory: DirectoryHandle,
    /// The certificates in use.
    pub(crate) certificates: Arc<ArcSwap<OwnCertificates>>,
    /// Has the certificate files looked at now.
    pub(crate) look: Arc<Notify>,
}

/// What a run remembers between two steps.
#[derive(Default)]
struct Memory {
    /// Since when this node's directory lists the new certificates.
    listed: Option<Instant>,
    /// When it is looked again whether one is due.
    due: Option<Instant>,
    failures: u32,
    /// Renewals that could not be begun, one after the other.
    vain: u32,
}

/// 30 s, 1 min, 2 min … up to `longest`.
fn backoff(failures: u32, longest: Duration) -> Duration {
    (RETRY * (1 << failures.saturating_sub(1).min(12))).min(longest)
}

impl Renewing {
    /// Runs until told to stop. A step that is cut off is taken again: each is durable before the next.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        loop {
            let wait = match stop.run_until_cancelled(self.step(&mut memory)).await {
                None => return,
                Some(Ok(())) => {
                    memory.failures = 0;
                    TICK
                }
                Some(Err(error)) => {
                    memory.failures = memory.failures.saturating_add(1);
                    let wait = backoff(memory.failures, LONGEST_RETRY);
                    tracing::warn!(%error, again_in_seconds = wait.as_secs(), "keys are not renewed");
                    wait
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    async fn step(&self, memory: &mut Memory) -> Result<(), EnrolmentError> {
        let office = self.office().await?;
        let renewal = office.blocking(|office| Ok(Renewal::load(&office.outbox)?)).await?;
        match renewal {
            None => self.begin_when_due(&office, memory).await,
            Some(renewal) if !renewal.is_granted() => {
                office.pursue_renewal(renewal, false, &mut |_| {}).await.map(drop)
            }
            Some(renewal) if renewal.switched.is_none() => self.switch(&office, renewal, memory).await,
            Some(renewal) => self.retire(&office, renewal).await,
        }
    }

    async fn office(&self) -> Result<Office, EnrolmentError> {
        let (config, store) = (self.config.clone(), Arc::clone(&self.store));
        let clock = Arc::clone(&self.ground.clock);
        let opened = tokio::task::spawn_blocking(move || {
            let outbox = Outbox::open(&config)?;
            let registrar = Registrar::open(&config, Patience::default())?;
            Ok::<_, EnrolmentError>(Office {
                own: Own { config: Arc::new(config), store },
                outbox,
                registrar,
                clock,
            })
        });
        opened.await?
    }

    async fn begin_when_due(&self, office: &Office, memory: &mut Memory) -> Result<(), EnrolmentError> {
        memory.listed = None;
        if !self.config.renewal.automatic || memory.due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        let wait = match self.begin(office).await {
            Ok(()) => {
                memory.vain = 0;
                DUE_EVERY
            }
            Err(error) => {
                memory.vain = memory.vain.saturating_add(1);
                let wait = backoff(memory.vain, LONGEST_BEFORE);
                tracing::warn!(%error, again_in_seconds = wait.as_secs(), "keys are not renewed");
                wait
            }
        };
        memory.due = Some(Instant::now() + wait);
        Ok(())
    }

    async fn begin(&self, office: &Office) -> Result<(), EnrolmentError> {
        let due = office.blocking(due).await?;
        if due.auth || !due.members.is_empty() {
            tracing::info!(
                auth = due.auth,
                seals = due.members.len(),
                "certificates end soon: renewing their keys"
            );
            office.renew(due, false, &mut |_| {}).await?;
        }
        Ok(())
    }

    /// The third step.
    async fn switch(
        &self,
        office: &Office,
        mut renewal: Renewal,
        memory: &mut Memory,
    ) -> Result<(), EnrolmentError> {
        let (successors, renewed) = office.blocking(move |office| successors(office, renewal)).await?;
        renewal = renewed;
        let directory = self.directory.current();
        if !successors.iter().all(|new| self.lists(&directory, new)) {
            memory.listed = None;
            tracing::debug!("the directory does not list the new certificates yet");
            return Ok(());
        }
        // Other nodes are to have it too.
        let since = *memory.listed.get_or_insert_with(Instant::now);
        if since.elapsed() < self.config.renewal.settle {
            return Ok(());
        }
        for new in &successors {
            self.status(&directory, new).await?;
        }
        renewal.switched = Some(self.ground.clock.now());
        office
            .blocking(move |office| {
                for new in &successors {
                    put(&new.slot.file, &new.fitting)?;
                }
                Ok(renewal.save(&office.outbox)?)
            })
            .await?;
        self.look.notify_one();
        tracing::info!("certificates of the new keys are in place");
        Ok(())
    }

    fn lists(&self, directory: &Directory, new: &Successor) -> bool {
        let fingerprint = new.certificate.fingerprint();
        match new.slot.usage {
            Usage::Auth => {
                directory.node_of_auth_certificate(&fingerprint).is_some_and(|node| node.id == self.ground.me)
            }
            Usage::Sign => directory.has_sign_certificate(&new.slot.member, &fingerprint),
        }
    }

    /// The status of a new certificate must be there and good before anything is sealed or opened with it: peers would have to
    /// ask, and while the responder is away they could not. When the old certificate does not count any more, nothing is lost.
    async fn status(&self, directory: &Directory, new: &Successor) -> Result<(), EnrolmentError> {
        let (certificate, now) = (&new.certificate, self.ground.clock.now());
        let unfit = |why: String| EnrolmentError::Certificate { holder: new.slot.holder.clone(), why };
        let usage = new.slot.usage;
        let path = find_path(certificate, &new.intermediates, usage, directory, now);
        let (_, index) = path.map_err(|e| unfit(e.to_string()))?;
        if directory.authorities().get(index).is_none_or(|authority| authority.ocsp.is_empty()) {
            return Ok(());
        }
        let verifier = &self.ground.verifier;
        let asked =
            timeout(STATUS, verifier.renew(certificate, &new.intermediates, usage, directory, now)).await;
        match asked {
            Ok(Ok(known)) if known.status.verdict == Verdict::Good => Ok(()),
            Ok(Ok(known)) => Err(unfit(format!("its status is {:?}", known.status.verdict))),
            _ if !self.old_counts(directory, new, now) => Ok(()),
            Ok(Err(error)) => Err(unfit(format!("its status is not to be had: {error}"))),
            Err(_) => Err(unfit(format!("its status did not come within {} s", STATUS.as_secs()))),
        }
    }

    fn old_counts(&self, directory: &Directory, new: &Successor, now: Timestamp) -> bool {
        let in_use = self.certificates.load();
        let old = in_use.iter().find(|(certificate, ..)| certificate.fingerprint() == new.replaces);
        old.is_some_and(|(old, ..)| old.valid_at(now)) && listed(directory, new)
    }

    /// The last step: not before the overlap is over, this node itself uses the new certificates, and its directory lists them.
    async fn retire(&self, office: &Office, renewal: Renewal) -> Result<(), EnrolmentError> {
        let now = self.ground.clock.now();
        let over = renewal.switched.map(|at| at.plus(self.config.renewal.overlap));
        if over.is_none_or(|over| now < over) {
            return Ok(());
        }
        let (successors, _) = office.blocking(move |office| successors(office, renewal)).await?;
        let directory = self.directory.current();
        let in_use = self.certificates.load_full();
        let used = |new: &Successor| in_use.iter().any(|(certificate, ..)| *certificate == new.certificate);
        if !successors.iter().all(|new| used(new) && self.lists(&directory, new)) {
            self.look.notify_one();
            tracing::debug!("the old certificates stay until the new ones are in use");
            return Ok(());
        }
        for new in successors.iter().filter(|new| listed(&directory, new)) {
            self.delete(office, new).await?;
        }
        office.blocking(|office| Ok(Renewal::end(&office.outbox)?)).await?;
        tracing::info!("the old certificates are deleted: the renewal is over");
        Ok(())
    }

    async fn delete(&self, office: &Office, new: &Successor) -> Result<(), EnrolmentError> {
        let (fingerprint, member) = (new.replaces, new.slot.member.clone());
        let seal_of = (new.slot.usage == Usage::Sign).then_some(member);
        let draft =
            office.blocking(move |o| delete_certificate(&o.own, fingerprint, seal_of.as_ref())).await?;
        let signed = draft.sign(&office.own, office.clock.now(), None).await?;
        approved(&office.registrar.ask(&signed.to_bytes()).await?)
    }
}

/// Whether the old certificate is registered still.
fn listed(directory: &Directory, new: &Successor) -> bool {
    match new.slot.usage {
        Usage::Auth => directory.node_of_auth_certificate(&new.replaces).is_some(),
        Usage::Sign => directory.has_sign_certificate(&new.slot.member, &new.replaces),
    }
}

/// Blocks; takes in keys that another process made.
fn successors(office: &Office, renewal: Renewal) -> Result<(Vec<Successor>, Renewal), EnrolmentError> {
    if renewal.keys.iter().any(|key| office.own.store.key(&key.label).is_none()) {
        let passphrase = Passphrase::from_file(&office.own.config.passphrase_file)?;
        office.own.store.look_again(&passphrase)?;
    }
    Ok((renewal.successors(&office.own)?, renewal))
}

/// What is due. Blocks.
fn due(office: &Office) -> Result<RenewOptions, EnrolmentError> {
    let mut options = RenewOptions::default();
    for slot in office.own.slots() {
        if is_due(&office.own.in_use(&slot)?.certificate, office.clock.now()) {
            match slot.usage {
                Usage::Auth => options.auth = true,
                // The others follow when these are over.
                Usage::Sign if options.members.len() < super::renewal::AT_A_TIME => {
                    options.members.push(slot.member)
                }
                Usage::Sign => {}
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_later_and_later_up_to_the_longest() {
        assert_eq!([1, 2, 3].map(|n| backoff(n, LONGEST_RETRY).as_secs()), [30, 60, 120]);
        assert!((5..100).all(|n| backoff(n, LONGEST_RETRY) <= LONGEST_RETRY));
        assert_eq!(backoff(u32::MAX, LONGEST_BEFORE), LONGEST_BEFORE);
    }

    #[test]
    fn a_third_of_the_life_or_thirty_days_whichever_comes_later() {
        let certificate = |days: u64| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(2026, 1, 1);
            params.not_after = params.not_before + Duration::from_secs(days * 24 * 3600);
            Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap()
        };
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        for (life, ahead) in [(365, 30), (90, 30), (30, 10), (3, 1)] {
            let certificate = certificate(life);
            let end = certificate.not_after();
            assert!(!is_due(&certificate, end.minus(days(ahead) + Duration::from_secs(2))), "{life}");
            assert!(is_due(&certificate, end.minus(days(ahead) - Duration::from_secs(2))), "{life}");
            assert!(is_due(&certificate, end.plus(days(1))), "an expired one is due");
        }
    }
}
