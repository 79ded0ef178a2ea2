//! The numbers of `/metrics`, in OpenMetrics text, made anew for every scrape from the state as it is then.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::registry::Registry;
use truc_admin::health::{AuthorityHealth, Health, TimeStampHealth};
use truc_evidence::SubjectCounts;
use truc_model::Timestamp;
use truc_policy::NoSubject;

use crate::counted::Counts;
use crate::keeping::KeepingWatch;

type Labels = Vec<(&'static str, String)>;

/// What is told.
pub(crate) struct Numbers<'a> {
    pub(crate) health: Health,
    pub(crate) now: Timestamp,
    /// The directory's version.
    pub(crate) version: u64,
    /// Open connections to other nodes.
    pub(crate) connections: usize,
    /// Free bytes of the data folder's disk.
    pub(crate) free: Option<u64>,
    /// The newest head of the own log that the registry confirmed: its size, and when.
    pub(crate) witnessed: Option<(u64, Timestamp)>,
    pub(crate) counts: &'a Counts,
    /// How evidence is kept.
    pub(crate) keeping: KeepingWatch,
    /// How often requests named their subject where their service says it is.
    pub(crate) subjects: SubjectCounts,
}

/// OpenMetrics text; every name begins with `truc_`.
pub(crate) fn text(numbers: &Numbers<'_>) -> String {
    let mut page = Page(Registry::with_prefix("truc"));
    let (health, now) = (&numbers.health, numbers.now);
    let age = |at: Timestamp| now.since(at).as_secs_f64();
    page.whole("serving", "Whether the node can carry messages", i64::from(health.serving));
    let directory = &health.directory;
    page.state("directory_state", "The directory: fresh, degraded or expired", [(vec![], &*directory.state)]);
    page.one("directory_age_seconds", "Since the directory's head was signed", age(directory.issued));
    page.whole("directory_version", "The directory's version", signed(numbers.version));
    page.whole(
        "registry_connected",
        "Whether heads arrive from the registry",
        i64::from(directory.connected),
    );
    page.whole(
        "registry_alarm",
        "Whether the registry contradicted itself, or a node holds another directory under one number",
        i64::from(directory.alarm),
    );

    let named = |name: &str| vec![("authority", name.to_owned())];
    let states = health.authorities.iter().map(|a| (named(&a.name), &*a.state));
    page.state("ocsp_state", "Responders of an approved CA, as this node's own queries went", states);
    let ages = health.authorities.iter().filter_map(|a| Some((named(&a.name), age(a.answered_at?))));
    page.many("ocsp_answer_age_seconds", "Since a responder of the CA last answered this node", ages);

    let own =
        |usage: &str, fingerprint: String| vec![("usage", usage.to_owned()), ("certificate", fingerprint)];
    let named = |c: &truc_admin::health::CertificateHealth| own(&c.usage, c.fingerprint.to_string());
    let ends = health.certificates.iter().map(|c| (named(c), c.not_after.seconds() as f64));
    page.many("certificate_end_timestamp_seconds", "When the node's own certificate ends", ends);
    let ages = health.certificates.iter().filter_map(|c| Some((named(c), age(c.status_this_update?))));
    page.many("certificate_status_age_seconds", "Since the status that the node carries was true", ages);

    if let Some(stamps) = &health.time_stamps {
        page.time_stamps(stamps, now);
    }
    page.whole("peer_connections", "Open connections to other nodes", signed(numbers.connections as u64));
    if let Some(free) = numbers.free {
        page.whole("disk_free_bytes", "Free on the data folder's disk", signed(free));
    }
    page.subjects(&numbers.subjects);
    let alarms = signed(health.log_alarms.len() as u64);
    page.whole("log_alarms", "Logs, this node's own or another's, that are not what they were", alarms);
    if let Some((size, at)) = numbers.witnessed {
        page.whole(
            "log_witnessed_size",
            "Records under the newest head that the registry holds",
            signed(size),
        );
        page.one("log_witnessed_age_seconds", "Since the registry confirmed a head of the own log", age(at));
    }
    let failing = i64::from(numbers.counts.failing().is_some());
    page.whole("recording_failing", "Whether the last record could not be kept", failing);
    page.keeping(&numbers.keeping, now);
    numbers.counts.register(&mut page.0);
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &page.0) {
        tracing::error!(%error, "the metrics could not be written");
    }
    text
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Page(Registry);

impl Page {
    /// Where evidence lies, and whether it is kept as configured.
    fn keeping(&mut self, watch: &KeepingWatch, now: Timestamp) {
        self.whole(
            "disk_nearly_full",
            "Whether less of the disk is free than alarm-free",
            i64::from(watch.low()),
        );
        let Some(state) = watch.state() else { return };
        let failing = i64::from(state.failing.is_some());
        self.whole("keeping_failing", "Whether the last round of archiving and expiry failed", failing);
        if let Some(at) = state.well_at {
            let age = now.since(at).as_secs_f64();
            self.one("keeping_well_age_seconds", "Since a round of archiving and expiry went well", age);
        }
        self.whole(
            "archive_waiting_segments",
            "Closed segments not in the archive yet",
            signed(state.waiting),
        );
        self.whole("archive_waiting_bytes", "Their bytes", signed(state.waiting_bytes));
        self.whole("archive_moved_segments", "Segments archived since the start", signed(state.moved));
        self.whole(
            "bodies_expired_months",
            "Classes and months that expired since the start",
            signed(state.expired),
        );
        self.whole("holds", "Legal holds in force", signed(state.holds));
    }

