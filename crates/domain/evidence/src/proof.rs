//! What is kept beside the records so that they stand without this node: time-stamps, later certificate statuses, what
//! peers acknowledged, and what became of bodies and segments (protocol P5.3, P5.4; `docs/evidence.md` §1).

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use truc_message::Leaf;
use truc_model::{Digest, Fingerprint, MessageId, NodeId, Timestamp};

use crate::store::StoreError;

/// A frame of the journal that is no record. Stored as one JSON object with `v` 1; a released variant never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Proof {
    /// Records under one time-stamp.
    Batch(Batch),
    /// The first certificate status issued after a time-stamp.
    Status(LaterStatus),
    /// Leaves that a peer said are durable in its log.
    Acknowledged(Acknowledged),
    /// Bodies expired.
    Tombstone(Tombstone),
    /// A legal hold began.
    Hold(Hold),
    /// A legal hold ended.
    Release(Release),
    /// A closed segment is safe in the archive.
    Archived(Archived),
    /// How far the journal of decisions was.
    Decisions(Decisions),
}

/// The records `first..next` and the head of the log that follows them, under one RFC 3161 token over their RFC 4998 tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The first record.
    pub first: u64,
    /// The record after the last one; also the size of the log that `head` speaks of.
    pub next: u64,
    /// The signed checkpoint of size `next`, as text; the last leaf of the tree is its digest.
    pub head: String,
    /// What the time-stamp authority is called in the directory.
    pub authority: String,
    /// The token's time.
    pub gen_time: Timestamp,
    /// The token, a CMS ContentInfo in DER.
    #[serde(with = "base64_bytes")]
    pub token: Bytes,
}

/// A certificate status made after a token's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaterStatus {
    /// Whose status it is.
    pub certificate: Fingerprint,
    /// When the responder made it.
    pub this_update: Timestamp,
    /// The OCSP response, DER.
    #[serde(with = "base64_bytes")]
    pub response: Bytes,
}

/// What one peer acknowledged, in the order of our records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acknowledged {
    /// Whose log.
    pub peer: NodeId,
    /// Its leaves.
    pub leaves: Vec<AcknowledgedLeaf>,
}

/// A leaf of the peer's log that stands for the same message as a record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcknowledgedLeaf {
    /// Our record's sequence.
    pub own: u64,
    /// The peer's leaf.
    pub leaf: Leaf,
}

/// Bodies of one class and month are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tombstone {
    /// A C2SP signed note by the log key (`docs/evidence.md` §6.2).
    pub note: String,
}

/// The bodies of these exchanges must not expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hold {
    /// What the hold is called.
    pub case: String,
    /// Why, for an auditor.
    pub reason: String,
    /// Who ordered it: a token's name.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The requests that began the exchanges.
    pub requests: Vec<MessageId>,
}

/// A hold is over; bodies that no other hold names expire again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Which hold.
    pub case: String,
    /// Why, for an auditor.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A closed segment that was read back from the archive and may be removed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Archived {
    /// Its name, relative to the data folder's `journal/` or `bodies/`.
    pub file: String,
    /// Its first record; of a body segment 0.
    pub first: u64,
    /// The first record after it; of a body segment 0.
    pub next: u64,
    /// SHA-256 of all its bytes.
    pub sha256: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// The chain after its last frame, which the next segment goes on from; of a body segment none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// How far the journal of decisions was when this was written, so that the chain of evidence, of which heads speak, covers that of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decisions {
    /// How many decisions there were.
    pub next: u64,
    /// The chain hash of their journal after the last of them.
    pub chain: Digest,
}

