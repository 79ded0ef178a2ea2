//! What governance needs from outside.

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::{ApprovedAuthority, Der, Usage};
use truc_model::{Digest, MemberId, NodeId, Timestamp};

/// Whom a certificate names, by the profile of the CA that issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHolder {
    /// The member.
    pub member: MemberId,
    /// The node, in an auth certificate.
    pub node: Option<NodeId>,
}

/// Reads certificates: chain to an approved CA with the usage, valid at the moment, subject by the CA's profile.
pub trait CertificateInspector: Send + Sync {
    /// Whom `certificate` names.
    ///
    /// # Errors
    /// A sentence for the operator: what is wrong with the certificate.
    fn inspect(
        &self,
        certificate: &Der,
        usage: Usage,
        authorities: &[ApprovedAuthority],
        at: Timestamp,
    ) -> Result<CertificateHolder, String>;
}

/// Why a part was not kept or not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartStoreError {
    /// The disk refused; the text says which file.
    #[error("the registry's parts cannot be written or read: {0}")]
    Failed(String),
}

/// Keeps every part ever published (protocol P6.5) and the last head. Durable when `put` and `set_head` return.
#[async_trait]
pub trait PartStore: Send + Sync {
    /// Keeps `bytes` under their digest; keeping them again is no error.
    ///
    /// # Errors
    /// [`PartStoreError`].
    async fn put(&self, bytes: Bytes) -> Result<Digest, PartStoreError>;

    /// The bytes with this digest.
    ///
    /// # Errors
    /// [`PartStoreError`] when the store fails; bytes that no longer have the digest count as failure.
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, PartStoreError>;

    /// Replaces the last signed head.
    ///
    /// # Errors
    /// [`PartStoreError`]; the former one is still there then.
    async fn set_head(&self, signed_head: Bytes) -> Result<(), PartStoreError>;

    /// The last signed head.
    ///
    /// # Errors
    /// [`PartStoreError`].
    async fn head(&self) -> Result<Option<Bytes>, PartStoreError>;
}
