//! Bodies of any size flow through real nodes at constant memory; what holds one up holds up nothing else; nothing of one
//! stays behind (docs/big-bodies.md).
//!
//! `TRUC_GIB=10` sends that much each way instead of 200 MiB; `cargo xtask big-bodies` does so with a release build.
#![allow(clippy::print_stderr, reason = "figures are for people")]

mod depot;
mod ground;
mod source;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep};
use truc_directory::Anchor;
use truc_evidence::container;
use truc_model::MessageId;

use crate::support::{DESK, arg, run, truc, until};
use ground::{Came, DEPOT, Ground, MIB, SMALL_DEPOT, peak_memory, spool_is_encrypted, spooled};
use source::{Source, digest_of};

/// A node's memory may grow so much over what it takes when idle, however big the bodies are.
const GROWTH: u64 = 64 * MIB;

/// What lies between caller and spool when nobody reads: socket buffers, windows, queues.
const UNDER_WAY: u64 = 32 * MIB;

/// How big a body is; an odd number.
fn size() -> u64 {
    let gib = std::env::var("TRUC_GIB").ok().and_then(|text| text.parse::<u64>().ok());
    gib.map_or(200 * MIB, |gib| gib * 1024 * MIB) + 12_345
}

/// Looks at the two nodes while something goes on.
struct Watch {
    stop: Arc<AtomicBool>,
    highest: Arc<[AtomicU64; 2]>,
    idle: [u64; 2],
    pids: [u32; 2],
    looking: tokio::task::JoinHandle<()>,
}

impl Watch {
    async fn begin(ground: &Ground) -> Self {
        // What a first body of that kind takes is not growth.
        let warm = ground.call("POST", &format!("{DEPOT}/swap/{}", 11 * MIB), Source::of(11 * MIB)).await;
        assert_eq!(warm.status, 200, "{}", warm.text);
        let pids = [ground.pid("H26").await, ground.pid("G01").await];
        let (stop, highest) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 2]>::default());
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&highest));
        let looking = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                for (pid, highest) in pids.iter().zip(seen.iter()) {
                    highest.fetch_max(spooled(*pid), Ordering::SeqCst);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, highest, idle: pids.map(peak_memory), pids, looking }
    }

    /// Most that each spool held: the consumer's, the provider's.
    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.looking.await.unwrap();
        for (pid, idle) in self.pids.into_iter().zip(self.idle) {
            let grown = peak_memory(pid).saturating_sub(idle);
            assert!(grown < GROWTH, "a node's memory grew from {} by {} MiB", idle / MIB, grown / MIB);
        }
        (self.highest[0].load(Ordering::SeqCst), self.highest[1].load(Ordering::SeqCst))
    }
}

fn fits(came: &Came, sent: u64, got: u64) {
    assert_eq!(came.status, 200, "{}", came.text);
    let (length, digest) = digest_of(0, sent);
    assert_eq!(came.took(), (length, digest.to_string()), "what the service took is what was sent");
    if got > 0 {
        assert_eq!((came.length, came.digest), digest_of(0, got), "what came back is what the service gave");
    }
}

#[test]
fn big_bodies_pass_both_ways_at_constant_memory_and_small_calls_go_on() {
    run(async {
        let ground = Ground::new().await;
        let size = size();
        let watch = Watch::begin(&ground).await;
        let (stop, small) = ground.small_calls();
        let mut ids = Vec::new();
        let cases = [
            ("POST", "take".to_owned(), Source::of(size), size, 0),
            ("POST", "take".to_owned(), Source::of(size).unannounced(), size, 0),
            ("GET", format!("give/{size}"), Source::of(0), 0, size),
            ("GET", format!("chunked/{size}"), Source::of(0), 0, size),
            ("PUT", format!("swap/{size}"), Source::of(size).unannounced(), size, size),
        ];
        for (method, path, body, sent, got) in cases {
            let came = ground.call(method, &format!("{DEPOT}/{path}"), body).await;
            fits(&came, sent, got);
            ids.push(came.id());
        }
        stop.store(true, Ordering::SeqCst);
        let (count, _) = small.await.unwrap();
        assert!(count > 5, "small calls went on: {count}");
        let (consumer, provider) = watch.end().await;
        assert!(consumer >= size && provider >= size, "the receiving ends kept them outside memory");
        ground.spools_are_empty().await;
        for id in ids {
            is_on_record_by_digest(&ground, id).await;
        }
    });
}

