//! What governance needs from outside.

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::{ApprovedAuthority, Der, Usage};
use truc_keys::KeyKind;
use truc_model::{Digest, MemberId, NodeId, Timestamp};

/// Whom a certificate names, by the profile of the CA that issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHolder {
    /// The member.
    pub member: MemberId,
    /// The node, in an auth certificate. `None` where the CA's profile names no nodes: then the node is bound by its
    /// registered fingerprint alone.
    pub node: Option<NodeId>,
}

/// A public key that a certificate or a certificate request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKey {
    /// What kind of key it is.
    pub kind: KeyKind,
    /// The content of the SubjectPublicKeyInfo's bit string.
    pub public_key: Vec<u8>,
}

impl SubjectKey {
    /// What to remember of the key: SHA-256 over its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.public_key)
    }
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

    /// The key that a certificate carries; nothing else of it is judged.
    ///
    /// # Errors
    /// A sentence: it is no certificate.
    fn certificate_key(&self, certificate: &Der) -> Result<SubjectKey, String>;

    /// The key that a certificate request (PKCS#10) carries, once the request is signed by that key, the key is strong
    /// enough, and the subject names `holder`: a node's id with [`Usage::Auth`], a member's with [`Usage::Sign`].
    ///
    /// # Errors
    /// A sentence for the operator: what is wrong with the request.
    fn request_key(&self, request: &Der, usage: Usage, holder: &str) -> Result<SubjectKey, String>;
}

/// A certificate with its intermediates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: Der,
    /// Between it and the approved CA.
    pub intermediates: Vec<Der>,
}

/// Where certificates come from during an approval: the pilot CA. An external CA is no issuer: its certificates are
/// brought.
#[async_trait]
pub trait CertificateIssuer: Send + Sync {
    /// A certificate for the requested key in this holder's name; asked twice for the same request it answers the same
    /// certificate.
    ///
    /// # Errors
    /// A sentence for the operator.
    async fn issue(
        &self,
        request: &Der,
        usage: Usage,
        holder: &str,
        organisation: &str,
    ) -> Result<Issued, String>;
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
