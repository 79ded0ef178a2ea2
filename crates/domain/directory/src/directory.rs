//! The directory in force: an immutable snapshot that exists only once everything in it is verified.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::head::{Freshness, Head, HeadRef, PartRef, SignedHead};
use crate::{
    Aliases, Anchor, ApprovedAuthority, DirectoryError, Endorsed, GroupMember, Groups, MemberEntry,
    NodeEntry, Root, SubsystemEntry, Succession, TimestampAuthority, TrustServices, part, verify_root_chain,
};

/// A verified snapshot of the directory. Look-ups cost one hash; share it as `Arc<Directory>`.
#[derive(Debug)]
pub struct Directory {
    head: Head,
    head_ref: HeadRef,
    root: Root,
    trust: TrustServices,
    members: BTreeMap<MemberId, Arc<MemberEntry>>,
    by_member: HashMap<MemberId, Arc<MemberEntry>>,
    subsystems: HashMap<SubsystemId, SubsystemEntry>,
    nodes: HashMap<NodeId, Arc<NodeEntry>>,
    serving: HashMap<SubsystemId, Vec<Arc<NodeEntry>>>,
    node_by_certificate: HashMap<Fingerprint, Arc<NodeEntry>>,
    member_by_certificate: HashMap<Fingerprint, MemberId>,
    groups: Groups,
    aliases: HashMap<String, MemberId>,
    missing: Vec<String>,
    raw: RawDirectory,
}

/// The exact bytes a directory was assembled from, for caches and evidence containers (protocol P5.5).
#[derive(Debug, Clone)]
pub struct RawDirectory {
    signed_head: Bytes,
    root_chain: Vec<Bytes>,
    parts: BTreeMap<String, (Digest, Bytes)>,
}

impl RawDirectory {
    /// The signed head's envelope.
    pub const fn signed_head(&self) -> &Bytes {
        &self.signed_head
    }
    /// The root documents from the anchor on.
    pub fn root_chain(&self) -> &[Bytes] {
        &self.root_chain
    }
    /// The trust-service part with its signatures.
    pub fn trust_part(&self) -> Option<&Bytes> {
        self.part(part::TRUST)
    }
    /// One member's part.
    pub fn member_part(&self, id: &MemberId) -> Option<&Bytes> {
        self.part(&part::member(id))
    }
    /// The part with this name.
    pub fn part(&self, name: &str) -> Option<&Bytes> {
        self.parts.get(name).map(|(_, bytes)| bytes)
    }
    /// All parts but the roots: name, digest, bytes.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &Digest, &Bytes)> {
        self.parts.iter().map(|(name, (digest, bytes))| (name.as_str(), digest, bytes))
    }
}

