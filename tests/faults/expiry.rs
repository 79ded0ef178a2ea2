//! Bodies whose time is over are destroyed, here and in the archive, and what is held is not; a node that is killed in the middle of
//! it finishes at its next start.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use truc_admin::EvidenceSearch;
use truc_directory::Anchor;
use truc_evidence::container::{self, CheckName, State, Verdict};
use truc_model::{Clock as _, MessageId, SystemClock};

use crate::clocks::{Clocks, OTHERS, library};
use crate::invariants::{finish, fsck, stamped, stamped_since};
use crate::office::{at, done, edit, folder, health, restart};
use crate::process_ground::works_within;
use crate::support::{Bus, ECHO, arg, rounds, run, truc, until};

/// Whose bodies expire; the consumer's are kept for ever.
const MEMBER: &str = "G01";
const CASE: &str = "vụ án 12/2026";
const WORKS_AGAIN: Duration = Duration::from_secs(60);

/// A month of bodies, on the disk of its node and in the archive.
struct Month {
    data: PathBuf,
    archive: PathBuf,
    /// `<class>/<month>`.
    name: String,
}

impl Month {
    fn here(&self) -> PathBuf {
        self.data.join("bodies").join(&self.name)
    }
    fn has(&self, file: &str) -> bool {
        self.here().join(file).exists()
    }
    /// Segments and what stands for those in the archive.
    fn segments(&self) -> usize {
        files(&self.here()).iter().filter(|path| ends(path, "seg") || ends(path, "away")).count()
    }
    fn archived(&self) -> usize {
        files(&self.archive.join("bodies").join(&self.name)).len()
    }
    fn held(&self) -> usize {
        files(&self.data.join("holds")).iter().filter(|path| ends(path, "seg")).count()
    }
    /// Before, in the middle of it with a plan, or after; nothing else.
    fn is_whole(&self) -> bool {
        self.has("key") || self.has("expiring") || self.segments() == 0
    }
}

fn ends(path: &Path, with: &str) -> bool {
    path.extension().is_some_and(|end| end == with)
}

/// Every file below a folder; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Seen on the disk while a month expires.
type Seen = fn(&Month) -> bool;

/// Where the node is killed, in turn: as soon as this is seen.
const STAGES: [(&str, Seen); 6] = [
    ("the key is destroyed", |month| !month.has("key")),
    ("the plan is written", |month| month.has("expiring") || !month.has("key")),
    ("a held body is copied", |month| month.held() > 0),
    ("the segments are removed", |month| month.segments() == 0),
    ("the archive is emptied", |month| month.archived() == 0),
    ("the month is gone", |month| !month.here().exists()),
];

async fn seen(month: &Month, stage: Seen) {
    while !stage(month) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A bus by one clock, with an archive and 90 days for what the provider keeps.
async fn ground(library: &str, archive: &Path) -> (Bus, Clocks) {
    let mut clocks = None;
    let bus = Bus::start_as(|layout| {
        edit(&layout.node_config(layout.node(MEMBER).unwrap()), |text| {
            let kept = "[[evidence.retention]]\nclass = \"default\"\nbodies = \"90d\"";
            format!("{text}\n{kept}\n\n[evidence.archive]\nfolder = {archive:?}\n")
        });
        let (set, program) = Clocks::new(&layout.dir, library, &[], 0);
        clocks = Some(set);
        program
    });
    (bus.await, clocks.unwrap())
}

/// An exchange with bodies of its own.
async fn exchange(bus: &Bus, number: usize) -> MessageId {
    let body = format!("nội dung {number}");
    let headers = [("Content-Type", "text/plain")];
    let answer = bus.call("POST", &format!("{ECHO}/raw/{number}"), &headers, body.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, body.as_bytes()));
    answer.header("x-road-request-id").unwrap().parse().unwrap()
}

