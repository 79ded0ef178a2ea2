//! The body of a message: bytes, possibly none.

use bytes::Bytes;
use truc_model::Digest;

/// A whole body with its digest, computed once. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    digest: Digest,
}

impl Body {
    /// Takes the bytes and digests them.
    pub fn new(bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }
    /// The empty body.
    pub fn empty() -> Self {
        Self::new(Bytes::new())
    }
    /// The bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }
    /// True when there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// SHA-256 over the bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// Shows length and digest only: a body may hold personal data.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes, sha256 {})", self.len(), self.digest)
    }
}
