//! The directory in force: an immutable snapshot that exists only once everything in it is verified.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::group_set::{GroupSet, GroupSets};
use crate::head::{Freshness, Head, HeadRef, PartRef};
use crate::index::MemberRef;
use crate::listed::Listed;
use crate::shards::Shards;
use crate::{
    Anchor, ApprovedAuthority, Groups, MemberEntry, MemberStatus, NodeEntry, RawDirectory, Root,
    SubsystemEntry, Succession, TimestampAuthority, TrustServices, V1, part,
};

/// A verified snapshot of the directory. Look-ups cost a few hashes however large it is; share it as `Arc<Directory>`. A
/// newer one is made from it by [`Directory::update`] and shares with it all that did not change.
#[derive(Debug)]
pub struct Directory {
    pub(crate) anchor: Arc<Anchor>,
    pub(crate) head: Head,
    pub(crate) head_ref: HeadRef,
    pub(crate) root: Root,
    pub(crate) trust: Arc<TrustServices>,
    pub(crate) aliases: Arc<HashMap<String, MemberId>>,
    pub(crate) groups: Arc<GroupSets>,
    pub(crate) tables: Tables,
    /// The members that the head lists itself, when it has no index parts.
    pub(crate) direct: Arc<Vec<MemberRef>>,
    pub(crate) missing: Vec<String>,
    pub(crate) signed_head: Bytes,
    pub(crate) root_chain: Vec<Bytes>,
    /// The parts that the head lists itself, by name; members, roots and missing ones excepted.
    pub(crate) top: Vec<Arc<TopPart>>,
}

/// A part that the head lists itself. One that did not change is the same object in the next snapshot: that is how a change
/// is found without comparing what is in them.
#[derive(Debug)]
pub(crate) struct TopPart {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    /// The members that it lists, if it is an index part of members.
    pub(crate) members: Vec<MemberRef>,
}

/// What is looked up by name or fingerprint. It holds what is registered; what of it counts is judged at the look-up, so
/// that a suspension changes one member's entry and nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    pub(crate) members: Shards<Arc<str>, Arc<Listed>>,
    /// The nodes that are registered to speak for a subsystem, by node id.
    pub(crate) claims: Shards<Arc<str>, Arc<[Arc<NodeEntry>]>>,
    pub(crate) node_by_certificate: Shards<Fingerprint, Arc<NodeEntry>>,
    pub(crate) member_by_certificate: Shards<Fingerprint, Arc<str>>,
}

