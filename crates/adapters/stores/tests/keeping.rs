//! Segments that move to an archive and bodies that expire, on a real folder: everything is found, whatever is lost or stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use truc_evidence::contract::Sample;
use truc_evidence::{
    ArchiveStore, EvidenceStore, Proof, ProofStore, Query, SegmentStore, StoreError, StoredRecord,
};
use truc_keeping::{Keeper, NoteSigner};
use truc_model::{ManualClock, MemberId};
use truc_stores::{
    ArchiveReader, EvidenceJournal, FsckOptions, FsckReport, JournalOptions, RecordKey, RecordKeys,
};
use truc_testkit::{ArchiveFault, Crash, MemoryArchive};
use zeroize::Zeroizing;

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        self.by_id("member#1")
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        let byte = if id == "member#1" { 1 } else { 2 };
        Some(RecordKey::new(id, Zeroizing::new([byte; 32])))
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([2; 32]))
    }
}

struct Notes;

#[async_trait]
impl NoteSigner for Notes {
    async fn note(&self, text: String) -> Result<String, String> {
        Ok(format!("{text}\n\u{2014} NODE:VN/GOV/H26/ss1 c2lnbmF0dXJlcw==\n"))
    }
}

/// A folder, an archive, and what was put into the folder.
struct Ground {
    dir: tempfile::TempDir,
    archive: Arc<MemoryArchive>,
    clock: Arc<ManualClock>,
    records: u64,
}

const EXCHANGES: u64 = 30;

