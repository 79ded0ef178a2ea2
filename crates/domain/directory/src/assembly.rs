//! From anchor, head and parts to a snapshot: whole, in part, or from the snapshot before.
//!
//! There is one way only: an assembly starts from a base, which is the snapshot before or nothing at all, and takes in what
//! the head lists otherwise. So a directory that grew by changes is the one that would be assembled anew.

mod groups;
mod members;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use truc_model::{Digest, MemberId};

use crate::directory::{Tables, TopPart};
use crate::group_set::GroupSets;
use crate::head::{CheckedHead, Head, HeadRef, PartRef, SignedHead};
use crate::index::MemberRef;
use crate::{
    Aliases, Anchor, Directory, DirectoryError, Endorsed, Root, TrustServices, part, verify_root_chain,
};

/// Whether every part must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    Partial,
}

/// What [`Directory::update`] made.
#[derive(Debug)]
pub struct Updated {
    /// The directory under the new head.
    pub directory: Directory,
    /// The parts that were in force before and are no longer.
    pub gone: Vec<PartRef>,
}

impl Directory {
    /// Verifies everything from the anchor down (anchor, root chain, publishing key, head, part digests, root
    /// signatures of the trust part, instance codes) and builds the snapshot. `parts` finds a part by digest.
    ///
    /// Neither expiry nor rollback is judged here: see [`Directory::freshness`] and [`crate::may_replace`].
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing of the directory may be used then.
    pub fn assemble(
        anchor: &Anchor,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Self, DirectoryError> {
        Assembly::anew(anchor, root_chain, signed_head, &parts, Completeness::Whole)
    }

    /// Like [`Directory::assemble`], for the subset that an evidence container carries: members, groups, aliases and index
    /// parts may be missing (see [`Directory::missing`]); head, roots and trust part may not.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn assemble_partial(
        anchor: &Anchor,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Self, DirectoryError> {
        Assembly::anew(anchor, root_chain, signed_head, &parts, Completeness::Partial)
    }

    /// The directory under another head of the same anchor, equal to what [`Directory::assemble`] would make of it. Only
    /// what changed is read: `parts` is asked for no part that [`Directory::holds`] here. The two snapshots share the rest.
    ///
    /// # Errors
    /// [`DirectoryError`], as [`Directory::assemble`] would give it; nothing of the new directory may be used then.
    pub fn update(
        &self,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Updated, DirectoryError> {
        // A subset does not hold what it lists.
        let base = self.missing.is_empty().then_some(self);
        let anchor = Arc::clone(&self.anchor);
        Assembly::run(anchor, root_chain, Signed::Unchecked(signed_head), &parts, Completeness::Whole, base)
    }

    /// As [`Directory::update`], under a head whose signature was checked already.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn update_checked(
        &self,
        root_chain: &[Bytes],
        checked: CheckedHead,
        parts: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Updated, DirectoryError> {
        let base = self.missing.is_empty().then_some(self);
        let anchor = Arc::clone(&self.anchor);
        Assembly::run(
            anchor,
            root_chain,
            Signed::Checked(Box::new(checked)),
            &parts,
            Completeness::Whole,
            base,
        )
    }
}

/// A head on its way in.
enum Signed<'a> {
    Unchecked(&'a SignedHead),
    Checked(Box<CheckedHead>),
}

/// The steps of an assembly.
struct Assembly<'a> {
    anchor: Arc<Anchor>,
    base: Option<&'a Directory>,
    head: Head,
    root: Root,
    parts: &'a dyn Fn(&Digest) -> Option<Bytes>,
    completeness: Completeness,
    top: Vec<Arc<TopPart>>,
    missing: Vec<String>,
    gone: Vec<PartRef>,
}

/// Parts of the base that are not in force any more, with whether one of the same content took their place; parts that came.
#[derive(Default)]
struct Turned {
    gone: Vec<(Arc<TopPart>, bool)>,
    come: Vec<Arc<TopPart>>,
}

impl TopPart {
    fn is(&self, listed: &PartRef) -> bool {
        self.digest == listed.digest && self.bytes.len() as u64 == listed.size && self.name == listed.name
    }
}

/// How the members in force differ from those of the base.
#[derive(Default)]
struct Difference {
    gone: Vec<MemberRef>,
    /// By id.
    changed: Vec<MemberRef>,
}

impl<'a> Assembly<'a> {
    /// From nothing.
    fn anew(
        anchor: &Anchor,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: &dyn Fn(&Digest) -> Option<Bytes>,
        completeness: Completeness,
    ) -> Result<Directory, DirectoryError> {
        let (anchor, signed) = (Arc::new(anchor.clone()), Signed::Unchecked(signed_head));
        Ok(Assembly::run(anchor, root_chain, signed, parts, completeness, None)?.directory)
    }

