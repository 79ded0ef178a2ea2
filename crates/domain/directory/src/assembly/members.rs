//! The members of a directory: index parts that turned, the members that changed in them, and the look-up tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use truc_model::MemberId;

use super::{Assembly, Difference, Turned, check_instance};
use crate::directory::{Tables, TopPart};
use crate::head::PartRef;
use crate::index::{MemberIndex, MemberRef};
use crate::listed::Listed;
use crate::shards::Shards;
use crate::{DirectoryError, MemberEntry, NodeEntry, part};

impl Assembly<'_> {
    /// Who is listed where: by index parts, or by the head itself (then it is returned), never by both.
    pub(super) fn listings(&mut self) -> Result<Arc<Vec<MemberRef>>, DirectoryError> {
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
    pub(super) fn turned(&self) -> Turned {
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

    pub(super) fn members(
        &mut self,
        direct: &Arc<Vec<MemberRef>>,
        turned: &Turned,
    ) -> Result<Tables, DirectoryError> {
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
