//! Somebody with every key rewrites the past: what is found, and by what. What lies beside the records: `chain_tests.rs`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_evidence::contract::Sample;
use truc_evidence::ers::Tree;
use truc_evidence::{Archived, Batch, EvidenceStore as _, Proof, ProofStore as _};
use truc_log::{Checkpoint, MemoryTree, NoteKey, SignedNote, chain_line, root};
use truc_model::{Digest, Timestamp};

use super::{FsckOptions, FsckReport, OutsideHead, fsck_with};
use crate::EvidenceJournal;
use crate::evidence::STEM;
use crate::evidence::indexer::{decoded, group_of};
use crate::evidence::record_format::{decode, encode};
use crate::journal::cipher::{self, Ciphers, FrameHead};
use crate::journal::format::{FrameType, SegmentHeader, SegmentKind, VERSION, seed};
use crate::journal::{content, scan};
use crate::keys::RecordKeys as _;
use crate::tests::{Keys, copy, options};

pub(super) const ORIGIN: &str = "NODE:VN/GOV/H26/ss1";

pub(super) fn log_key() -> (Ed25519KeyPair, NoteKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = NoteKey::new(ORIGIN, pair.public_key().as_ref()).unwrap();
    (pair, key)
}

/// A head as a node signed it before heads spoke of the chain.
pub(crate) fn head(size: u64, root: Digest) -> String {
    head_with(size, root, None)
}

/// A head as the node signs it.
pub(super) fn head_with(size: u64, root: Digest, chain: Option<Digest>) -> String {
    let (pair, key) = log_key();
    let extensions = chain.map(chain_line).into_iter().collect();
    let text = Checkpoint { origin: ORIGIN.into(), size, root, extensions }.to_string();
    let signature = pair.sign(text.as_bytes()).as_ref().to_vec();
    SignedNote::assemble(text, &key, signature).unwrap().to_string()
}

/// A batch as an honest authority stamps it; its token is nothing but the imprint.
pub(crate) fn stamped(first: u64, next: u64, head: String, groups: &[Option<Digest>]) -> Batch {
    let leaves = groups.iter().flatten().copied().chain([Digest::of(head.as_bytes())]).collect();
    let token = Bytes::copy_from_slice(Tree::new(leaves).unwrap().root().as_bytes());
    let gen_time = Timestamp::from_millis(1_795_230_000_000);
    Batch { first, next, head, authority: "TSA".into(), gen_time, token }
}

/// Stamps records of an open store.
pub(crate) async fn stamp(store: &EvidenceJournal, first: u64, next: u64) -> Batch {
    assert!(store.log_size().await.unwrap() >= next);
    let head = head(next, store.root(next).await.unwrap());
    let batch = stamped(first, next, head, &store.groups(first, next).await.unwrap());
    store.prove(Proof::Batch(batch.clone())).await.unwrap();
    batch
}

/// Twelve records in two segments, eight of them stamped, and what the outside saw when there were 4, 8 and 12.
pub(super) struct Ground {
    pub(super) dir: tempfile::TempDir,
    pub(super) heads: Vec<OutsideHead>,
}

pub(super) async fn ground() -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let mut heads = Vec::new();
    for part in 0..3_u64 {
        let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
        for n in 0..4 {
            let record = Sample::new(part * 4 + n).unwrap().request(b"").unwrap();
            store.append(record, None).await.unwrap();
        }
        let next = part * 4 + 4;
        assert_eq!(store.log_size().await.unwrap(), next);
        let root = store.root(next).await.unwrap();
        let source = format!("peer {part}");
        heads.push(OutsideHead { source, origin: ORIGIN.into(), size: next, root, chain: None });
        if part < 2 {
            stamp(&store, part * 4, next).await;
        }
    }
    Ground { dir, heads }
}

pub(super) fn imprint(batch: &Batch) -> Result<Digest, String> {
    Digest::from_slice(&batch.token).ok_or_else(|| "not a digest".into())
}

pub(super) fn check(folder: &Path, heads: &[OutsideHead]) -> FsckReport {
    let log_keys = vec![log_key().1];
    let options = FsckOptions {
        keys: Some(&Keys),
        log_keys,
        imprint: Some(&imprint),
        heads: heads.to_vec(),
        ..FsckOptions::default()
    };
    fsck_with(folder, &options).unwrap()
}

/// One frame without its encryption.
#[derive(Clone)]
struct Plain {
    kind: FrameType,
    key: String,
    content: Vec<u8>,
}

impl Plain {
    fn proof(&self) -> bool {
        self.kind == FrameType::Proof
    }
}

