//! What only the inside can provoke: torn and changed bytes, failed syncs, broken indexes, segments that are the same each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use truc_evidence::contract::{self, Sample};
use truc_evidence::{
    Acknowledged, AcknowledgedLeaf, EvidenceStore as _, Hold, LaterStatus, NewRecord, Proof, ProofStore as _,
    Query, Release, StoreError, Tombstone,
};
use truc_log::MemoryTree;
use truc_message::Leaf;
use truc_model::{Digest, Fingerprint, MemberId, Timestamp};
use zeroize::Zeroizing;

use crate::bodies::{Bodies, BodyRef, Month, Packed};
use crate::fsck::tests::stamp;
use crate::journal::format::{HEADER, Parsed, Reader, SegmentHeader, SegmentKind, parse};
use crate::keeping::Shelf;
use crate::{DecisionJournal, EvidenceJournal, JournalOptions, RecordKey, RecordKeys, fsck};

pub(crate) struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        self.by_id("member#1")
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        let byte = match id {
            "member#1" => 1,
            "node#1" => 2,
            _ => return None,
        };
        Some(RecordKey::new(id, Zeroizing::new([byte; 32])))
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([2; 32]))
    }
}

pub(crate) fn options() -> JournalOptions {
    JournalOptions::default().spare(0).sizes(4096, 64 << 10)
}

fn open(folder: &Path) -> Result<EvidenceJournal, StoreError> {
    EvidenceJournal::open(folder, Arc::new(Keys), options())
}

fn request(n: u64) -> NewRecord {
    Sample::new(n).unwrap().request(b"body").unwrap()
}