/// Whether every part must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    Partial,
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
        Assembly::run(anchor, root_chain, signed_head, &parts, Completeness::Whole)
    }

    /// Like [`Directory::assemble`], for the subset that an evidence container carries: members, groups and aliases may
    /// be missing (see [`Directory::missing`]); head, roots and trust part may not.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn assemble_partial(
        anchor: &Anchor,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Self, DirectoryError> {
        Assembly::run(anchor, root_chain, signed_head, &parts, Completeness::Partial)
    }

    /// The instance code.
    pub fn instance(&self) -> &str {
        &self.head.instance
    }
    /// The version, as message headers name it.
    pub const fn version(&self) -> u64 {
        self.head.version
    }
    /// The epoch.
    pub const fn epoch(&self) -> u64 {
        self.head.epoch
    }
    /// The digest of this version ([`Head::content_digest`]): the same while the head is only signed again.
    pub const fn head_digest(&self) -> Digest {
        self.head_ref.digest
    }
    /// What to remember of this directory against rollback.
    pub const fn head_ref(&self) -> HeadRef {
        self.head_ref
    }
    /// The verified head.
    pub const fn head(&self) -> &Head {
        &self.head
    }
    /// The root version in force.
    pub const fn root(&self) -> &Root {
        &self.root
    }
    /// When the head was signed.
    pub const fn issued(&self) -> Timestamp {
        self.head.issued
    }
    /// When it stops counting.
    pub const fn expires(&self) -> Timestamp {
        self.head.expires
    }
    /// How far one can rely on it at `now`.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        Freshness::of(self.head.issued, self.head.expires, now)
    }
    /// The parts that were not given to [`Directory::assemble_partial`]; empty for a whole directory.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
    /// The exact bytes.
    pub const fn raw(&self) -> &RawDirectory {
        &self.raw
    }

    /// The member, open or closed.
    pub fn member(&self, id: &MemberId) -> Option<&MemberEntry> {
        self.by_member.get(id).map(Arc::as_ref)
    }
    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = &MemberEntry> {
        self.members.values().map(Arc::as_ref)
    }
    /// The subsystem.
    pub fn subsystem(&self, id: &SubsystemId) -> Option<&SubsystemEntry> {
        self.subsystems.get(id)
    }
    /// The node.
    pub fn node(&self, id: &NodeId) -> Option<&NodeEntry> {
        self.nodes.get(id).map(Arc::as_ref)
    }
    /// All nodes, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.values().map(Arc::as_ref)
    }
    /// The nodes that speak for `id`, by node id.
    pub fn nodes_serving(&self, id: &SubsystemId) -> &[Arc<NodeEntry>] {
        self.serving.get(id).map_or(&[], Vec::as_slice)
    }
    /// Whether `node` is registered to speak for `subsystem` (protocol P3.4).
    pub fn speaks_for(&self, node: &NodeId, subsystem: &SubsystemId) -> bool {
        self.nodes_serving(subsystem).iter().any(|n| &n.id == node)
    }
    /// Whether the certificate is registered as a seal of this very member (protocol P3.2).
    pub fn has_sign_certificate(&self, member: &MemberId, certificate: &Fingerprint) -> bool {
        self.member_by_certificate.get(certificate) == Some(member)
    }
    /// The node whose TLS identity this certificate is (protocol P3.3).
    pub fn node_of_auth_certificate(&self, certificate: &Fingerprint) -> Option<&NodeEntry> {
        self.node_by_certificate.get(certificate).map(Arc::as_ref)
    }
    /// The approved certificate authorities.
    pub fn authorities(&self) -> &[ApprovedAuthority] {
        &self.trust.authorities
    }
    /// The approved time-stamp authorities.
    pub fn timestamp_authorities(&self) -> &[TimestampAuthority] {
        &self.trust.timestamp_authorities
    }
    /// The trust-service part.
    pub const fn trust_services(&self) -> &TrustServices {
        &self.trust
    }
    /// Whether the subsystem, or its member as a whole, is in the global group `code`.
    pub fn in_group(&self, code: &str, subsystem: &SubsystemId) -> bool {
        let Some(group) = self.groups.groups.iter().find(|g| g.code == code) else { return false };
        group.members.iter().any(|m| match m {
            GroupMember::Subsystem(id) => id == subsystem,
            GroupMember::Member(id) => *id == subsystem.member(),
        })
    }
    /// The global groups.
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }
    /// Who took over from a closed member.
    pub fn successor(&self, member: &MemberId) -> Option<&Succession> {
        self.member(member)?.succession.as_ref()
    }
    /// The member that an old agency code (`000.00.00.H26`) names; never its successor (protocol P6.4).
    pub fn alias(&self, old_code: &str) -> Option<&MemberId> {
        self.aliases.get(old_code)
    }
}

/// The steps of [`Directory::assemble`].
struct Assembly<'a> {
    anchor: &'a Anchor,
    head: Head,
    root: Root,
    parts: &'a dyn Fn(&Digest) -> Option<Bytes>,
    completeness: Completeness,
    taken: BTreeMap<String, (Digest, Bytes)>,
    missing: Vec<String>,
}

impl<'a> Assembly<'a> {
    fn run(
        anchor: &'a Anchor,
        root_chain: &[Bytes],
        signed_head: &SignedHead,
        parts: &'a dyn Fn(&Digest) -> Option<Bytes>,
        completeness: Completeness,
    ) -> Result<Directory, DirectoryError> {
        let root = verify_root_chain(anchor, root_chain)?;
        let head = signed_head.verify(&root.publishing_keys)?;
        check_instance(anchor, &head.instance, "the head")?;
        if head.epoch != root.epoch {
            return Err(DirectoryError::Epoch { expected: root.epoch, found: head.epoch });
        }
        let named: Vec<Digest> = head.root_parts().map(|p| p.digest).collect();
        if named != root_chain.iter().map(|b| Digest::of(b)).collect::<Vec<_>>() {
            return Err(DirectoryError::RootMismatch);
        }
        let mut assembly =
            Assembly { anchor, head, root, parts, completeness, taken: BTreeMap::new(), missing: vec![] };
        let trust = assembly.trust()?;
        let groups = assembly.groups()?;
        let aliases = assembly.aliases()?;
        let members = assembly.members()?;
        let raw = RawDirectory {
            signed_head: signed_head.to_bytes(),
            root_chain: root_chain.to_vec(),
            parts: assembly.taken,
        };
        let head_ref = HeadRef {
            epoch: assembly.head.epoch,
            version: assembly.head.version,
            digest: assembly.head.content_digest(),
            root: assembly.root.version,
            trust: trust.version,
        };
        let mut directory = Directory {
            head: assembly.head,
            head_ref,
            root: assembly.root,
            trust,
            by_member: members.iter().map(|(id, m)| (id.clone(), Arc::clone(m))).collect(),
            members,
            subsystems: HashMap::new(),
            nodes: HashMap::new(),
            serving: HashMap::new(),
            node_by_certificate: HashMap::new(),
            member_by_certificate: HashMap::new(),
            groups,
            aliases: aliases.aliases.into_iter().map(|a| (a.alias, a.member)).collect(),
            missing: assembly.missing,
            raw,
        };
        directory.index()?;
        Ok(directory)
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
        self.taken.insert(listed.name.clone(), (listed.digest, bytes.clone()));
        Ok(Some(bytes))
    }

