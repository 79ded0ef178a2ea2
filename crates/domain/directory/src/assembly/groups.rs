//! The groups of a directory: those that changed are read, the others are kept.

use std::sync::Arc;

use bytes::Bytes;
use truc_model::Digest;

use super::{Assembly, check_instance};
use crate::group_set::{GroupSet, GroupSets};
use crate::head::PartRef;
use crate::index::GroupIndex;
use crate::{DirectoryError, part};

impl Assembly<'_> {
    /// In one part all together, or listed by an index part one by one.
    pub(super) fn groups(&mut self) -> Result<Arc<GroupSets>, DirectoryError> {
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
}
