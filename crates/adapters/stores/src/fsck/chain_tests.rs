//! Somebody with every key rewrites what lies beside the records, or the decisions, with every checksum and chain: no record and no root
//! tells, but heads speak of the chain.

use std::path::Path;
use std::sync::Arc;

use truc_evidence::contract::Sample;
use truc_evidence::{
    Archived, Decision, DecisionLog as _, Decisions, EvidenceStore as _, Hold, Proof, ProofStore as _,
    Release, Tombstone,
};
use truc_log::SignedNote;
use truc_model::{Digest, Timestamp};

use super::OutsideHead;
use super::tests::{ORIGIN, check, head_with, log_key, stamped};
use crate::decisions::STEM as DECISIONS;
use crate::evidence::STEM;
use crate::evidence::indexer::decoded;
use crate::journal::cipher::{self, Ciphers, FrameHead};
use crate::journal::format::{FrameType, SegmentHeader, SegmentKind, VERSION, next_chain, seed};
use crate::journal::{content, scan};
use crate::keys::RecordKeys as _;
use crate::tests::{Keys, copy, options};
use crate::{DecisionJournal, EvidenceJournal};

/// One frame without its encryption.
#[derive(Clone)]
struct Plain {
    kind: FrameType,
    batch: u32,
    key: String,
    content: Vec<u8>,
}

impl Plain {
    fn of(proof: &Proof) -> Self {
        let content = content::encode(&proof.encode().unwrap());
        let key = Keys.node_key().id().to_owned();
        Self { kind: FrameType::Proof, batch: u32::MAX, key, content }
    }
    fn proof(&self) -> Option<Proof> {
        let json = (self.kind == FrameType::Proof)
            .then(|| decoded(FrameType::Proof, VERSION, self.content.clone()).unwrap())?;
        Some(Proof::decode(&json).unwrap())
    }
}

/// One segment.
struct Part {
    salt: [u8; 32],
    n: u32,
    frames: Vec<Plain>,
}

fn read(folder: &Path, stem: &str) -> Vec<Part> {
    let list = scan::list(&folder.join("journal"), stem).unwrap();
    let part = |s: &scan::Segment| Part { salt: s.header.salt, n: s.id.n, frames: vec![] };
    let mut parts: Vec<Part> = list.iter().map(part).collect();
    scan::scan(stem, &list, None, None, &mut |met| {
        let key = Keys.by_id(met.frame.key_id).unwrap();
        let content = cipher::open(&met.frame, &met.segment.header.salt, &key).unwrap();
        let (kind, batch, key) = (met.frame.kind, met.frame.batch, met.frame.key_id.to_owned());
        let at = list.iter().position(|s| s.id == met.segment.id).unwrap();
        parts[at].frames.push(Plain { kind, batch, key, content });
        Ok(())
    })
    .unwrap();
    parts
}

/// Writes the journal anew as the node would have: what was not touched comes out byte for byte.
fn write(folder: &Path, stem: &str, parts: &[Part]) {
    let dir = folder.join("journal");
    for (_, path) in scan::list_names(&dir, stem).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    let (mut chain, mut sequence) = (seed(stem), 0);
    for Part { salt, n, frames } in parts {
        let id = scan::SegmentId { first: sequence, n: *n };
        let (version, kind) = (VERSION, SegmentKind::Journal);
        let header = SegmentHeader { version, kind, salt: *salt, first: sequence, chain };
        let (mut bytes, mut ciphers) = (header.encode(), Ciphers::new(*salt));
        for (number, plain) in (0..).zip(frames) {
            let (start, batch) = (bytes.len(), plain.batch.min(number));
            let head = FrameHead { kind: plain.kind, number, batch, sequence };
            ciphers.seal(&mut bytes, &head, &Keys.by_id(&plain.key).unwrap(), &[&plain.content]).unwrap();
            chain = next_chain(chain, &bytes[start..]);
            sequence += u64::from(plain.kind.counts());
        }
        std::fs::write(scan::segment_path(&dir, stem, id), bytes).unwrap();
    }
}

/// The index would tell that frames moved: whoever moves them removes it. The files of the tree have nothing to tell.
fn forget_index(folder: &Path) {
    std::fs::remove_dir_all(folder.join("index/evidence")).unwrap();
}

fn time() -> Timestamp {
    Timestamp::from_millis(1_795_230_000_000)
}

