//! An evidence store whose disk can be made slow, for tests of who waits for whom.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use truc_evidence::{
    BodyClass, EvidenceStore, Found, NewRecord, Query, Receipt, Reservation, StoreError, StoredRecord,
};
use truc_model::{Digest, MessageId, Timestamp};

/// Passes everything on to another store; appends wait while the gate is shut.
pub struct GatedStore {
    inner: Arc<dyn EvidenceStore>,
    shut: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    classes: Mutex<Vec<BodyClass>>,
}

impl GatedStore {
    /// A gate, open, before `inner`.
    pub fn new(inner: Arc<dyn EvidenceStore>) -> Self {
        Self {
            inner,
            shut: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
            classes: Mutex::default(),
        }
    }

    /// From now on (or no longer) appends wait.
    pub fn set_shut(&self, shut: bool) {
        self.shut.send_replace(shut);
    }

    /// The retention classes of all records so far, in order.
    pub fn classes(&self) -> Vec<BodyClass> {
        self.classes.lock().unwrap().clone()
    }

    /// Returns once `count` appends have come to the shut gate.
    pub async fn waited_for(&self, count: usize) {
        self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await.unwrap();
    }
}

#[async_trait]
impl EvidenceStore for GatedStore {
    async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        self.inner.reserve(bytes).await
    }
    async fn append(&self, record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let mut shut = self.shut.subscribe();
        if *shut.borrow() {
            self.waiting.send_modify(|waiting| *waiting += 1);
        }
        shut.wait_for(|shut| !shut).await.map_err(|e| StoreError::Failed(e.to_string()))?;
        let class = record.class.clone();
        let receipt = self.inner.append(record, room).await?;
        self.classes.lock().unwrap().push(class);
        Ok(receipt)
    }
    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        self.inner.read(sequence).await
    }
    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        self.inner.exchange(request).await
    }
    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        self.inner.body(sequence).await
    }
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.inner.artifact(digest).await
    }
    async fn list(&self, query: Query) -> Result<Found, StoreError> {
        self.inner.list(query).await
    }
    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        self.inner.replay(since).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_store::MemoryStore;

    #[tokio::test]
    async fn keeps_the_contract() {
        let store = GatedStore::new(Arc::new(MemoryStore::default()));
        truc_evidence::contract::evidence(&store).await.unwrap();
    }
}
