//! The contract of the log and of the proofs beside the records.

use std::time::Duration;

use bytes::Bytes;
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};

use super::{Check, Sample, ensure, text};
use crate::{
    Acknowledged, AcknowledgedLeaf, Batch, Decisions, EvidenceStore, Hold, LaterStatus, NewRecord, Outcome,
    Proof, ProofStore, Receipt, Release, StoreError, ers,
};

/// Records of the log that [`proofs`] makes: past one stored subtree of 256 leaves, and not a power of two.
const RECORDS: u64 = 300;
/// Every so many records one holds no signed message.
const UNSIGNED: u64 = 10;

fn record(n: u64) -> Result<NewRecord, String> {
    let sample = Sample::new(n)?;
    if n % UNSIGNED == UNSIGNED - 1 {
        return sample.unsigned("TIMEOUT", Some(Outcome::Unknown));
    }
    sample.request(format!("body {n}").as_bytes())
}

fn moment(minutes: u64) -> Result<Timestamp, String> {
    Ok(Sample::new(0)?.at.plus(Duration::from_secs(60 * minutes)))
}

fn batch(first: u64, next: u64) -> Result<Batch, String> {
    Ok(Batch {
        first,
        next,
        head: format!("NODE:VN/GOV/H26/ss1\n{next}\n"),
        authority: "TSA".into(),
        gen_time: moment(next)?,
        token: Bytes::from(format!("token of {next}")),
    })
}

fn status(minutes: u64) -> Result<LaterStatus, String> {
    let response = Bytes::from(format!("status of minute {minutes}"));
    let certificate = Fingerprint::of(b"a certificate");
    Ok(LaterStatus { certificate, this_update: moment(minutes)?, response })
}

fn leaves(of: &[u64]) -> Vec<AcknowledgedLeaf> {
    let leaf = |own: u64| truc_message::Leaf { index: own + 1000, hash: Digest::of(&own.to_be_bytes()) };
    of.iter().map(|own| AcknowledgedLeaf { own: *own, leaf: leaf(*own) }).collect()
}

fn marks() -> Result<[Proof; 2], String> {
    let (case, by) = ("TA-2026-17".to_owned(), "thanh-tra".to_owned());
    let hold = Hold {
        case: case.clone(),
        reason: "court order".into(),
        by: by.clone(),
        at: moment(1)?,
        requests: vec![Sample::new(0)?.request],
    };
    let release = Release { case, reason: "closed".into(), by, at: moment(2)? };
    Ok([Proof::Hold(hold), Proof::Release(release)])
}

fn peers() -> Result<[NodeId; 2], String> {
    Ok(["VN/GOV/G01/ss1".parse().map_err(text)?, "VN/GOV/G10/ss1".parse().map_err(text)?])
}

/// Fills an empty store with records and proofs and checks what can be asked of them.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn proofs<S: EvidenceStore + ProofStore>(store: &S) -> Check {
    ensure(store.log_size().await == Ok(0), "an empty log has no records")?;
    ensure(store.root(0).await == Ok(Digest::of(b"")), "its root is the digest of nothing")?;
    ensure(store.last_batch().await == Ok(None), "nothing is stamped in it")?;
    let [g01, g10] = peers()?;
    let mut receipts: Vec<Receipt> = Vec::new();
    for n in 0..RECORDS {
        receipts.push(store.append(record(n)?, None).await.map_err(text)?);
        let proof = match n {
            99 => Some(Proof::Batch(batch(0, 100)?)),
            120 => Some(Proof::Status(status(130)?)),
            121 => Some(Proof::Acknowledged(Acknowledged { peer: g01.clone(), leaves: leaves(&[3, 7]) })),
            150 => Some(Proof::Acknowledged(Acknowledged { peer: g10.clone(), leaves: leaves(&[8]) })),
            200 => Some(Proof::Acknowledged(Acknowledged { peer: g01.clone(), leaves: leaves(&[150, 151]) })),
            201 => Some(Proof::Decisions(Decisions { next: 4, chain: Digest::of(b"chain of decisions") })),
            210 => Some(Proof::Status(status(220)?)),
            249 => Some(Proof::Batch(batch(100, 250)?)),
            _ => None,
        };
        if let Some(proof) = proof {
            store.prove(proof).await.map_err(text)?;
        }
    }
    for mark in marks()? {
        store.prove(mark).await.map_err(text)?;
    }
    tree(store, &receipts).await?;
    proofs_reopened(store).await
}

