//! A global group in a snapshot: its part's bytes and the sorted places of its members in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use truc_model::{Digest, MemberId, SubsystemId};

use crate::format::{FormatError, V1, parse};
use crate::groups::{Group, GroupMember};
use crate::member::unique;

/// A group of a million members takes the bytes of its part and four bytes for each, no more.
#[derive(Debug)]
pub(crate) struct GroupSet {
    pub(crate) code: String,
    pub(crate) name: String,
    /// The whole part, which in the old form holds other groups too.
    pub(crate) raw: Bytes,
    pub(crate) digest: Digest,
    /// Where each member's tagged id begins in `raw`, in the order of these texts.
    order: Box<[u32]>,
}

/// The groups of a snapshot, by code.
pub(crate) type GroupSets = BTreeMap<String, Arc<GroupSet>>;

/// A [`crate::GroupPart`] as it lies in its bytes. Ids are written without JSON escapes, so each is a slice of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PartText<'a> {
    #[serde(rename = "v")]
    _v: V1,
    instance: String,
    code: String,
    name: String,
    #[serde(borrow)]
    members: Vec<&'a str>,
}

/// A [`crate::Groups`] part likewise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GroupsText<'a> {
    #[serde(rename = "v")]
    _v: V1,
    instance: String,
    #[serde(borrow)]
    groups: Vec<GroupText<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GroupText<'a> {
    code: String,
    name: String,
    #[serde(borrow)]
    members: Vec<&'a str>,
}

impl GroupSet {
    /// Reads a group's own part. Answers with the instance it names, for the caller to compare.
    pub(crate) fn read(raw: &Bytes, digest: Digest) -> Result<(String, Self), FormatError> {
        const WHAT: &str = "a group part";
        let text: PartText<'_> = parse(WHAT, raw)?;
        let order = places(WHAT, raw, &text.instance, &text.members)?;
        Ok((text.instance, Self { code: text.code, name: text.name, raw: raw.clone(), digest, order }))
    }

    /// Reads the part that holds all groups.
    pub(crate) fn read_all(raw: &Bytes, digest: Digest) -> Result<(String, GroupSets), FormatError> {
        const WHAT: &str = "the groups part";
        let text: GroupsText<'_> = parse(WHAT, raw)?;
        unique("group", text.groups.iter().map(|g| g.code.as_str()))
            .map_err(|why| FormatError::shape(WHAT, why))?;
        let mut sets = GroupSets::new();
        for group in text.groups {
            let order = places(WHAT, raw, &text.instance, &group.members)?;
            let set = Self { code: group.code.clone(), name: group.name, raw: raw.clone(), digest, order };
            sets.insert(group.code, Arc::new(set));
        }
        Ok((text.instance, sets))
    }

    /// Whether the subsystem is in it by itself.
    pub(crate) fn has_subsystem(&self, id: &SubsystemId) -> bool {
        self.has(SubsystemId::TAG, id.as_str())
    }

    /// Whether the member is in it as a whole.
    pub(crate) fn has_member(&self, id: &str) -> bool {
        self.has(MemberId::TAG, id)
    }

    /// Compares up to and with the closing quote, which no id holds: so no text is the beginning of another.
    fn has(&self, tag: &str, id: &str) -> bool {
        let wanted = [tag, ":", id, "\""].concat();
        let text = |at: &u32| {
            let rest = self.raw.get(*at as usize..).unwrap_or_default();
            rest.get(..wanted.len()).unwrap_or(rest)
        };
        self.order.binary_search_by(|at| text(at).cmp(wanted.as_bytes())).is_ok()
    }

    /// Its members in the order of their tagged ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = GroupMember> {
        self.order.iter().filter_map(|at| {
            let rest = self.raw.get(*at as usize..)?;
            let text = std::str::from_utf8(rest.split(|b| *b == b'"').next()?).ok()?;
            GroupMember::try_from(text.to_owned()).ok()
        })
    }

    /// As a document would hold it.
    pub(crate) fn group(&self) -> Group {
        Group { code: self.code.clone(), name: self.name.clone(), members: self.members().collect() }
    }
}

/// Checks the ids and sorts their places.
fn places(
    what: &'static str,
    raw: &Bytes,
    instance: &str,
    members: &[&str],
) -> Result<Box<[u32]>, FormatError> {
    let shape = |why: String| FormatError::shape(what, why);
    for text in members {
        let member = GroupMember::try_from((*text).to_owned()).map_err(|e| shape(e.to_string()))?;
        if member.instance() != instance {
            return Err(shape(format!("{member:?} is of another instance")));
        }
    }
    let begin = raw.as_ptr() as usize;
    let place = |text: &str| u32::try_from((text.as_ptr() as usize).wrapping_sub(begin)).ok();
    let mut sorted = members.to_vec();
    // With the closing quote, as `has` compares.
    sorted.sort_unstable_by(|a, b| a.bytes().chain([b'"']).cmp(b.bytes().chain([b'"'])));
    if let Some(twice) = sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(shape(format!("group member {:?} is listed twice", twice.first())));
    }
    let order: Option<Vec<u32>> = sorted.into_iter().map(place).collect();
    order.map(Vec::into_boxed_slice).ok_or_else(|| shape("it is too long".into()))
}
