//! Proofs beside the records in memory; the tree is made anew for each question.

use async_trait::async_trait;
use truc_evidence::{
    AcknowledgedLeaf, Batch, LaterStatus, Proof, ProofStore, RecordKind, StoreError, StoredRecord, ers,
};
use truc_log::MemoryTree;
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};

use crate::memory_store::MemoryStore;

impl MemoryStore {
    fn tree(&self, size: u64) -> Result<MemoryTree, StoreError> {
        let leaves = self.leaves();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut tree = MemoryTree::default();
        leaves.get(..size).ok_or(StoreError::NotFound)?.iter().for_each(|leaf| tree.push(*leaf));
        Ok(tree)
    }
}

fn group(record: &StoredRecord) -> Option<Digest> {
    let signed = record.kind != RecordKind::Unsigned;
    signed.then(|| ers::group_hash(record.manifest_digest, Digest::of(&record.cms), &record.statuses))
}

#[async_trait]
impl ProofStore for MemoryStore {
    async fn prove(&self, proof: Proof) -> Result<(), StoreError> {
        // As on a disk: what cannot be read again is not kept.
        let kept = Proof::decode(&proof.encode()?)?;
        self.add_proof(kept)
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        Ok(self.len() as u64)
    }

    async fn root(&self, size: u64) -> Result<Digest, StoreError> {
        Ok(self.tree(size)?.root())
    }

    async fn chain(&self, size: u64) -> Result<Option<Digest>, StoreError> {
        self.chain_after(size)
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        if index >= size {
            return Err(StoreError::NotFound);
        }
        truc_log::inclusion(&self.tree(size)?, index, size).map_err(|_| StoreError::NotFound)
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, StoreError> {
        if from > to {
            return Err(StoreError::NotFound);
        }
        truc_log::consistency(&self.tree(to)?, from, to).map_err(|_| StoreError::NotFound)
    }

    async fn groups(&self, first: u64, next: u64) -> Result<Vec<Option<Digest>>, StoreError> {
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let groups = self.each_record(group);
        groups.get(place(first)..place(next)).map(<[_]>::to_vec).ok_or(StoreError::NotFound)
    }

    async fn batch_of(&self, sequence: u64) -> Result<Option<Batch>, StoreError> {
        let holds = |b: &Batch| b.first <= sequence && sequence < b.next;
        Ok(batches(self.proofs()).find(holds))
    }

    async fn last_batch(&self) -> Result<Option<Batch>, StoreError> {
        Ok(batches(self.proofs()).last())
    }

    async fn status_after(
        &self,
        certificate: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<LaterStatus>, StoreError> {
        let statuses = self.proofs().into_iter().filter_map(|proof| match proof {
            Proof::Status(s) if s.certificate == certificate && s.this_update >= since => Some(s),
            _ => None,
        });
        Ok(statuses.min_by_key(|s| s.this_update))
    }

    async fn acknowledged(
        &self,
        peer: &NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AcknowledgedLeaf>, StoreError> {
        let mut leaves: Vec<AcknowledgedLeaf> = self
            .proofs()
            .into_iter()
            .filter_map(|proof| match proof {
                Proof::Acknowledged(a) if a.peer == *peer => Some(a.leaves),
                _ => None,
            })
            .flatten()
            .filter(|leaf| leaf.own >= from)
            .collect();
        leaves.sort_by_key(|leaf| leaf.own);
        leaves.truncate(limit);
        Ok(leaves)
    }

    async fn marks(&self) -> Result<Vec<Proof>, StoreError> {
        Ok(self.proofs().into_iter().filter(Proof::is_mark).collect())
    }
}

fn batches(proofs: Vec<Proof>) -> impl Iterator<Item = Batch> {
    proofs.into_iter().filter_map(|proof| match proof {
        Proof::Batch(batch) => Some(batch),
        _ => None,
    })
}
