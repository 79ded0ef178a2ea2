//! The stores from outside: contracts, kill -9, a full disk, a lost index, concurrency.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]
#![allow(missing_docs, reason = "a test")]

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures::future::join_all;
use ring::rand::{SecureRandom as _, SystemRandom};
use truc_evidence::contract::{self, Sample};
use truc_evidence::{
    Acknowledged, AcknowledgedLeaf, EvidenceStore as _, Proof, ProofStore as _, Query, StoreError,
};
use truc_log::MemoryTree;
use truc_message::Leaf;
use truc_model::{Digest, MemberId, NodeId};
use truc_stores::{
    DataFolder, DecisionJournal, EvidenceJournal, FolderError, JournalOptions, RecordKey, RecordKeys, fsck,
};
use zeroize::Zeroizing;

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, owner: &MemberId) -> Option<RecordKey> {
        (owner.code() == "H26").then(|| key("VN/GOV/H26#1", 1))
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        match id {
            "VN/GOV/H26#1" => Some(key(id, 1)),
            "node#1" => Some(self.node_key()),
            _ => None,
        }
    }
    fn node_key(&self) -> RecordKey {
        key("node#1", 2)
    }
}

fn key(id: &str, byte: u8) -> RecordKey {
    RecordKey::new(id, Zeroizing::new([byte; 32]))
}

fn small() -> JournalOptions {
    JournalOptions::default().spare(0).sizes(64 << 10, 96 << 10)
}

fn open(folder: &Path) -> EvidenceJournal {
    EvidenceJournal::open(folder, Arc::new(Keys), small()).unwrap()
}

fn skip(why: &str) {
    assert!(std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "required, but skipped: {why}");
    eprintln!("SKIPPED: {why}");
}

#[tokio::test]
async fn evidence_keeps_its_contract_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(&dir.path().join("data")).unwrap();
    contract::evidence(&open(folder.path())).await.unwrap();
    for _ in 0..3 {
        contract::evidence_reopened(&open(folder.path())).await.unwrap();
    }
    drop(folder);
    let report = fsck(&dir.path().join("data"), Some(&Keys)).unwrap();
    assert_eq!((report.problems.len(), report.records, report.bodies), (0, 11, 8), "{report:?}");
    assert!(report.torn.is_empty());
}

#[tokio::test]
async fn proofs_keep_their_contract_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    contract::proofs(&open(dir.path())).await.unwrap();
    contract::proofs_reopened(&open(dir.path())).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    contract::proofs_reopened(&open(dir.path())).await.unwrap();
}

#[tokio::test]
async fn decisions_keep_their_contract_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DecisionJournal::open(dir.path(), "decisions", Arc::new(Keys)).unwrap();
    contract::decisions(&open()).await.unwrap();
    contract::decisions_reopened(&open()).await.unwrap();
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.len(), report.decisions), (0, 20));
}

#[test]
fn a_data_folder_has_one_owner_and_one_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let folder = DataFolder::open(&path).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("FORMAT")).unwrap(), "truc-node 1\n");
    for part in ["keys", "journal", "bodies", "index", "directory", "spool", "tmp"] {
        assert!(folder.part(part).is_dir());
    }
    let second = DataFolder::open(&path).unwrap_err();
    assert!(matches!(second, FolderError::InUse(_)) && second.to_string().contains(path.to_str().unwrap()));
    assert!(fsck(&path, None).is_err(), "a running node's folder is not checked");
    drop(folder);
    DataFolder::open(&path).unwrap();
    assert!(matches!(DataFolder::open_as(&path, "truc-registry"), Err(FolderError::Format { .. })));
    std::fs::write(path.join("FORMAT"), "truc-node 2\n").unwrap();
    assert!(matches!(DataFolder::open(&path), Err(FolderError::Format { .. })));
    let other = dir.path().join("photos");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("a.jpg"), "x").unwrap();
    assert!(matches!(DataFolder::open(&other), Err(FolderError::NotOurs(_))));
}