/// DER in JSON.
mod base64_bytes {
    use super::{Bytes, Deserialize, Deserializer, Engine as _, STANDARD, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

/// The log over the records, and what was proved of it. Kept by the store that keeps the records: one journal.
#[async_trait]
pub trait ProofStore: Send + Sync {
    /// Appends a proof; durable when this returns, or it did not happen.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was appended.
    async fn prove(&self, proof: Proof) -> Result<(), StoreError>;

    /// How many records the log has; may trail the last appends by a moment.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn log_size(&self) -> Result<u64, StoreError>;

    /// The root of the RFC 6962 tree over the first `size` records.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there are fewer.
    async fn root(&self, size: u64) -> Result<Digest, StoreError>;

    /// The journal's chain hash right after record `size - 1`: everything that was appended before that record is in it, counted or not. None for
    /// no records. At once for the last records; else a segment is read for it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there are fewer.
    async fn chain(&self, size: u64) -> Result<Option<Digest>, StoreError>;

    /// The inclusion proof of record `index` in the tree of `size` (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when `index < size ≤ log_size` does not hold.
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError>;

    /// The consistency proof between two sizes (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when `from ≤ to ≤ log_size` does not hold.
    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, StoreError>;

    /// The group hashes (RFC 4998 §4.2.1) of the records `first..next`; `None` for a record without a signed message.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there are fewer.
    async fn groups(&self, first: u64, next: u64) -> Result<Vec<Option<Digest>>, StoreError>;

    /// The batch that holds record `sequence`; `None` while it is not stamped.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn batch_of(&self, sequence: u64) -> Result<Option<Batch>, StoreError>;

    /// The newest batch.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn last_batch(&self) -> Result<Option<Batch>, StoreError>;

    /// The first kept status of `certificate` made at or after `since`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn status_after(
        &self,
        certificate: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<LaterStatus>, StoreError>;

    /// What `peer` acknowledged of our records from `from` on, at most `limit` leaves, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn acknowledged(
        &self,
        peer: &NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AcknowledgedLeaf>, StoreError>;

    /// Every tombstone, hold, release and archived segment, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    async fn marks(&self) -> Result<Vec<Proof>, StoreError>;
}

/// A proof as it is stored: one JSON object that states its version.
#[derive(Serialize, Deserialize)]
struct Versioned<P> {
    v: u32,
    #[serde(flatten)]
    proof: P,
}

/// The version written.
const VERSION: u32 = 1;

impl Proof {
    /// The bytes of its frame.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when it cannot be written as JSON, which no value of this type is.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let versioned = Versioned { v: VERSION, proof: self };
        serde_json::to_vec(&versioned).map_err(|e| StoreError::Failed(e.to_string()))
    }

    /// Reads a frame's content.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not a proof of a version that this program knows: it is refused, not guessed.
    pub fn decode(content: &[u8]) -> Result<Self, StoreError> {
        let read: Result<Versioned<Self>, _> = serde_json::from_slice(content);
        match read {
            Ok(Versioned { v: VERSION, proof }) => Ok(proof),
            Ok(Versioned { v, .. }) => Err(StoreError::Damaged(format!("a proof of format {v}"))),
            Err(error) => Err(StoreError::Damaged(format!("not a proof: {error}"))),
        }
    }

    /// True for what [`ProofStore::marks`] lists.
    pub const fn is_mark(&self) -> bool {
        matches!(self, Self::Tombstone(_) | Self::Hold(_) | Self::Release(_) | Self::Archived(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Proof {
        Proof::Batch(Batch {
            first: 3,
            next: 5,
            head: "NODE:VN/GOV/H26/ss1\n5\nroot\n\n— NODE:VN/GOV/H26/ss1 sig\n".into(),
            authority: "TSA".into(),
            gen_time: Timestamp::from_millis(1_800_000_000_000),
            token: Bytes::from_static(b"token"),
        })
    }

    #[test]
    fn a_proof_is_read_as_it_was_written() {
        let text = String::from_utf8(batch().encode().unwrap()).unwrap();
        assert!(text.starts_with(r#"{"v":1,"kind":"batch","first":3,"next":5,"#), "{text}");
        assert_eq!(Proof::decode(text.as_bytes()), Ok(batch()));
    }

    #[test]
    fn decisions_are_said_in_one_form() {
        let proof = Proof::Decisions(Decisions { next: 7, chain: Digest([1; 32]) });
        let text = String::from_utf8(proof.encode().unwrap()).unwrap();
        let chain = "01".repeat(32);
        assert_eq!(text, format!(r#"{{"v":1,"kind":"decisions","next":7,"chain":"{chain}"}}"#));
        assert_eq!((Proof::decode(text.as_bytes()), proof.is_mark()), (Ok(proof), false));
    }

    #[test]
    fn another_version_or_kind_is_refused() {
        let text = String::from_utf8(batch().encode().unwrap()).unwrap();
        for other in [text.replace(r#""v":1"#, r#""v":2"#), text.replace("batch", "witch"), "{".to_owned()] {
            assert!(Proof::decode(other.as_bytes()).is_err(), "{other}");
        }
    }
}