fn response(n: u64) -> NewRecord {
    Sample::new(n).unwrap().response(b"answer").unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(folder.join("journal")).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

/// Journal and bodies of a closed store with these records, and nothing else.
async fn filled(records: Vec<NewRecord>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for record in records {
        store.append(record, None).await.unwrap();
    }
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    dir
}

fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![HEADER];
    while let Some(length) = bytes.get(starts[starts.len() - 1]..).and_then(|b| b.first_chunk::<4>()) {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 {
            break;
        }
        starts.push(starts[starts.len() - 1] + 8 + length);
    }
    starts
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// A pipe that nobody writes into would have whoever reads it wait for ever.
#[tokio::test]
async fn a_pipe_or_folder_where_a_file_belongs_stops_nobody() {
    let dir = filled(vec![request(0), response(0)]).await;
    drop(open(dir.path()).unwrap());
    let month = dir.path().join("bodies/default");
    let month = std::fs::read_dir(month).unwrap().next().unwrap().unwrap().path();
    std::fs::write(month.join(crate::keeping::PLAN), b"[]").unwrap();
    let mut all = Vec::new();
    files_below(dir.path(), &mut all);
    let named = |part: &str| all.iter().any(|path| path.to_string_lossy().contains(part));
    assert!(
        ["journal/", "bodies/", "index/log/leaves", "index/evidence/", "expiring"]
            .iter()
            .all(|part| named(part))
    );
    for path in &all {
        for pipe in [true, false] {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            let odd = copied.path().join(path.strip_prefix(dir.path()).unwrap());
            std::fs::remove_file(&odd).unwrap();
            if pipe {
                let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                rustix::fs::mknodat(rustix::fs::CWD, &odd, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            } else {
                std::fs::create_dir(&odd).unwrap();
            }
            // What it says depends on the file; that it says something is what counts.
            let checked = fsck(copied.path(), Some(&Keys));
            if odd.starts_with(copied.path().join("journal")) {
                assert!(!checked.is_ok_and(|report| report.problems.is_empty()), "{}", odd.display());
            }
            if let Ok(store) = open(copied.path()) {
                drop(store.body(0).await);
                drop(truc_evidence::SegmentStore::class_months(&store).await);
            }
        }
    }
}

#[tokio::test]
async fn a_torn_tail_is_passed_over_wherever_it_was_torn() {
    let dir = filled(vec![request(0), request(1), request(2)]).await;
    let segment = segments(dir.path()).remove(0);
    let bytes = std::fs::read(&segment).unwrap();
    let starts = frame_starts(&bytes);
    let (last, end) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    for cut in last..end {
        // What a crash leaves: the file ends there, or the rest of what was allocated is zeros.
        let zeros = cut % 2 == 0;
        let mut torn = bytes[..cut].to_vec();
        if zeros {
            torn.resize(end + 100, 0);
        }
        std::fs::write(&segment, &torn).unwrap();
        let report = fsck(dir.path(), Some(&Keys)).unwrap();
        assert_eq!((report.problems.as_slice(), report.records), ([].as_slice(), 2), "cut at {cut}");
        // Through the scan alone: opening a store 600 times would only measure sled.
        let list = crate::journal::scan::list(&dir.path().join("journal"), "evidence").unwrap();
        let point =
            crate::journal::scan::scan("evidence", &list, None, None, &mut |_| Ok(())).unwrap().unwrap();
        assert_eq!((point.sequence, point.place.offset), (2, last as u64), "cut at {cut}");
        if cut % 97 == 0 {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            let store = open(copied.path()).unwrap();
            assert_eq!(store.append(request(3), None).await.unwrap().sequence, 2);
            drop(store);
            let store = open(copied.path()).unwrap();
            assert_eq!(store.read(2).await.unwrap().local.request, Sample::new(3).unwrap().request);
            let kept = std::fs::read(&segments(copied.path())[0]).unwrap();
            assert!(torn.starts_with(&kept), "segments are never rewritten");
            let rest = torn.get(kept.len()..).unwrap();
            assert!(
                rest.iter().all(|b| *b == 0),
                "what was torn off stays; room that was never written does not"
            );
            assert!(!zeros || rest.len() >= 100, "cut at {cut}");
            drop(store);
            let report = fsck(copied.path(), Some(&Keys)).unwrap();
            assert_eq!((report.problems.as_slice(), report.records), ([].as_slice(), 3));
        }
    }
}

#[tokio::test]
async fn every_changed_bit_of_acknowledged_bytes_is_found() {
    let dir = filled(vec![request(0), response(0)]).await;
    // A second start: what the first segment holds is vouched for by the header of the second.
    open(dir.path()).unwrap().append(request(1), None).await.unwrap();
    // What is made from the journal would only be copied each time.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let bodies = dir.path().join("bodies/default/202611");
    let mut files = segments(dir.path());
    files.truncate(1);
    files.push(bodies.join("00000001.seg"));
    files.push(bodies.join("key"));
    assert_eq!(fsck(dir.path(), Some(&Keys)).unwrap().problems, []);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(&file, &changed).unwrap();
            let report = fsck(dir.path(), Some(&Keys)).unwrap();
            assert!(!report.problems.is_empty(), "{} byte {place}", file.display());
            assert!(report.problems.iter().all(|p| p.path.starts_with(dir.path())));
        }
        std::fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(fsck(dir.path(), Some(&Keys)).unwrap().problems, []);
}

#[tokio::test]
async fn damage_before_acknowledged_records_stops_the_start() {
    let dir = filled(vec![request(0), request(1), request(2)]).await;
    let segment = segments(dir.path()).remove(0);
    let bytes = std::fs::read(&segment).unwrap();
    let starts = frame_starts(&bytes);
    // Not the last segment's last batch, so no torn tail.
    let mut changed = bytes.clone();
    changed[starts[1] + 40] ^= 1;
    std::fs::write(&segment, &changed).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged(_))));
    // A lost segment in the middle, too.
    std::fs::write(&segment, &bytes).unwrap();
    open(dir.path()).unwrap().append(request(3), None).await.unwrap();
    open(dir.path()).unwrap().append(request(4), None).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let middle = segments(dir.path()).remove(1);
    std::fs::remove_file(&middle).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged(_))));
    assert_eq!(fsck(dir.path(), None).unwrap().problems.len(), 1);
}

#[tokio::test]
async fn an_unknown_segment_version_is_refused() {
    let dir = filled(vec![request(0)]).await;
    let segment = segments(dir.path()).remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[9] = 3;
    std::fs::write(&segment, &bytes).unwrap();
    let Err(error) = open(dir.path()) else { panic!("opened") };
    assert!(error.to_string().contains("format 3"), "{error}");
}