fn hold(case: &str) -> Proof {
    let (case, reason, by) = (case.to_owned(), "court order".to_owned(), "thanh-tra".to_owned());
    Proof::Hold(Hold { case, reason, by, at: time(), requests: vec![Sample::new(0).unwrap().request] })
}

fn tombstone() -> Proof {
    let (pair, key) = log_key();
    let text = "truc tombstone 1\n{\"class\":\"default\",\"month\":\"202501\"}\n".to_owned();
    let signature = pair.sign(text.as_bytes()).as_ref().to_vec();
    Proof::Tombstone(Tombstone { note: SignedNote::assemble(text, &key, signature).unwrap().to_string() })
}

fn archived(file: &str, next: u64, chain: Option<Digest>) -> Proof {
    let (file, sha256) = (file.to_owned(), Digest::of(b"bytes"));
    Proof::Archived(Archived { file, first: 0, next, sha256, length: 5, chain, at: time() })
}

fn decision(kind: &str) -> Decision {
    let payload = serde_json::json!({ "v": 1 });
    Decision { kind: kind.to_owned(), actor: "node".to_owned(), at: time(), payload }
}

/// Twelve records, eight of them stamped, with all sorts beside them; what the outside saw when there were 4, 8 and 12; six decisions,
/// of which the evidence speaks after three and after five.
struct Ground {
    dir: tempfile::TempDir,
    heads: Vec<OutsideHead>,
}

async fn ground() -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let mut heads = Vec::new();
    let beside =
        [vec![hold("A")], vec![tombstone(), archived("default/202501/00000001.seg", 0, None)], vec![]];
    for (part, beside) in (0..3_u64).zip(beside) {
        let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
        let decisions = DecisionJournal::open(dir.path(), DECISIONS, Arc::new(Keys)).unwrap();
        let kinds = [&["a.b", "log.opened", "c.d"][..], &["e.f", "g.h"], &[]][usize::try_from(part).unwrap()];
        for kind in kinds {
            decisions.append(decision(kind)).await.unwrap();
        }
        if !kinds.is_empty() {
            store.prove(Proof::Decisions(decisions.end().await.unwrap().unwrap())).await.unwrap();
        }
        for n in 0..4 {
            let record = Sample::new(part * 4 + n).unwrap().request(b"").unwrap();
            store.append(record, None).await.unwrap();
            if n == 1 {
                for proof in &beside {
                    store.prove(proof.clone()).await.unwrap();
                }
            }
        }
        let next = part * 4 + 4;
        assert_eq!(store.log_size().await.unwrap(), next);
        let (root, chain) = (store.root(next).await.unwrap(), store.chain(next).await.unwrap());
        let source = format!("peer {part}");
        heads.push(OutsideHead { source, origin: ORIGIN.into(), size: next, root, chain });
        if part < 2 {
            let groups = store.groups(part * 4, next).await.unwrap();
            let batch = stamped(part * 4, next, head_with(next, root, chain), &groups);
            store.prove(Proof::Batch(batch)).await.unwrap();
        } else {
            // After what anybody saw.
            store.prove(hold("Z")).await.unwrap();
            decisions.append(decision("i.j")).await.unwrap();
        }
    }
    Ground { dir, heads }
}

/// Removes the first frame that is meant.
fn remove(parts: &mut [Part], meant: impl Fn(&Plain) -> bool) {
    let part = parts.iter_mut().find(|part| part.frames.iter().any(&meant)).unwrap();
    let at = part.frames.iter().position(&meant).unwrap();
    part.frames.remove(at);
}

fn is(plain: &Plain, meant: fn(&Proof) -> bool) -> bool {
    plain.proof().is_some_and(|proof| meant(&proof))
}

fn opened(plain: &Plain) -> bool {
    serde_json::from_slice::<Decision>(&plain.content).unwrap().kind == "log.opened"
}

