//! A disk that takes a while: evidence in memory that outlives a crash, and appends that may be cut by one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use truc_evidence::{
    EvidenceStore, Found, NewRecord, Query, Receipt, RecordKind, Reservation, StoreError, StoredRecord,
};
use truc_message::Header;
use truc_model::{Digest, MessageId, Timestamp};
use truc_testkit::memory_store::MemoryStore;

use crate::journal::Journal;
use crate::papers::NODES;
use crate::plan::Dice;

/// The disk of one node.
pub(crate) struct Disk {
    node: usize,
    memory: Arc<MemoryStore>,
    journal: Arc<Journal>,
    dice: Mutex<Dice>,
}

impl Disk {
    pub(crate) fn new(node: usize, seed: u64, journal: Arc<Journal>) -> Self {
        let dice = Mutex::new(Dice::new(seed ^ ((node as u64 + 1) << 32)));
        Self { node, memory: Arc::default(), journal, dice }
    }

    fn a_while(&self) -> Duration {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if dice.percent(95) { dice.millis(0, 20) } else { dice.millis(20, 1500) }
    }
}

/// Names the exchange by what its caller called it, and writes the record down in the journal.
fn note(journal: &Journal, node: usize, record: &NewRecord) {
    let local = &record.local;
    if record.kind == RecordKind::Request
        && let Ok(header) = Header::parse(&record.header)
    {
        journal.name(local.request, name_of(&header));
    }
    let (name, fault) = (journal.name_of(local.request), local.fault.as_deref().unwrap_or("-"));
    journal
        .note(format_args!("{} records {:?} {:?} of {name} {fault}", NODES[node], local.role, record.kind));
}

/// The caller's id and which attempt of its it is.
pub(crate) fn name_of(header: &Header) -> String {
    let (id, attempt) = (header.client_message_id.as_deref(), header.issue.as_deref());
    format!("{}.{}", id.unwrap_or_default(), attempt.unwrap_or_default())
}

#[async_trait]
impl EvidenceStore for Disk {
    async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        self.memory.reserve(bytes).await
    }

    /// In a task of its own, as on a real disk: whoever stops waiting does not undo it, a crash may.
    async fn append(&self, record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let (before, after) = (self.a_while(), self.a_while());
        let (done, receipt) = oneshot::channel();
        let (memory, journal, node) = (Arc::clone(&self.memory), Arc::clone(&self.journal), self.node);
        tokio::spawn(async move {
            tokio::time::sleep(before).await;
            note(&journal, node, &record);
            let appended = EvidenceStore::append(memory.as_ref(), record, room).await;
            // Durable, and nobody knows it yet.
            tokio::time::sleep(after).await;
            drop(done.send(appended));
        });
        receipt.await.unwrap_or_else(|_| Err(StoreError::Failed("the machine stops".into())))
    }

    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        self.memory.read(sequence).await
    }

    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        self.memory.exchange(request).await
    }

    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        self.memory.body(sequence).await
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.memory.artifact(digest).await
    }

    async fn list(&self, query: Query) -> Result<Found, StoreError> {
        self.memory.list(query).await
    }

    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        EvidenceStore::replay(self.memory.as_ref(), since).await
    }
}
