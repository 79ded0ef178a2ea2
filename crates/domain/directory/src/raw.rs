//! The exact bytes that a directory was assembled from, for caches and evidence containers (protocol P5.5).

use bytes::Bytes;
use truc_model::{Digest, MemberId};

use crate::{Directory, part};

/// The bytes behind a [`Directory`].
#[derive(Debug, Clone, Copy)]
pub struct RawDirectory<'a>(pub(crate) &'a Directory);

impl<'a> RawDirectory<'a> {
    /// The signed head's envelope.
    pub const fn signed_head(&self) -> &'a Bytes {
        &self.0.signed_head
    }
    /// The root documents from the anchor on.
    pub fn root_chain(&self) -> &'a [Bytes] {
        &self.0.root_chain
    }
    /// The trust-service part with its signatures.
    pub fn trust_part(&self) -> Option<&'a Bytes> {
        self.part(part::TRUST)
    }
    /// One member's part.
    pub fn member_part(&self, id: &MemberId) -> Option<&'a Bytes> {
        self.0.tables.members.get(id.as_str()).map(|listed| &listed.raw)
    }
    /// The index part that lists the member, if its head has index parts.
    pub fn index_part(&self, id: &MemberId) -> Option<&'a Bytes> {
        self.part(&part::bucket(id))
    }
    /// The part with this name, the roots excepted.
    pub fn part(&self, name: &str) -> Option<&'a Bytes> {
        self.found(name).map(|(_, bytes)| bytes)
    }
    /// All parts but the roots, in no order: name, digest, bytes.
    pub fn parts(&self) -> impl Iterator<Item = (String, &'a Digest, &'a Bytes)> + use<'a> {
        let directory = self.0;
        let top = directory.top.iter().map(|p| (p.name.clone(), &p.digest, &p.bytes));
        let members = directory.tables.members.iter().map(|(_, m)| m);
        let members = members.map(|m| (part::member(&m.entry.id), &m.digest, &m.raw));
        let apart =
            directory.groups.values().filter(move |_| directory.head.part(part::GROUP_INDEX).is_some());
        let groups = apart.map(|g| (part::group(&g.code), &g.digest, &g.raw));
        top.chain(members).chain(groups)
    }

    pub(crate) fn found(&self, name: &str) -> Option<(&'a Digest, &'a Bytes)> {
        if let Some(id) = name.strip_prefix(part::MEMBER) {
            return self.0.tables.members.get(id).map(|m| (&m.digest, &m.raw));
        }
        if let Some(code) = name.strip_prefix(part::GROUP) {
            self.0.head.part(part::GROUP_INDEX)?;
            return self.0.groups.get(code).map(|g| (&g.digest, &g.raw));
        }
        self.0.top_part(name).map(|p| (&p.digest, &p.bytes))
    }
}
