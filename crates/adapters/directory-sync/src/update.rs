//! One offered head: fetched, verified, compared with what was seen, kept, put in force.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use truc_directory::{
    Anchor, Directory, DirectoryError, Freshness, Head, HeadRef, PartRef, Rollback, SignedHead, may_replace,
    verify_root_chain,
};
use truc_model::{Clock, Digest};

use crate::folder::{DirectoryFolder, FolderError};

/// The highest head this node has ever seen, kept in its journal: the cache on disk may be lost or put back, the journal
/// may not (protocol P6.3).
#[async_trait]
pub trait HighestSeen: Send + Sync {
    /// The highest recorded so far.
    ///
    /// # Errors
    /// A sentence for the operator.
    async fn highest(&self) -> Result<Option<HeadRef>, String>;

    /// Records a higher one; durable when it returns.
    ///
    /// # Errors
    /// A sentence for the operator; the head is not put in force then.
    async fn record(&self, head: HeadRef) -> Result<(), String>;
}

/// Why an offered directory was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not verify.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It would be a step back, or two directories carry one number.
    #[error(transparent)]
    Rollback(#[from] Rollback),
    /// It has expired.
    #[error(
        "the registry offers a directory that expired at {0}; its publishing has stopped, or this machine's clock is wrong"
    )]
    Expired(truc_model::Timestamp),
    /// The registry did not give its parts.
    #[error("the registry did not deliver: {0}")]
    Fetch(String),
    /// It could not be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal did not take the version.
    #[error("the directory's version could not be recorded: {0}")]
    HighestSeen(String),
}

/// Where parts come from.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// The bytes of these parts, by digest; each already has its digest.
    async fn fetch(&self, wanted: &[PartRef]) -> Result<HashMap<Digest, Bytes>, String>;
}

/// What judging needs.
pub(crate) struct Desk {
    pub(crate) anchor: Anchor,
    pub(crate) folder: DirectoryFolder,
    pub(crate) highest: Arc<dyn HighestSeen>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Desk {
    /// What the cache holds, if the journal has not seen more than it.
    pub(crate) async fn cached(&self) -> Result<Option<Directory>, Refused> {
        let (folder, anchor) = (self.folder.clone(), self.anchor.clone());
        let loaded = blocking(move || folder.load(&anchor)).await??;
        let Some(directory) = loaded else { return Ok(None) };
        if let Some(seen) = self.highest.highest().await.map_err(Refused::HighestSeen)? {
            may_replace(&seen, &directory.head_ref())?;
        }
        Ok(Some(directory))
    }

    /// Judges an offered head. `None` when it brings nothing newer than `current`.
    pub(crate) async fn consider(
        &self,
        offered: &Bytes,
        current: Option<&Directory>,
        source: &dyn Source,
    ) -> Result<Option<Directory>, Refused> {
        let signed = SignedHead::parse(offered).map_err(DirectoryError::from)?;
        let head = signed.unverified().map_err(DirectoryError::from)?;
        let mut known = self.known_parts(&head, current).await?;
        // Roots first: nothing else is fetched for a head that no publishing key signed.
        let roots: Vec<PartRef> = head.root_parts().cloned().collect();
        self.complete(&mut known, &roots, source).await?;
        let chain: Vec<Bytes> = roots.iter().filter_map(|r| known.get(&r.digest).cloned()).collect();
        let root = verify_root_chain(&self.anchor, &chain)?;
        signed.verify(&root.publishing_keys)?;
        let seen = self.highest.highest().await.map_err(Refused::HighestSeen)?;
        refuse_lower(seen.as_ref(), &head)?;
        if Freshness::of(head.issued, head.expires, self.clock.now()) == Freshness::Expired {
            return Err(Refused::Expired(head.expires));
        }
        self.complete(&mut known, &head.parts, source).await?;
        let directory = Directory::assemble(&self.anchor, &chain, &signed, |d| known.get(d).cloned())?;
        let candidate = directory.head_ref();
        for before in seen.iter().chain(current.map(Directory::head_ref).iter()) {
            may_replace(before, &candidate)?;
        }
        if current.is_some_and(|c| c.head_ref() == candidate && directory.issued() <= c.issued()) {
            return Ok(None);
        }
        self.keep(&directory, seen).await?;
        Ok(Some(directory))
    }

    /// Journal first, cache second: a crash in between leaves a cache that is behind the journal, never one ahead.
    async fn keep(&self, directory: &Directory, seen: Option<HeadRef>) -> Result<(), Refused> {
        let candidate = directory.head_ref();
        if seen != Some(candidate) {
            let parts: Vec<Bytes> = directory.raw().parts().map(|(_, _, b)| b.clone()).collect();
            let roots = directory.raw().root_chain().to_vec();
            let folder = self.folder.clone();
            blocking(move || parts.iter().chain(&roots).try_for_each(|b| folder.put(b).map(|_| ())))
                .await??;
            self.highest.record(candidate).await.map_err(Refused::HighestSeen)?;
        }
        let (folder, head) = (self.folder.clone(), directory.raw().signed_head().clone());
        blocking(move || folder.set_head(&head)).await??;
        Ok(())
    }

    /// What is here already: in memory, then on disk.
    async fn known_parts(
        &self,
        head: &Head,
        current: Option<&Directory>,
    ) -> Result<HashMap<Digest, Bytes>, Refused> {
        let mut known: HashMap<Digest, Bytes> = HashMap::new();
        if let Some(current) = current {
            known.extend(current.raw().parts().map(|(_, d, b)| (*d, b.clone())));
            known.extend(current.raw().root_chain().iter().map(|b| (Digest::of(b), b.clone())));
        }
        let missing: Vec<Digest> =
            head.parts.iter().map(|p| p.digest).filter(|d| !known.contains_key(d)).collect();
        let folder = self.folder.clone();
        let found = blocking(move || {
            missing.into_iter().map(|d| Ok((d, folder.get(&d)?))).collect::<Result<Vec<_>, FolderError>>()
        })
        .await??;
        known.extend(found.into_iter().filter_map(|(d, b)| b.map(|b| (d, b))));
        Ok(known)
    }

    async fn complete(
        &self,
        known: &mut HashMap<Digest, Bytes>,
        wanted: &[PartRef],
        source: &dyn Source,
    ) -> Result<(), Refused> {
        let missing: Vec<PartRef> =
            wanted.iter().filter(|p| !known.contains_key(&p.digest)).cloned().collect();
        if !missing.is_empty() {
            known.extend(source.fetch(&missing).await.map_err(Refused::Fetch)?);
        }
        Ok(())
    }
}

/// Compares numbers and content before any part is fetched.
fn refuse_lower(seen: Option<&HeadRef>, head: &Head) -> Result<(), Rollback> {
    let Some(seen) = seen else { return Ok(()) };
    let like = HeadRef { epoch: head.epoch, version: head.version, digest: head.content_digest(), ..*seen };
    may_replace(seen, &like)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    spawn_blocking(work).await.map_err(|e| Refused::HighestSeen(format!("a disk task stopped: {e}")))
}