#[tokio::test]
async fn a_failed_sync_loses_that_batch_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    let failing = Arc::clone(&options.hooks.failing_syncs);
    let clock = stop_clock(&mut options);
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options).unwrap();
    store.append(request(0), None).await.unwrap();
    for n in 0..3 {
        let mut record = request(10 + n);
        if n != 0 {
            // Without a body the journal's own sync fails.
            record.body = None;
        }
        failing.store(1, Ordering::SeqCst);
        assert!(matches!(store.append(record, None).await, Err(StoreError::Failed(_))));
        clock.fetch_add(100, Ordering::SeqCst);
        assert_eq!(store.append(request(1 + n), None).await.unwrap().sequence, 1 + n);
    }
    drop(store);
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records), ([].as_slice(), 4));
    for _ in 0..2 {
        let store = open(dir.path()).unwrap();
        for n in 0..4 {
            assert_eq!(store.read(n).await.unwrap().local.request, Sample::new(n).unwrap().request);
        }
        assert_eq!(store.list(Query::default()).await.unwrap().exchanges.len(), 4);
        drop(store);
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    }
}

/// Stops the clock for pauses; returns its hand, in milliseconds.
fn stop_clock(options: &mut JournalOptions) -> Arc<AtomicU64> {
    let hand = Arc::new(AtomicU64::new(0));
    options.hooks.standing = Some((std::time::Instant::now(), Arc::clone(&hand)));
    hand
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn a_disk_that_goes_on_failing_is_left_alone_for_a_while_and_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options().sizes(1 << 20, 64 << 20);
    let failing = Arc::clone(&options.hooks.failing_syncs);
    let clock = stop_clock(&mut options);
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options).unwrap();
    store.append(request(0), None).await.unwrap();
    let bodies = dir.path().join("bodies/default/202611");
    let lengths = |paths: &[PathBuf]| paths.iter().map(|p| length(p)).collect::<Vec<_>>();
    // Bodies first, so the body segment's sync is the one that fails.
    failing.store(1, Ordering::SeqCst);
    assert!(matches!(store.append(request(1), None).await, Err(StoreError::Failed(_))));
    let (journal, body) = (segments(dir.path()), bodies.join("00000001.seg"));
    assert_eq!(journal.len(), 1, "no segment follows at once");
    // Whoever is refused in the pause touches no disk: no failure is used up. Room cannot be had either.
    failing.store(1, Ordering::SeqCst);
    for n in 0..50 {
        clock.store(99, Ordering::SeqCst);
        assert!(matches!(store.append(request(1 + n), None).await, Err(StoreError::Failed(_))));
        assert!(matches!(store.reserve(10).await, Err(StoreError::Failed(_))));
    }
    assert_eq!(failing.load(Ordering::SeqCst), 1);
    // Each end of a pause allows one attempt, and doubles it: 100, 200, ... 5000, 5000.
    let mut at = 0;
    for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        at += pause;
        for (when, left) in [(at - 1, 1), (at, 0)] {
            clock.store(when, Ordering::SeqCst);
            assert!(matches!(store.append(request(2), None).await, Err(StoreError::Failed(_))));
            assert_eq!(failing.load(Ordering::SeqCst), left, "at {when} ms");
        }
        failing.store(1, Ordering::SeqCst);
    }
    assert_eq!(segments(dir.path()), journal, "a segment that could not be begun is no file");
    // Nothing is preallocated any more, and what was acknowledged is as it was.
    let kept = lengths(&[journal[0].clone(), body.clone()]);
    assert!(kept.iter().all(|n| *n > HEADER as u64 && *n < 64 << 10), "{kept:?}");
    let bytes = std::fs::read(&journal[0]).unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    let report = fsck(copied.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records), ([].as_slice(), 1), "what was refused is gone");
    // Without a restart.
    failing.store(0, Ordering::SeqCst);
    clock.store(at + 5000, Ordering::SeqCst);
    assert_eq!(store.append(request(3), None).await.unwrap().sequence, 1);
    assert_eq!(store.body(0).await.unwrap().as_deref(), Some(b"body".as_slice()));
    // A success makes the next pause a first one again; now the journal's own sync fails.
    let mut bare = request(4);
    bare.body = None;
    failing.store(1, Ordering::SeqCst);
    assert!(matches!(store.append(bare, None).await, Err(StoreError::Failed(_))));
    clock.fetch_add(100, Ordering::SeqCst);
    assert_eq!(store.append(request(5), None).await.unwrap().sequence, 2);
    assert_eq!(std::fs::read(&journal[0]).unwrap(), bytes, "segments are never rewritten");
    drop(store);
    let all = [segments(dir.path()), (1..4).map(|n| bodies.join(format!("{n:08}.seg"))).collect()].concat();
    assert_eq!(all.len(), 6);
    assert!(lengths(&all).iter().all(|n| *n < 64 << 10), "{:?}", lengths(&all));
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records, report.bodies), ([].as_slice(), 3, 3));
}