async fn is_on_record_by_digest(ground: &Ground, id: MessageId) {
    let anchor = Anchor::parse(&std::fs::read(ground.bus.layout.anchor()).unwrap()).unwrap();
    for member in ["H26", "G01"] {
        let shown = ground.bus.admin(member).evidence_show(id, false).await.unwrap();
        assert_eq!(shown.records.len(), 2, "{member}");
        let bytes = ground.bus.admin(member).evidence_container(id).await.unwrap();
        let report = container::verify(&bytes, &anchor).unwrap();
        assert_eq!(report.verdict, container::Verdict::Holds, "{member}: {report}");
        assert!((bytes.len() as u64) < MIB, "{member}: the body is not in it");
    }
}

#[test]
fn ranges_pass_through() {
    run(async {
        let ground = Ground::new().await;
        let size = 50 * MIB;
        for (from, last) in [(0, 99), (7, 12 * MIB), (20 * MIB + 1, 49 * MIB)] {
            let range = format!("bytes={from}-{last}");
            let path = format!("{DEPOT}/give/{size}");
            let headers = [("Range", range.as_str())];
            let came = ground.begin_as(DESK, "GET", &path, Source::of(0), &headers).await.whole().await;
            assert_eq!(came.status, 206);
            assert_eq!(came.header("content-range"), format!("bytes {from}-{last}/{size}"));
            assert_eq!((came.length, came.digest), digest_of(from, last + 1), "{range}");
        }
        ground.spools_are_empty().await;
    });
}

/// Waits until nothing has moved for a while, and says where it stands.
async fn stands_still(moved: &AtomicU64) -> u64 {
    let (mut at, mut since) = (moved.load(Ordering::SeqCst), Instant::now());
    while since.elapsed() < Duration::from_millis(700) {
        sleep(Duration::from_millis(20)).await;
        let now = moved.load(Ordering::SeqCst);
        if now != at {
            (at, since) = (now, Instant::now());
        }
    }
    at
}

/// A provider's node that takes nothing for a while: the caller stalls, and nothing grows in between.
#[test]
fn a_provider_that_stands_still_stalls_the_caller() {
    run(async {
        let ground = Ground::new().await;
        let watch = Watch::begin(&ground).await;
        let size = 150 * MIB;
        let (body, go) = Source::of(size).held_after(20 * MIB);
        let taken = body.taken();
        let call = ground.begin("POST", &format!("{DEPOT}/take"), body).await;
        until("it flows", || async { taken.load(Ordering::SeqCst) >= 20 * MIB }).await;
        let (consumer, provider) = (ground.pid("H26").await, ground.pid("G01").await);
        ground.signal("G01", "STOP").await;
        go.send(true).unwrap();
        let at = stands_still(&taken).await;
        let there = spooled(provider);
        assert!(at < size, "the caller is held up");
        assert!(at - there < UNDER_WAY, "{at} bytes were taken, {there} of them are there");
        assert_eq!(spooled(consumer), 0, "the consumer's node keeps nothing of what it sends");
        ground.signal("G01", "CONT").await;
        fits(&call.whole().await, size, 0);
        let (consumer, _) = watch.end().await;
        assert!(consumer <= 12 * MIB, "but the answer of the warming up: {consumer}");
        ground.spools_are_empty().await;
    });
}

