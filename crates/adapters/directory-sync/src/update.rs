//! One offered head: fetched, verified, compared with what was seen, kept, put in force.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use truc_directory::{
    Anchor, CheckedHead, Directory, DirectoryError, Freshness, Head, HeadRef, ParsedHead, PartRef, Rollback,
    Updated, listed_in, may_replace, part, roots_agree, verify_root_chain,
};
use truc_model::{Clock, Digest};

use crate::folder::{DirectoryFolder, FolderError};
use crate::litter::Litter;

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
        "a directory is offered that expired at {0}; its publishing has stopped, or this machine's clock is wrong"
    )]
    Expired(truc_model::Timestamp),
    /// It is the one in force, and nobody has signed it again for too long: a registry that is stuck, or someone who
    /// replays it to keep changes away.
    #[error(
        "the registry has not signed its directory again since {0}: it is stuck, or someone keeps newer ones away; going on with the directory in force until it expires"
    )]
    Frozen(truc_model::Timestamp),
    /// Its parts are not to be had.
    #[error("its parts were not delivered: {0}")]
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

/// What the registry offers: a head, and perhaps parts with it. Nothing of it is believed yet.
pub(crate) struct Offer {
    pub(crate) signed_head: Bytes,
    pub(crate) parts: Vec<Bytes>,
}

/// What judging needs.
pub(crate) struct Desk {
    pub(crate) anchor: Anchor,
    pub(crate) folder: DirectoryFolder,
    pub(crate) highest: Arc<dyn HighestSeen>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) litter: Litter,
}

/// Parts gathered for one head.
#[derive(Default)]
struct Gathered {
    known: HashMap<Digest, Bytes>,
    /// Came with the offer; taken only where something with their digest is wanted.
    offered: HashMap<Digest, Bytes>,
    /// Those of `known` that are not on disk yet.
    fresh: Vec<Digest>,
}

/// A directory that may be put in force once it is kept.
pub(crate) struct Judged {
    directory: Directory,
    /// What the journal had seen.
    seen: Option<HeadRef>,
    gathered: Gathered,
    gone: Vec<PartRef>,
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

    /// Judges an offered head and keeps it. `None` when it brings nothing newer than `current`.
    pub(crate) async fn consider(
        &mut self,
        offer: Offer,
        current: Option<&Directory>,
        source: &dyn Source,
    ) -> Result<Option<Directory>, Refused> {
        match self.judge(offer, current, source).await? {
            Some(judged) => self.keep(judged).await.map(Some),
            None => Ok(None),
        }
    }

    /// Judges an offered head, whoever offers it. `None` when it brings nothing newer than `current`. Changes nothing: it
    /// may be dropped at any await.
    pub(crate) async fn judge(
        &self,
        offer: Offer,
        current: Option<&Directory>,
        source: &dyn Source,
    ) -> Result<Option<Box<Judged>>, Refused> {
        let parsed = ParsedHead::parse(&offer.signed_head).map_err(DirectoryError::from)?;
        let offered = offer.parts.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
        let mut gathered = Gathered { offered, ..Gathered::default() };
        let (chain, head) = self.checked(parsed, current, &mut gathered, source).await?;
        let seen = self.highest.highest().await.map_err(Refused::HighestSeen)?;
        refuse_lower(seen.as_ref(), head.head())?;
        let expires = head.head().expires;
        if Freshness::of(head.head().issued, expires, self.clock.now()) == Freshness::Expired {
            return Err(Refused::Expired(expires));
        }
        self.parts(head.head(), current, &mut gathered, source).await?;
        let find = |digest: &Digest| gathered.known.get(digest).cloned();
        let Updated { directory, gone } = match current {
            Some(current) => current.update_checked(&chain, head, find)?,
            None => {
                let directory = Directory::assemble(&self.anchor, &chain, head.signed(), find)?;
                Updated { directory, gone: vec![] }
            }
        };
        let candidate = directory.head_ref();
        for before in seen.iter().chain(current.map(Directory::head_ref).iter()) {
            may_replace(before, &candidate)?;
        }
        if current.is_some_and(|c| c.head_ref() == candidate && directory.issued() <= c.issued()) {
            return match directory.freshness(self.clock.now()) {
                Freshness::Fresh => Ok(None),
                _ => Err(Refused::Frozen(directory.issued())),
            };
        }
        Ok(Some(Box::new(Judged { directory, seen, gathered, gone })))
    }

