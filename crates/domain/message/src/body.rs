//! The body of a message: bytes, possibly none, possibly more than fit into memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use truc_model::{Digest, Digester, Fault};

/// The longest body that is held in memory and may be stored with its record, in bytes; a longer one flows, and its record
/// keeps its digest only (protocol P5.1).
pub const WHOLE_BODY: u64 = 10 * 1024 * 1024;

/// A body in pieces, in order; an error ends it, and says why the rest will not come.
pub type BodyStream = BoxStream<'static, Result<Bytes, Fault>>;

/// A whole body kept outside memory, for as long as anybody holds it.
pub trait KeptBody: Send + Sync {
    /// Reads it from its beginning; as often as wanted.
    fn read(&self) -> BodyStream;
}

/// A whole body with its digest, computed once. Cloning shares the bytes.
#[derive(Clone)]
pub struct Body {
    content: Content,
    length: u64,
    digest: Digest,
}

#[derive(Clone)]
enum Content {
    Memory(Bytes),
    Kept(Arc<dyn KeptBody>),
    Gone,
}

impl Body {
    /// Takes the bytes and digests them.
    pub fn new(bytes: Bytes) -> Self {
        let (length, digest) = (bytes.len() as u64, Digest::of(&bytes));
        Self { content: Content::Memory(bytes), length, digest }
    }
    /// The empty body.
    pub fn empty() -> Self {
        Self::new(Bytes::new())
    }
    /// Bytes that `digester` has seen, all of them and nothing else.
    pub fn digested(bytes: Bytes, digester: Digester) -> Self {
        Self { content: Content::Memory(bytes), length: digester.length(), digest: digester.finish() }
    }
    /// A body kept outside memory, all of whose bytes `digester` has seen.
    pub fn kept(kept: Arc<dyn KeptBody>, digester: Digester) -> Self {
        Self { content: Content::Kept(kept), length: digester.length(), digest: digester.finish() }
    }
    /// A body that has been sent and is not held here any more, all of whose bytes `digester` has seen.
    pub fn gone(digester: Digester) -> Self {
        Self { content: Content::Gone, length: digester.length(), digest: digester.finish() }
    }
    /// The bytes, when they are in memory.
    pub const fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::Kept(_) | Content::Gone => None,
        }
    }
    /// The bytes in pieces; `None` when they are not held here any more.
    pub fn read(&self) -> Option<BodyStream> {
        match &self.content {
            Content::Memory(bytes) if bytes.is_empty() => Some(stream::empty().boxed()),
            Content::Memory(bytes) => {
                let whole = bytes.clone();
                Some(stream::once(async move { Ok(whole) }).boxed())
            }
            Content::Kept(kept) => Some(kept.read()),
            Content::Gone => None,
        }
    }
    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.length
    }
    /// True when there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// SHA-256 over the bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// The same bytes, wherever they lie.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.digest == other.digest
    }
}
impl Eq for Body {}

/// Shows length and digest only: a body may hold personal data.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes, sha256 {})", self.len(), self.digest)
    }
}
