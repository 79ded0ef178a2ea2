//! The port behind which closed segments are kept away from the node: a folder, an object store (`docs/evidence.md` §6.4).

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::Digest;

/// No object is longer, in bytes: a closed segment ends with the batch that filled it.
pub const OBJECT_LIMIT: u64 = 256 << 20;
/// No name is longer, in bytes.
const NAME_LIMIT: usize = 512;

/// Why the archive did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be reached, or does not answer in time; the same call may succeed later.
    #[error("the archive is away: {0}")]
    Away(String),
    /// It said no: credentials, rights, or another object under the same name.
    #[error("the archive refuses: {0}")]
    Refused(String),
    /// It answers, and has no object of this name.
    #[error("the archive has no object {0}")]
    Missing(String),
    /// It gave other bytes than were put.
    #[error("the archive gives other bytes than were put there: {0}")]
    Damaged(String),
}

/// What an object's bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    /// SHA-256 of all bytes.
    pub sha256: Digest,
    /// How many there are.
    pub length: u64,
}

impl Content {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Digest::of(bytes), length: bytes.len() as u64 }
    }

    /// Compares; `name` is for the message.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub fn check(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let length = bytes.len() as u64;
        if length != self.length {
            let wanted = self.length;
            return Err(ArchiveError::Damaged(format!("{name} has {length} bytes instead of {wanted}")));
        }
        let digest = Digest::of(bytes);
        if digest != self.sha256 {
            let wanted = self.sha256;
            return Err(ArchiveError::Damaged(format!("{name} has SHA-256 {digest} instead of {wanted}")));
        }
        Ok(())
    }
}

/// One object of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivedObject {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
}

/// Keeps whole objects under names. An adapter bounds each call in time and each object by [`OBJECT_LIMIT`]; it does not
/// judge what it reads: whoever reads compares ([`fetch`]).
#[async_trait]
pub trait ArchiveStore: Send + Sync {
    /// Keeps `bytes` under `name`; durable when this returns. Bytes that are there already are kept; other bytes are never overwritten.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] when `name` is taken by other bytes; the rest of [`ArchiveError`].
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError>;

    /// The bytes under `name`, as the archive gives them now.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] only when the archive answers and has none; the rest of [`ArchiveError`].
    async fn get(&self, name: &str) -> Result<Bytes, ArchiveError>;

    /// Removes `name`; one that is not there is removed already.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn delete(&self, name: &str) -> Result<(), ArchiveError>;

    /// Every object below the folder `prefix` (all of them when it is empty), by name.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn list(&self, prefix: &str) -> Result<Vec<ArchivedObject>, ArchiveError>;
}

/// The object `name`, whose bytes are what they must be.
///
/// # Errors
/// [`ArchiveError::Damaged`] when they are not; the rest of [`ArchiveError`].
pub async fn fetch(store: &dyn ArchiveStore, name: &str, content: &Content) -> Result<Bytes, ArchiveError> {
    let bytes = store.get(name).await?;
    content.check(name, &bytes)?;
    Ok(bytes)
}

/// A name's parts are joined by `/`, each of `A-Z a-z 0-9 . _ -` and not beginning with a dot: so it is a path below a folder
/// and an object's key alike.
///
/// # Errors
/// [`ArchiveError::Refused`] for any other name.
pub fn check_name(name: &str) -> Result<(), ArchiveError> {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let part = |p: &str| !p.is_empty() && !p.starts_with('.') && p.bytes().all(fit);
    if name.len() <= NAME_LIMIT && name.split('/').all(part) {
        return Ok(());
    }
    Err(ArchiveError::Refused(format!("{name:?} cannot name an object")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_that_lead_nowhere_else() {
        for good in ["evidence-00000000000000000000-1.seg", "bodies/default/202611/00000001.seg"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "đ", &"a".repeat(513)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_bytes_are_damage() {
        let content = Content::of(b"bytes");
        assert_eq!(content.check("a", b"bytes"), Ok(()));
        for other in [&b"byte"[..], b"bytez", b""] {
            assert!(matches!(content.check("a", other), Err(ArchiveError::Damaged(_))));
        }
    }
}
