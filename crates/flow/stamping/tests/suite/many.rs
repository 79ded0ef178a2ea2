//! More records than one batch holds.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use truc_evidence::{AcknowledgedLeaf, Batch, LaterStatus, Proof, ProofStore, StoreError};
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};
use truc_stamping::{Ports, Settings, Stamper};

use crate::bench::Bench;

/// So many records, of which only the groups are there.
struct Many {
    size: u64,
    batches: Mutex<Vec<Batch>>,
}

#[async_trait]
impl ProofStore for Many {
    async fn prove(&self, proof: Proof) -> Result<(), StoreError> {
        if let Proof::Batch(batch) = proof {
            self.batches.lock().unwrap().push(batch);
        }
        Ok(())
    }
    async fn log_size(&self) -> Result<u64, StoreError> {
        Ok(self.size)
    }
    async fn root(&self, size: u64) -> Result<Digest, StoreError> {
        Ok(Digest::of(&size.to_be_bytes()))
    }
    async fn chain(&self, _: u64) -> Result<Option<Digest>, StoreError> {
        Ok(None)
    }
    async fn inclusion(&self, _: u64, _: u64) -> Result<Vec<Digest>, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn consistency(&self, _: u64, _: u64) -> Result<Vec<Digest>, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn groups(&self, first: u64, next: u64) -> Result<Vec<Option<Digest>>, StoreError> {
        let group = |n: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            (!n.is_multiple_of(3)).then_some(Digest(digest))
        };
        Ok((first..next).map(group).collect())
    }
    async fn batch_of(&self, sequence: u64) -> Result<Option<Batch>, StoreError> {
        let batches = self.batches.lock().unwrap();
        Ok(batches.iter().find(|batch| (batch.first..batch.next).contains(&sequence)).cloned())
    }
    async fn last_batch(&self) -> Result<Option<Batch>, StoreError> {
        Ok(self.batches.lock().unwrap().last().cloned())
    }
    async fn status_after(&self, _: Fingerprint, _: Timestamp) -> Result<Option<LaterStatus>, StoreError> {
        Ok(None)
    }
    async fn acknowledged(&self, _: &NodeId, _: u64, _: usize) -> Result<Vec<AcknowledgedLeaf>, StoreError> {
        Ok(vec![])
    }
    async fn marks(&self) -> Result<Vec<Proof>, StoreError> {
        Ok(vec![])
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_records_are_one_batch_and_more_are_more() {
    let bench = Bench::new(&["tsa"]);
    let many = Arc::new(Many { size: 1_000_003, batches: Mutex::default() });
    let ports = Ports { proofs: Arc::clone(&many) as _, ..bench.ports() };
    let stamper = Arc::new(Stamper::new(ports, Settings::default(), Digest([1; 32])));
    let stop = CancellationToken::new();
    let run = {
        let (stamper, stop) = (Arc::clone(&stamper), stop.clone());
        tokio::spawn(async move { stamper.run(stop).await })
    };
    stamper.stamped(1_000_002, std::time::Duration::from_secs(600)).await.unwrap();
    stop.cancel();
    run.await.unwrap();
    let batches = many.batches.lock().unwrap();
    let ranges: Vec<_> = batches.iter().map(|batch| (batch.first, batch.next)).collect();
    assert_eq!(ranges, [(0, 1_000_000), (1_000_000, 1_000_003)]);
}