#[tokio::test]
async fn a_lost_late_or_broken_index_is_made_again_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    contract::evidence(&store).await.unwrap();
    drop(store);
    let early = dir.path().join("early");
    copy(&dir.path().join("index"), &early);
    let store = open(dir.path()).unwrap();
    for n in 100..140 {
        store.append(request(n), None).await.unwrap();
        store.append(response(n), None).await.unwrap();
    }
    let expected = store.index_dump().await;
    drop(store);
    let index = dir.path().join("index");
    for case in ["lost", "late", "garbage", "condemned", "foreign"] {
        match case {
            "lost" => std::fs::remove_dir_all(&index).unwrap(),
            "late" => {
                std::fs::remove_dir_all(&index).unwrap();
                copy(&early, &index);
            }
            "garbage" => {
                for entry in std::fs::read_dir(index.join("evidence")).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_file() {
                        let length = std::fs::metadata(&path).unwrap().len();
                        std::fs::write(&path, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
                    }
                }
            }
            "condemned" => {
                let db = sled::open(index.join("evidence")).unwrap();
                db.remove(b"f").unwrap();
            }
            _ => {
                // An index of another journal: its point is not in this one.
                let other = filled(vec![request(0), request(1)]).await;
                drop(open(other.path()).unwrap());
                std::fs::remove_dir_all(&index).unwrap();
                copy(&other.path().join("index"), &index);
            }
        }
        let store = open(dir.path()).unwrap();
        assert!(store.index_dump().await == expected, "{case}: the index is another one");
        drop(store);
    }
}

#[tokio::test]
async fn an_index_that_breaks_while_it_is_used_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    contract::evidence(&store).await.unwrap();
    let expected = store.index_dump().await;
    let request = Sample::new(1).unwrap().request;
    store.spoil_index(&request);
    assert!(matches!(store.exchange(request).await, Err(StoreError::Failed(_))));
    assert_eq!(store.read(2).await.unwrap().local.request, request, "the journal needs no index");
    assert_eq!(store.exchange(request).await.unwrap().len(), 2);
    assert!(store.index_dump().await == expected);
    contract::evidence_reopened(&store).await.unwrap();
}

#[tokio::test]
async fn an_expired_month_takes_its_bodies_and_nothing_else() {
    let dir = filled(vec![request(0)]).await;
    std::fs::remove_dir_all(dir.path().join("bodies/default/202611")).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.body(0).await.unwrap(), None);
    assert!(store.read(0).await.unwrap().has_body);
    let report = fsck(dir.path(), Some(&Keys));
    assert!(report.is_ok_and(|r| r.problems.iter().any(|p| p.what.contains("no tombstone"))));
    store.prove(tombstone()).await.unwrap();
    drop(store);
    assert_eq!(fsck(dir.path(), Some(&Keys)).unwrap().problems, []);
}

#[tokio::test]
async fn reservations_hold_across_segments_and_months() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // Before any body: the month is not known yet.
    let early = store.reserve(5000).await.unwrap();
    let mut rooms = Vec::new();
    for n in 0..40 {
        rooms.push(store.reserve(3000).await.unwrap());
        store.append(Sample::new(n).unwrap().request(&[4; 2500]).unwrap(), None).await.unwrap();
    }
    // 60 days on.
    for (n, room) in (60 * 24 * 60..).zip(rooms) {
        store.append(Sample::new(n).unwrap().request(&[4; 2900]).unwrap(), Some(room)).await.unwrap();
    }
    drop(early);
    assert!(dir.path().join("bodies/default/202701/00000001.seg").exists());
    drop(store);
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.bodies), ([].as_slice(), 80));
}