#[tokio::test]
async fn an_owner_without_a_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut record = Sample::new(0).unwrap().request(b"x").unwrap();
    record.owner = "VN/GOV/G99".parse().unwrap();
    assert!(matches!(store.append(record, None).await, Err(StoreError::Failed(_))));
    store.append(Sample::new(0).unwrap().request(b"x").unwrap(), None).await.unwrap();
}

#[tokio::test]
async fn bodies_over_ten_mebibytes_are_kept_by_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let big = vec![7; 10 << 20];
    store.append(Sample::new(0).unwrap().request(&big).unwrap(), None).await.unwrap();
    let bigger = vec![7; (10 << 20) + 1];
    store.append(Sample::new(1).unwrap().request(&bigger).unwrap(), None).await.unwrap();
    assert_eq!(store.body(0).await.unwrap().unwrap(), big);
    assert_eq!(store.body(1).await.unwrap(), None);
    assert!(!store.read(1).await.unwrap().has_body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_writers_get_sequences_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let writer = |n: u64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let sample = Sample::new(n).unwrap();
            let room = store.reserve(2048).await.unwrap();
            let first = store.append(sample.request(&[1; 700]).unwrap(), None).await.unwrap();
            let second = store.append(sample.response(&[2; 1500]).unwrap(), Some(room)).await.unwrap();
            let records = store.exchange(sample.request).await.unwrap();
            assert_eq!(
                records.iter().map(|r| r.sequence).collect::<Vec<_>>(),
                [first.sequence, second.sequence]
            );
            [first.sequence, second.sequence]
        })
    };
    let mut sequences: Vec<u64> = Vec::new();
    // In waves: a slow disk may take all that waits as one batch, and a batch lies in one segment.
    for wave in 0..4 {
        let written = join_all((wave * 50..wave * 50 + 50).map(writer)).await;
        sequences.extend(written.into_iter().flat_map(|s| s.unwrap()));
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (0..400).collect::<Vec<u64>>());
    assert_eq!(store.list(Query::default()).await.unwrap().exchanges.len(), 200);
    drop(store);
    assert_eq!(open(dir.path()).replay(Sample::new(0).unwrap().at).await.unwrap().len(), 400);
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!((report.problems.as_slice(), report.records), ([].as_slice(), 400));
    assert!(report.segments > 2, "the test should cross segments");
}

const CHILD: &str = "TRUC_STORES_KILL_CHILD";

/// Not a test by itself: the process that the next test kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = Arc::new(open(Path::new(&folder)));
    let out =
        Arc::new(std::sync::Mutex::new(std::fs::File::from(rustix::io::dup(std::io::stdout()).unwrap())));
    let tasks = (0..8_u64).map(|writer| {
        let (store, out) = (Arc::clone(&store), Arc::clone(&out));
        tokio::spawn(async move {
            for turn in 0..u64::MAX {
                let sample = Sample::new(turn * 8 + writer).unwrap();
                let receipt = store.append(sample.request(&[3; 300]).unwrap(), None).await.unwrap();
                if turn % 4 == 0 {
                    store.prove(acknowledged(receipt.sequence)).await.unwrap();
                    writeln!(out.lock().unwrap(), "\nPROVED {}", receipt.sequence).unwrap();
                }
                let mut out = out.lock().unwrap();
                writeln!(out, "\nACK {} {}", receipt.sequence, sample.request).unwrap();
            }
        })
    });
    join_all(tasks).await;
}

/// A proof of which the peer's leaf tells the record.
fn acknowledged(own: u64) -> Proof {
    let leaf = Leaf { index: own + 7, hash: Digest::of(&own.to_be_bytes()) };
    let leaves = vec![AcknowledgedLeaf { own, leaf }];
    Proof::Acknowledged(Acknowledged { peer: peer(), leaves })
}

fn peer() -> NodeId {
    "VN/GOV/G01/ss1".parse().unwrap()
}