/// The bodies of an exchange's two records at a node.
async fn bodies(bus: &Bus, member: &str, id: MessageId) -> Vec<Option<String>> {
    let shown = bus.admin(member).evidence_show(id, true).await.unwrap();
    assert_eq!(shown.records.len(), 2, "{member}, {id}");
    shown.records.into_iter().map(|record| record.body).collect()
}

/// The exchange is found, its container holds with its time, and has its bodies or says that they are not there.
async fn stands(bus: &Bus, about: &str, id: MessageId, with_bodies: bool) {
    let (here, there) = (bodies(bus, MEMBER, id).await, bodies(bus, "H26", id).await);
    assert!(there.iter().all(Option::is_some), "{about}, {id}: the consumer's are kept");
    let wanted = if with_bodies { there } else { vec![None, None] };
    assert_eq!(here, wanted, "{about}, {id}: bodies");
    let search = EvidenceSearch { message: Some(id), ..EvidenceSearch::default() };
    let found = bus.admin(MEMBER).evidence_search(&search).await.unwrap().exchanges;
    assert_eq!(found.len(), 1, "{about}, {id}: it is found");
    let bytes = bus.admin(MEMBER).evidence_container(id).await.unwrap();
    let anchor = Anchor::parse(&std::fs::read(bus.layout.anchor()).unwrap()).unwrap();
    let report = container::verify(&bytes, &anchor).unwrap();
    assert_eq!(report.verdict, Verdict::Holds, "{about}, {id}: {report}");
    let states = |name| report.checks.iter().filter(move |check| check.name == name).map(|check| check.state);
    let body = if with_bodies { State::Ok } else { State::NotShown };
    assert_eq!(states(CheckName::Body).collect::<Vec<_>>(), [body, body], "{about}, {id}: {report}");
    assert!(states(CheckName::Timestamp).all(|state| state == State::Ok), "{about}, {id}: {report}");
}

/// Copies a folder over another one.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

