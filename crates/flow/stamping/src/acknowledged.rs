//! What peers said that they recorded, until it is kept (protocol P5.3).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use truc_evidence::{Acknowledged, AcknowledgedLeaf, Proof, ProofStore, StoreError};
use truc_model::NodeId;

/// Leaves that wait to be kept.
const LIMIT: usize = 100_000;
/// Leaves of one proof.
const AT_ONCE: usize = 4096;

/// Leaves by peer.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Buffer>);

#[derive(Debug, Default)]
struct Buffer {
    peers: BTreeMap<NodeId, Vec<AcknowledgedLeaf>>,
    count: usize,
    forgotten: u64,
}

impl Heard {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // A leaf is pushed whole, so a panic elsewhere cannot leave half a one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one leaf in; where there is no room it is counted and forgotten.
    pub(crate) fn note(&self, peer: &NodeId, leaf: AcknowledgedLeaf) {
        let mut buffer = self.buffer();
        if buffer.count >= LIMIT {
            if buffer.forgotten == 0 {
                tracing::warn!("too many acknowledgements wait to be kept; further ones are only counted");
            }
            buffer.forgotten += 1;
            return;
        }
        buffer.count += 1;
        match buffer.peers.get_mut(peer) {
            Some(leaves) => leaves.push(leaf),
            None => drop(buffer.peers.insert(peer.clone(), vec![leaf])),
        }
    }

    /// Leaves that found no room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.buffer().forgotten
    }

    /// Appends everything that waits. A leaf waits on until it is appended, also when this future is dropped: rather twice
    /// than not at all.
    pub(crate) async fn keep(&self, proofs: &dyn ProofStore) -> Result<(), StoreError> {
        while let Some((peer, leaves)) = self.first() {
            let count = leaves.len();
            let mut ordered = leaves;
            ordered.sort_by_key(|leaf| leaf.own);
            let proof = Acknowledged { peer: peer.clone(), leaves: ordered };
            proofs.prove(Proof::Acknowledged(proof)).await?;
            self.forget(&peer, count);
        }
        Ok(())
    }

    /// The first leaves of one peer.
    fn first(&self) -> Option<(NodeId, Vec<AcknowledgedLeaf>)> {
        let buffer = self.buffer();
        let (peer, leaves) = buffer.peers.first_key_value()?;
        Some((peer.clone(), leaves.iter().take(AT_ONCE).copied().collect()))
    }

    fn forget(&self, peer: &NodeId, count: usize) {
        let mut buffer = self.buffer();
        let Some(leaves) = buffer.peers.get_mut(peer) else { return };
        leaves.drain(..count.min(leaves.len()));
        if leaves.is_empty() {
            buffer.peers.remove(peer);
        }
        buffer.count = buffer.count.saturating_sub(count);
    }
}
