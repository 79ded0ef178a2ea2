//! How this node is: what `/healthz` tells, and the same in numbers for `/metrics` (`docs/trust-outages.md`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::task::spawn_blocking;
use truc_admin::freshness_word;
use truc_admin::health::{
    AuthorityHealth, CertificateHealth, DirectoryHealth, Health, HealthSource, TimeStampHealth,
};
use truc_directory::{Freshness, Usage};
use truc_directory_sync::DirectoryHandle;
use truc_exchange::Ground;
use truc_model::Timestamp;
use truc_peer::{Connections, Heads};
use truc_stamping::{AuthorityStanding, Stamper};
use truc_trust::{AuthorityState, Certificate, ServiceState, Verdict};

use crate::counted::Counts;
use crate::keeping::KeepingWatch;
use crate::metrics::{self, Numbers};
use crate::statuses::{OwnCertificates, SOON};
use crate::witness::LogAlarms;

/// Records that wait longer than this for a time-stamp are told of.
const LATE: Duration = Duration::from_secs(600);

/// Reads the state where it is kept; keeps none itself.
pub(crate) struct NodeHealth {
    pub(crate) ground: Arc<Ground>,
    pub(crate) directory: DirectoryHandle,
    pub(crate) certificates: Arc<ArcSwap<OwnCertificates>>,
    pub(crate) connections: Connections,
    pub(crate) heads: Heads,
    pub(crate) log_alarms: LogAlarms,
    pub(crate) keeping: KeepingWatch,
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) counts: Counts,
    pub(crate) data_folder: PathBuf,
}

#[async_trait]
impl HealthSource for NodeHealth {
    fn health(&self) -> Health {
        let now = self.ground.clock.now();
        let directory = self.directory_health(now);
        let authorities = self.authorities(now);
        let own = self.certificates.load();
        let judged: Vec<Judged> = own.iter().map(|(c, _, usage)| self.judge(c, *usage, now)).collect();
        let works = |usage| judged.iter().any(|c| c.usage == usage && c.works());
        let stamps = self.time_stamps(now);
        let serving = directory.0 != ServiceState::Expired
            && stamps.0 != ServiceState::Expired
            && works(Usage::Auth)
            && works(Usage::Sign);
        let states = authorities.iter().map(|(state, _)| *state).chain(judged.iter().map(Judged::worst));
        let log_alarms = self.log_alarms.standing();
        let unkept = self.counts.failing().map(|why| format!("the last record could not be kept: {why}"));
        let keeping_alarms: Vec<String> = unkept.into_iter().chain(self.keeping.alarms()).collect();
        let alarmed = directory.1.alarm || !log_alarms.is_empty() || !keeping_alarms.is_empty();
        let alarm = if alarmed { ServiceState::Degraded } else { ServiceState::Fresh };
        let worst = states.chain([directory.0, stamps.0]).fold(alarm, ServiceState::max);
        Health {
            serving,
            state: worst.as_str().to_owned(),
            node: self.ground.me.to_string(),
            directory: directory.1,
            authorities: authorities.into_iter().map(|(_, told)| told).collect(),
            certificates: judged.into_iter().map(|judged| judged.told).collect(),
            time_stamps: Some(stamps.1),
            log_alarms,
            keeping_alarms,
        }
    }

    async fn metrics(&self) -> String {
        let folder = self.data_folder.clone();
        let free = spawn_blocking(move || rustix::fs::statvfs(&folder).ok()).await.ok().flatten();
        metrics::text(&Numbers {
            health: self.health(),
            now: self.ground.clock.now(),
            version: self.directory.current().version(),
            connections: self.connections.count(),
            free: free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            witnessed: self.log_alarms.confirmed(),
            counts: &self.counts,
            keeping: self.keeping.clone(),
            subjects: self.ground.recorder.subjects(),
        })
    }
}

/// One of the node's certificates with what is thought of it.
struct Judged {
    usage: Usage,
    state: ServiceState,
    /// `None` for a status that says "revoked" or "unknown".
    status: Option<ServiceState>,
    told: CertificateHealth,
}

impl Judged {
    fn works(&self) -> bool {
        self.state != ServiceState::Expired
            && self.status.is_some_and(|status| status != ServiceState::Expired)
    }

    fn worst(&self) -> ServiceState {
        self.state.max(self.status.unwrap_or(ServiceState::Expired))
    }
}

impl NodeHealth {
    fn directory_health(&self, now: Timestamp) -> (ServiceState, DirectoryHealth) {
        let (directory, sync) = (self.directory.current(), self.directory.status());
        let freshness = directory.freshness(now);
        let state = match freshness {
            Freshness::Fresh => ServiceState::Fresh,
            Freshness::Degraded => ServiceState::Degraded,
            Freshness::Expired => ServiceState::Expired,
        };
        let conflicts: Vec<String> =
            self.heads.conflicts().iter().map(|conflict| conflict.node.to_string()).collect();
        let told = DirectoryHealth {
            state: freshness_word(freshness).to_owned(),
            issued: directory.issued(),
            expires: directory.expires(),
            connected: sync.connected,
            alarm: sync.alarm.is_some() || !conflicts.is_empty(),
            conflicts,
        };
        (state, told)
    }