fn read_all(folder: &Path) -> Vec<Plain> {
    let list = scan::list(&folder.join("journal"), STEM).unwrap();
    let mut found = Vec::new();
    scan::scan(STEM, &list, None, None, &mut |met| {
        let key = Keys.by_id(met.frame.key_id).unwrap();
        let content = cipher::open(&met.frame, &met.segment.header.salt, &key).unwrap();
        found.push(Plain { kind: met.frame.kind, key: met.frame.key_id.to_owned(), content });
        Ok(())
    })
    .unwrap();
    found
}

/// Writes a journal of these frames, with every key, checksum and chain as a node would.
fn write_all(folder: &Path, frames: &[Plain]) {
    let dir = folder.join("journal");
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let salt = [9; 32];
    let header =
        SegmentHeader { version: VERSION, kind: SegmentKind::Journal, salt, first: 0, chain: seed(STEM) };
    let (mut bytes, mut ciphers, mut sequence) = (header.encode(), Ciphers::new(salt), 0);
    for (number, plain) in (0..).zip(frames) {
        let head = FrameHead { kind: plain.kind, number, batch: number, sequence };
        let key = Keys.by_id(&plain.key).unwrap();
        ciphers.seal(&mut bytes, &head, &key, &[&plain.content]).unwrap();
        sequence += u64::from(plain.kind.counts());
    }
    std::fs::write(dir.join("evidence-00000000000000000000-1.seg"), bytes).unwrap();
}

/// The place of a record among the frames.
fn place(frames: &[Plain], sequence: usize) -> usize {
    let mut records = frames.iter().enumerate().filter(|(_, f)| f.kind == FrameType::Record);
    records.nth(sequence).unwrap().0
}

/// Makes heads and batches fit the records that are there now; the tokens stay, as nobody makes new ones with an old time.
fn remake(frames: Vec<Plain>) -> Vec<Plain> {
    let (mut tree, mut groups, mut made) = (MemoryTree::default(), Vec::new(), Vec::new());
    for mut plain in frames {
        if plain.kind == FrameType::Record {
            let (record, _) = decode(tree.size(), plain.content.clone()).unwrap();
            tree.push(record.leaf().hash);
            groups.push(group_of(&record));
        }
        if plain.proof() {
            let json = decoded(FrameType::Proof, VERSION, plain.content.clone()).unwrap();
            if let Proof::Batch(mut batch) = Proof::decode(&json).unwrap() {
                batch.head = head(batch.next, root(&tree, batch.next.min(tree.size())).unwrap());
                plain.content = content::encode(&Proof::Batch(batch).encode().unwrap());
            }
        }
        made.push(plain);
    }
    made
}