async fn tree<S: EvidenceStore + ProofStore>(store: &S, receipts: &[Receipt]) -> Check {
    let mut whole = truc_log::MemoryTree::default();
    let mut roots = vec![whole.root()];
    for (n, receipt) in receipts.iter().enumerate() {
        ensure(receipt.sequence == n as u64, "a proof takes no sequence")?;
        whole.push(receipt.leaf.hash);
        roots.push(whole.root());
    }
    for (size, root) in roots.iter().enumerate() {
        ensure(store.root(size as u64).await.as_ref() == Ok(root), "the root is that of RFC 6962")?;
    }
    ensure(store.chain(0).await == Ok(None), "no records have no chain")?;
    for receipt in receipts {
        let after = store.chain(receipt.sequence + 1).await;
        ensure(after == Ok(Some(receipt.chain)), "the chain of a size is that of its last record's receipt")?;
    }
    for index in [0, 1, 99, 255, 256, RECORDS - 1] {
        let path = store.inclusion(index, RECORDS).await.map_err(text)?;
        let (Some(receipt), Some(root)) = (receipts.get(index as usize), roots.last()) else { continue };
        let held = truc_log::verify_inclusion(receipt.leaf.hash, index, RECORDS, &path, *root);
        ensure(held.is_ok(), "an inclusion proof leads from the receipt's leaf to the root")?;
    }
    for from in [1, 100, 256, 299, RECORDS] {
        let proof = store.consistency(from, RECORDS).await.map_err(text)?;
        let (Some(old), Some(new)) = (roots.get(from as usize), roots.last()) else { continue };
        let held = truc_log::verify_consistency(from, *old, RECORDS, *new, &proof);
        ensure(held.is_ok(), "a consistency proof leads from each root to the last")?;
    }
    Ok(())
}

/// What a store that [`proofs`] filled shows, also after it was closed and opened again.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn proofs_reopened<S: EvidenceStore + ProofStore>(store: &S) -> Check {
    ensure(store.log_size().await == Ok(RECORDS), "the log has every record")?;
    let missing = Err(StoreError::NotFound);
    ensure(store.root(RECORDS + 1).await == missing, "there is no root of a log that is not there")?;
    ensure(store.chain(RECORDS + 1).await == Err(StoreError::NotFound), "and no chain")?;
    ensure(matches!(store.chain(RECORDS).await, Ok(Some(_))), "the chain of all records is known")?;
    ensure(store.inclusion(5, 5).await == Err(StoreError::NotFound), "an index lies below the size")?;
    ensure(store.consistency(5, 4).await == Err(StoreError::NotFound), "a log does not shrink")?;
    let groups = store.groups(95, 105).await.map_err(text)?;
    for (n, group) in (95..105_u64).zip(groups) {
        let record = store.read(n).await.map_err(text)?;
        let signed = n % UNSIGNED != UNSIGNED - 1;
        let of = || ers::group_hash(record.manifest_digest, Digest::of(&record.cms), &record.statuses);
        ensure(group == signed.then(of), "a group is of manifest, signature and statuses, if signed")?;
    }
    ensure(store.groups(0, RECORDS + 1).await.is_err(), "groups are of records that are there")?;
    for (sequence, expected) in
        [(0, Some((0, 100))), (99, Some((0, 100))), (100, Some((100, 250))), (250, None)]
    {
        let found = store.batch_of(sequence).await.map_err(text)?;
        let wanted = expected.map(|(first, next)| batch(first, next)).transpose()?;
        ensure(found == wanted, "a record's batch is the one that holds it")?;
    }
    ensure(store.last_batch().await == Ok(Some(batch(100, 250)?)), "the last batch is told")?;
    statuses_and_leaves(store).await?;
    ensure(store.marks().await == Ok(marks()?.to_vec()), "marks are told in order")
}

async fn statuses_and_leaves<S: ProofStore>(store: &S) -> Check {
    let fingerprint = Fingerprint::of(b"a certificate");
    for (since, expected) in [(0, Some(130)), (130, Some(130)), (131, Some(220)), (221, None)] {
        let found = store.status_after(fingerprint, moment(since)?).await.map_err(text)?;
        ensure(found == expected.map(status).transpose()?, "the first status from a moment on is told")?;
    }
    let other = store.status_after(Fingerprint::of(b"another"), moment(0)?).await;
    ensure(other == Ok(None), "a status is of one certificate")?;
    let [g01, g10] = peers()?;
    for (from, limit, expected) in
        [(0, 10, &[3, 7, 150, 151][..]), (7, 10, &[7, 150, 151]), (0, 3, &[3, 7, 150]), (152, 10, &[])]
    {
        let found = store.acknowledged(&g01, from, limit).await.map_err(text)?;
        ensure(found == leaves(expected), "a peer's leaves are told by our records, in order")?;
    }
    ensure(store.acknowledged(&g10, 0, 10).await == Ok(leaves(&[8])), "each peer has its own")
}