fn body(number: u64) -> Vec<u8> {
    // Hardly compressible.
    let word = |i: u64| (i + number * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (0..150).flat_map(word).collect()
}

impl Ground {
    async fn new() -> Self {
        let ground = Self {
            dir: tempfile::tempdir().unwrap(),
            archive: Arc::default(),
            clock: Arc::new(ManualClock::new("2026-12-24T03:00:00.000Z".parse().unwrap())),
            records: EXCHANGES * 2,
        };
        let store = ground.open().await;
        for number in 0..EXCHANGES {
            let sample = Sample::new(number).unwrap();
            for record in [sample.request(&body(number)).unwrap(), sample.response(&body(number)).unwrap()] {
                store.append(record, None).await.unwrap();
            }
        }
        ground
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn reader(&self) -> ArchiveReader {
        ArchiveReader::new(Arc::clone(&self.archive) as _, Handle::current())
    }

    async fn open(&self) -> Arc<EvidenceJournal> {
        let (folder, reader) = (self.folder().to_owned(), self.reader());
        let options = JournalOptions::default().spare(0).sizes(4096, 16 << 10).archive(reader);
        let opened =
            tokio::task::spawn_blocking(move || EvidenceJournal::open(&folder, Arc::new(Keys), options));
        Arc::new(opened.await.unwrap().unwrap())
    }

    fn keeper(&self, store: &Arc<EvidenceJournal>) -> Keeper {
        let classes = BTreeMap::from([("default".parse().unwrap(), "1y".parse().unwrap())]);
        let keeper = Keeper::new(
            Arc::clone(store) as Arc<dyn SegmentStore>,
            Arc::clone(store) as Arc<dyn EvidenceStore>,
            Arc::clone(store) as Arc<dyn ProofStore>,
            Arc::new(Notes),
            Arc::clone(&self.clock) as _,
            classes,
        );
        keeper.with_archive(Arc::clone(&self.archive) as Arc<dyn ArchiveStore>)
    }

    async fn fsck(&self, archive: bool) -> FsckReport {
        let (folder, archive) = (self.folder().to_owned(), archive.then(|| self.reader()));
        let checked = tokio::task::spawn_blocking(move || {
            let options = FsckOptions { keys: Some(&Keys), archive, ..FsckOptions::default() };
            truc_stores::fsck_with(&folder, &options)
        });
        checked.await.unwrap().unwrap()
    }

    /// Everything is found and read as it was put, bodies as long as they have not expired.
    async fn all_is_there(&self, store: &EvidenceJournal, bodies: bool) -> Vec<StoredRecord> {
        let mut all = Vec::new();
        for sequence in 0..self.records {
            let record = store.read(sequence).await.unwrap();
            let kept = store.body(sequence).await.unwrap();
            let put = Bytes::from(body(sequence / 2));
            assert_eq!(kept, bodies.then_some(put), "body {sequence}");
            for status in &record.statuses {
                assert!(store.artifact(*status).await.unwrap().is_some());
            }
            all.push(record);
        }
        for number in 0..EXCHANGES {
            let exchange = store.exchange(Sample::new(number).unwrap().request).await.unwrap();
            assert_eq!(exchange.len(), 2);
        }
        all
    }

    async fn all_of(&self, store: &EvidenceJournal) {
        for sequence in 0..self.records {
            let body = store.body(sequence).await.unwrap();
            assert_eq!(body, Some(Bytes::from(crate::body(sequence / 2))), "body {sequence}");
        }
    }

    fn segments(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["journal", "bodies/default/202611"] {
            let Ok(entries) = std::fs::read_dir(self.folder().join(folder)) else { continue };
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            found.extend(names.filter(|n| n.ends_with(".seg")));
        }
        found.sort();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_archive_is_found_and_read() {
    let ground = Ground::new().await;
    let before = ground.segments().len();
    let store = ground.open().await;
    let records = ground.all_is_there(&store, true).await;
    let moved = ground.keeper(&store).move_closed().await.unwrap();
    assert!(moved.segments >= 8, "{moved:?}");
    // The proofs lie in a segment that was begun for them.
    assert_eq!(ground.segments().len() as u64, before as u64 - moved.segments + 1);
    assert_eq!(ground.all_is_there(&store, true).await, records);
    let cached = std::fs::read_dir(ground.folder().join("tmp/archive-cache")).unwrap().count();
    assert!((1..=8).contains(&cached), "the cache is bounded: {cached}");

    // More is written, moved, and read; no name is used again.
    for number in 100..110 {
        let record = Sample::new(number).unwrap().request(&body(number)).unwrap();
        store.append(record, None).await.unwrap();
    }
    ground.keeper(&store).move_closed().await.unwrap();
    let disk = store.disk().await.unwrap();
    assert!(disk.archived > moved.bytes / 2 && disk.records == ground.records + 10, "{disk:?}");
    drop(store);
    let names = ground.archive.objects().into_keys().map(|n| n.rsplit_once('.').unwrap().0.to_owned());
    let names: Vec<_> = names.map(|n| n.rsplit_once('.').unwrap().0.to_owned()).collect();
    assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len(), "{names:?}");

    let report = ground.fsck(false).await;
    assert_eq!(report.problems, [], "without the archive");
    assert!(report.bodies_away > 0 || report.records < ground.records);
    let report = ground.fsck(true).await;
    assert_eq!((report.problems.as_slice(), report.records), (&[][..], ground.records + 10));
    assert_eq!(report.bodies, ground.records + 10, "every body was read, in the archive too");

    // The index is lost, and made again from the archive.
    std::fs::remove_dir_all(ground.folder().join("index")).unwrap();
    let store = ground.open().await;
    assert_eq!(ground.all_is_there(&store, true).await, records);
    drop(store);
    // A start reads nothing from the archive.
    drop(ground.open().await);
    assert!(!ground.folder().join("tmp/archive-cache").exists());

    // One object is spoilt: what lies there is refused, and fsck names it.
    let name = ground.archive.objects().into_keys().find(|n| n.starts_with("journal/")).unwrap();
    ground.archive.spoil(&name);
    let report = ground.fsck(true).await;
    assert!(!report.problems.is_empty(), "{report:?}");
    let store = ground.open().await;
    assert!(matches!(store.read(0).await, Err(StoreError::Damaged(_))));
}

/// Whatever the archive does, and however often the node starts anew meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_fails_midway() {
    use ArchiveFault::{AnswerLost, Away, Lies, Truncates};
    for (i, fault) in [Away, AnswerLost, Truncates, Lies].into_iter().enumerate() {
        let ground = Ground::new().await;
        for call in 0..4 {
            let store = ground.open().await;
            ground.archive.next((0..call).map(|_| ArchiveFault::None).chain([fault]));
            assert!(ground.keeper(&store).move_closed().await.is_err());
            ground.all_is_there(&store, true).await;
            drop(store);
            assert_eq!(ground.fsck(true).await.problems, [], "{fault:?} {i} {call}");
        }
        let store = ground.open().await;
        ground.keeper(&store).move_closed().await.unwrap();
        ground.all_is_there(&store, true).await;
    }
}

/// The power goes between any two calls to the archive.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_call() {
    for at in 1.. {
        let mut ground = Ground::new().await;
        let crash = Crash::at(at);
        ground.archive = Arc::new(MemoryArchive::crashing(&crash));
        let store = ground.open().await;
        let moved = ground.keeper(&store).move_closed().await;
        let crashed = crash.happened();
        assert_eq!(moved.is_err(), crashed);
        drop(store);
        crash.restart();
        assert_eq!(ground.fsck(true).await.problems, []);
        let store = ground.open().await;
        ground.keeper(&store).move_closed().await.unwrap();
        ground.all_is_there(&store, true).await;
        if !crashed {
            break;
        }
        // Each step is like the ones of the segment before.
        if at > 9 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_expire_and_held_ones_do_not() {
    let ground = Ground::new().await;
    let store = ground.open().await;
    let keeper = ground.keeper(&store);
    let held = Sample::new(3).unwrap().request;
    keeper.hold("vụ án 12", "điều tra", "ops", &[held]).await.unwrap();
    keeper.move_closed().await.unwrap();
    ground.clock.set("2027-12-01T00:00:00.000Z".parse().unwrap());
    let gone = keeper.expire().await.unwrap();
    assert_eq!(gone.len(), 1);
    assert!(!ground.archive.objects().keys().any(|name| name.starts_with("bodies/")));
    assert!(!ground.folder().join("bodies/default/202611").exists());
    for sequence in 0..ground.records {
        let kept = store.body(sequence).await.unwrap();
        let put = Bytes::from(body(sequence / 2));
        assert_eq!(kept, (sequence / 2 == 3).then_some(put), "body {sequence}");
    }
    let marks = store.marks().await.unwrap();
    assert_eq!(marks.iter().filter(|m| matches!(m, Proof::Tombstone(_))).count(), 1);
    drop((keeper, store));
    assert_eq!(ground.fsck(true).await.problems, []);

    let store = ground.open().await;
    let keeper = ground.keeper(&store);
    assert_eq!(store.body(6).await.unwrap(), Some(Bytes::from(body(3))), "after a restart too");
    keeper.release("vụ án 12", "xong", "ops").await.unwrap();
    ground.all_is_there(&store, false).await;
    assert_eq!(std::fs::read_dir(ground.folder().join("holds")).unwrap().count(), 0);
    assert_eq!(store.list(Query::default()).await.unwrap().exchanges.len() as u64, EXCHANGES);
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

impl Ground {
    /// What `kill -9` would leave of it now.
    fn killed(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(self.folder(), dir.path());
        let (archive, clock) = (Arc::clone(&self.archive), Arc::clone(&self.clock));
        Self { dir, archive, clock, records: self.records }
    }
}

/// Nothing that was made from a segment is still on its way to the disk when the segment makes way for its copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_moving_needs_nothing_from_the_archive() {
    let ground = Ground::new().await;
    let store = ground.open().await;
    ground.keeper(&store).move_closed().await.unwrap();
    let killed = ground.killed();
    assert!(killed.segments().len() < 4, "{:?}", killed.segments());
    killed.archive.always(Some(ArchiveFault::Away));
    let again = killed.open().await;
    assert_eq!(again.marks().await.unwrap(), store.marks().await.unwrap());
    assert_eq!(again.disk().await.unwrap().records, killed.records);
    drop(again);
    assert_eq!(killed.fsck(false).await.problems, []);
}

/// The room that a journal takes in advance is no content: it does not stay, and goes into no archive.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_had_taken_and_not_written_is_given_back() {
    let mut ground = Ground::new().await;
    let options = JournalOptions::default().spare(0).archive(ground.reader());
    let folder = ground.folder().to_owned();
    let opened = tokio::task::spawn_blocking(move || EvidenceJournal::open(&folder, Arc::new(Keys), options));
    let store = opened.await.unwrap().unwrap();
    for number in EXCHANGES..EXCHANGES + 2 {
        let sample = Sample::new(number).unwrap();
        for record in [sample.request(&body(number)).unwrap(), sample.response(&body(number)).unwrap()] {
            store.append(record, None).await.unwrap();
        }
    }
    ground.records += 4;
    let killed = ground.killed();
    // Made, and the power went before it got a header.
    let never_used = killed.folder().join("bodies/default/202611/00000099.seg");
    std::fs::write(&never_used, vec![0; 8 << 20]).unwrap();
    let lengths = || {
        let files = killed.segments().into_iter();
        let path = |name: String| match name.starts_with("evidence") {
            true => killed.folder().join("journal").join(name),
            false => killed.folder().join("bodies/default/202611").join(name),
        };
        files.map(|name| std::fs::metadata(path(name)).unwrap().len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths().iter().filter(|length| **length >= 8 << 20).count(), 3, "{:?}", lengths());
    let store = killed.open().await;
    assert!(lengths().iter().all(|length| *length < 100 << 10), "{:?}", lengths());
    let disk = store.disk().await.unwrap();
    assert!(disk.journal + disk.bodies < 1 << 20, "{disk:?}");
    killed.all_of(&store).await;
    killed.keeper(&store).move_closed().await.unwrap();
    let objects = killed.archive.objects();
    assert!(objects.len() > 8 && objects.values().all(|object| object.len() < 100 << 10));
    assert!(never_used.exists(), "nobody needs it in the archive");
    killed.all_of(&store).await;
    killed.keeper(&store).move_closed().await.unwrap();
    drop(store);
    for archive in [false, true] {
        assert_eq!(killed.fsck(archive).await.problems, [], "with the archive: {archive}");
    }
    killed.all_of(&*killed.open().await).await;
}