/// Slow ends: a service that does not read, and a caller that does not read. Neither holds up anybody else.
#[test]
fn a_slow_service_and_a_slow_caller_hold_up_nobody_else() {
    run(async {
        let ground = Ground::new().await;
        let watch = Watch::begin(&ground).await;
        let size = 60 * MIB;
        let (consumer, provider) = (ground.pid("H26").await, ground.pid("G01").await);
        let slow_service = ground.begin("POST", &format!("{DEPOT}/take/hold"), Source::of(size)).await;
        until("the body waits for the service", || async { spooled(provider) >= size }).await;
        let slow_caller = ground.begin("GET", &format!("{DEPOT}/give/{size}"), Source::of(0)).await;
        let mut answer = slow_caller.head().await.unwrap();
        let first = answer.frame().await.unwrap().unwrap();
        assert!(first.is_data());
        assert!(spooled(consumer) >= size, "the answer waits for the caller");
        let (stop, small) = ground.small_calls();
        for _ in 0..3 {
            fits(
                &ground.call("POST", &format!("{DEPOT}/swap/{}", 15 * MIB), Source::of(15 * MIB)).await,
                15 * MIB,
                15 * MIB,
            );
        }
        stop.store(true, Ordering::SeqCst);
        assert!(small.await.unwrap().0 > 0);
        assert!(spooled(provider) >= size && spooled(consumer) >= size, "both still wait");
        ground.depot.go.send(true).unwrap();
        fits(&slow_service.whole().await, size, 0);
        let rest = Came::of(answer).await;
        assert_eq!(rest.length + first.data_ref().unwrap().len() as u64, size);
        let (most, _) = watch.end().await;
        assert!(most < size + UNDER_WAY);
        ground.spools_are_empty().await;
    });
}

/// Nobody may make a node spool what it will deny: NO_RIGHT and TOO_LARGE are said by the header, while the body waits.
#[test]
fn what_will_be_denied_is_denied_before_it_is_spooled() {
    run(async {
        let ground = Ground::new().await;
        let stranger = "VN/GOV/H26/mot-cua-so-9";
        let cases = [
            (stranger, DEPOT, true, 1024 * MIB, 403, "NO_RIGHT"),
            (stranger, DEPOT, false, 1024 * MIB, 403, "NO_RIGHT"),
            (DESK, SMALL_DEPOT, true, 20 * MIB + 1, 413, "TOO_LARGE"),
            (DESK, SMALL_DEPOT, false, 200 * MIB, 413, "TOO_LARGE"),
        ];
        for (client, service, announced, size, status, code) in cases {
            let provider = ground.pid("G01").await;
            let body = if announced { Source::of(size) } else { Source::of(size).unannounced() };
            let taken = body.taken();
            let call = ground.begin_as(client, "POST", &format!("{service}/take"), body, &[]).await;
            let watching = AtomicBool::new(true);
            let most = async {
                let mut most = 0;
                while watching.load(Ordering::SeqCst) {
                    most = most.max(spooled(provider));
                    sleep(Duration::from_millis(2)).await;
                }
                most
            };
            let ended = async {
                let came = call.whole().await;
                watching.store(false, Ordering::SeqCst);
                came
            };
            let (came, most) = tokio::join!(ended, most);
            assert_eq!((came.status, came.code().as_str()), (status, code), "{}", came.text);
            let limit = if !announced && code == "TOO_LARGE" { 20 * MIB } else { 0 };
            assert!(
                taken.load(Ordering::SeqCst) < limit + 20 * MIB + UNDER_WAY,
                "{code}: it was not all read"
            );
            // Written in pieces, each with its tag.
            assert!(most <= limit + MIB, "{code}: {most} bytes were spooled");
            let id = came.id();
            let shown = ground.bus.admin("H26").evidence_show(id, false).await.unwrap();
            assert_eq!(shown.records.len(), 1, "its unsigned end alone");
            assert!(
                ground.bus.admin("G01").evidence_show(id, false).await.is_err(),
                "the provider has nothing"
            );
            let list =
                ground.bus.admin("H26").evidence(&truc_admin::EvidenceFilter::default()).await.unwrap();
            let entry = list.iter().find(|entry| entry.id == id).unwrap();
            assert_eq!(entry.fault.as_deref(), Some(code));
        }
        assert_eq!(ground.depot.calls(), 0);
        ground.spools_are_empty().await;
        journals_are_whole(&ground).await;
    });
}