/// Checks that tree and proofs are those of the records.
async fn fits(store: &EvidenceJournal, proved: &[u64]) {
    let size = store.log_size().await.unwrap();
    let mut tree = MemoryTree::default();
    for sequence in 0..size {
        tree.push(store.read(sequence).await.unwrap().leaf().hash);
    }
    assert_eq!(store.root(size).await.unwrap(), tree.root());
    let found = store.acknowledged(&peer(), 0, usize::MAX).await.unwrap();
    let found: HashSet<u64> = found.iter().map(|l| l.own).collect();
    for own in proved {
        assert!(found.contains(own), "the proof about {own} is lost");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_kill_9() {
    let rounds: u32 = std::env::var("TRUC_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut proved: Vec<u64> = Vec::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = acknowledged.len() + 150 + 37 * round as usize;
        let mut read = |acknowledged: &mut Vec<(u64, String)>| match lines.next() {
            Some(line) => {
                let line = line.unwrap();
                proved.extend(line.strip_prefix("PROVED ").and_then(|l| l.parse::<u64>().ok()));
                if let Some((sequence, id)) = line.strip_prefix("ACK ").and_then(|l| l.split_once(' ')) {
                    acknowledged.push((sequence.parse().unwrap(), id.to_owned()));
                }
                true
            }
            None => false,
        };
        while acknowledged.len() < wanted && read(&mut acknowledged) {}
        child.kill().unwrap();
        while read(&mut acknowledged) {}
        child.wait().unwrap();
        assert!(acknowledged.len() >= wanted, "the child ended by itself");
        // A line may be cut by the kill; what was read whole was acknowledged.
        let store = open(dir.path());
        for (sequence, id) in &acknowledged {
            assert_eq!(store.read(*sequence).await.unwrap().local.request.to_string(), *id);
            assert!(store.body(*sequence).await.unwrap().is_some());
        }
        fits(&store, &proved).await;
        drop(store);
        let report = fsck(dir.path(), Some(&Keys)).unwrap();
        assert_eq!(report.problems, []);
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(args).arg(at).status().is_ok_and(|s| s.success())
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_keeps_promises_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    if !mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], dir.path()) {
        return skip("mounting a tmpfs needs root");
    }
    let _mounted = Mounted(dir.path());
    let sizes = JournalOptions::default().sizes(1 << 20, 4 << 20).spare(4 << 20);
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), sizes).unwrap();
    // Nothing that could be compressed.
    let mut body = vec![0; 100_000];
    SystemRandom::new().fill(&mut body).unwrap();
    let mut promised = Vec::new();
    for n in 0..5 {
        store.append(Sample::new(n).unwrap().request(b"kept room for").unwrap(), None).await.unwrap();
        promised.push((n, store.reserve(body.len() as u64 + 4096).await.unwrap()));
    }
    let mut n = 10;
    let refused = loop {
        match store.append(Sample::new(n).unwrap().request(&body).unwrap(), None).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    // Proofs need room as well; some may find it in what is left of the segment.
    let mut proved = Vec::new();
    let refused = loop {
        match store.prove(acknowledged(proved.len() as u64)).await {
            Ok(()) => proved.push(proved.len() as u64),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert!(n > 50, "most of the disk was used: {n}");
    assert_eq!(store.reserve(8 << 20).await.unwrap_err(), StoreError::Full);
    for (n, room) in promised {
        store.append(Sample::new(n).unwrap().response(&body).unwrap(), Some(room)).await.unwrap();
    }
    assert!(store.read(0).await.is_ok(), "it goes on answering");
    assert_eq!(store.list(Query::default()).await.unwrap().exchanges.len() as u64, n - 10 + 5);
    assert!(mount(&["-o", "remount,size=64m"], dir.path()));
    store.append(Sample::new(n).unwrap().request(&body).unwrap(), None).await.unwrap();
    assert_eq!(store.exchange(Sample::new(0).unwrap().request).await.unwrap().len(), 2);
    proved.push(9999);
    store.prove(acknowledged(9999)).await.unwrap();
    fits(&store, &proved).await;
    drop(store);
    let report = fsck(dir.path(), Some(&Keys)).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(open(dir.path()).exchange(Sample::new(4).unwrap().request).await.unwrap().len(), 2);
}