    fn time_stamps(&mut self, stamps: &TimeStampHealth, now: Timestamp) {
        self.state("time_stamp_state", "Time-stamps: fresh, degraded or expired", [(vec![], &*stamps.state)]);
        self.whole("time_stamp_backlog_records", "Records without a time-stamp", signed(stamps.backlog));
        let oldest = stamps.oldest_seconds.unwrap_or(0) as f64;
        self.one("time_stamp_oldest_seconds", "How long the oldest of them has waited", oldest);
        if let Some(last) = stamps.last {
            self.one(
                "time_stamp_age_seconds",
                "Since the newest token was made",
                now.since(last).as_secs_f64(),
            );
        }
        let named = |a: &AuthorityHealth| vec![("authority", a.name.clone())];
        let states = stamps.authorities.iter().map(|a| (named(a), &*a.state));
        self.state(
            "time_stamp_authority_state",
            "A time-stamp authority, as this node's own requests went",
            states,
        );
    }

    /// Says why there was none, and nothing of whom.
    fn subjects(&mut self, counts: &SubjectCounts) {
        let family = Family::<Labels, Counter>::default();
        let none = NoSubject::ALL.iter().map(|why| why.as_str()).zip(counts.none);
        for (result, count) in [("found", counts.found)].into_iter().chain(none) {
            family.get_or_create(&vec![("result", result.to_owned())]).inc_by(count);
        }
        self.0.register("subjects", "Requests to services that say where their data subject is", family);
    }

    fn one(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn whole(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn many(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        fill(&family, values);
        self.0.register(name, help, family);
    }

    /// One series for each state, of which one is 1.
    fn state<'s>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, &'s str)>) {
        let family = Family::<Labels, Gauge<i64, AtomicI64>>::default();
        for (labels, is) in values {
            for state in ["fresh", "degraded", "expired"] {
                let labels: Labels = labels.iter().cloned().chain([("state", state.to_owned())]).collect();
                fill(&family, [(labels, i64::from(state == is))]);
            }
        }
        self.0.register(name, help, family);
    }
}

fn fill<N: Clone, A: Atomic<N> + Default>(
    family: &Family<Labels, Gauge<N, A>>,
    values: impl IntoIterator<Item = (Labels, N)>,
) where
    Gauge<N, A>: Default,
{
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
}

#[cfg(test)]
mod tests {
    use truc_admin::health::{AuthorityHealth, DirectoryHealth};

    use super::*;

    #[test]
    fn what_prometheus_reads() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let (state, issued) = ("degraded".to_owned(), now.minus(std::time::Duration::from_secs(700)));
        let directory = DirectoryHealth {
            state,
            issued,
            expires: now,
            connected: false,
            alarm: false,
            conflicts: vec![],
        };
        let authority = AuthorityHealth {
            name: "CA \"thử\"".into(),
            state: "fresh".into(),
            answered_at: Some(now.minus(std::time::Duration::from_secs(5))),
            failing_since: None,
        };
        let health = Health {
            serving: true,
            state: "degraded".into(),
            node: "VN/GOV/H26/ss1".into(),
            directory,
            authorities: vec![authority],
            certificates: vec![],
            time_stamps: Some(TimeStampHealth {
                state: "degraded".into(),
                backlog: 12,
                oldest_seconds: Some(700),
                last: Some(now.minus(std::time::Duration::from_secs(60))),
                authorities: vec![AuthorityHealth {
                    name: "TSA".into(),
                    state: "expired".into(),
                    answered_at: None,
                    failing_since: Some(now),
                }],
            }),
            log_alarms: vec!["the log x was changed".into()],
            keeping_alarms: vec![],
        };
        let counts = Counts::default();
        let subjects = SubjectCounts { found: 5, none: [0, 1, 0, 0] };
        let numbers = Numbers {
            health,
            now,
            version: 7,
            connections: 3,
            free: Some(1 << 30),
            witnessed: Some((12, now)),
            counts: &counts,
            keeping: KeepingWatch::default(),
            subjects,
        };
        let text = text(&numbers);
        for line in [
            "truc_serving 1",
            "truc_directory_state{state=\"degraded\"} 1",
            "truc_directory_state{state=\"fresh\"} 0",
            "truc_directory_age_seconds 700.0",
            "truc_registry_connected 0",
            "truc_ocsp_state{authority=\"CA \\\"thử\\\"\",state=\"fresh\"} 1",
            "truc_ocsp_answer_age_seconds{authority=\"CA \\\"thử\\\"\"} 5.0",
            "truc_time_stamp_state{state=\"degraded\"} 1",
            "truc_time_stamp_backlog_records 12",
            "truc_time_stamp_oldest_seconds 700.0",
            "truc_time_stamp_age_seconds 60.0",
            "truc_time_stamp_authority_state{authority=\"TSA\",state=\"expired\"} 1",
            "truc_peer_connections 3",
            "truc_disk_free_bytes 1073741824",
            "truc_log_alarms 1",
            "truc_disk_nearly_full 0",
            "truc_log_witnessed_size 12",
            "truc_log_witnessed_age_seconds 0.0",
            "truc_subjects_total{result=\"found\"} 5",
            "truc_subjects_total{result=\"several\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
