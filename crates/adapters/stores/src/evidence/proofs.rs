//! [`ProofStore`]: proofs in the same journal as the records, and the tree over its files.

use std::sync::PoisonError;

use async_trait::async_trait;
use truc_evidence::{AcknowledgedLeaf, Batch, LaterStatus, Proof, ProofStore, StoreError};
use truc_log::{consistency, inclusion, root};
use truc_message::Leaf;
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};

use super::indexer::current;
use super::tail::Note;
use super::tree_files::TreeFiles;
use super::{EvidenceJournal, PROOF_LIMIT, Readers};
use crate::bodies::Month;
use crate::files::damaged;
use crate::journal::format::FrameType;
use crate::journal::scan::{self, Place};
use crate::journal::{Entry, EntryBody, content};

/// Group hashes read at once.
const GROUPS_LIMIT: u64 = 1 << 20;

impl Readers {
    fn proof(&self, place: Place) -> Result<Proof, StoreError> {
        let content = self.frame(place, FrameType::Proof, None)?;
        Proof::decode(&content).map_err(|e| damaged(&self.path(place.segment), place.offset, &e.to_string()))
    }

    fn tree<T>(
        &self,
        size: u64,
        ask: impl FnOnce(&TreeFiles) -> std::io::Result<T>,
    ) -> Result<T, StoreError> {
        let derived = current(&self.slot).ok_or_else(|| {
            StoreError::Failed("the tree is being made again from the journal; ask later".into())
        })?;
        if size > derived.tree.size() {
            return Err(StoreError::NotFound);
        }
        ask(&derived.tree).map_err(|reason| {
            tracing::error!(%reason, "the tree cannot be read and will be made again");
            derived.index.condemn();
            *self.slot.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.tail.ask_to_reopen();
            StoreError::Failed("the tree cannot be read and is made again from the journal; ask later".into())
        })
    }

    fn chain(&self, size: u64) -> Result<Option<Digest>, StoreError> {
        let Some(last) = size.checked_sub(1) else { return Ok(None) };
        self.tree(size, |_| Ok(()))?;
        if let Some(chain) = self.tail.chain(size) {
            return Ok(Some(chain));
        }
        if let Some((_, chain)) = self.index(|i| i.chain())?.filter(|(of, _)| *of == size) {
            return Ok(Some(chain));
        }
        let place = self.place(last)?;
        let (segments, _) = (self.extent)();
        let segment = segments.iter().find(|s| s.id == place.segment).ok_or(StoreError::NotFound)?;
        scan::chain_after(segment, place.offset).map(Some)
    }

    fn batch(&self, place: Option<Place>) -> Result<Option<Batch>, StoreError> {
        let Some(place) = place else { return Ok(None) };
        match self.proof(place)? {
            Proof::Batch(batch) => Ok(Some(batch)),
            _ => Err(damaged(&self.path(place.segment), place.offset, "another proof than the index says")),
        }
    }
}

#[async_trait]
impl ProofStore for EvidenceJournal {
    async fn prove(&self, proof: Proof) -> Result<(), StoreError> {
        let json = proof.encode()?;
        if json.len() > PROOF_LIMIT {
            return Err(StoreError::Failed(format!(
                "a proof of {} bytes is longer than the {PROOF_LIMIT} allowed: split it",
                json.len()
            )));
        }
        let entry = Entry {
            kind: FrameType::Proof,
            key: self.keys.node_key(),
            payload: content::encode(&json),
            month: Month(0),
            body: EntryBody::None,
            artifacts: Vec::new(),
            leaf: Box::new(|index| Leaf { index, hash: Digest([0; 32]) }),
            room: None,
            note: Note::Proof(proof),
        };
        self.journal()?.append(entry).await.map(drop)
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        self.indexed().await;
        self.reading(|r| r.tree(0, |tree| Ok(tree.size()))).await
    }

    async fn root(&self, size: u64) -> Result<Digest, StoreError> {
        self.reading(move |r| r.tree(size, |tree| root(tree, size))).await
    }

    async fn chain(&self, size: u64) -> Result<Option<Digest>, StoreError> {
        self.reading(move |r| r.chain(size)).await
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        if index >= size {
            return Err(StoreError::NotFound);
        }
        self.reading(move |r| r.tree(size, |tree| inclusion(tree, index, size))).await
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, StoreError> {
        if from > to {
            return Err(StoreError::NotFound);
        }
        self.reading(move |r| r.tree(to, |tree| consistency(tree, from, to))).await
    }

    async fn groups(&self, first: u64, next: u64) -> Result<Vec<Option<Digest>>, StoreError> {
        if first > next {
            return Err(StoreError::NotFound);
        }
        if next - first > GROUPS_LIMIT {
            return Err(StoreError::Failed(format!(
                "more than {GROUPS_LIMIT} group hashes at once: ask for fewer"
            )));
        }
        self.reading(move |r| r.tree(next, |tree| tree.groups(first, next))).await
    }

    async fn batch_of(&self, sequence: u64) -> Result<Option<Batch>, StoreError> {
        self.indexed().await;
        self.reading(move |r| r.batch(r.index(|i| i.batch_of(sequence))?)).await
    }

    async fn last_batch(&self) -> Result<Option<Batch>, StoreError> {
        self.indexed().await;
        self.reading(|r| r.batch(r.index(|i| i.last_batch())?)).await
    }

    async fn status_after(
        &self,
        certificate: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<LaterStatus>, StoreError> {
        self.indexed().await;
        self.reading(move |r| {
            let Some(place) = r.index(|i| i.status_after(&certificate, since))? else { return Ok(None) };
            match r.proof(place)? {
                Proof::Status(status) => Ok(Some(status)),
                _ => Err(damaged(&r.path(place.segment), place.offset, "another proof than the index says")),
            }
        })
        .await
    }

    async fn acknowledged(
        &self,
        peer: &NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AcknowledgedLeaf>, StoreError> {
        self.indexed().await;
        let peer = peer.clone();
        self.reading(move |r| r.index(|i| i.acknowledged(&peer, from, limit))).await
    }

    async fn marks(&self) -> Result<Vec<Proof>, StoreError> {
        self.indexed().await;
        self.reading(|r| r.index(|i| i.marks())?.into_iter().map(|place| r.proof(place)).collect()).await
    }
}
