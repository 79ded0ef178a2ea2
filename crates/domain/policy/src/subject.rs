//! To whom a right is given.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use truc_directory::GroupMember;
use truc_model::{InvalidId, MemberId, SubsystemId};

/// Longest description of a group, in characters.
const DESCRIPTION_LIMIT: usize = 200;

/// The code of a group; the characters of an identifier's part (protocol P10.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupCode(String);

impl GroupCode {
    /// The code's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupCode {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // One rule for codes: a group code is fit to be the part of an identifier.
        MemberId::new("X", "X", text).map(|_| Self(text.to_owned()))
    }
}

impl TryFrom<String> for GroupCode {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<GroupCode> for String {
    fn from(code: GroupCode) -> Self {
        code.0
    }
}

impl fmt::Display for GroupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// To whom a right is given. Written with its type, `SUBSYSTEM:VN/GOV/H26/mot-cua-so-1`; `FromStr` also takes a bare
/// subsystem (four parts) or member (three parts), as one types it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// Exactly this subsystem.
    Subsystem(SubsystemId),
    /// Every subsystem of this member, present and future. (X-Road: the member itself and none of its subsystems; on
    /// this bus only subsystems call, so that reading would grant nothing.)
    Member(MemberId),
    /// Whoever is in this global group of the directory, `GROUP:mot-cua`.
    GlobalGroup(GroupCode),
    /// Whoever is in this group of the service's own subsystem, `LOCALGROUP:doi-tac`. The owner is not written: it is
    /// always the subsystem that offers the service, so a group can never be used for another's services.
    LocalGroup(GroupCode),
}

/// Why a text names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// The identifier or code is malformed.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Another tag, or none.
    #[error("a subject is SUBSYSTEM:…, MEMBER:…, GROUP:code or LOCALGROUP:code")]
    Tag,
}

impl Subject {
    /// Reads the stored form, tag included.
    ///
    /// # Errors
    /// [`InvalidSubject`].
    pub fn from_tagged(text: &str) -> Result<Self, InvalidSubject> {
        let (tag, rest) = text.split_once(':').ok_or(InvalidSubject::Tag)?;
        Ok(match tag {
            SubsystemId::TAG => Self::Subsystem(rest.parse()?),
            MemberId::TAG => Self::Member(rest.parse()?),
            "GROUP" => Self::GlobalGroup(rest.parse()?),
            "LOCALGROUP" => Self::LocalGroup(rest.parse()?),
            _ => return Err(InvalidSubject::Tag),
        })
    }

    /// The instance, where the subject names one.
    pub(crate) fn instance(&self) -> Option<&str> {
        match self {
            Self::Subsystem(id) => Some(id.instance()),
            Self::Member(id) => Some(id.instance()),
            Self::GlobalGroup(_) | Self::LocalGroup(_) => None,
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        if text.contains(':') {
            return Self::from_tagged(text);
        }
        match text.split('/').count() {
            3 => Ok(Self::Member(text.parse()?)),
            4 => Ok(Self::Subsystem(text.parse()?)),
            _ => Err(InvalidSubject::Tag),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;
    fn try_from(text: String) -> Result<Self, InvalidSubject> {
        Self::from_tagged(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subsystem(id) => f.write_str(&id.tagged()),
            Self::Member(id) => f.write_str(&id.tagged()),
            Self::GlobalGroup(code) => write!(f, "GROUP:{code}"),
            Self::LocalGroup(code) => write!(f, "LOCALGROUP:{code}"),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A group of one hosted subsystem, usable for that subsystem's services only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalGroup {
    /// Whose group it is.
    pub owner: SubsystemId,
    /// Its code.
    pub code: GroupCode,
    /// What people call it.
    #[serde(default)]
    pub description: String,
    /// Who is in it.
    #[serde(default)]
    pub members: BTreeSet<GroupMember>,
}

impl LocalGroup {
    /// Whether the subsystem, or its member as a whole, is in the group.
    pub fn contains(&self, subsystem: &SubsystemId) -> bool {
        self.members.iter().any(|m| match m {
            GroupMember::Subsystem(id) => id == subsystem,
            GroupMember::Member(id) => *id == subsystem.member(),
        })
    }
    pub(crate) fn description_fits(&self) -> bool {
        self.description.chars().count() <= DESCRIPTION_LIMIT
            && !self.description.chars().any(char::is_control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_stored_with_their_type() {
        for text in
            ["SUBSYSTEM:VN/GOV/H26/mot-cua-so-1", "MEMBER:VN/GOV/H26", "GROUP:mot-cua", "LOCALGROUP:doi-tac"]
        {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert_eq!(serde_json::to_string(&subject).unwrap(), format!("{text:?}"));
        }
        assert_eq!("VN/GOV/H26/a".parse::<Subject>().unwrap().to_string(), "SUBSYSTEM:VN/GOV/H26/a");
        assert_eq!("VN/GOV/H26".parse::<Subject>().unwrap().to_string(), "MEMBER:VN/GOV/H26");
        assert!(serde_json::from_str::<Subject>("\"VN/GOV/H26\"").is_err());
        for bad in [
            "",
            "mot-cua",
            "NODE:VN/GOV/H26/ss1",
            "GROUP:",
            "GROUP:a b",
            "SUBSYSTEM:VN/GOV/H26",
            "subsystem:VN/GOV/H26/a",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
