//! What is not there any more: a journal, bodies, segments in an archive. Each is accounted for, or told.

use std::path::Path;
use std::sync::Arc;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_evidence::contract::Sample;
use truc_evidence::{Archived, ClassMonth, EvidenceStore as _, Hold, Proof, ProofStore as _, Tombstone};
use truc_log::{NoteKey, SignedNote};
use truc_model::{Digest, Timestamp};

use super::tests::{ORIGIN, check, ground, imprint, log_key};
use super::{FsckOptions, fsck_with};
use crate::EvidenceJournal;
use crate::tests::{Keys, options};

/// Whoever removes the journal itself leaves nothing that could be damaged: what else there is tells.
#[tokio::test]
async fn a_journal_that_is_gone_is_told_by_the_heads_and_by_the_index() {
    let g = ground().await;
    let journal = g.dir.path().join("journal");
    for entry in std::fs::read_dir(&journal).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let report = check(g.dir.path(), &g.heads);
    assert!(report.problems.iter().any(|p| p.what.contains("the journal does not have")), "{report:?}");
    assert_eq!(report.first_affected, Some(0));
    assert!(!check(g.dir.path(), &[]).problems.is_empty(), "by the index alone");
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    let report = check(g.dir.path(), &g.heads);
    assert!(!report.problems.is_empty() && report.anchored == 0, "by the heads alone");
    std::fs::remove_dir_all(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    assert_eq!(check(g.dir.path(), &[]).problems, [], "nothing is left that could tell: heads are needed");
}

/// A body that is held does not expire: that it is gone is told, tombstone or not.
#[tokio::test]
async fn a_held_body_that_is_gone_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
    let sample = Sample::new(1).unwrap();
    let request = sample.request;
    store.append(sample.request(b"who").unwrap(), None).await.unwrap();
    let month = month(dir.path());
    let folder = month.strip_prefix(dir.path().join("bodies")).unwrap().to_str().unwrap().to_owned();
    let (class, number) = folder.split_once('/').unwrap();
    let (pair, key) = log_key();
    let text = format!("truc tombstone 1\n{{\"class\":\"{class}\",\"month\":\"{number}\"}}\n");
    let signature = pair.sign(text.as_bytes()).as_ref().to_vec();
    let note = SignedNote::assemble(text, &key, signature).unwrap().to_string();
    store.prove(Proof::Tombstone(Tombstone { note })).await.unwrap();
    let at = Timestamp::from_millis(1_795_230_000_000);
    let (case, reason, by) = ("vụ-1".to_owned(), "điều tra".to_owned(), "ops".to_owned());
    store.prove(Proof::Hold(Hold { case, reason, by, at, requests: vec![request] })).await.unwrap();
    drop(store);
    assert_eq!(check(dir.path(), &[]).problems, []);
    std::fs::remove_dir_all(&month).unwrap();
    let report = check(dir.path(), &[]);
    assert!(report.problems.iter().any(|p| p.what.contains("vụ-1")), "{report:?}");
}

/// The only folder of a class and month, and what is in it.
fn month(folder: &Path) -> std::path::PathBuf {
    let only = |path: &Path| std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    only(&only(&folder.join("bodies")))
}

fn told(folder: &Path, what: &str) -> bool {
    let due = |_: &ClassMonth| Some("2037-01-01T00:00:00.000Z".parse().unwrap());
    let options = FsckOptions {
        keys: Some(&Keys),
        log_keys: vec![log_key().1],
        imprint: Some(&imprint),
        expires: Some(&due),
        ..FsckOptions::default()
    };
    fsck_with(folder, &options).unwrap().problems.iter().any(|p| p.what.contains(what))
}

