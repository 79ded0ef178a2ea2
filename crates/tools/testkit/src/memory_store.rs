//! Evidence and decisions in memory, for tests of what uses them; keeps the same contracts as the stores on disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::{
    Decision, DecisionLog, Decisions, EvidenceStore, Found, NewRecord, Proof, Query, Receipt, RecordKind,
    Reservation, StoreError, StoredRecord, leaf_hash,
};
use truc_message::Leaf;
use truc_model::{Digest, MessageId, Timestamp};

#[derive(Default)]
struct Kept {
    records: Vec<(StoredRecord, Option<Bytes>)>,
    artifacts: HashMap<Digest, Bytes>,
    decisions: Vec<Decision>,
    proofs: Vec<Proof>,
    chain: Option<Digest>,
    /// The chain after each record.
    chains: Vec<Digest>,
    full: bool,
}

impl Kept {
    fn next_chain(&mut self, entry: Digest) -> Digest {
        let before = self.chain.unwrap_or(Digest([0; 32]));
        *self.chain.insert(Digest::of(&[before.as_bytes().as_slice(), entry.as_bytes()].concat()))
    }
}

/// An [`EvidenceStore`] and a [`DecisionLog`] that forget everything when dropped. Use one value for one of the two.
#[derive(Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on (or no longer) the store has no room.
    pub fn set_full(&self, full: bool) {
        self.kept().full = full;
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.kept().records.len()
    }

    /// Every leaf of the log, in order.
    pub(crate) fn leaves(&self) -> Vec<Digest> {
        self.each_record(|record| record.leaf().hash)
    }

    /// Something of each record, in order.
    pub(crate) fn each_record<T>(&self, take: impl Fn(&StoredRecord) -> T) -> Vec<T> {
        self.kept().records.iter().map(|(record, _)| take(record)).collect()
    }

    /// Every proof, in order.
    pub fn proofs(&self) -> Vec<Proof> {
        self.kept().proofs.clone()
    }

    pub(crate) fn add_proof(&self, proof: Proof) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if kept.full {
            return Err(StoreError::Full);
        }
        kept.next_chain(Digest::of(&proof.encode()?));
        kept.proofs.push(proof);
        Ok(())
    }

    /// The chain after so many records.
    pub(crate) fn chain_after(&self, size: u64) -> Result<Option<Digest>, StoreError> {
        let Some(last) = size.checked_sub(1) else { return Ok(None) };
        let chain = self.kept().chains.get(usize::try_from(last).unwrap_or(usize::MAX)).copied();
        chain.map(Some).ok_or(StoreError::NotFound)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl EvidenceStore for MemoryStore {
    async fn reserve(&self, _bytes: u64) -> Result<Reservation, StoreError> {
        if self.kept().full { Err(StoreError::Full) } else { Ok(Reservation::new(|| {})) }
    }

    async fn append(&self, record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let local_bytes = serde_json::to_vec(&record.local).map_err(|e| StoreError::Failed(e.to_string()))?;
        let mut kept = self.kept();
        if kept.full && room.is_none() {
            return Err(StoreError::Full);
        }
        let sequence = kept.records.len() as u64;
        let hash = leaf_hash(
            sequence,
            record.kind,
            record.manifest_digest,
            &record.cms,
            &record.statuses,
            &local_bytes,
        );
        for artifact in record.artifacts {
            kept.artifacts.insert(artifact.digest, artifact.bytes);
        }
        let stored = StoredRecord {
            sequence,
            kind: record.kind,
            owner: record.owner,
            header: record.header,
            manifest_digest: record.manifest_digest,
            cms: record.cms,
            statuses: record.statuses,
            local: record.local,
            local_bytes: local_bytes.into(),
            has_body: record.body.is_some(),
            body_digest: record.body.as_ref().map(|body| Digest::of(body)).or(record.body_digest),
        };
        kept.records.push((stored, record.body));
        let chain = kept.next_chain(hash);
        kept.chains.push(chain);
        Ok(Receipt { sequence, chain, leaf: Leaf { index: sequence, hash } })
    }

    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        let kept = self.kept();
        kept.records
            .get(usize::try_from(sequence).unwrap_or(usize::MAX))
            .map(|r| r.0.clone())
            .ok_or(StoreError::NotFound)
    }

    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        let kept = self.kept();
        Ok(kept.records.iter().map(|r| &r.0).filter(|r| r.local.request == request).cloned().collect())
    }

    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        let kept = self.kept();
        kept.records
            .get(usize::try_from(sequence).unwrap_or(usize::MAX))
            .map(|r| r.1.clone())
            .ok_or(StoreError::NotFound)
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.kept().artifacts.get(&digest).cloned())
    }

    async fn list(&self, query: Query) -> Result<Found, StoreError> {
        Ok(crate::memory_search::page(&self.each_record(StoredRecord::clone), &query))
    }

    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        let kept = self.kept();
        let answered = |request: &StoredRecord| {
            let same = |r: &StoredRecord| {
                r.local.request == request.local.request && r.local.role == request.local.role
            };
            kept.records.iter().any(|(r, _)| r.kind != RecordKind::Request && same(r))
        };
        let wanted =
            |r: &&StoredRecord| r.local.at >= since || (r.kind == RecordKind::Request && !answered(r));
        Ok(kept.records.iter().map(|r| &r.0).filter(wanted).cloned().collect())
    }
}

#[async_trait]
impl DecisionLog for MemoryStore {
    async fn append(&self, decision: Decision) -> Result<Receipt, StoreError> {
        let bytes = serde_json::to_vec(&decision).map_err(|e| StoreError::Failed(e.to_string()))?;
        let hash = Digest::of(&[&[0], bytes.as_slice()].concat());
        let mut kept = self.kept();
        if kept.full {
            return Err(StoreError::Full);
        }
        let sequence = kept.decisions.len() as u64;
        kept.decisions.push(decision);
        Ok(Receipt { sequence, chain: kept.next_chain(hash), leaf: Leaf { index: sequence, hash } })
    }

    async fn replay(&self) -> Result<Vec<Decision>, StoreError> {
        Ok(self.kept().decisions.clone())
    }

    async fn end(&self) -> Result<Option<Decisions>, StoreError> {
        let kept = self.kept();
        let next = kept.decisions.len() as u64;
        Ok(kept.chain.filter(|_| next > 0).map(|chain| Decisions { next, chain }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truc_evidence::contract;

    #[tokio::test]
    async fn keeps_the_contracts() {
        contract::evidence(&MemoryStore::default()).await.unwrap();
        contract::caller_ids(&MemoryStore::default()).await.unwrap();
        contract::search(&MemoryStore::default()).await.unwrap();
        contract::proofs(&MemoryStore::default()).await.unwrap();
        contract::decisions(&MemoryStore::default()).await.unwrap();
    }
}