#[tokio::test]
async fn more_than_the_queue_holds_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options().queue(1)).unwrap();
    let outcomes = futures::future::join_all((0..50).map(|n| store.append(request(n), None))).await;
    let (done, busy): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(!done.is_empty() && busy.iter().all(|b| *b == Err(StoreError::Busy)));
    assert_eq!(store.append(request(99), None).await.unwrap().sequence, done.len() as u64);
}

#[tokio::test]
async fn requests_are_found_by_their_callers_ids_also_by_an_index_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    contract::caller_ids(&store).await.unwrap();
    let index = store.index_dump().await;
    assert!(
        !index.iter().any(|(key, _)| key.windows(4).any(|w| w == b"khac")),
        "an id is indexed by its digest only"
    );
    drop(store);
    contract::caller_ids_reopened(&open(dir.path()).unwrap()).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = open(dir.path()).unwrap();
    contract::caller_ids_reopened(&store).await.unwrap();
    assert!(store.index_dump().await == index);
}

fn packed(class: &str, body: &'static [u8]) -> Packed {
    Packed::new(class.parse().unwrap(), Bytes::from_static(body)).unwrap()
}

#[test]
fn classes_have_segments_and_keys_of_their_own_and_share_promised_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.step = 64 << 10;
    let mut bodies = Bodies::new(dir.path().to_owned(), Arc::new(Keys), options);
    let (month, next) = (Month(202_611), Month(202_612));
    let (one, other) = ("default".parse().unwrap(), "y-te-20y".parse().unwrap());
    bodies.turn(&one, month, 1000, 0).unwrap();
    bodies.turn(&other, month, 1000, 0).unwrap();
    let shelf = Shelf::temporary(None).unwrap();
    let read = |n: u64, r: &BodyRef| crate::bodies::read(dir.path(), &Keys, &shelf, n, r).unwrap();
    let mut references = Vec::new();
    for (sequence, class) in [(0, "default"), (1, "y-te-20y"), (2, "default")] {
        references.push((sequence, bodies.push(sequence, &packed(class, &[7; 500])).unwrap()));
    }
    // Room that lies in one class goes over to another, also to one that has no segment yet.
    let all = bodies.free();
    let need = bodies.free_of(&other) + 10_000;
    bodies.shift(&other, month, need).unwrap();
    assert!(bodies.free_of(&other) >= need && bodies.free() >= all, "{} of {all}", bodies.free());
    let third = "an-sinh".parse().unwrap();
    bodies.shift(&third, next, 20_000).unwrap();
    assert!(bodies.free_of(&third) >= 20_000 && bodies.free() >= all);
    assert_eq!(bodies.shift(&third, next, all + 100_000), Err(StoreError::Full));
    references.push((3, bodies.push(3, &packed("an-sinh", b"short")).unwrap()));
    bodies.flush().unwrap();
    for (sequence, reference) in &references {
        assert_eq!(
            read(*sequence, reference).unwrap(),
            if *sequence == 3 { b"short".to_vec() } else { vec![7; 500] }
        );
        let written = reference.encode();
        assert_eq!(BodyRef::decode(&mut Reader(&written)).as_ref(), Some(reference));
    }
    // More classes than are kept open: the one unused for longest is left, and what it holds is flushed with the rest.
    for n in 0..20 {
        let class: truc_evidence::BodyClass = format!("c-{n}").parse().unwrap();
        bodies.turn(&class, month, 600, 0).unwrap();
        let reference = bodies.push(10 + n, &packed(class.as_str(), b"one of many")).unwrap();
        references.push((10 + n, reference));
    }
    bodies.flush().unwrap();
    bodies.finish();
    for (sequence, reference) in &references {
        assert!(read(*sequence, reference).is_some());
    }
    std::fs::remove_file(dir.path().join("y-te-20y/202611/key")).unwrap();
    let gone: Vec<_> = references.iter().filter(|(n, r)| read(*n, r).is_none()).map(|(n, _)| *n).collect();
    assert_eq!(gone, [1], "the key of one class and month destroys its bodies and no others");
}