/// What is done to the evidence, and the first record of the stretch in which it was.
type Attack = (&'static str, u64, fn(&mut Vec<Part>));

const ATTACKS: [Attack; 5] = [
    ("a hold removed", 0, |parts| remove(parts, |p| is(p, |proof| matches!(proof, Proof::Hold(_))))),
    ("a tombstone removed", 4, |parts| {
        remove(parts, |p| is(p, |proof| matches!(proof, Proof::Tombstone(_))));
    }),
    ("an archived segment forgotten", 4, |parts| {
        remove(parts, |p| is(p, |proof| matches!(proof, Proof::Archived(_))));
    }),
    ("a release forged in the past", 4, |parts| {
        let (case, reason, by) = ("A".to_owned(), "closed".to_owned(), "thanh-tra".to_owned());
        let release = Proof::Release(Release { case, reason, by, at: time() });
        parts[1].frames.insert(3, Plain::of(&release));
    }),
    ("what was said of decisions removed", 0, |parts| {
        remove(parts, |p| is(p, |proof| matches!(proof, Proof::Decisions(_))));
    }),
];

#[tokio::test]
async fn what_is_whole_is_confirmed_to_the_last_head() {
    let g = ground().await;
    let report = check(g.dir.path(), &g.heads);
    assert_eq!((report.problems.as_slice(), report.first_affected), ([].as_slice(), None));
    assert_eq!((report.batches, report.anchored, report.chained), (2, 12, 12));
    assert_eq!(check(g.dir.path(), &[]).chained, 8, "by the time-stamps alone");
    for stem in [STEM, DECISIONS] {
        write(g.dir.path(), stem, &read(g.dir.path(), stem));
    }
    assert_eq!(check(g.dir.path(), &g.heads).problems, [], "the attack without the change");
    let older: Vec<_> = g.heads.iter().map(|head| OutsideHead { chain: None, ..head.clone() }).collect();
    let report = check(g.dir.path(), &older);
    assert_eq!(
        (report.problems.len(), report.anchored, report.chained),
        (0, 12, 8),
        "heads without the line"
    );
}

#[tokio::test]
async fn whoever_changes_what_lies_beside_the_records_is_found() {
    let g = ground().await;
    for (what, first, attack) in ATTACKS {
        for batches in [true, false] {
            let about = format!("{what}, batches kept: {batches}");
            let copied = tempfile::tempdir().unwrap();
            copy(g.dir.path(), copied.path());
            let mut parts = read(copied.path(), STEM);
            attack(&mut parts);
            if !batches {
                let batch = |p: &Plain| is(p, |proof| matches!(proof, Proof::Batch(_)));
                parts.iter_mut().for_each(|part| part.frames.retain(|p| !batch(p)));
            }
            write(copied.path(), STEM, &parts);
            forget_index(copied.path());
            let report = check(copied.path(), &g.heads);
            assert_eq!(report.first_affected, Some(first), "{about}: {:?}", report.problems);
            assert_eq!((report.chained, report.anchored), (first, first), "{about}");
            let (kept, told) = if batches { (1, 2) } else { (0, 1) };
            assert_eq!(report.problems.len(), told, "each once, {about}: {:?}", report.problems);
            let words = format!("between the records {first} and {}", first + 3);
            assert!(report.problems.iter().all(|p| p.what.contains(&words)), "{:?}", report.problems);
            // Without the outside the time-stamps are what is left; without those nothing is.
            let report = check(copied.path(), &[]);
            assert_eq!(report.problems.len(), kept, "{about}, without heads: {:?}", report.problems);
            if batches {
                assert_eq!((report.first_affected, report.batches), (Some(first), first / 4), "{about}");
            }
        }
    }
}

#[tokio::test]
async fn decisions_are_those_that_the_evidence_speaks_of() {
    let g = ground().await;
    type OnDecisions = fn(&mut Vec<Part>);
    let attacks: [(&str, &str, OnDecisions); 5] = [
        ("log.opened removed", "among the decisions 0 to 2", |parts| remove(parts, opened)),
        ("log.opened added", "among the decisions 3 to 4", |parts| {
            let forged = parts[0].frames[1].clone();
            parts[1].frames.insert(0, forged);
        }),
        ("another one removed, with a later one in its place", "among the decisions 3 to 4", |parts| {
            parts[1].frames.remove(0);
        }),
        ("cut off", "decision 4 and later ones are missing", |parts| {
            parts.truncate(2);
            parts[1].frames.truncate(1);
        }),
        ("begun anew", "decision 0 and later ones are missing", Vec::clear),
    ];
    for (what, told, attack) in attacks {
        let copied = tempfile::tempdir().unwrap();
        copy(g.dir.path(), copied.path());
        let mut parts = read(copied.path(), DECISIONS);
        attack(&mut parts);
        write(copied.path(), DECISIONS, &parts);
        let report = check(copied.path(), &[]);
        let found: Vec<&str> = report.problems.iter().map(|p| p.what.as_str()).collect();
        assert!(matches!(found[..], [one] if one.contains(told)), "{what}: {found:?}");
        // With what the evidence says of them made to fit, the heads tell.
        let ends: Vec<Digest> = DecisionJournal::audit(copied.path(), DECISIONS, &Keys)
            .unwrap()
            .iter()
            .map(|d| d.chain)
            .collect();
        let mut parts = read(copied.path(), STEM);
        for plain in parts.iter_mut().flat_map(|part| &mut part.frames) {
            if let Some(Proof::Decisions(Decisions { next, .. })) = plain.proof() {
                let next = next.min(ends.len() as u64);
                let chain = next.checked_sub(1).map_or(Digest([0; 32]), |last| ends[last as usize]);
                *plain =
                    Plain { batch: plain.batch, ..Plain::of(&Proof::Decisions(Decisions { next, chain })) };
            }
        }
        write(copied.path(), STEM, &parts);
        forget_index(copied.path());
        let first = Some(if told.contains("0") { 0 } else { 4 });
        for heads in [&[][..], &g.heads] {
            assert_eq!(check(copied.path(), heads).first_affected, first, "{what}: made to fit");
        }
    }
}

#[tokio::test]
async fn what_came_after_the_last_head_is_not_seen() {
    let g = ground().await;
    let mut parts = read(g.dir.path(), STEM);
    assert!(matches!(parts[2].frames.pop().unwrap().proof(), Some(Proof::Hold(_))));
    write(g.dir.path(), STEM, &parts);
    let mut decisions = read(g.dir.path(), DECISIONS);
    decisions.truncate(2);
    write(g.dir.path(), DECISIONS, &decisions);
    forget_index(g.dir.path());
    let report = check(g.dir.path(), &g.heads);
    assert_eq!((report.problems.as_slice(), report.chained), ([].as_slice(), 12));
}

/// The first segment is in the archive, as a proof at the end says; a later head confirms that the journal went on from there.
#[tokio::test]
async fn a_head_confirms_what_a_journal_without_its_beginning_goes_on_from() {
    let g = ground().await;
    for forged in [false, true] {
        let copied = tempfile::tempdir().unwrap();
        copy(g.dir.path(), copied.path());
        let mut parts = read(copied.path(), STEM);
        if forged {
            remove(&mut parts, |p| is(p, |proof| matches!(proof, Proof::Hold(_))));
        }
        write(copied.path(), STEM, &parts);
        let list = scan::list(&copied.path().join("journal"), STEM).unwrap();
        let name = list[0].path.file_name().unwrap().to_str().unwrap().to_owned();
        parts.last_mut().unwrap().frames.push(Plain::of(&archived(&name, 4, Some(list[1].header.chain))));
        write(copied.path(), STEM, &parts);
        std::fs::remove_file(&list[0].path).unwrap();
        forget_index(copied.path());
        for heads in [&[][..], &g.heads] {
            let report = check(copied.path(), heads);
            let found: Vec<&str> = report.problems.iter().map(|p| p.what.as_str()).collect();
            let outside = !heads.is_empty();
            if forged {
                assert_eq!((report.first_affected, report.chained), (Some(4), 0), "{found:?}");
                assert!(found.len() == 1 + usize::from(outside), "{found:?}");
                assert!(
                    found.iter().all(|what| what.contains("or the segments before the first one")),
                    "{found:?}"
                );
            } else {
                assert_eq!((found.as_slice(), report.chained), ([].as_slice(), if outside { 12 } else { 8 }));
            }
        }
    }
}

#[tokio::test]
async fn the_chain_of_a_size_is_the_same_after_every_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut chains = vec![None];
    for part in 0..4_u64 {
        let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
        for n in 0..5 {
            let record = Sample::new(part * 5 + n).unwrap().request(b"who").unwrap();
            chains.push(Some(store.append(record, None).await.unwrap().chain));
            if n % 2 == 0 {
                store.prove(hold("B")).await.unwrap();
            }
        }
        drop(store);
        // A segment with nothing but proofs.
        for index in [true, false] {
            let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), options()).unwrap();
            store.prove(hold("C")).await.unwrap();
            assert_eq!(store.log_size().await.unwrap() as usize + 1, chains.len());
            for (size, chain) in chains.iter().enumerate() {
                assert_eq!(store.chain(size as u64).await.as_ref(), Ok(chain), "{size}, index kept: {index}");
            }
            drop(store);
            forget_index(dir.path());
        }
    }
}
