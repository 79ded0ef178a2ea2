//! The port behind which evidence is kept.

use async_trait::async_trait;
use bytes::Bytes;
use truc_message::Leaf;
use truc_model::{Digest, MessageId, Timestamp};

use crate::query::{Found, Query};
use crate::record::{NewRecord, StoredRecord};

/// Proof that a record is on stable storage: returned only after `fdatasync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Place in the log, from 0.
    pub sequence: u64,
    /// The journal's chain hash after this record.
    pub chain: Digest,
    /// The record's leaf (protocol P5.3).
    pub leaf: Leaf,
}

/// Why nothing was recorded or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room for the record; nothing was written. Traffic goes on by itself when there is room again.
    #[error("no space left for the record: free or enlarge the data folder's disk")]
    Full,
    /// More appends are waiting than the queue holds.
    #[error("the store's queue is full")]
    Busy,
    /// The disk refused; the operator's text says which file.
    #[error("the store failed: {0}")]
    Failed(String),
    /// Bytes on disk that are not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Nothing with this name or number.
    #[error("not in this store")]
    NotFound,
}

/// Room kept for a record that must not fail later for lack of space (protocol P4.4). Dropping it gives the room back.
pub struct Reservation {
    release: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Reservation {
    /// `release` runs once, when the room is used or given back.
    pub fn new(release: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { release: Some(Box::new(release)) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reservation")
    }
}

/// Keeps records for ever, in order. An append is durable when it returns, or it did not happen.
#[async_trait]
pub trait EvidenceStore: Send + Sync {
    /// Keeps room for a record of about `bytes`, body included.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is none.
    async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError>;

    /// Appends `record` with its body and artifacts in one operation; with a reservation it does not fail for space.
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was recorded.
    async fn append(&self, record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError>;

    /// The record at `sequence`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or damage.
    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError>;

    /// All records of the exchange that `request` began, in order; empty when there are none.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError>;

    /// The body stored with the record at `sequence`; `None` when none was stored or it has expired.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError>;

    /// The artifact with this digest.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError>;

    /// A page of the exchanges that match, newest first. May trail the last appends by a moment.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn list(&self, query: Query) -> Result<Found, StoreError>;

    /// Every record made at or after `since`, and every request without an answer whatever its age, in order; read once
    /// at start-up to rebuild claims and to close what was open (protocol P4.2, P4.5).
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError>;
}