fn golden(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

/// Writes the content of the newest golden folder anew; the same bytes each time, as long as zstd makes the same.
async fn write_golden(folder: &Path) {
    let mut options = options();
    options.hooks.counted = Some(Arc::new(AtomicU8::new(1)));
    let store = EvidenceJournal::open(folder, Arc::new(Keys), options.clone()).unwrap();
    store.prove(acknowledged(0)).await.unwrap();
    contract::evidence(&store).await.unwrap();
    stamp(&store, 0, 4).await;
    stamp(&store, 4, 9).await;
    for proof in proofs() {
        store.prove(proof).await.unwrap();
    }
    drop(store);
    for name in ["index", "tmp"] {
        let _ = std::fs::remove_dir_all(folder.join(name));
    }
    options.step = 4096;
    let log = DecisionJournal::open_with(folder, "decisions", Arc::new(Keys), options).unwrap();
    contract::decisions(&log).await.unwrap();
}

/// What anybody sees of a segment's frames without a key.
fn frames(path: &Path) -> Vec<(u8, u32, u32, u64, String)> {
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut found) = (&bytes[HEADER..], Vec::new());
    while let Parsed::Frame(frame) = parse(rest) {
        found.push((frame.kind as u8, frame.number, frame.batch, frame.sequence, frame.key_id.to_owned()));
        rest = &rest[frame.bytes.len()..];
    }
    found
}

#[tokio::test]
async fn the_golden_segments_of_both_versions_still_read_and_of_version_2_are_still_written() {
    let dir = tempfile::tempdir().unwrap();
    write_golden(dir.path()).await;
    if std::env::var_os("TRUC_WRITE_GOLDEN").is_some() {
        let copied = tempfile::tempdir().unwrap();
        copy(&golden(1), copied.path());
        let root = open(copied.path()).unwrap().root(11).await.unwrap();
        std::fs::write(golden(1).join("root"), format!("{root}\n")).unwrap();
        let _ = std::fs::remove_dir_all(golden(2));
        copy(dir.path(), &golden(2));
        let copied = tempfile::tempdir().unwrap();
        copy(&golden(2), copied.path());
        let root = open(copied.path()).unwrap().root(11).await.unwrap();
        std::fs::write(golden(2).join("root"), format!("{root}\n")).unwrap();
    }
    for part in ["journal", "bodies/default/202611"] {
        for entry in std::fs::read_dir(golden(2).join(part)).unwrap() {
            let path = entry.unwrap().path();
            let ours = dir.path().join(path.strip_prefix(golden(2)).unwrap());
            if path.ends_with("key") {
                assert!(
                    std::fs::read(&path).unwrap() == std::fs::read(&ours).unwrap(),
                    "the key file changed"
                );
            } else {
                let (golden, ours) = (std::fs::read(&path).unwrap(), std::fs::read(&ours).unwrap());
                assert!(golden[..HEADER] == ours[..HEADER], "{} changed", path.display());
                assert_eq!(
                    frames(&path),
                    frames(&dir.path().join(path.strip_prefix(self::golden(2)).unwrap()))
                );
            }
        }
    }
    for (version, count) in [(1, 0), (2, proofs().len() as u64 + 3)] {
        let copied = tempfile::tempdir().unwrap();
        copy(&golden(version), copied.path());
        let store = open(copied.path()).unwrap();
        assert_eq!(store.log_size().await.unwrap(), 11);
        let root = store.root(11).await.unwrap().to_string();
        assert_eq!(root, std::fs::read_to_string(golden(version).join("root")).unwrap().trim());
        let mut bodies = 0;
        for sequence in 0..11 {
            let status = store.read(sequence).await.unwrap().statuses.first().copied();
            assert!(status.is_none() || store.artifact(status.unwrap()).await.unwrap().is_some());
            bodies += usize::from(store.body(sequence).await.unwrap().is_some_and(|b| !b.is_empty()));
        }
        assert_eq!(bodies, 7);
        assert_eq!(store.list(Query::default()).await.unwrap().exchanges.len(), 6);
        check_proofs(&store, version == 2).await;
        drop(store);
        let log = DecisionJournal::open(copied.path(), "decisions", Arc::new(Keys)).unwrap();
        contract::decisions_reopened(&log).await.unwrap();
        drop(log);
        let report = fsck(copied.path(), Some(&Keys)).unwrap();
        assert_eq!((report.problems.as_slice(), report.records, report.decisions), ([].as_slice(), 11, 20));
        assert_eq!(report.proofs, count);
    }
}

