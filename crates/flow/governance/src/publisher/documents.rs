//! The directory's documents, each written once and again only when what it says has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{
    Group, GroupIndex, GroupPart, GroupRef, MemberEntry, MemberIndex, MemberRef, PartRef, V1, part,
};
use truc_model::{Digest, MemberId};

use crate::state::State;

/// What was written of the state last followed. A change of one member writes its part and its index part, nothing else.
#[derive(Default)]
pub(super) struct Documents {
    members: BTreeMap<MemberId, (Arc<MemberEntry>, String)>,
    buckets: BTreeMap<String, Bucket>,
    groups: BTreeMap<String, (Arc<Group>, GroupRef)>,
    group_index: Option<PartRef>,
    aliases: Option<(BTreeMap<String, MemberId>, PartRef)>,
    /// Written, and not known to be kept yet.
    fresh: HashMap<Digest, Bytes>,
}

/// One index part: whom it lists, and the part itself.
#[derive(Default)]
struct Bucket {
    members: BTreeMap<MemberId, MemberRef>,
    written: Option<PartRef>,
}

impl Documents {
    /// Writes what changed; answers with all that a head lists, sorted by name.
    pub(super) fn follow(&mut self, state: &State) -> Vec<PartRef> {
        self.follow_members(state);
        self.follow_groups(state);
        let mut listed = vec![self.part(part::TRUST, state.trust_part.clone())];
        let roots = (1u64..).zip(&state.roots);
        listed.extend(roots.map(|(n, bytes)| self.part(&part::root(n), bytes.clone())));
        listed.push(self.follow_aliases(state));
        listed.extend(self.group_index.iter().cloned());
        listed.extend(self.buckets.values().filter_map(|bucket| bucket.written.clone()));
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed
    }

    /// Documents that may not be kept yet, by digest.
    pub(super) const fn fresh(&self) -> &HashMap<Digest, Bytes> {
        &self.fresh
    }

    /// All are kept now.
    pub(super) fn kept(&mut self) {
        self.fresh = HashMap::new();
    }

    fn part(&mut self, name: &str, bytes: Bytes) -> PartRef {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.fresh.insert(digest, bytes);
        PartRef { name: name.to_owned(), digest, size }
    }

    fn follow_members(&mut self, state: &State) {
        let mut touched = BTreeSet::new();
        for (id, entry) in &state.members {
            // Entries are changed by replacing them: the same place in memory is the same content.
            if self.members.get(id).is_some_and(|(known, _)| Arc::ptr_eq(known, entry)) {
                continue;
            }
            let written = self.part("", entry.to_bytes());
            let bucket = part::bucket(id);
            let listed = MemberRef { id: id.clone(), digest: written.digest, size: written.size };
            self.buckets.entry(bucket.clone()).or_default().members.insert(id.clone(), listed);
            self.members.insert(id.clone(), (Arc::clone(entry), bucket.clone()));
            touched.insert(bucket);
        }
        if self.members.len() != state.members.len() {
            let left: Vec<MemberId> =
                self.members.keys().filter(|id| !state.members.contains_key(*id)).cloned().collect();
            for id in left {
                let Some((_, bucket)) = self.members.remove(&id) else { continue };
                self.buckets.entry(bucket.clone()).or_default().members.remove(&id);
                touched.insert(bucket);
            }
        }
        for name in touched {
            let members: Vec<MemberRef> =
                self.buckets.get(&name).map(|b| b.members.values().cloned().collect()).unwrap_or_default();
            if members.is_empty() {
                self.buckets.remove(&name);
                continue;
            }
            let index = MemberIndex { v: V1, instance: state.instance().to_owned(), members };
            let written = self.part(&name, index.to_bytes());
            self.buckets.entry(name).or_default().written = Some(written);
        }
    }

    fn follow_groups(&mut self, state: &State) {
        let mut touched = self.group_index.is_none();
        for (code, group) in &state.groups {
            if self.groups.get(code).is_some_and(|(known, _)| Arc::ptr_eq(known, group)) {
                continue;
            }
            let document = GroupPart {
                v: V1,
                instance: state.instance().to_owned(),
                code: group.code.clone(),
                name: group.name.clone(),
                members: group.members.clone(),
            };
            let written = self.part("", document.to_bytes());
            let listed = GroupRef { code: code.clone(), digest: written.digest, size: written.size };
            self.groups.insert(code.clone(), (Arc::clone(group), listed));
            touched = true;
        }
        if self.groups.len() != state.groups.len() {
            self.groups.retain(|code, _| state.groups.contains_key(code));
            touched = true;
        }
        if touched {
            let groups = self.groups.values().map(|(_, listed)| listed.clone()).collect();
            let index = GroupIndex { v: V1, instance: state.instance().to_owned(), groups };
            self.group_index = Some(self.part(part::GROUP_INDEX, index.to_bytes()));
        }
    }

    fn follow_aliases(&mut self, state: &State) -> PartRef {
        if let Some((known, written)) = &self.aliases
            && *known == state.aliases
        {
            return written.clone();
        }
        let written = self.part(part::ALIASES, state.aliases().to_bytes());
        self.aliases = Some((state.aliases.clone(), written.clone()));
        written
    }
}
