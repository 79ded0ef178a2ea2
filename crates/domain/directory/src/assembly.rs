//! From anchor, head and parts to a snapshot: whole, in part, or from the snapshot before.
//!
//! There is one way only: an assembly starts from a base, which is the snapshot before or nothing at all, and takes in what
//! the head lists otherwise. So a directory that grew by changes is the one that would be assembled anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use truc_model::{Digest, MemberId};

use crate::directory::{Tables, TopPart};
use crate::group_set::{GroupSet, GroupSets};
use crate::head::{CheckedHead, Head, HeadRef, PartRef, SignedHead};
use crate::index::{GroupIndex, MemberIndex, MemberRef};
use crate::listed::Listed;
use crate::shards::Shards;
use crate::{
    Aliases, Anchor, Directory, DirectoryError, Endorsed, MemberEntry, NodeEntry, Root, TrustServices, part,
    verify_root_chain,
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
        let anchor = Arc::new(anchor.clone());
        let made = Assembly::run(
            anchor,
            root_chain,
            Signed::Unchecked(signed_head),
            &parts,
            Completeness::Whole,
            None,
        )?;
        Ok(made.directory)
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
        let anchor = Arc::new(anchor.clone());
        let made = Assembly::run(
            anchor,
            root_chain,
            Signed::Unchecked(signed_head),
            &parts,
            Completeness::Partial,
            None,
        )?;
        Ok(made.directory)
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

    /// In one part all together, or listed by an index part one by one.
    fn groups(&mut self) -> Result<Arc<GroupSets>, DirectoryError> {
        if self.head.part(part::GROUP_INDEX).is_none() {
            self.gone_groups(&GroupSets::new());
            return self.groups_together();
        }
        if self.head.part(part::GROUPS).is_some() {
            return Err(DirectoryError::Duplicate { what: "the list of groups".to_owned() });
        }
        let Some((bytes, same)) = self.take_top(part::GROUP_INDEX)? else { return Ok(Arc::default()) };
        if let Some(base) = self.base.filter(|_| same) {
            return Ok(Arc::clone(&base.groups));
        }
        let index = GroupIndex::parse(&bytes)?;
        check_instance(&self.anchor, &index.instance, "the groups' index part")?;
        let mut sets = GroupSets::new();
        for listed in index.groups {
            let known = self.base.and_then(|b| b.groups.get(&listed.code));
            let set = match known.filter(|k| k.digest == listed.digest && k.raw.len() as u64 == listed.size) {
                Some(known) => Arc::clone(known),
                None => match self.take(&listed.part())? {
                    Some(bytes) => Arc::new(self.group(&listed.part(), &bytes)?),
                    None => continue,
                },
            };
            sets.insert(listed.code, set);
        }
        self.gone_groups(&sets);
        Ok(Arc::new(sets))
    }

    fn group(&self, listed: &PartRef, bytes: &Bytes) -> Result<GroupSet, DirectoryError> {
        let (instance, set) = GroupSet::read(bytes, listed.digest)?;
        check_instance(&self.anchor, &instance, "a group part")?;
        if part::group(&set.code) != listed.name {
            return Err(DirectoryError::WrongName {
                name: listed.name.clone(),
                found: part::group(&set.code),
            });
        }
        Ok(set)
    }

    fn groups_together(&mut self) -> Result<Arc<GroupSets>, DirectoryError> {
        let Some((bytes, same)) = self.take_top(part::GROUPS)? else { return Ok(Arc::default()) };
        if let Some(base) = self.base.filter(|_| same) {
            return Ok(Arc::clone(&base.groups));
        }
        let (instance, sets) = GroupSet::read_all(&bytes, Digest::of(&bytes))?;
        check_instance(&self.anchor, &instance, "the groups part")?;
        Ok(Arc::new(sets))
    }

    /// Groups' own parts of the base that are not among `now`.
    fn gone_groups(&mut self, now: &GroupSets) {
        let Some(base) = self.base.filter(|b| b.head.part(part::GROUP_INDEX).is_some()) else { return };
        for (code, set) in base.groups.iter() {
            if now.get(code).is_none_or(|n| n.digest != set.digest) {
                let size = set.raw.len() as u64;
                self.gone.push(PartRef { name: part::group(code), digest: set.digest, size });
            }
        }
    }

    /// Who is listed where: by index parts, or by the head itself (then it is returned), never by both.
    fn listings(&mut self) -> Result<Arc<Vec<MemberRef>>, DirectoryError> {
        let roots: Vec<String> =
            self.head.root_parts().zip(1..).map(|(_, version)| part::root(version)).collect();
        // They come in the order of their names here and in the base: neither is searched.
        let mut known = self.base.map_or(&[][..], |b| &b.top).iter().peekable();
        let (mut direct, mut indexed) = (Vec::new(), false);
        let parts = std::mem::take(&mut self.head.parts);
        for listed in &parts {
            let name = listed.name.as_str();
            if matches!(name, part::TRUST | part::GROUPS | part::GROUP_INDEX | part::ALIASES) {
                continue;
            }
            if let Some(id) = name.strip_prefix(part::MEMBER) {
                let unknown = |_| DirectoryError::UnknownPart { name: name.to_owned() };
                let id: MemberId = id.parse().map_err(unknown)?;
                check_instance(&self.anchor, id.instance(), "a member part")?;
                direct.push(MemberRef { id, digest: listed.digest, size: listed.size });
            } else if name.starts_with(part::MEMBERS) {
                indexed = true;
                while known.next_if(|k| k.name.as_str() < name).is_some() {}
                match known.next_if(|k| k.is(listed)) {
                    Some(same) => self.top.push(Arc::clone(same)),
                    None => self.bucket(listed)?,
                }
            } else if !roots.iter().any(|root| root == name) {
                // The roots of the chain were compared with it; one outside it (a gap) is not known.
                return Err(DirectoryError::UnknownPart { name: listed.name.clone() });
            }
        }
        self.head.parts = parts;
        if !direct.is_empty() && indexed {
            return Err(DirectoryError::Duplicate { what: "the list of members".to_owned() });
        }
        let known = self.base.map(|b| &b.direct).filter(|known| ***known == direct);
        Ok(known.map_or_else(|| Arc::new(direct), Arc::clone))
    }

    fn bucket(&mut self, listed: &PartRef) -> Result<(), DirectoryError> {
        let Some(bytes) = self.take(listed)? else { return Ok(()) };
        let index = MemberIndex::parse(&bytes)?;
        check_instance(&self.anchor, &index.instance, "a members' index part")?;
        index.check_bucket(&listed.name)?;
        let (name, digest, members) = (listed.name.clone(), listed.digest, index.members);
        self.top.push(Arc::new(TopPart { name, digest, bytes, members }));
        Ok(())
    }

    /// How the parts that the head lists itself differ from those of the base; both are in order.
    fn turned(&self) -> Turned {
        let mut before = self.base.map_or(&[][..], |b| &b.top).iter().peekable();
        let mut turned = Turned::default();
        for now in &self.top {
            while let Some(left) = before.next_if(|b| b.name < now.name) {
                turned.gone.push((Arc::clone(left), false));
            }
            match before.next_if(|b| b.name == now.name) {
                Some(same) if Arc::ptr_eq(same, now) => {}
                Some(other) => {
                    turned.gone.push((Arc::clone(other), other.digest == now.digest));
                    turned.come.push(Arc::clone(now));
                }
                None => turned.come.push(Arc::clone(now)),
            }
        }
        turned.gone.extend(before.map(|left| (Arc::clone(left), false)));
        turned
    }

    fn difference(&self, direct: &Arc<Vec<MemberRef>>, turned: &Turned) -> Difference {
        let base = self.base.map(|b| &b.direct).filter(|before| !Arc::ptr_eq(before, direct));
        let now = self.base.is_none_or(|b| !Arc::ptr_eq(&b.direct, direct)).then_some(direct);
        let left = turned.gone.iter().flat_map(|(part, _)| &part.members);
        let left = left.chain(base.into_iter().flat_map(|members| members.iter()));
        let mut gone: BTreeMap<&str, &MemberRef> = left.map(|m| (m.id.as_str(), m)).collect();
        let mut changed = Vec::new();
        let come = turned.come.iter().flat_map(|part| &part.members);
        for listed in come.chain(now.into_iter().flat_map(|members| members.iter())) {
            let known = gone.remove(listed.id.as_str());
            if known.is_none_or(|k| k.digest != listed.digest || k.size != listed.size) {
                changed.push(listed.clone());
            }
        }
        changed.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Difference { gone: gone.into_values().cloned().collect(), changed }
    }

    fn members(&mut self, direct: &Arc<Vec<MemberRef>>, turned: &Turned) -> Result<Tables, DirectoryError> {
        let Difference { gone, changed } = self.difference(direct, turned);
        let mut tables = self.base.map_or_else(Tables::new, |b| b.tables.clone());
        let mut fresh = Vec::with_capacity(changed.len());
        for listed in changed {
            let before = tables.members.get(listed.id.as_str()).cloned();
            if let Some(read) = self.member(&listed, before.as_deref())? {
                fresh.push((before, Arc::new(read)));
            }
        }
        let part_of = |m: &Listed| PartRef {
            name: part::member(&m.entry.id),
            digest: m.digest,
            size: m.raw.len() as u64,
        };
        for left in &gone {
            if let Some(old) = tables.members.remove(left.id.as_str()) {
                tables.release(&old, None);
                self.gone.push(part_of(&old));
            }
        }
        for (before, now) in &fresh {
            if let Some(old) = before {
                tables.release(old, Some(now));
                self.gone.push(part_of(old));
            }
        }
        let mut twice = BTreeSet::new();
        for (before, now) in &fresh {
            tables.register(now, before.as_deref(), &mut twice);
        }
        match twice.pop_first() {
            Some(Twice::Seal(c)) => Err(DirectoryError::Duplicate { what: format!("sign certificate {c}") }),
            Some(Twice::Tls(c)) => Err(DirectoryError::Duplicate { what: format!("auth certificate {c}") }),
            None => Ok(tables),
        }
    }

    fn member(
        &mut self,
        listed: &MemberRef,
        before: Option<&Listed>,
    ) -> Result<Option<Listed>, DirectoryError> {
        let Some(bytes) = self.take(&listed.part())? else { return Ok(None) };
        let entry = MemberEntry::parse(&bytes)?;
        if entry.id != listed.id {
            let name = part::member(&listed.id);
            return Err(DirectoryError::WrongName { name, found: entry.id.to_string() });
        }
        Ok(Some(Listed::new(entry, listed.digest, bytes, before)))
    }
}