    fn run(
        anchor: Arc<Anchor>,
        root_chain: &[Bytes],
        signed_head: Signed<'_>,
        parts: &'a dyn Fn(&Digest) -> Option<Bytes>,
        completeness: Completeness,
        base: Option<&'a Directory>,
    ) -> Result<Updated, DirectoryError> {
        let root = match base {
            Some(base) if base.root_chain == root_chain => base.root.clone(),
            _ => verify_root_chain(&anchor, root_chain)?,
        };
        let (envelope, head) = match signed_head {
            Signed::Unchecked(signed) => (signed.to_bytes(), signed.verify(&root.publishing_keys)?),
            Signed::Checked(checked) => (checked.envelope(), checked.under(&root.publishing_keys)?),
        };
        check_instance(&anchor, &head.instance, "the head")?;
        if head.epoch != root.epoch {
            return Err(DirectoryError::Epoch { expected: root.epoch, found: head.epoch });
        }
        let named: Vec<Digest> = head.root_parts().map(|p| p.digest).collect();
        if named != root_chain.iter().map(|b| Digest::of(b)).collect::<Vec<_>>() {
            return Err(DirectoryError::RootMismatch);
        }
        let (top, missing, gone) = (Vec::with_capacity(head.parts.len()), vec![], vec![]);
        let mut assembly = Self { anchor, base, head, root, parts, completeness, top, missing, gone };
        let trust = assembly.trust()?;
        let groups = assembly.groups()?;
        let aliases = assembly.aliases()?;
        let direct = assembly.listings()?;
        // Two runs, each in order already.
        assembly.top.sort_by(|a, b| a.name.cmp(&b.name));
        let turned = assembly.turned();
        let tables = assembly.members(&direct, &turned)?;
        let mut made = assembly.finish(envelope, root_chain.to_vec(), trust, groups, aliases, direct, tables);
        made.gone.extend(turned.gone.iter().filter_map(|(before, same)| {
            let size = before.bytes.len() as u64;
            (!same).then(|| PartRef { name: before.name.clone(), digest: before.digest, size })
        }));
        Ok(made)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the directory")]
    fn finish(
        self,
        signed_head: Bytes,
        root_chain: Vec<Bytes>,
        trust: Arc<TrustServices>,
        groups: Arc<GroupSets>,
        aliases: Arc<HashMap<String, MemberId>>,
        direct: Arc<Vec<MemberRef>>,
        tables: Tables,
    ) -> Updated {
        let head_ref = HeadRef {
            epoch: self.head.epoch,
            version: self.head.version,
            digest: self.head.content_digest(),
            root: self.root.version,
            trust: trust.version,
        };
        let directory = Directory {
            anchor: self.anchor,
            head: self.head,
            head_ref,
            root: self.root,
            trust,
            aliases,
            groups,
            tables,
            direct,
            missing: self.missing,
            signed_head,
            root_chain,
            top: self.top,
        };
        Updated { directory, gone: self.gone }
    }

    /// The bytes of one listed part, once digest and size fit.
    fn take(&mut self, listed: &PartRef) -> Result<Option<Bytes>, DirectoryError> {
        let Some(bytes) = (self.parts)(&listed.digest) else {
            if self.completeness == Completeness::Partial {
                self.missing.push(listed.name.clone());
                return Ok(None);
            }
            return Err(DirectoryError::MissingPart { name: listed.name.clone(), digest: listed.digest });
        };
        if bytes.len() as u64 != listed.size || Digest::of(&bytes) != listed.digest {
            return Err(DirectoryError::PartDigest { name: listed.name.clone() });
        }
        Ok(Some(bytes))
    }

    /// A part that the head itself lists: from the base where it is the same, and kept. `true` with the same bytes as there.
    fn take_top(&mut self, name: &str) -> Result<Option<(Bytes, bool)>, DirectoryError> {
        let listed = self.head.part(name).cloned();
        let listed = listed.ok_or_else(|| DirectoryError::UnlistedPart { name: name.to_owned() })?;
        if let Some(known) = self.base.and_then(|b| b.top_part(name)).filter(|k| k.is(&listed)) {
            self.top.push(Arc::clone(known));
            return Ok(Some((known.bytes.clone(), true)));
        }
        let Some(bytes) = self.take(&listed)? else { return Ok(None) };
        let PartRef { name, digest, .. } = listed;
        self.top.push(Arc::new(TopPart { name, digest, bytes: bytes.clone(), members: vec![] }));
        Ok(Some((bytes, false)))
    }

    fn trust(&mut self) -> Result<Arc<TrustServices>, DirectoryError> {
        let (bytes, same) = self.take_top(part::TRUST)?.ok_or_else(|| DirectoryError::MissingPart {
            name: part::TRUST.to_owned(),
            digest: self.head.part(part::TRUST).map_or_else(|| Digest::of(b""), |p| p.digest),
        })?;
        if let Some(base) = self.base.filter(|b| same && b.root == self.root) {
            return Ok(Arc::clone(&base.trust));
        }
        let envelope = Endorsed::parse(&bytes)?;
        if !envelope.meets(self.root.threshold, &self.root.root_keys) {
            return Err(DirectoryError::TrustSignature);
        }
        let trust = TrustServices::parse(&envelope.payload)?;
        check_instance(&self.anchor, &trust.instance, "the trust-service part")?;
        Ok(Arc::new(trust))
    }

    fn aliases(&mut self) -> Result<Arc<HashMap<String, MemberId>>, DirectoryError> {
        let Some((bytes, same)) = self.take_top(part::ALIASES)? else { return Ok(Arc::default()) };
        if let Some(base) = self.base.filter(|_| same) {
            return Ok(Arc::clone(&base.aliases));
        }
        let aliases = Aliases::parse(&bytes)?;
        check_instance(&self.anchor, &aliases.instance, "the aliases part")?;
        Ok(Arc::new(aliases.aliases.into_iter().map(|a| (a.alias, a.member)).collect()))
    }
}

fn check_instance(anchor: &Anchor, found: &str, what: &str) -> Result<(), DirectoryError> {
    if anchor.instance == found {
        Ok(())
    } else {
        Err(DirectoryError::instance(&anchor.instance, found, what))
    }
}
