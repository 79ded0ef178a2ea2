//! A file system that dies under a journal which lives on: what was acknowledged is there after the next mount.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "shared with the suite of faults")]
#[path = "../../../../tests/faults/disk.rs"]
mod disk;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use truc_evidence::contract::Sample;
use truc_evidence::{EvidenceStore as _, StoreError};
use truc_model::{Digest, MemberId};
use truc_stores::{EvidenceJournal, JournalOptions, RecordKey, RecordKeys, fsck};
use zeroize::Zeroizing;

use self::disk::{Disk, able};

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        self.by_id("member#1")
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        Some(RecordKey::new(id, Zeroizing::new([id.len() as u8; 32])))
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([6; 32]))
    }
}

#[test]
#[ignore = "sled may wait for ever on a disk that died under it in this process; tests/faults cuts power under real ones"]
fn what_was_acknowledged_outlives_an_ext4_that_shut_itself_down() {
    shut_downs("ext4");
}

#[test]
#[ignore = "sled may wait for ever on a disk that died under it in this process; tests/faults cuts power under real ones"]
fn what_was_acknowledged_outlives_an_xfs_that_shut_itself_down() {
    shut_downs("xfs");
}

/// Journals on the one file system: they keep it and its own journal busy, as a node's index and spool do.
const JOURNALS: usize = 3;
const CALLERS: usize = 4;

/// What one journal acknowledged: sequences, and the manifests of their records.
type Acknowledged = Vec<(u64, Digest)>;

fn shut_downs(kind: &'static str) {
    if !able(&["mount", "xfs_io", &format!("mkfs.{kind}")]) {
        return;
    }
    let rounds = std::env::var("TRUC_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let disk = Disk::on_loop(kind);
    let numbers = AtomicU64::new(0);
    for round in 0..rounds {
        let acknowledged = shut_down(&disk, &numbers, round);
        disk.again();
        for (journal, acknowledged) in acknowledged.iter().enumerate() {
            let about = format!("{kind}, round {round}, journal {journal}");
            assert!(!acknowledged.is_empty(), "{about}: nothing to compare");
            let report = fsck(&folder(&disk, journal), Some(&Keys)).unwrap();
            assert_eq!(report.problems, [], "{about}");
            let store = open(&folder(&disk, journal));
            for (sequence, manifest) in acknowledged {
                let found = runtime.block_on(store.read(*sequence)).map(|record| record.manifest_digest);
                assert_eq!(found.as_ref(), Ok(manifest), "{about}: the acknowledged record {sequence}");
            }
        }
    }
}

fn folder(disk: &Disk, journal: usize) -> PathBuf {
    disk.place().join(format!("data-{journal}"))
}

fn open(folder: &Path) -> EvidenceJournal {
    EvidenceJournal::open(folder, Arc::new(Keys), JournalOptions::default().sizes(256 << 10, 4 << 20))
        .unwrap()
}

/// Appends until the file system is gone and everybody was refused; returns what was acknowledged.
fn shut_down(disk: &Disk, numbers: &AtomicU64, round: u64) -> Vec<Acknowledged> {
    let stores: Vec<_> = (0..JOURNALS).map(|journal| open(&folder(disk, journal))).collect();
    let (gone, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (gone, done) = (&gone, &done);
        let appending: Vec<Vec<_>> = stores
            .iter()
            .map(|store| {
                (0..CALLERS).map(|_| scope.spawn(move || append(store, numbers, gone, done))).collect()
            })
            .collect();
        scope.spawn(|| churn(&disk.place(), gone));
        while done.load(Ordering::SeqCst) < 100 + round * 7 % 50 {
            std::thread::sleep(Duration::from_millis(1));
        }
        disk.cut();
        gone.store(true, Ordering::SeqCst);
        let joined = |threads: Vec<std::thread::ScopedJoinHandle<'_, Acknowledged>>| {
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        };
        appending.into_iter().map(joined).collect()
    })
}

fn append(store: &EvidenceJournal, numbers: &AtomicU64, gone: &AtomicBool, done: &AtomicU64) -> Acknowledged {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::SeqCst);
        let body = vec![7; if number.is_multiple_of(8) { 200 << 10 } else { 300 }];
        let record = Sample::new(number).unwrap().request(&body).unwrap();
        let manifest = record.manifest_digest;
        match runtime.block_on(store.append(record, None)) {
            Ok(receipt) => {
                acknowledged.push((receipt.sequence, manifest));
                done.fetch_add(1, Ordering::SeqCst);
            }
            Err(StoreError::Failed(_)) if gone.load(Ordering::SeqCst) => return acknowledged,
            // Between the shutdown and the word of it.
            Err(StoreError::Failed(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

fn churn(place: &Path, gone: &AtomicBool) {
    let write = |number: u32| {
        let mut file = std::fs::File::create(place.join(format!("other-{}", number % 50)))?;
        file.write_all(&[1; 5000])?;
        if number.is_multiple_of(10) { file.sync_all() } else { Ok(()) }
    };
    for number in 0.. {
        if gone.load(Ordering::SeqCst) || write(number).is_err() {
            return;
        }
    }
}