    /// One authority that is away is no matter as long as another one stamps.
    fn time_stamps(&self, now: Timestamp) -> (ServiceState, TimeStampHealth) {
        let stamps = self.stamper.state(now);
        let away = |authority: &AuthorityStanding| authority.standing.failing_since.is_some();
        let all_away = !stamps.authorities.is_empty() && stamps.authorities.iter().all(away);
        let late = stamps.oldest.is_some_and(|age| age > LATE);
        let state = if stamps.overdue {
            ServiceState::Expired
        } else if late || all_away {
            ServiceState::Degraded
        } else {
            ServiceState::Fresh
        };
        let told = |authority: AuthorityStanding| AuthorityHealth {
            name: authority.name,
            state: authority.state.as_str().to_owned(),
            answered_at: authority.standing.answered_at,
            failing_since: authority.standing.failing_since,
        };
        let told = TimeStampHealth {
            state: state.as_str().to_owned(),
            backlog: stamps.backlog,
            oldest_seconds: stamps.oldest.map(|age| age.as_secs()),
            last: stamps.last.map(|last| last.gen_time),
            authorities: stamps.authorities.into_iter().map(told).collect(),
        };
        (state, told)
    }

    fn authorities(&self, now: Timestamp) -> Vec<(ServiceState, AuthorityHealth)> {
        let told = |authority: AuthorityState| {
            let AuthorityState { name, state, standing } = authority;
            let (answered_at, failing_since) = (standing.answered_at, standing.failing_since);
            (state, AuthorityHealth { name, state: state.as_str().to_owned(), answered_at, failing_since })
        };
        let states = self.ground.verifier.authority_states(&self.directory.current(), now);
        states.into_iter().map(told).collect()
    }