/// Both journals are whole, and so are indexes made anew from them.
async fn journals_are_whole(ground: &Ground) {
    for member in ["H26", "G01"] {
        ground.bus.processes.lock().await.stop(&ground.name(member)).await.unwrap();
        let config = ground.bus.config(member);
        let ran = truc(&["evidence", "fsck", "--config", arg(&config)]).await;
        assert_eq!(ran.code, 0, "{member}: {}{}", ran.stdout, ran.stderr);
        let listed = |list: Vec<truc_admin::EvidenceEntry>| {
            list.into_iter().map(|e| (e.id, e.fault, e.time)).collect::<Vec<_>>()
        };
        ground.start_again(member).await;
        let filter = truc_admin::EvidenceFilter::default();
        let before = listed(ground.bus.admin(member).evidence(&filter).await.unwrap());
        ground.bus.processes.lock().await.stop(&ground.name(member)).await.unwrap();
        std::fs::remove_dir_all(ground.data_folder(member).join("index")).unwrap();
        ground.start_again(member).await;
        until("the index is made anew", || async {
            let now = ground.bus.admin(member).evidence(&filter).await;
            now.is_ok_and(|now| listed(now) == before)
        })
        .await;
    }
}

/// `kill -9` with a body on its way, in either direction, of either node.
#[test]
fn kill_9_within_a_body_leaves_nothing_of_it_and_a_stated_outcome() {
    run(async {
        let ground = Ground::new().await;
        provider_dies_within_a_request(&ground).await;
        consumer_dies_within_a_request(&ground).await;
        provider_dies_within_an_answer(&ground).await;
        consumer_dies_within_an_answer(&ground).await;
        ground.spools_are_empty().await;
        for member in ["H26", "G01"] {
            ground.nothing_in_clear(member);
            let admin = ground.bus.admin(member);
            until("no exchange stays open", || async {
                let list = admin.evidence(&truc_admin::EvidenceFilter::default()).await.unwrap();
                list.iter().all(|e| e.fault.is_some() || e.outcome == truc_evidence::Outcome::Ok)
            })
            .await;
        }
        let small = ground.call("POST", &format!("{DEPOT}/swap/{}", 12 * MIB), Source::of(12 * MIB)).await;
        fits(&small, 12 * MIB, 12 * MIB);
        journals_are_whole(&ground).await;
    });
}

const HELD: u64 = 30 * MIB;

/// A request of which so much is in the provider's spool, and no more comes.
async fn held_request(ground: &Ground) -> (ground::Calling, tokio::sync::watch::Sender<bool>) {
    let (body, go) = Source::of(100 * MIB).held_after(HELD);
    let call = ground.begin("POST", &format!("{DEPOT}/take"), body).await;
    let provider = ground.pid("G01").await;
    until("it flows", || async { spooled(provider) > HELD - 2 * MIB }).await;
    spool_is_encrypted(provider);
    for member in ["H26", "G01"] {
        ground.nothing_in_clear(member);
    }
    (call, go)
}

async fn provider_dies_within_a_request(ground: &Ground) {
    let calls = ground.depot.calls();
    let (call, go) = held_request(ground).await;
    ground.kill("G01").await;
    let came = call.whole().await;
    assert_eq!((came.status, came.code().as_str()), (502, "UNAVAILABLE"), "not carried out: {}", came.text);
    drop(go);
    ground.start_again("G01").await;
    assert_eq!(ground.depot.calls(), calls);
    ground.spools_are_empty().await;
}

async fn consumer_dies_within_a_request(ground: &Ground) {
    let calls = ground.depot.calls();
    let (call, go) = held_request(ground).await;
    ground.kill("H26").await;
    assert!(call.head().await.is_err(), "the connection is gone with the process");
    drop(go);
    ground.start_again("H26").await;
    ground.spools_are_empty().await;
    assert_eq!(ground.depot.calls(), calls);
}

/// An answer of which so much is in the consumer's spool, and no more comes.
async fn held_answer(ground: &Ground) -> ground::Calling {
    let call = ground.begin("GET", &format!("{DEPOT}/stuck/{}", 2 * HELD), Source::of(0)).await;
    let consumer = ground.pid("H26").await;
    until("it flows", || async { spooled(consumer) > HELD - 2 * MIB }).await;
    spool_is_encrypted(consumer);
    for member in ["H26", "G01"] {
        ground.nothing_in_clear(member);
    }
    call
}

async fn provider_dies_within_an_answer(ground: &Ground) {
    let call = held_answer(ground).await;
    ground.kill("G01").await;
    ground.start_again("G01").await;
    let came = call.whole().await;
    assert_eq!(came.code(), "OUTCOME_UNKNOWN", "the service has acted: {}", came.text);
    for member in ["H26", "G01"] {
        let shown = ground.bus.admin(member).evidence_show(came.id(), false).await.unwrap();
        assert_eq!(shown.records.len(), 2, "{member}");
    }
}