/// A certificate that is registered for two.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Twice {
    Seal(truc_model::Fingerprint),
    Tls(truc_model::Fingerprint),
}

impl Tables {
    fn new() -> Self {
        Self {
            members: Shards::new(),
            claims: Shards::new(),
            node_by_certificate: Shards::new(),
            member_by_certificate: Shards::new(),
        }
    }

    /// Takes out what `old` had registered and `now` does not share.
    fn release(&mut self, old: &Listed, now: Option<&Listed>) {
        for certificate in &old.entry.sign_certificates {
            self.member_by_certificate.remove(&certificate.fingerprint);
        }
        for node in old.nodes_not_in(now) {
            for certificate in &node.auth_certificates {
                self.node_by_certificate.remove(certificate);
            }
            for served in &node.serves {
                let Some(claims) = self.claims.get(served.as_str()) else { continue };
                let left: Arc<[Arc<NodeEntry>]> =
                    claims.iter().filter(|c| c.id != node.id).cloned().collect();
                if left.is_empty() {
                    self.claims.remove(served.as_str());
                } else {
                    self.claims.insert(Arc::from(served.as_str()), left);
                }
            }
        }
    }

    /// Registers what `now` has and `old` did not share; one certificate may stand for one node or one member only.
    fn register(&mut self, now: &Arc<Listed>, old: Option<&Listed>, twice: &mut BTreeSet<Twice>) {
        let id: Arc<str> = Arc::from(now.entry.id.as_str());
        for certificate in &now.entry.sign_certificates {
            if self.member_by_certificate.insert(certificate.fingerprint, Arc::clone(&id)).is_some() {
                twice.insert(Twice::Seal(certificate.fingerprint));
            }
        }
        for node in now.nodes_not_in(old) {
            for certificate in &node.auth_certificates {
                if self.node_by_certificate.insert(*certificate, Arc::clone(node)).is_some() {
                    twice.insert(Twice::Tls(*certificate));
                }
            }
            for served in &node.serves {
                let others = self.claims.get(served.as_str());
                let mut all: Vec<_> = others.into_iter().flat_map(|o| o.iter()).cloned().collect();
                let at = all.partition_point(|other| other.id < node.id);
                all.insert(at, Arc::clone(node));
                self.claims.insert(Arc::from(served.as_str()), all.into());
            }
        }
        self.members.insert(id, Arc::clone(now));
    }
}

fn check_instance(anchor: &Anchor, found: &str, what: &str) -> Result<(), DirectoryError> {
    if anchor.instance == found {
        Ok(())
    } else {
        Err(DirectoryError::instance(&anchor.instance, found, what))
    }
}