#[tokio::test]
async fn bodies_that_are_gone_need_a_signed_tombstone_or_a_plan() {
    let dir = tempfile::tempdir().unwrap();
    let open = || EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
    let store = open();
    store.append(Sample::new(1).unwrap().request(b"who").unwrap(), None).await.unwrap();
    drop(store);
    assert_eq!(check(dir.path(), &[]).problems, []);
    let month = month(dir.path());
    for entry in std::fs::read_dir(&month).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(told(dir.path(), "no tombstone says why"));
    std::fs::write(month.join("x"), b"anything").unwrap();
    assert!(told(dir.path(), "no tombstone says why"), "any file is no plan");
    let folder = month.strip_prefix(dir.path().join("bodies")).unwrap().to_str().unwrap().to_owned();
    let (class, number) = folder.split_once('/').unwrap();
    let due = "2037-01-01T00:00:00.000Z";
    let plan = |class: &str, at: &str| {
        let line = format!(
            r#"{{\"class\":\"{class}\",\"month\":\"{number}\",\"segments\":[],\"bytes\":0,\"at\":\"{at}\"}}"#
        );
        format!(r#"{{"v":1,"texts":["truc tombstone 1\n{line}\n"]}}"#)
    };
    let forged = [
        ("{}".to_owned(), "is no plan of their expiry"),
        (r#"{"v":1,"texts":[]}"#.to_owned(), "is no plan of their expiry"),
        (plan("other", due), "is no plan of their expiry"),
        (plan(class, "2036-12-31T23:59:59.999Z"), "before their time was over"),
    ];
    for (text, why) in forged {
        std::fs::write(month.join("expiring"), &text).unwrap();
        assert!(told(dir.path(), why), "{text}");
    }
    std::fs::write(month.join("expiring"), plan(class, due)).unwrap();
    let report = check(dir.path(), &[]);
    assert_eq!(
        (report.problems, report.expiring),
        (vec![], vec![folder.clone()]),
        "it goes on at the next start"
    );
    let kept_for_ever = FsckOptions { expires: Some(&|_| None), keys: Some(&Keys), ..FsckOptions::default() };
    assert_eq!(fsck_with(dir.path(), &kept_for_ever).unwrap().problems.len(), 1);
    std::fs::remove_dir_all(&month).unwrap();
    let (pair, key) = log_key();
    let text = format!("truc tombstone 1\n{{\"class\":\"{class}\",\"month\":\"{number}\"}}\n");
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let other_key = NoteKey::new(ORIGIN, other.public_key().as_ref()).unwrap();
    let signed = |pair: &Ed25519KeyPair, key: &NoteKey| {
        let signature = pair.sign(text.as_bytes()).as_ref().to_vec();
        SignedNote::assemble(text.clone(), key, signature).unwrap().to_string()
    };
    let store = open();
    store.prove(Proof::Tombstone(Tombstone { note: signed(&other, &other_key) })).await.unwrap();
    drop(store);
    assert!(told(dir.path(), "no tombstone says why") && told(dir.path(), "did not sign"));
    let store = open();
    store.prove(Proof::Tombstone(Tombstone { note: signed(&pair, &key) })).await.unwrap();
    drop(store);
    assert!(!told(dir.path(), "no tombstone says why"));
}

#[tokio::test]
async fn a_stub_alone_does_not_show_that_a_body_was_archived() {
    let dir = tempfile::tempdir().unwrap();
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
    store.append(Sample::new(1).unwrap().request(b"who").unwrap(), None).await.unwrap();
    drop(store);
    let segment = month(dir.path()).join("00000001.seg");
    let file = segment.strip_prefix(dir.path().join("bodies")).unwrap().to_str().unwrap().to_owned();
    let bytes = std::fs::read(&segment).unwrap();
    let archived = Archived {
        file,
        first: 0,
        next: 0,
        sha256: Digest::of(&bytes),
        length: bytes.len() as u64,
        chain: None,
        at: Timestamp::from_millis(1_795_230_000_000),
    };
    crate::keeping::Stub::put_in_place(&segment, &archived).unwrap();
    assert!(told(dir.path(), "said to be archived"));
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
    store.prove(Proof::Archived(archived.clone())).await.unwrap();
    drop(store);
    let report = check(dir.path(), &[]);
    assert_eq!((report.problems.as_slice(), report.bodies_away), ([].as_slice(), 1));
    std::fs::write(&segment, &bytes).unwrap();
    let other = Archived { sha256: Digest::of(b"other"), ..archived };
    crate::keeping::Stub::put_in_place(&segment, &other).unwrap();
    assert!(told(dir.path(), "said to be archived"), "the stub was edited");
}
