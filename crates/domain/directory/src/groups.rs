//! Global groups, and the old spellings of agency codes.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{InvalidId, MemberId, SubsystemId};

use crate::format::{FormatError, V1, encode, parse};
use crate::member::unique;

/// The part with all global groups, as heads without index parts list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Groups {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The groups, by code.
    pub groups: Vec<Group>,
}

/// One global group as a part of its own, `group/mot-cua`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupPart {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// Its code, e.g. `mot-cua`.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

impl GroupPart {
    /// Reads the part.
    ///
    /// # Errors
    /// [`FormatError`], also when a member is listed twice or is of another instance.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "a group part";
        let part: Self = parse(WHAT, bytes)?;
        let shape = |why: String| FormatError::shape(WHAT, why);
        unique("group member", part.members.iter()).map_err(shape)?;
        match part.members.iter().find(|m| m.instance() != part.instance) {
            Some(foreign) => Err(shape(format!("{foreign:?} is of another instance"))),
            None => Ok(part),
        }
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}

/// A global group, to which providers grant rights at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Group {
    /// Its code, e.g. `mot-cua`.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// Something that can be in a group; written in tagged form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GroupMember {
    /// One subsystem.
    Subsystem(SubsystemId),
    /// A member with all its subsystems.
    Member(MemberId),
}

impl GroupMember {
    /// The instance code.
    pub fn instance(&self) -> &str {
        match self {
            Self::Subsystem(id) => id.instance(),
            Self::Member(id) => id.instance(),
        }
    }

    /// The member it is, or belongs to.
    pub fn member(&self) -> MemberId {
        match self {
            Self::Subsystem(id) => id.member(),
            Self::Member(id) => id.clone(),
        }
    }
}

impl TryFrom<String> for GroupMember {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        if text.starts_with("MEMBER:") {
            MemberId::from_tagged(&text).map(Self::Member)
        } else {
            SubsystemId::from_tagged(&text).map(Self::Subsystem)
        }
    }
}

impl From<GroupMember> for String {
    fn from(member: GroupMember) -> Self {
        match member {
            GroupMember::Subsystem(id) => id.tagged(),
            GroupMember::Member(id) => id.tagged(),
        }
    }
}

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

impl Groups {
    /// Reads the part.
    ///
    /// # Errors
    /// [`FormatError`], also when a code or a member of a group is listed twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the groups part";
        let part: Self = parse(WHAT, bytes)?;
        let shape = |why: String| FormatError::shape(WHAT, why);
        unique("group", part.groups.iter().map(|g| g.code.as_str())).map_err(shape)?;
        part.groups.iter().try_for_each(|g| unique("group member", g.members.iter())).map_err(shape)?;
        match part.groups.iter().flat_map(|g| &g.members).find(|m| m.instance() != part.instance) {
            Some(foreign) => Err(shape(format!("{foreign:?} is of another instance"))),
            None => Ok(part),
        }
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}

/// The part with old agency codes (`000.00.00.H26`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Aliases {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The aliases, by alias.
    pub aliases: Vec<Alias>,
}

/// One old spelling. It resolves to the member it always named, never silently to a successor (protocol P6.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Alias {
    /// The old code.
    pub alias: String,
    /// The member it names.
    pub member: MemberId,
}

impl Aliases {
    /// Reads the part.
    ///
    /// # Errors
    /// [`FormatError`], also when an alias is listed twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the aliases part";
        let part: Self = parse(WHAT, bytes)?;
        unique("alias", part.aliases.iter().map(|a| a.alias.as_str()))
            .map_err(|why| FormatError::shape(WHAT, why))?;
        match part.aliases.iter().find(|a| a.member.instance() != part.instance) {
            Some(foreign) => {
                Err(FormatError::shape(WHAT, format!("{} is of another instance", foreign.member)))
            }
            None => Ok(part),
        }
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}