    fn take_named(&mut self, name: &str) -> Result<Option<Bytes>, DirectoryError> {
        let listed = self
            .head
            .part(name)
            .cloned()
            .ok_or_else(|| DirectoryError::UnlistedPart { name: name.to_owned() })?;
        self.take(&listed)
    }

    fn trust(&mut self) -> Result<TrustServices, DirectoryError> {
        let bytes = self.take_named(part::TRUST)?;
        let bytes = bytes.ok_or_else(|| DirectoryError::MissingPart {
            name: part::TRUST.to_owned(),
            digest: self.head.part(part::TRUST).map_or_else(|| Digest::of(b""), |p| p.digest),
        })?;
        let envelope = Endorsed::parse(&bytes)?;
        if !envelope.meets(self.root.threshold, &self.root.root_keys) {
            return Err(DirectoryError::TrustSignature);
        }
        let trust = TrustServices::parse(&envelope.payload)?;
        check_instance(self.anchor, &trust.instance, "the trust-service part")?;
        Ok(trust)
    }

    fn groups(&mut self) -> Result<Groups, DirectoryError> {
        let Some(bytes) = self.take_named(part::GROUPS)? else {
            return Ok(Groups { v: crate::V1, instance: self.head.instance.clone(), groups: vec![] });
        };
        let groups = Groups::parse(&bytes)?;
        check_instance(self.anchor, &groups.instance, "the groups part")?;
        Ok(groups)
    }

    fn aliases(&mut self) -> Result<Aliases, DirectoryError> {
        let Some(bytes) = self.take_named(part::ALIASES)? else {
            return Ok(Aliases { v: crate::V1, instance: self.head.instance.clone(), aliases: vec![] });
        };
        let aliases = Aliases::parse(&bytes)?;
        check_instance(self.anchor, &aliases.instance, "the aliases part")?;
        Ok(aliases)
    }

    fn members(&mut self) -> Result<BTreeMap<MemberId, Arc<MemberEntry>>, DirectoryError> {
        let roots = self.head.root_parts().count();
        let mut members = BTreeMap::new();
        for listed in self.head.parts.clone() {
            match listed.name.as_str() {
                part::TRUST | part::GROUPS | part::ALIASES => continue,
                name if name.starts_with("member/") => {}
                // Those of the chain were compared with it; one outside it (a gap) is not known.
                name if (1..=roots as u64).any(|n| name == part::root(n)) => continue,
                _ => return Err(DirectoryError::UnknownPart { name: listed.name }),
            }
            let Some(bytes) = self.take(&listed)? else { continue };
            let member = MemberEntry::parse(&bytes)?;
            if listed.name != part::member(&member.id) {
                return Err(DirectoryError::WrongName { name: listed.name, found: member.id.to_string() });
            }
            check_instance(self.anchor, member.id.instance(), "a member part")?;
            members.insert(member.id.clone(), Arc::new(member));
        }
        Ok(members)
    }
}

impl Directory {
    /// Fills the look-up tables; one certificate may stand for one node or one member only.
    fn index(&mut self) -> Result<(), DirectoryError> {
        for member in self.members.values() {
            for subsystem in &member.subsystems {
                if let Ok(id) = member.id.subsystem(&subsystem.code) {
                    self.subsystems.insert(id, subsystem.clone());
                }
            }
            for certificate in &member.sign_certificates {
                let before = self.member_by_certificate.insert(certificate.fingerprint, member.id.clone());
                refuse_twice(before.is_some(), || format!("sign certificate {}", certificate.fingerprint))?;
            }
        }
        for member in self.members.values() {
            for node in &member.nodes {
                let node = Arc::new(node.clone());
                for certificate in &node.auth_certificates {
                    let before = self.node_by_certificate.insert(*certificate, Arc::clone(&node));
                    refuse_twice(before.is_some(), || format!("auth certificate {certificate}"))?;
                }
                // A subsystem that is not listed (any more) is spoken for by nobody; in a container's subset its
                // member's part may simply not be there.
                for served in &node.serves {
                    let known = self.subsystems.contains_key(served)
                        || !self.by_member.contains_key(&served.member());
                    if known && (self.subsystems.contains_key(served) || !self.missing.is_empty()) {
                        self.serving.entry(served.clone()).or_default().push(Arc::clone(&node));
                    }
                }
                let before = self.nodes.insert(node.id.clone(), Arc::clone(&node));
                refuse_twice(before.is_some(), || format!("node {}", node.id))?;
            }
        }
        for nodes in self.serving.values_mut() {
            nodes.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(())
    }
}

fn refuse_twice(twice: bool, what: impl FnOnce() -> String) -> Result<(), DirectoryError> {
    if twice { Err(DirectoryError::Duplicate { what: what() }) } else { Ok(()) }
}

fn check_instance(anchor: &Anchor, found: &str, what: &str) -> Result<(), DirectoryError> {
    if anchor.instance == found {
        Ok(())
    } else {
        Err(DirectoryError::instance(&anchor.instance, found, what))
    }
}