fn acknowledged(own: u64) -> Proof {
    let leaf = Leaf { index: own + 100, hash: Digest::of(&own.to_be_bytes()) };
    Proof::Acknowledged(Acknowledged {
        peer: "VN/GOV/G01/ss1".parse().unwrap(),
        leaves: vec![AcknowledgedLeaf { own, leaf }],
    })
}

fn status(at: i64) -> LaterStatus {
    let certificate = Fingerprint::of(b"a certificate");
    let response = Bytes::from(format!("status {at}"));
    LaterStatus { certificate, this_update: Timestamp::from_millis(at), response }
}

fn marks() -> Vec<Proof> {
    let at = Timestamp::from_millis(1_795_230_000_000);
    let (case, reason, by) = ("vu-1".to_owned(), "x".to_owned(), "admin".to_owned());
    let requests = vec![Sample::new(1).unwrap().request];
    let hold = Hold { case: case.clone(), reason: reason.clone(), by: by.clone(), at, requests };
    vec![Proof::Hold(hold), tombstone(), Proof::Release(Release { case, reason, by, at })]
}

/// Of a month in which there was nothing, beside November 2026.
fn tombstone() -> Proof {
    let text =
        "truc tombstone 1\n{\"class\":\"default\",\"month\":\"202611\",\"segments\":[],\"bodies\":0}\n";
    Proof::Tombstone(Tombstone { note: format!("{text}\n\u{2014} NODE:VN/GOV/H26/ss1 AAAAAAAA\n") })
}

/// Some of each kind but batches, which only the store itself can make: `0..4` and `4..9`.
fn proofs() -> Vec<Proof> {
    let mut proofs = vec![acknowledged(3)];
    proofs.extend([Proof::Status(status(2000)), Proof::Status(status(1000))]);
    proofs.extend(marks());
    proofs
}

/// Checks that a store has [`proofs`] and the two batches, or none.
async fn check_proofs(store: &EvidenceJournal, there: bool) {
    let batches = [(0, Some(4)), (3, Some(4)), (4, Some(9)), (8, Some(9)), (9, None)];
    for (sequence, next) in batches {
        let found = store.batch_of(sequence).await.unwrap();
        assert_eq!(found.map(|b| b.next), next.filter(|_| there), "{sequence}");
    }
    let last = store.last_batch().await.unwrap();
    assert_eq!(last.map(|b| (b.first, b.next)), there.then_some((4, 9)));
    for (since, at) in [(0, Some(1000)), (1000, Some(1000)), (1001, Some(2000)), (2001, None)] {
        let found =
            store.status_after(Fingerprint::of(b"a certificate"), Timestamp::from_millis(since)).await;
        assert_eq!(found.unwrap(), at.filter(|_| there).map(status), "{since}");
    }
    let none = store.status_after(Fingerprint::of(b"another"), Timestamp::from_millis(0)).await.unwrap();
    assert_eq!(none, None);
    let peer = "VN/GOV/G01/ss1".parse().unwrap();
    for (from, limit, own) in [(0, 9, vec![0, 3]), (0, 1, vec![0]), (1, 9, vec![3]), (4, 9, vec![])] {
        let found = store.acknowledged(&peer, from, limit).await.unwrap();
        let found: Vec<u64> = found.iter().map(|l| l.own).collect();
        assert_eq!(found, if there { own } else { vec![] });
    }
    assert_eq!(store.marks().await.unwrap(), if there { marks() } else { vec![] });
}