    /// Roots first: nothing else is fetched for a head that no publishing key signed.
    async fn checked(
        &self,
        parsed: ParsedHead,
        current: Option<&Directory>,
        gathered: &mut Gathered,
        source: &dyn Source,
    ) -> Result<(Vec<Bytes>, CheckedHead), Refused> {
        let wanted: Vec<PartRef> = parsed.head().root_parts().cloned().collect();
        if let Some(current) = current {
            let here = current.raw().root_chain();
            if here.iter().map(|b| Digest::of(b)).eq(wanted.iter().map(|w| w.digest)) {
                return Ok((here.to_vec(), parsed.check(&current.root().publishing_keys)?));
            }
        }
        self.complete(gathered, &wanted, source).await?;
        let chain: Vec<Bytes> =
            wanted.iter().filter_map(|r| gathered.known.get(&r.digest).cloned()).collect();
        let root = verify_root_chain(&self.anchor, &chain)?;
        if current.is_some_and(|c| !roots_agree(c.raw().root_chain(), &chain)) {
            let (epoch, version) = (parsed.head().epoch, parsed.head().version);
            return Err(Rollback::OtherRoots { epoch, version }.into());
        }
        Ok((chain, parsed.check(&root.publishing_keys)?))
    }

    /// What the head lists and is not in force, then what its index parts list and is not.
    async fn parts(
        &self,
        head: &Head,
        current: Option<&Directory>,
        gathered: &mut Gathered,
        source: &dyn Source,
    ) -> Result<(), Refused> {
        let lacks = |part: &PartRef| current.is_none_or(|c| !c.holds(part));
        let roots = head.root_parts().count() as u64;
        let is_root = |name: &str| (1..=roots).any(|n| name == part::root(n));
        let wanted: Vec<&PartRef> = match current {
            Some(current) => current.lacking(head).collect(),
            None => head.parts.iter().collect(),
        };
        let wanted: Vec<PartRef> = wanted.into_iter().filter(|p| !is_root(&p.name)).cloned().collect();
        self.complete(gathered, &wanted, source).await?;
        let mut deeper = Vec::new();
        for index in &wanted {
            let Some(bytes) = gathered.known.get(&index.digest) else { continue };
            deeper.extend(listed_in(&index.name, bytes)?.into_iter().filter(lacks));
        }
        self.complete(gathered, &deeper, source).await
    }

    /// Gets what is wanted: from the offer, from the disk, from the registry.
    async fn complete(
        &self,
        gathered: &mut Gathered,
        wanted: &[PartRef],
        source: &dyn Source,
    ) -> Result<(), Refused> {
        let mut missing = Vec::new();
        for part in wanted {
            if gathered.known.contains_key(&part.digest) {
                continue;
            }
            match gathered.offered.remove(&part.digest) {
                Some(bytes) => {
                    gathered.fresh.push(part.digest);
                    gathered.known.insert(part.digest, bytes);
                }
                None => missing.push(part.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (folder, digests) = (self.folder.clone(), missing.iter().map(|p| p.digest).collect::<Vec<_>>());
        let found = blocking(move || digests.iter().map(|d| folder.get(d)).collect::<Result<Vec<_>, _>>());
        let mut absent = Vec::new();
        for (part, bytes) in missing.into_iter().zip(found.await??) {
            match bytes {
                Some(bytes) => drop(gathered.known.insert(part.digest, bytes)),
                None => absent.push(part),
            }
        }
        if !absent.is_empty() {
            let fetched = source.fetch(&absent).await.map_err(Refused::Fetch)?;
            gathered.fresh.extend(fetched.keys());
            gathered.known.extend(fetched);
        }
        Ok(())
    }

    /// Journal first, cache second: a crash in between leaves a cache that is behind the journal, never one ahead.
    pub(crate) async fn keep(&mut self, judged: Box<Judged>) -> Result<Directory, Refused> {
        let Judged { directory, seen, gathered, gone } = *judged;
        let candidate = directory.head_ref();
        if !gathered.fresh.is_empty() {
            let parts: Vec<Bytes> =
                gathered.fresh.iter().filter_map(|d| gathered.known.get(d).cloned()).collect();
            let folder = self.folder.clone();
            blocking(move || folder.put_all(&parts)).await??;
        }
        if seen != Some(candidate) {
            self.highest.record(candidate).await.map_err(Refused::HighestSeen)?;
        }
        let taken: Vec<Digest> = gathered.known.into_keys().collect();
        let mut litter = std::mem::take(&mut self.litter);
        litter.turned(&taken, gone.iter().map(|p| p.digest), (candidate.epoch, candidate.version));
        let (folder, head) = (self.folder.clone(), directory.raw().signed_head().clone());
        self.litter = blocking(move || {
            folder.set_head_of(candidate.epoch, candidate.version, &head)?;
            litter.sweep(&folder)?;
            Ok::<_, FolderError>(litter)
        })
        .await??;
        Ok(directory)
    }
}

/// Compares numbers and content before any part is fetched.
fn refuse_lower(seen: Option<&HeadRef>, head: &Head) -> Result<(), Rollback> {
    let Some(seen) = seen else { return Ok(()) };
    // The content counts only under the same number, and costs.
    let same = (seen.epoch, seen.version) == (head.epoch, head.version);
    let digest = if same { head.content_digest() } else { seen.digest };
    let like = HeadRef { epoch: head.epoch, version: head.version, digest, ..*seen };
    may_replace(seen, &like)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    spawn_blocking(work).await.map_err(|e| Refused::HighestSeen(format!("a disk task stopped: {e}")))
}
