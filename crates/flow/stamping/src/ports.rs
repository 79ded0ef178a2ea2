//! What the follower stands on.

use std::sync::Arc;

use async_trait::async_trait;
use truc_evidence::{EvidenceStore, ProofStore};
use truc_model::{Clock, Digest, Fingerprint};
use truc_trust::timestamp::{TimeStampAuthority, TimeStampSource};
use truc_trust::{Certificate, KnownStatus};

/// The log's head could not be signed; it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the head of the log was not signed: {0}")]
pub struct HeadUnsigned(pub String);

/// Signs heads of this node's log.
#[async_trait]
pub trait HeadSigner: Send + Sync {
    /// The signed checkpoint of `size` records under `root`, as text; the same text for the same two.
    ///
    /// # Errors
    /// [`HeadUnsigned`].
    async fn head(&self, size: u64, root: Digest) -> Result<String, HeadUnsigned>;
}

/// Whom to ask: the time-stamp authorities of the directory in force that this node uses, in its order.
pub trait Authorities: Send + Sync {
    /// As the directory is now.
    fn current(&self) -> Vec<TimeStampAuthority>;
}

/// What is known of certificate status.
#[async_trait]
pub trait Statuses: Send + Sync {
    /// The newest status of a certificate that anybody brought.
    fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>>;

    /// Asks the responders now; what they say is then the newest. That it fails is no news here.
    async fn renew(&self, certificate: &Certificate, intermediates: &[Certificate]);
}

/// Everything the follower stands on.
#[derive(Clone)]
pub struct Ports {
    /// The records.
    pub records: Arc<dyn EvidenceStore>,
    /// Proofs about them, in the same journal.
    pub proofs: Arc<dyn ProofStore>,
    /// The way to the authorities.
    pub source: Arc<dyn TimeStampSource>,
    /// Whom to ask.
    pub authorities: Arc<dyn Authorities>,
    /// Who signs heads.
    pub heads: Arc<dyn HeadSigner>,
    /// What is known of certificates.
    pub statuses: Arc<dyn Statuses>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}