#[tokio::test]
async fn proofs_are_found_again_wherever_they_stand_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    // A journal that begins with a proof, has one alone in a segment, and ends with one.
    open(dir.path()).unwrap().prove(acknowledged(0)).await.unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.log_size().await.unwrap(), 0);
    assert_eq!(store.append(request(0), None).await.unwrap().sequence, 0);
    for n in 1..10 {
        store.append(request(n), None).await.unwrap();
    }
    drop(store);
    for (first, next) in [(0, 4), (4, 9)] {
        stamp(&open(dir.path()).unwrap(), first, next).await;
    }
    for proof in proofs() {
        let store = open(dir.path()).unwrap();
        store.prove(proof).await.unwrap();
    }
    let store = open(dir.path()).unwrap();
    check_proofs(&store, true).await;
    let (dump, root) = (store.index_dump().await, store.root(10).await.unwrap());
    drop(store);
    // The index alone, the tree alone, and both.
    for lost in ["index/evidence", "index/log", "index"] {
        std::fs::remove_dir_all(dir.path().join(lost)).unwrap();
        let store = open(dir.path()).unwrap();
        check_proofs(&store, true).await;
        assert!(store.index_dump().await == dump, "{lost}");
        assert_eq!(store.root(10).await.unwrap(), root);
        drop(store);
    }
    let store = open(dir.path()).unwrap();
    assert_eq!(store.append(request(10), None).await.unwrap().sequence, 10);
    assert_eq!(store.read(10).await.unwrap().local.request, Sample::new(10).unwrap().request);
    assert_eq!(store.log_size().await.unwrap(), 11);
    drop(store);
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records, report.proofs), ([].as_slice(), 11, 9));
}

#[tokio::test]
async fn the_tree_is_that_of_the_receipts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut tree = MemoryTree::default();
    for n in 0..300 {
        let record =
            if n % 7 == 0 { Sample::new(n).unwrap().unsigned("TIMEOUT", None).unwrap() } else { request(n) };
        let receipt = store.append(record, None).await.unwrap();
        tree.push(receipt.leaf.hash);
        if n == 150 {
            store.prove(acknowledged(1)).await.unwrap();
        }
    }
    assert_eq!(store.log_size().await.unwrap(), 300);
    assert_eq!(store.root(300).await.unwrap(), tree.root());
    assert_eq!(store.root(301).await, Err(StoreError::NotFound));
    let root = truc_log::root(&tree, 157).unwrap();
    let path = store.inclusion(44, 157).await.unwrap();
    let leaf = store.read(44).await.unwrap().leaf().hash;
    assert_eq!(truc_log::verify_inclusion(leaf, 44, 157, &path, root), Ok(()));
    let proof = store.consistency(157, 300).await.unwrap();
    assert_eq!(truc_log::verify_consistency(157, root, 300, tree.root(), &proof), Ok(()));
    assert_eq!(store.inclusion(157, 157).await, Err(StoreError::NotFound));
    assert_eq!(store.consistency(2, 1).await, Err(StoreError::NotFound));
    let groups = store.groups(6, 9).await.unwrap();
    assert_eq!(groups.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let of = store.read(8).await.unwrap();
    let group = truc_evidence::ers::group_hash(of.manifest_digest, Digest::of(&of.cms), &of.statuses);
    assert_eq!(groups[2], Some(group));
    assert_eq!(store.groups(299, 301).await, Err(StoreError::NotFound));
}

#[tokio::test]
async fn proofs_share_the_fate_of_their_batch_when_a_sync_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    let failing = Arc::clone(&options.hooks.failing_syncs);
    let clock = stop_clock(&mut options);
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options).unwrap();
    store.append(request(0), None).await.unwrap();
    failing.store(1, Ordering::SeqCst);
    assert!(matches!(store.prove(acknowledged(0)).await, Err(StoreError::Failed(_))));
    clock.fetch_add(100, Ordering::SeqCst);
    store.prove(acknowledged(3)).await.unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    let leaves = store.acknowledged(&"VN/GOV/G01/ss1".parse().unwrap(), 0, 9).await.unwrap();
    assert_eq!(leaves.iter().map(|l| l.own).collect::<Vec<_>>(), [3]);
    drop(store);
    assert_eq!(fsck(dir.path(), Some(&Keys)).unwrap().problems, []);
}

#[test]
fn a_header_is_read_back_and_a_broken_one_is_not() {
    let header = SegmentHeader {
        version: 2,
        kind: SegmentKind::Journal,
        salt: [7; 32],
        first: 9,
        chain: truc_model::Digest::of(b"x"),
    };
    let bytes = header.encode();
    assert_eq!((bytes.len(), SegmentHeader::decode(&bytes)), (HEADER, Ok(header)));
    for n in 0..HEADER {
        assert!(SegmentHeader::decode(&bytes[..n]).is_err());
    }
}
