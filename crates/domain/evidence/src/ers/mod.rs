//! Evidence records (RFC 4998): from a record's own digests to the one digest that a time-stamp token names
//! (`docs/evidence.md` §3.1, §3.2).
//!
//! [`Tree`] joins the leaves of a batch; [`EvidenceRecord`] carries, for one of them, its way to the root and the token.
//! What the token is worth is not judged here: [`EvidenceRecord::verify`] gives the root, and the token must name it.

mod record;
#[cfg(test)]
mod tests;
mod tree;

use truc_model::{Digest, Digester};

pub use record::{EvidenceRecord, Layout};
pub use tree::Tree;

/// Evidence records and the tokens in them are not longer than this; real ones have 2 to 8 KiB.
pub const SIZE_LIMIT: usize = 128 * 1024;
/// Digests of one group: manifest, signature and at most this many statuses.
pub const GROUP_LIMIT: usize = 64;
/// Steps from a leaf to the root; a batch has at most a million records, which is 20.
pub const PATH_LIMIT: usize = 64;

/// Why an evidence record was not made, not read, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErsError {
    /// A tree over nothing.
    #[error("a hash tree needs at least one leaf")]
    NoLeaves,
    /// The group is empty or has too many digests, or one digest stands there alone.
    #[error(
        "a group of {0} digests with this path cannot stand in an evidence record; 1 to 64 can, one alone only with a path"
    )]
    Group(usize),
    /// More steps than any batch has.
    #[error("a path of {0} steps is longer than the 64 allowed")]
    Path(usize),
    /// Longer than [`SIZE_LIMIT`].
    #[error("the evidence record has {0} bytes, more than the 131072 allowed")]
    TooLong(usize),
    /// The token is not one DER element.
    #[error("the time-stamp token is not one element of DER")]
    Token,
    /// Not an evidence record of the one form written here.
    #[error(
        "not an RFC 4998 evidence record of version 1 with SHA-256 and one time-stamp, in strict DER: {0}"
    )]
    Malformed(String),
    /// The digests asked about are not the group.
    #[error(
        "the evidence record is about other data: its first list is not exactly the digests of this record"
    )]
    OtherData,
}

/// The hash of a data object group (RFC 4998 §4.2.1): SHA-256 over the digests of the manifest, the CMS and the statuses,
/// in ascending binary order.
pub fn group_hash(manifest: Digest, cms: Digest, statuses: &[Digest]) -> Digest {
    let mut group = Vec::with_capacity(2 + statuses.len());
    group.extend_from_slice(&[manifest, cms]);
    group.extend_from_slice(statuses);
    hash_sorted(&mut group)
}

/// SHA-256 over the digests in ascending binary order: groups and inner nodes alike.
fn hash_sorted(digests: &mut [Digest]) -> Digest {
    digests.sort_unstable();
    let mut digester = Digester::default();
    for digest in digests {
        digester.update(digest.as_bytes());
    }
    digester.finish()
}