impl Directory {
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
    /// Whether this is a subset that cannot tell about the member: its part, or the index part that would list it, was
    /// not given.
    pub fn lacks(&self, member: &MemberId) -> bool {
        let (own, bucket) = (part::member(member), part::bucket(member));
        self.missing.iter().any(|name| *name == own || *name == bucket)
    }
    /// The exact bytes.
    pub const fn raw(&self) -> RawDirectory<'_> {
        RawDirectory(self)
    }
    /// Whether the part is in force here, in these very bytes.
    pub fn holds(&self, listed: &PartRef) -> bool {
        self.raw().found(&listed.name).is_some_and(|(digest, _)| *digest == listed.digest)
    }

    /// What another head lists that is not in force here, roots included. As [`Directory::holds`] tells, and faster: both
    /// lists are in order.
    pub fn lacking<'a>(&'a self, head: &'a Head) -> impl Iterator<Item = &'a PartRef> {
        let mut top = self.top.iter().peekable();
        head.parts.iter().filter(move |listed| {
            while top.next_if(|part| part.name < listed.name).is_some() {}
            match top.peek() {
                Some(part) if part.name == listed.name => part.digest != listed.digest,
                _ => !self.holds(listed),
            }
        })
    }

    /// The member, whatever its status.
    pub fn member(&self, id: &MemberId) -> Option<&MemberEntry> {
        self.member_named(id.as_str())
    }
    /// All members, by id. Sorts them first: for lists, not for look-ups.
    pub fn members(&self) -> impl Iterator<Item = &MemberEntry> {
        let mut all: Vec<&MemberEntry> = self.tables.members.iter().map(|(_, m)| &m.entry).collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all.into_iter()
    }
    /// The subsystem, disabled or not.
    pub fn subsystem(&self, id: &SubsystemId) -> Option<&SubsystemEntry> {
        let (member, code) = id.as_str().rsplit_once('/')?;
        self.tables.members.get(member)?.subsystem(code)
    }
    /// The node, suspended or not.
    pub fn node(&self, id: &NodeId) -> Option<&NodeEntry> {
        let listed = self.tables.members.get(owner(id.as_str()))?;
        listed.nodes.iter().find(|n| n.id == *id).map(Arc::as_ref)
    }
    /// All nodes, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.tables.members.iter().flat_map(|(_, m)| m.nodes.iter().map(Arc::as_ref))
    }
    /// The nodes that speak for `id` now, by node id: none of a disabled subsystem or of a member that is not active, and
    /// no suspended node or node of a member that is not active. Whether the member's dates fit is judged elsewhere
    /// ([`MemberEntry::is_active`]).
    pub fn nodes_serving(&self, id: &SubsystemId) -> Vec<Arc<NodeEntry>> {
        self.speakers(id).cloned().collect()
    }
    /// Whether `node` speaks for `subsystem` now (protocol P3.4), as [`Directory::nodes_serving`] judges it.
    pub fn speaks_for(&self, node: &NodeId, subsystem: &SubsystemId) -> bool {
        self.speakers(subsystem).any(|n| n.id == *node)
    }
    /// Whether the certificate is registered as a seal of this very member, and the member is active (protocol P3.2).
    pub fn has_sign_certificate(&self, member: &MemberId, certificate: &Fingerprint) -> bool {
        let holder = self.tables.member_by_certificate.get(certificate);
        holder.is_some_and(|h| h.as_ref() == member.as_str()) && self.takes_part(member.as_str())
    }
    /// The node whose TLS identity this certificate is (protocol P3.3); none while the node is suspended or its owner is
    /// not active.
    pub fn node_of_auth_certificate(&self, certificate: &Fingerprint) -> Option<&NodeEntry> {
        let node = self.tables.node_by_certificate.get(certificate)?;
        self.counts(node).then_some(node.as_ref())
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
    pub fn trust_services(&self) -> &TrustServices {
        &self.trust
    }
    /// Whether the subsystem, or its member as a whole, is in the global group `code`.
    pub fn in_group(&self, code: &str, subsystem: &SubsystemId) -> bool {
        let group = self.groups.get(code);
        group.is_some_and(|g| g.has_subsystem(subsystem) || g.has_member(owner(subsystem.as_str())))
    }
    /// The global groups with all their members, written out anew: for lists, not for look-ups.
    pub fn groups(&self) -> Groups {
        let groups = self.groups.values().map(|g: &Arc<GroupSet>| g.group()).collect();
        Groups { v: V1, instance: self.head.instance.clone(), groups }
    }
    /// Who took over from a closed member.
    pub fn successor(&self, member: &MemberId) -> Option<&Succession> {
        self.member(member)?.succession.as_ref()
    }
    /// The member that an old agency code (`000.00.00.H26`) names; never its successor (protocol P6.4).
    pub fn alias(&self, old_code: &str) -> Option<&MemberId> {
        self.aliases.get(old_code)
    }

    /// The part with this name that the head lists itself, as [`Directory::top`] has it.
    pub(crate) fn top_part(&self, name: &str) -> Option<&Arc<TopPart>> {
        self.top.binary_search_by(|p| p.name.as_str().cmp(name)).ok().and_then(|at| self.top.get(at))
    }

    fn member_named(&self, id: &str) -> Option<&MemberEntry> {
        self.tables.members.get(id).map(|m| &m.entry)
    }

    /// Whether the member's status lets it take part.
    fn takes_part(&self, member: &str) -> bool {
        self.member_named(member).is_some_and(|m| m.status == MemberStatus::Active)
    }

    fn counts(&self, node: &NodeEntry) -> bool {
        !node.suspended && self.takes_part(owner(node.id.as_str()))
    }

    fn speakers<'a>(&'a self, id: &'a SubsystemId) -> impl Iterator<Item = &'a Arc<NodeEntry>> {
        let (member, code) = id.as_str().rsplit_once('/').unwrap_or_default();
        // A subsystem that is not listed (any more) is spoken for by nobody; in a container's subset its member's part
        // may simply not be there.
        let listed = self.tables.members.get(member);
        let open = match listed {
            Some(listed) => {
                listed.entry.status == MemberStatus::Active
                    && listed.subsystem(code).is_some_and(|s| !s.disabled)
            }
            None => self.lacks(&id.member()),
        };
        let claims = if open { self.tables.claims.get(id.as_str()) } else { None };
        // Mostly the member's own node; of an open subsystem that member is active.
        let own = move |node: &NodeEntry| listed.is_some() && owner(node.id.as_str()) == member;
        let nodes = claims.into_iter().flat_map(|nodes| nodes.iter());
        nodes.filter(move |node| if own(node) { !node.suspended } else { self.counts(node) })
    }
}

/// The member's part of a subsystem's or node's plain id.
pub(crate) fn owner(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(member, _)| member)
}
