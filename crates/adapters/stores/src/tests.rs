//! What only the inside can provoke: torn and changed bytes, failed syncs, broken indexes, segments that are the same each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use truc_evidence::contract::{self, Sample};
use truc_evidence::{EvidenceStore as _, NewRecord, Query, StoreError};
use truc_model::MemberId;
use zeroize::Zeroizing;

use crate::journal::format::{HEADER, SegmentHeader, SegmentKind};
use crate::{DecisionJournal, EvidenceJournal, JournalOptions, RecordKey, RecordKeys, fsck};

struct Keys;

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

fn options() -> JournalOptions {
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

fn copy(from: &Path, to: &Path) {
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
            assert_eq!(
                std::fs::read(&segments(copied.path())[0]).unwrap(),
                torn,
                "segments are never rewritten"
            );
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
    bytes[9] = 2;
    std::fs::write(&segment, &bytes).unwrap();
    let Err(error) = open(dir.path()) else { panic!("opened") };
    assert!(error.to_string().contains("format 2"), "{error}");
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
        assert_eq!(store.list(Query::default()).await.unwrap().len(), 4);
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

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// Writes the golden folder's content anew; the same bytes each time.
async fn write_golden(folder: &Path) {
    let mut options = options();
    options.hooks.counted = Some(Arc::new(AtomicU8::new(1)));
    let store = EvidenceJournal::open(folder, Arc::new(Keys), options.clone()).unwrap();
    contract::evidence(&store).await.unwrap();
    drop(store);
    for name in ["index", "tmp"] {
        let _ = std::fs::remove_dir_all(folder.join(name));
    }
    options.step = 4096;
    let log = DecisionJournal::open_with(folder, "decisions", Arc::new(Keys), options).unwrap();
    contract::decisions(&log).await.unwrap();
}

#[tokio::test]
async fn the_golden_segments_of_version_1_still_read_and_are_still_written() {
    let dir = tempfile::tempdir().unwrap();
    write_golden(dir.path()).await;
    if std::env::var_os("TRUC_WRITE_GOLDEN").is_some() {
        let _ = std::fs::remove_dir_all(golden());
        copy(dir.path(), &golden());
    }
    let files =
        ["journal", "bodies/default/202611"].map(|part| std::fs::read_dir(golden().join(part)).unwrap());
    for entry in files.into_iter().flatten() {
        let path = entry.unwrap().path();
        let ours = dir.path().join(path.strip_prefix(golden()).unwrap());
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&ours).unwrap(), "{} changed", path.display());
    }
    let copied = tempfile::tempdir().unwrap();
    copy(&golden(), copied.path());
    contract::evidence_reopened(&open(copied.path()).unwrap()).await.unwrap();
    let log = DecisionJournal::open(copied.path(), "decisions", Arc::new(Keys)).unwrap();
    contract::decisions_reopened(&log).await.unwrap();
    drop(log);
    let report = fsck(copied.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records, report.decisions), ([].as_slice(), 11, 20));
}

#[test]
fn a_header_is_read_back_and_a_broken_one_is_not() {
    let header = SegmentHeader {
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