type Attack = (&'static str, u64, fn(Vec<Plain>) -> Vec<Plain>);

const ATTACKS: [Attack; 5] = [
    ("deleting", 5, |mut frames| {
        let at = place(&frames, 5);
        frames.remove(at);
        frames
    }),
    ("editing", 5, |mut frames| {
        let at = place(&frames, 5);
        let mut record = Sample::new(5).unwrap().request(b"").unwrap();
        record.local.client = "VN/GOV/H26/mot-cua-so-2".parse().unwrap();
        let local = serde_json::to_vec(&record.local).unwrap();
        frames[at].content = [vec![0], encode(&record, None, &local).unwrap()].concat();
        frames
    }),
    ("reordering", 5, |mut frames| {
        let (one, other) = (place(&frames, 5), place(&frames, 6));
        frames.swap(one, other);
        frames
    }),
    ("truncating", 5, |mut frames| {
        frames.truncate(place(&frames, 5));
        frames
    }),
    ("inserting", 6, |mut frames| {
        let at = place(&frames, 5);
        // At its own place it is what it was; the one behind it is not.
        let copied = frames[at].clone();
        frames.insert(at, copied);
        frames
    }),
];

#[tokio::test]
async fn what_is_whole_is_said_to_be_whole_and_how_far_it_is_anchored() {
    let g = ground().await;
    let report = check(g.dir.path(), &g.heads);
    assert_eq!((report.problems.as_slice(), report.first_affected), ([].as_slice(), None));
    assert_eq!((report.batches, report.stamped, report.anchored), (2, 8, 12));
    assert_eq!(report.anchored_by.as_deref(), Some("peer 2"));
    let report = check(g.dir.path(), &g.heads[..2]);
    assert_eq!((report.problems.len(), report.anchored), (0, 8));
    let mut other = g.heads[0].clone();
    (other.origin, other.root) = (format!("{ORIGIN}/log-0"), Digest([0; 32]));
    assert_eq!(
        check(g.dir.path(), &[other, g.heads[0].clone()]).problems,
        [],
        "another log's head says nothing of this one"
    );
    write_all(g.dir.path(), &read_all(g.dir.path()));
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    assert_eq!(check(g.dir.path(), &g.heads).problems, [], "the attack without the change");
}

#[tokio::test]
async fn whoever_rewrites_the_past_with_every_key_is_found() {
    let g = ground().await;
    for (what, record, attack) in ATTACKS {
        for remade in [false, true] {
            for proofs in [true, false] {
                for index in [true, false] {
                    let about =
                        format!("{what}, batches remade: {remade}, kept: {proofs}, index kept: {index}");
                    let copied = tempfile::tempdir().unwrap();
                    copy(g.dir.path(), copied.path());
                    let mut frames = attack(read_all(copied.path()));
                    if !proofs {
                        frames.retain(|f| !f.proof());
                    }
                    if remade {
                        frames = remake(frames);
                    }
                    write_all(copied.path(), &frames);
                    if !index {
                        std::fs::remove_dir_all(copied.path().join("index")).unwrap();
                    }
                    let report = check(copied.path(), &g.heads);
                    assert!(!report.problems.is_empty(), "{about}");
                    // The batch, at the worst; the record itself where the tree's files are as they were.
                    let first = report.first_affected.unwrap();
                    assert!((4..=record).contains(&first), "{about}: {first}: {:?}", report.problems);
                    assert_eq!(report.anchored, 4, "{about}");
                    if index {
                        assert_eq!(first, record, "{about}: {:?}", report.problems);
                    }
                    // Without the outside the time-stamps are what is left.
                    if proofs && what != "truncating" {
                        assert!(!check(copied.path(), &[]).problems.is_empty(), "{about}, without heads");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cut_off_end_is_told_by_the_heads_or_by_the_index() {
    let g = ground().await;
    let mut frames = read_all(g.dir.path());
    frames.truncate(place(&frames, 10));
    write_all(g.dir.path(), &frames);
    let report = check(g.dir.path(), &[]);
    assert_eq!(report.first_affected, Some(10), "{:?}", report.problems);
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    assert_eq!(check(g.dir.path(), &[]).problems, [], "nothing here knows of it any more");
    let report = check(g.dir.path(), &g.heads);
    assert_eq!((report.first_affected, report.anchored), (Some(10), 8));
    assert!(
        report.problems[0].what.contains("record 10 and later ones are missing"),
        "{:?}",
        report.problems
    );
}

#[tokio::test]
async fn a_head_by_another_key_and_a_batch_that_is_left_out_are_found() {
    let g = ground().await;
    let whole = read_all(g.dir.path());
    let batches: Vec<usize> = whole.iter().enumerate().filter(|(_, f)| f.proof()).map(|(i, _)| i).collect();
    let mut without = whole.clone();
    without.remove(batches[0]);
    write_all(g.dir.path(), &without);
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    let report = check(g.dir.path(), &g.heads);
    assert_eq!(report.first_affected, Some(0), "{:?}", report.problems);
    assert!(report.problems[0].what.contains("does not follow the one before"), "{:?}", report.problems);
    let mut forged = whole;
    let json = decoded(FrameType::Proof, VERSION, forged[batches[1]].content.clone()).unwrap();
    let Proof::Batch(batch) = Proof::decode(&json).unwrap() else { panic!("a batch") };
    let line = batch.head.lines().last().unwrap();
    let other = format!("{}AAAA", &line[..line.len() - 4]);
    let batch = Batch { head: batch.head.replace(line, &other), ..batch };
    forged[batches[1]].content = content::encode(&Proof::Batch(batch).encode().unwrap());
    write_all(g.dir.path(), &forged);
    let report = check(g.dir.path(), &[]);
    assert_eq!((report.first_affected, report.batches), (Some(4), 1), "{:?}", report.problems);
}

#[tokio::test]
async fn heads_that_all_speak_of_another_log_are_not_passed_over_in_silence() {
    let g = ground().await;
    let other = |head: &OutsideHead| OutsideHead { origin: format!("{}/log-x", head.origin), ..head.clone() };
    let others: Vec<OutsideHead> = g.heads.iter().map(other).collect();
    let report = check(g.dir.path(), &others);
    assert!(report.problems.iter().any(|p| p.what.contains("speaks of the log in force")), "{report:?}");
    let both: Vec<OutsideHead> = others.into_iter().chain(g.heads.iter().cloned()).collect();
    assert_eq!(check(g.dir.path(), &both).problems, []);
}

#[tokio::test]
async fn changed_files_of_the_tree_and_the_index_are_told_and_made_again() {
    let g = ground().await;
    for name in ["leaves", "groups"] {
        let path = g.dir.path().join("index/log").join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[32 * 7 + 3] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let report = check(g.dir.path(), &g.heads);
        assert_eq!(report.first_affected, Some(7), "{name}: {:?}", report.problems);
        std::fs::write(&path, &good).unwrap();
    }
    // A block that a power cut kept from the disk: made again at the next start.
    for name in ["leaves", "groups"] {
        let path = g.dir.path().join("index/log").join(name);
        let good = std::fs::read(&path).unwrap();
        let mut cut = good.clone();
        cut[32 * 7..].fill(0);
        std::fs::write(&path, &cut).unwrap();
        assert_eq!(check(g.dir.path(), &g.heads).problems, [], "{name}");
        std::fs::write(&path, &good).unwrap();
    }
    // A point beyond the journal: what it knows is not there.
    let store = EvidenceJournal::open(g.dir.path(), Arc::new(Keys), options()).unwrap();
    let before = read_all(g.dir.path());
    store.prove(Proof::Batch(stamp(&store, 8, 12).await)).await.unwrap();
    drop(store);
    write_all(g.dir.path(), &before);
    assert!(!check(g.dir.path(), &[]).problems.is_empty());
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    drop(EvidenceJournal::open(g.dir.path(), Arc::new(Keys), options()).unwrap());
    assert_eq!(check(g.dir.path(), &g.heads).problems, []);
}

#[tokio::test]
async fn leading_segments_may_be_away_when_the_archive_has_them() {
    let g = ground().await;
    let list = scan::list(&g.dir.path().join("journal"), STEM).unwrap();
    let first = &list[0];
    let bytes = std::fs::read(&first.path).unwrap();
    let file = first.path.file_name().unwrap().to_str().unwrap().to_owned();
    let archived = Archived {
        file,
        first: 0,
        next: 4,
        sha256: Digest::of(&bytes),
        length: bytes.len() as u64,
        chain: Some(list[1].header.chain),
        at: Timestamp::from_millis(1_795_230_000_000),
    };
    std::fs::remove_file(&first.path).unwrap();
    let report = check(g.dir.path(), &g.heads);
    assert!(
        report.problems.iter().any(|p| p.what.contains("earlier ones are missing")),
        "{:?}",
        report.problems
    );
    std::fs::write(&first.path, &bytes).unwrap();
    let store = EvidenceJournal::open(g.dir.path(), Arc::new(Keys), options()).unwrap();
    store.prove(Proof::Archived(archived)).await.unwrap();
    drop(store);
    std::fs::remove_file(&first.path).unwrap();
    let report = check(g.dir.path(), &g.heads);
    assert_eq!((report.problems.as_slice(), report.anchored), ([].as_slice(), 12));
    // The node goes on without it.
    let store = EvidenceJournal::open(g.dir.path(), Arc::new(Keys), options()).unwrap();
    store.append(Sample::new(12).unwrap().request(b"").unwrap(), None).await.unwrap();
    assert_eq!(store.log_size().await.unwrap(), 13);
    drop(store);
    assert_eq!(check(g.dir.path(), &g.heads).problems, []);
    // The second is not in the archive.
    std::fs::remove_file(&list[1].path).unwrap();
    assert!(!check(g.dir.path(), &g.heads).problems.is_empty());
}

#[tokio::test]
async fn time_does_not_go_back_from_batch_to_batch_and_late_tokens_are_told() {
    let g = ground().await;
    let mut frames = read_all(g.dir.path());
    let batches: Vec<usize> = frames.iter().enumerate().filter(|(_, f)| f.proof()).map(|(i, _)| i).collect();
    let mut set = |at: usize, hours: u64| {
        let json = decoded(FrameType::Proof, VERSION, frames[at].content.clone()).unwrap();
        let Proof::Batch(mut batch) = Proof::decode(&json).unwrap() else { panic!("a batch") };
        batch.gen_time = batch.gen_time.plus(std::time::Duration::from_secs(hours * 3600));
        frames[at].content = content::encode(&Proof::Batch(batch).encode().unwrap());
    };
    set(batches[0], 240);
    write_all(g.dir.path(), &frames);
    std::fs::remove_dir_all(g.dir.path().join("index")).unwrap();
    let report = check(g.dir.path(), &g.heads);
    assert_eq!(report.first_affected, Some(4), "{:?}", report.problems);
    assert!(report.waited.is_some());
}