#[test]
fn a_month_whose_time_is_over_is_destroyed_whenever_the_node_is_killed() {
    let test = "expiry::a_month_whose_time_is_over_is_destroyed_whenever_the_node_is_killed";
    let Some(library) = library(test) else { return };
    run(async {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("archive");
        let (bus, clocks) = ground(library, &archive).await;
        let bus = Arc::new(bus);
        let plan = bus.layout.node(MEMBER).unwrap().clone();
        let home = folder(&bus, MEMBER);

        // Of every segment of the month, one in the archive and one here, an exchange is held.
        let mut ids = Vec::new();
        for number in 0..8 {
            if number == 4 {
                restart(&bus, &plan, |_| {}).await;
                until("the bodies are in the archive", || async {
                    bus.admin(MEMBER).keeping().await.unwrap().months.iter().any(|m| m.archived_bytes > 0)
                })
                .await;
            }
            ids.push(exchange(&bus, number).await);
        }
        let (held, free): (Vec<_>, Vec<_>) = ids.iter().enumerate().partition(|(at, _)| [1, 5].contains(at));
        let (held, free) =
            ([*held[0].1, *held[1].1], free.into_iter().map(|(_, id)| *id).collect::<Vec<_>>());
        let add = ["evidence", "hold", "add", "--case", CASE, "--reason", "yêu cầu của VKSND"];
        done(at(&home, &[&add[..], &[&held[0].to_string(), &held[1].to_string()]].concat()).await);
        stamped(&bus, "at first", MEMBER).await;
        stamped(&bus, "at first", "H26").await;
        let kept = bus.admin(MEMBER).keeping().await.unwrap().months;
        let [kept] = &kept[..] else { panic!("the test began in one month and ended in another: {kept:?}") };
        let name = format!("{}/{}", kept.class, kept.month);
        let month = Month { data: home.join("data"), archive: archive.clone(), name };
        assert!(month.has("key") && month.segments() > month.archived() && month.archived() > 0, "{kept:?}");

        // The month's time is over by the clock alone: nothing is destroyed before a time-stamp says so too. Meanwhile the archive is
        // away, so that what was written last stays here.
        let ahead = kept.expires.unwrap().seconds() - SystemClock.now().seconds() + 3600;
        let aside = place.path().join("aside");
        {
            let mut processes = bus.processes.lock().await;
            processes.stop_all().await;
            clocks.set(OTHERS, ahead);
            std::fs::rename(&archive, &aside).unwrap();
            processes.start_all(&mut |_| {}).await.unwrap();
        }
        until("the keeper has made its round", || async {
            health(&bus, &plan).await["keepingAlarms"].to_string().contains("archive")
        })
        .await;
        std::fs::rename(&aside, &archive).unwrap();
        assert!(month.has("key") && month.archived() > 0, "a clock that is far ahead was believed");
        stands(&bus, "before", free[0], true).await;
        works_within(&bus, "months later", WORKS_AGAIN).await;
        stamped_since(&bus, "months later", MEMBER, kept.expires.unwrap()).await;

        // The same month expires once a round.
        let (data, stored) = (place.path().join("data"), place.path().join("stored"));
        {
            let mut processes = bus.processes.lock().await;
            let node = processes.node(&plan);
            processes.stop(&node.name).await.unwrap();
            copy(&month.data, &data);
            copy(&archive, &stored);
            assert!(month.segments() > month.archived(), "some of it lies here");
        }
        for round in 0..rounds(2) {
            let (stage, is_reached) = STAGES[round % STAGES.len()];
            let about = format!("expiry, round {round}, killed when {stage}");
            let mut processes = bus.processes.lock().await;
            let node = processes.node(&plan);
            if round > 0 {
                processes.stop(&node.name).await.unwrap();
                copy(&data, &month.data);
                copy(&stored, &archive);
            }
            let began = tokio::select! {
                () = seen(&month, is_reached) => None,
                started = processes.start(vec![node.clone()]) => Some(started),
            };
            if let Some(started) = began {
                started.unwrap();
                let reached = tokio::time::timeout(WORKS_AGAIN, seen(&month, is_reached)).await;
                assert!(reached.is_ok(), "{about}: never seen");
            }
            processes.kill(&node.name).await.unwrap();
            eprintln!(
                "{about}: key {}, plan {}, {} segments, {} archived, {} held",
                month.has("key"),
                month.has("expiring"),
                month.segments(),
                month.archived(),
                month.held()
            );
            assert!(month.is_whole(), "{about}: neither before nor after");
            fsck(&bus, &about, MEMBER).await;
            processes.start(vec![node]).await.unwrap();
            drop(processes);
            until(&format!("{about}: the next start finishes it"), || async { !month.here().exists() }).await;
            until(&format!("{about}: the keeper's round went well"), || async {
                let text = bus.http.get(&format!("{}/metrics", plan.admin_url())).await.unwrap().body;
                String::from_utf8_lossy(&text).contains("truc_keeping_well_age_seconds")
            })
            .await;
            assert_eq!((month.archived(), month.held()), (0, 4), "{about}");
            let told = bus.admin(MEMBER).keeping().await.unwrap().months;
            let gone = told.iter().all(|m| format!("{}/{}", m.class, m.month) != month.name);
            assert!(gone, "{about}: {told:?}");
            for id in &free {
                stands(&bus, &about, *id, false).await;
            }
            for id in &held {
                stands(&bus, &about, *id, true).await;
            }
        }

        let release = ["evidence", "hold", "release", "--case", CASE, "--reason", "bản án đã có hiệu lực"];
        done(at(&home, &release).await);
        until("what was held is gone", || async { month.held() == 0 }).await;
        for id in &ids {
            stands(&bus, "after the release", *id, false).await;
        }
        finish(&bus, "expiry").await;
        let config = bus.config(MEMBER);
        let ran = truc(&["evidence", "fsck", "--archive", "--config", arg(&config)]).await;
        assert_eq!(ran.code, 0, "with the archive: {}{}", ran.stdout, ran.stderr);
    });
}
