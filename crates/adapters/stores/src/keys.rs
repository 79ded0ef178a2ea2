//! The keys under which records lie on disk, as the node hands them in.

use truc_model::MemberId;
use zeroize::Zeroizing;

/// A secret of 32 random bytes with its name; the name is written in the clear into every frame the secret encrypts.
#[derive(Clone)]
pub struct RecordKey {
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

impl RecordKey {
    /// Takes a secret; `id` has at most 255 bytes and never names another secret, for ever.
    pub fn new(id: impl Into<String>, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { id: id.into(), secret }
    }
    /// The key's name.
    pub fn id(&self) -> &str {
        &self.id
    }
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl std::fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordKey({})", self.id)
    }
}

/// Where the stores get their keys (protocol P5.2): one per hosted member and one of the node itself. Called on the
/// answer path: must not block.
pub trait RecordKeys: Send + Sync {
    /// The key under which new records of `owner` are written; `None` when the member is not hosted here.
    fn record_key(&self, owner: &MemberId) -> Option<RecordKey>;
    /// Any key that was ever used to write, the node's included.
    fn by_id(&self, id: &str) -> Option<RecordKey>;
    /// The key of what belongs to no single member: decisions, artifacts, the wrapped keys of body segments.
    fn node_key(&self) -> RecordKey;
}
