//! Runs are short here (8 records, 3 of one length become one), so that a few hundred records go through everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_evidence::contract::{self, Sample};
use truc_evidence::{EvidenceStore as _, KeyedHash, NewRecord, Query};
use truc_model::{Digest, MemberId};
use zeroize::Zeroizing;

use crate::{EvidenceJournal, JournalOptions, RecordKey, RecordKeys};

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn by_id(&self, _: &str) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([2; 32]))
    }
}

fn open(folder: &Path) -> EvidenceJournal {
    let options = JournalOptions::default().spare(0).sizes(64 << 10, 96 << 10);
    EvidenceJournal::open(folder, Arc::new(Keys), options).unwrap()
}

fn index(folder: &Path) -> PathBuf {
    folder.join("index/evidence")
}

fn runs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(index(folder).join("runs")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_search_finds_all_that_it_should_also_in_an_index_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    contract::search(&store).await.unwrap();
    let expected = store.index_dump().await;
    drop(store);
    assert!(runs(dir.path()).len() >= 3, "{:?}", runs(dir.path()));
    for made_anew in [false, true] {
        if made_anew {
            std::fs::remove_dir_all(index(dir.path())).unwrap();
        }
        let store = open(dir.path());
        contract::search_reopened(&store).await.unwrap();
        assert!(store.index_dump().await == expected, "made anew: {made_anew}");
    }
}

#[tokio::test]
async fn damaged_and_missing_runs_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    contract::search(&store).await.unwrap();
    let expected = store.index_dump().await;
    drop(store);
    for run in runs(dir.path()) {
        let bytes = std::fs::read(&run).unwrap();
        for case in ["missing", "short", "tail", "not a run"] {
            match case {
                "missing" => std::fs::remove_file(&run).unwrap(),
                "short" => std::fs::write(&run, &bytes[..bytes.len() / 2]).unwrap(),
                "tail" => {
                    let mut changed = bytes.clone();
                    let at = changed.len() - 40;
                    changed[at] ^= 1;
                    std::fs::write(&run, changed).unwrap();
                }
                _ => std::fs::write(&run, b"not a run").unwrap(),
            }
            let store = open(dir.path());
            assert!(store.index_dump().await == expected, "{case} {}", run.display());
            drop(store);
        }
    }
}

#[tokio::test]
async fn every_changed_byte_of_a_run_is_found_before_it_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    contract::search(&store).await.unwrap();
    drop(store);
    let run = runs(dir.path()).remove(0);
    let bytes = std::fs::read(&run).unwrap();
    let read_all = |path: &Path| {
        let run = Arc::new(super::Run::open_file(path)?);
        for sequence in run.from..run.end() {
            run.place(sequence)?.ok_or("no place")?;
        }
        let mut firsts = run.begun(0, u64::MAX)?;
        while let Some(first) = firsts.next_back()? {
            run.exchange(first)?.ok_or("no exchange")?;
        }
        let mut walk = run.postings.walk(0, run.postings.rows());
        while walk.next(&run.postings, &run.file)?.is_some() {}
        Ok::<_, String>(())
    };
    read_all(&run).unwrap();
    let other = dir.path().join("changed.run");
    // All but the name and version at the beginning, which nothing depends on.
    for place in (9..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        std::fs::write(&other, &changed).unwrap();
        assert!(read_all(&other).is_err(), "byte {place} of {}", bytes.len());
    }
}

/// What a crash leaves: a merged run beside those that it was made of, and what was never finished.
#[tokio::test]
async fn runs_that_were_not_removed_yet_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut before = Vec::new();
    for n in 0..60 {
        store.append(Sample::new(n).unwrap().request(b"").unwrap(), None).await.unwrap();
        if n == 20 {
            store.index_dump().await;
            before = runs(dir.path()).iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
        }
    }
    let expected = store.index_dump().await;
    drop(store);
    assert!(before.iter().all(|(path, _)| !path.exists()) && !before.is_empty());
    before.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    std::fs::write(index(dir.path()).join("runs/0000000000000056-8.tmp"), b"half").unwrap();
    let store = open(dir.path());
    assert!(store.index_dump().await == expected);
    drop(store);
    assert!(before.iter().all(|(path, _)| !path.exists()));
}

/// sled may lose what it was told last when the power goes; runs are synced.
#[tokio::test]
async fn a_run_may_be_ahead_of_sled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let append = async |store: &EvidenceJournal, from: u64, to: u64| {
        for n in from..to {
            let sample = Sample::new(n).unwrap();
            store.append(sample.request(b"").unwrap(), None).await.unwrap();
            if n % 3 != 0 {
                store.append(sample.response(b"").unwrap(), None).await.unwrap();
            }
        }
    };
    append(&store, 0, 3).await;
    store.index_dump().await;
    drop(store);
    let early = tempfile::tempdir().unwrap();
    copy(&index(dir.path()), early.path());
    let store = open(dir.path());
    append(&store, 3, 30).await;
    let expected = store.index_dump().await;
    drop(store);
    let kept = tempfile::tempdir().unwrap();
    copy(&index(dir.path()).join("runs"), kept.path());
    std::fs::remove_dir_all(index(dir.path())).unwrap();
    copy(early.path(), &index(dir.path()));
    std::fs::remove_dir_all(index(dir.path()).join("runs")).unwrap();
    copy(kept.path(), &index(dir.path()).join("runs"));
    let store = open(dir.path());
    assert!(store.index_dump().await == expected);
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

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// An index that leaks tells a thief of the disk who was looked at.
#[tokio::test]
async fn the_index_holds_no_number_of_a_person_or_dossier() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let secrets = ["001099012345", "cb-0815", "H26.2026.000123", "Xác minh nhân thân", "ma-rieng-7"];
    for n in 0..40 {
        let mut record: NewRecord = Sample::new(n).unwrap().request(b"").unwrap();
        let mut header: serde_json::Value = serde_json::from_slice(&record.header).unwrap();
        header["userId"] = secrets[1].into();
        header["issue"] = secrets[2].into();
        header["purpose"] = secrets[3].into();
        header["clientMessageId"] = secrets[4].into();
        header["path"] = format!("/{}", secrets[0]).into();
        record.header = serde_json::to_vec(&header).unwrap().into();
        let keyed = |text: &str| {
            let hash = Digest::of(format!("a key {text}").as_bytes());
            Some(KeyedHash { key_id: "index-1".into(), hash })
        };
        record.local.subject = keyed(secrets[0]);
        record.local.officer = keyed(secrets[1]);
        record.local.dossier = keyed(secrets[2]);
        store.append(record, None).await.unwrap();
    }
    store.index_dump().await;
    let purpose = Query { purpose: Some(secrets[3].into()), ..Query::default() };
    assert_eq!(store.list(purpose).await.unwrap().exchanges.len(), 40);
    drop(store);
    let mut all = Vec::new();
    files(&dir.path().join("index"), &mut all);
    assert!(all.len() > 3);
    for file in all {
        let bytes = std::fs::read(&file).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} lies in {}", file.display());
        }
    }
}
