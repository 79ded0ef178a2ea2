//! Index parts: which member's and which group's part has which digest, so that a head stays small (protocol P6.2,
//! `docs/adr/0018-index-parts.md`).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{Digest, MemberId};

use crate::format::{FormatError, V1, encode, parse};
use crate::head::{PART_LIMIT_BYTES, PartRef};
use crate::{DirectoryError, part};

/// One bucket of the members, `members/00` to `members/ff`: those whose id's SHA-256 begins with that byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MemberIndex {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The members of the bucket, by id; never empty.
    pub members: Vec<MemberRef>,
}

/// One member's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MemberRef {
    /// Whose part.
    pub id: MemberId,
    /// SHA-256 over its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// All global groups, `group-index`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupIndex {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The groups, by code; may be empty.
    pub groups: Vec<GroupRef>,
}

/// One group's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupRef {
    /// Which group.
    pub code: String,
    /// SHA-256 over its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl MemberRef {
    /// As a head would list it.
    pub fn part(&self) -> PartRef {
        PartRef { name: part::member(&self.id), digest: self.digest, size: self.size }
    }
}

impl GroupRef {
    /// As a head would list it.
    pub fn part(&self) -> PartRef {
        PartRef { name: part::group(&self.code), digest: self.digest, size: self.size }
    }
}

impl MemberIndex {
    /// Reads a bucket; whether its members belong in it is told by [`MemberIndex::check_bucket`].
    ///
    /// # Errors
    /// [`FormatError`], also when it lists nobody, somebody twice, out of order, of another instance or with too long a part.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "a members' index part";
        let index: Self = parse(WHAT, bytes)?;
        let shape = |why: String| Err(FormatError::shape(WHAT, why));
        if index.members.is_empty() {
            return shape("it lists nobody".into());
        }
        if !index.members.is_sorted_by(|a, b| a.id < b.id) {
            return shape("its members are not listed once each in the order of their ids".into());
        }
        if let Some(foreign) = index.members.iter().find(|m| m.id.instance() != index.instance) {
            return shape(format!("{} is of another instance", foreign.id));
        }
        if let Some(long) = index.members.iter().find(|m| m.size > PART_LIMIT_BYTES) {
            return shape(format!("the part of {} is longer than {PART_LIMIT_BYTES} bytes", long.id));
        }
        Ok(index)
    }

    /// Refuses a member that does not belong in the bucket of this name.
    ///
    /// # Errors
    /// [`DirectoryError::WrongName`].
    pub fn check_bucket(&self, name: &str) -> Result<(), DirectoryError> {
        match self.members.iter().find(|m| part::bucket(&m.id) != name) {
            Some(stray) => {
                Err(DirectoryError::WrongName { name: name.to_owned(), found: stray.id.to_string() })
            }
            None => Ok(()),
        }
    }

    /// The member's entry.
    pub fn find(&self, id: &MemberId) -> Option<&MemberRef> {
        self.members.binary_search_by(|m| m.id.cmp(id)).ok().and_then(|i| self.members.get(i))
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}

impl GroupIndex {
    /// Reads the part.
    ///
    /// # Errors
    /// [`FormatError`], also when a group is listed twice, out of order or with too long a part.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the groups' index part";
        let index: Self = parse(WHAT, bytes)?;
        if !index.groups.is_sorted_by(|a, b| a.code < b.code) {
            let why = "its groups are not listed once each in the order of their codes";
            return Err(FormatError::shape(WHAT, why));
        }
        match index.groups.iter().find(|g| g.size > PART_LIMIT_BYTES) {
            Some(long) => {
                let why = format!("the part of {:?} is longer than {PART_LIMIT_BYTES} bytes", long.code);
                Err(FormatError::shape(WHAT, why))
            }
            None => Ok(index),
        }
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}

/// The parts that the part `name` lists in its turn; none for one that is no index part. `bytes` must already have the
/// digest that the head states.
///
/// # Errors
/// [`DirectoryError::Format`], or [`DirectoryError::WrongName`] for a member in the wrong bucket.
pub fn listed_in(name: &str, bytes: &[u8]) -> Result<Vec<PartRef>, DirectoryError> {
    if name == part::GROUP_INDEX {
        return Ok(GroupIndex::parse(bytes)?.groups.iter().map(GroupRef::part).collect());
    }
    if !name.starts_with(part::MEMBERS) {
        return Ok(Vec::new());
    }
    let index = MemberIndex::parse(bytes)?;
    index.check_bucket(name)?;
    Ok(index.members.iter().map(MemberRef::part).collect())
}