    fn judge(&self, certificate: &Certificate, usage: Usage, now: Timestamp) -> Judged {
        let end = certificate.not_after();
        let state = if !certificate.valid_at(now) {
            ServiceState::Expired
        } else if end.since(now) <= SOON[0] {
            ServiceState::Degraded
        } else {
            ServiceState::Fresh
        };
        let known = self.ground.verifier.status_of(&certificate.fingerprint());
        let policy = self.ground.verifier.status_policy();
        // Without any status peers ask for it themselves.
        let mut status = (Some(ServiceState::Degraded), "none");
        if let Some(known) = &known {
            let at = known.status.this_update;
            status = match known.status.verdict {
                Verdict::Revoked { .. } => (None, "revoked"),
                Verdict::Unknown => (None, "unknown"),
                Verdict::Good => {
                    let age = if now <= at.plus(policy.freshness) {
                        ServiceState::Fresh
                    } else if now <= at.plus(policy.grace) {
                        ServiceState::Degraded
                    } else {
                        ServiceState::Expired
                    };
                    (Some(age), age.as_str())
                }
            };
        }
        let told = CertificateHealth {
            usage: if usage == Usage::Auth { "auth" } else { "sign" }.to_owned(),
            fingerprint: certificate.fingerprint(),
            state: state.as_str().to_owned(),
            not_after: end,
            status: status.1.to_owned(),
            status_this_update: known.map(|known| known.status.this_update),
        };
        Judged { usage, state, status: status.0, told }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use truc_model::Digest;
    use truc_stamping::{Authorities, HeadSigner, HeadUnsigned, Ports, Settings, Statuses};
    use truc_testkit::tsa::Tsas;
    use truc_testkit::{Bus, Federation, draft};
    use truc_trust::KnownStatus;
    use truc_trust::timestamp::TimeStampAuthority;

    use super::*;

    const NODE: &str = "VN/GOV/H26/ss1";
    const HOUR: Duration = Duration::from_secs(3600);

    /// Signs no head and knows no authority.
    struct Nobody;

    impl Authorities for Nobody {
        fn current(&self) -> Vec<TimeStampAuthority> {
            vec![]
        }
    }

    #[async_trait]
    impl HeadSigner for Nobody {
        async fn head(&self, _: u64, _: Digest) -> Result<String, HeadUnsigned> {
            Err(HeadUnsigned("nobody signs".into()))
        }
    }

    #[async_trait]
    impl Statuses for Nobody {
        fn newest(&self, _: &truc_model::Fingerprint) -> Option<Arc<KnownStatus>> {
            None
        }
        async fn renew(&self, _: &Certificate, _: &[Certificate]) {}
    }

    /// A follower that does not run.
    fn idle(bus: &Bus) -> Arc<Stamper> {
        let node = bus.node(NODE);
        let clock = Arc::clone(&node.ground.clock);
        let ports = Ports {
            records: Arc::clone(&node.store),
            proofs: node.memory.clone().unwrap(),
            source: Arc::new(Tsas::new(Arc::clone(&clock))),
            authorities: Arc::new(Nobody),
            heads: Arc::new(Nobody),
            statuses: Arc::new(Nobody),
            clock,
        };
        Arc::new(Stamper::new(ports, Settings::default(), Digest([1; 32])))
    }

    #[tokio::test]
    async fn records_that_wait_for_a_stamp_are_told_of() {
        let bus = bus().await;
        let health = of(&bus);
        let stamps = || health.health().time_stamps.unwrap();
        assert_eq!((stamps().state.as_str(), stamps().backlog), ("fresh", 0));
        let call = draft("VN/GOV/H26/mot-cua", "VN/GOV/G01/csdl/tra-cuu");
        bus.node(NODE).call(call).await.unwrap();
        health.stamper.look().await.unwrap();
        assert_eq!((stamps().state.as_str(), stamps().backlog), ("fresh", 2));
        bus.advance(Duration::from_secs(660));
        assert_eq!((stamps().state.as_str(), stamps().oldest_seconds), ("degraded", Some(660)));
        bus.advance(48 * HOUR);
        assert_eq!(stamps().state, "expired");
        assert!(!health.health().serving, "new exchanges are refused");
    }

    fn of(bus: &Bus) -> NodeHealth {
        let node = bus.node(NODE);
        let seals = node.seals.values().map(|s| (s.certificate.clone(), vec![], Usage::Sign));
        let certificates: OwnCertificates = seals.chain([(node.auth.clone(), vec![], Usage::Auth)]).collect();
        NodeHealth {
            ground: Arc::clone(&node.ground),
            directory: DirectoryHandle::fixed(node.ground.directory.current().unwrap()),
            certificates: Arc::new(ArcSwap::from_pointee(certificates)),
            connections: Connections::default(),
            heads: Heads::new(Arc::clone(&node.ground.directory), None),
            log_alarms: LogAlarms::default(),
            keeping: KeepingWatch::default(),
            stamper: idle(bus),
            counts: Counts::default(),
            data_folder: std::env::temp_dir(),
        }
    }

    async fn bus() -> Bus {
        Federation::new()
            .member("VN/GOV/G01")
            .subsystem("csdl")
            .service("tra-cuu")
            .member("VN/GOV/H26")
            .subsystem("mot-cua")
            .right("VN/GOV/H26/mot-cua", "VN/GOV/G01/csdl/tra-cuu")
            .start()
            .await
    }

    async fn renew(bus: &Bus, health: &NodeHealth) {
        let directory = health.directory.current();
        for (certificate, intermediates, usage) in health.certificates.load().iter() {
            let verifier = &health.ground.verifier;
            drop(verifier.renew(certificate, intermediates, *usage, &directory, bus.clock.now()).await);
        }
    }

    #[tokio::test]
    async fn each_outage_shows_and_only_what_stops_the_node_makes_it_unready() {
        let bus = bus().await;
        let health = of(&bus);
        let told = health.health();
        assert!(told.serving && told.state == "degraded", "no status of its own yet: {told:?}");
        assert!(told.certificates.iter().all(|c| c.status == "none" && c.state == "fresh"));
        renew(&bus, &health).await;
        let told = health.health();
        assert!(
            told.serving && told.state == "fresh" && told.authorities[0].answered_at.is_some(),
            "{told:?}"
        );

        bus.responder.set_down(true);
        bus.advance(2 * HOUR);
        bus.publish();
        renew(&bus, &health).await;
        let health = of(&bus);
        let told = health.health();
        assert!(told.serving && told.state == "degraded" && told.directory.state == "fresh", "{told:?}");
        assert_eq!(told.authorities[0].state, "degraded");
        assert!(told.certificates.iter().all(|c| c.status == "degraded"));
        bus.advance(11 * HOUR);
        let told = health.health();
        assert!(!told.serving && told.state == "expired" && told.directory.state == "degraded", "{told:?}");
        assert_eq!(told.authorities[0].state, "expired");

        bus.responder.set_down(false);
        renew(&bus, &health).await;
        assert!(health.health().serving, "back");
        bus.advance(62 * HOUR);
        let told = health.health();
        assert!(!told.serving && told.directory.state == "expired");
        bus.publish();
        let health = of(&bus);
        renew(&bus, &health).await;
        assert!(health.health().serving);

        bus.advance(HOUR);
        bus.responder.revoke(&bus.node(NODE).auth);
        renew(&bus, &health).await;
        let told = health.health();
        assert!(!told.serving && told.certificates.iter().any(|c| c.status == "revoked"), "{told:?}");
        let text = health.metrics().await;
        assert!(text.contains("truc_serving 0\n") && text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn exchanges_are_counted_as_they_are_recorded() {
        let bus = bus().await;
        let node = bus.node(NODE);
        let draft = draft("VN/GOV/H26/mot-cua", "VN/GOV/G01/csdl/tra-cuu");
        let reply = node.call(draft).await.unwrap();
        let counts = Counts::default();
        for record in node.records(reply.request).await {
            counts.count(&record.local);
        }
        let health = NodeHealth { counts, ..of(&bus) };
        let text = health.metrics().await;
        let line = "truc_exchanges_total{side=\"consumer\",outcome=\"ok\",fault=\"\"} 1";
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}