async fn consumer_dies_within_an_answer(ground: &Ground) {
    let call = held_answer(ground).await;
    ground.kill("H26").await;
    assert!(call.head().await.is_err(), "the connection is gone with the process");
    ground.start_again("H26").await;
}

/// A caller that goes away: what has begun is carried to its end, or ends with the body that will not come.
#[test]
fn a_caller_that_hangs_up_leaves_nothing_in_the_spools() {
    run(async {
        let ground = Ground::new().await;
        let (call, go) = held_request(&ground).await;
        call.hang_up();
        drop(go);
        ground.spools_are_empty().await;
        assert_eq!(ground.depot.calls(), 0);
        let call = ground.begin("GET", &format!("{DEPOT}/give/{}", 50 * MIB), Source::of(0)).await;
        let mut answer = call.head().await.unwrap();
        assert!(answer.frame().await.unwrap().is_ok());
        drop(answer);
        ground.spools_are_empty().await;
    });
}

/// A small file system over a node's spool.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, mib: u64) -> Option<Self> {
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The node may still hold it for a moment.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

#[test]
fn a_spool_without_room_turns_big_bodies_away_and_small_calls_go_on() {
    run(async {
        // 256 MiB of the disk are left to the journal, whatever lies in the spool.
        let mut disk = None;
        let ground = Ground::prepared(|layout| {
            let folder = layout.node_folder(layout.node("G01").unwrap()).join("data").join("spool");
            disk = SmallDisk::mount(folder, 256 + 64);
        })
        .await;
        if disk.is_none() {
            let sentence = "SKIPPED: a full spool needs the right to mount (root)";
            assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "{sentence}");
            eprintln!("{sentence}");
            return;
        }
        let (stop, small) = ground.small_calls();
        for body in [Source::of(300 * MIB), Source::of(300 * MIB).unannounced()] {
            let came = ground.call("POST", &format!("{DEPOT}/take"), body).await;
            assert_eq!((came.status, came.code().as_str()), (503, "BUSY"), "{}", came.text);
            assert!(!came.header("retry-after").is_empty());
        }
        assert_eq!(ground.depot.calls(), 0);
        let size = 20 * MIB;
        fits(&ground.call("POST", &format!("{DEPOT}/take"), Source::of(size)).await, size, 0);
        stop.store(true, Ordering::SeqCst);
        assert!(small.await.unwrap().0 > 0);
        ground.spools_are_empty().await;
        ground.bus.processes.lock().await.stop(&ground.name("G01")).await.unwrap();
        drop(disk);
    });
}

/// Figures for docs/big-bodies.md: `cargo xtask big-bodies`.
#[test]
#[ignore = "figures, not a check: cargo xtask big-bodies"]
fn measure_big_bodies() {
    run(async {
        let ground = Ground::new().await;
        let size = size();
        for (what, method, path, sent, got) in
            [("up", "POST", "take".to_owned(), size, 0), ("down", "GET", format!("give/{size}"), 0, size)]
        {
            let watch = Watch::begin(&ground).await;
            let (idle, pids) = (watch.idle, watch.pids);
            let (stop, small) = ground.small_calls();
            let begun = Instant::now();
            let came = ground.call(method, &format!("{DEPOT}/{path}"), Source::of(sent)).await;
            let seconds = begun.elapsed().as_secs_f64();
            stop.store(true, Ordering::SeqCst);
            let (count, slowest) = small.await.unwrap();
            fits(&came, sent, got);
            let (consumer, provider) = watch.end().await;
            let mib = size / MIB;
            eprintln!("{what}: {mib} MiB at {:.0} MiB/s, {seconds:.0} s", mib as f64 / seconds);
            for (name, at, spool) in [("consumer", 0, consumer), ("provider", 1, provider)] {
                let (idle, peak) = (idle[at] / MIB, peak_memory(pids[at]) / MIB);
                eprintln!(
                    "  {name}: memory {idle} MiB before, {peak} MiB at most; spool {} MiB at most",
                    spool / MIB
                );
            }
            eprintln!("  meanwhile {count} small calls, the slowest {} ms", slowest.as_millis());
            ground.spools_are_empty().await;
        }
    });
}
