//! Rights and local groups.

use serde::{Deserialize, Serialize};
use truc_directory::GroupMember;
use truc_model::{ServiceId, SubsystemId};
use truc_policy::{GroupCode, LocalGroup, MethodPattern, PathGlob, Right, RightId, Subject};

/// A right to be granted, or to be revoked by what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// To whom; a bare subsystem or member is understood.
    #[serde(with = "crate::plain")]
    pub subject: Subject,
    /// Which service.
    #[serde(with = "crate::plain")]
    pub service: ServiceId,
    /// Which methods; all unless given.
    #[serde(default = "any_method")]
    pub method: MethodPattern,
    /// Which paths; all unless given.
    #[serde(default = "PathGlob::every")]
    pub path: PathGlob,
}

const fn any_method() -> MethodPattern {
    MethodPattern::Any
}

impl Grant {
    /// The right it says.
    pub fn right(self) -> Right {
        Right::new(self.subject, self.service, self.method, self.path)
    }
}

/// A right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessEntry {
    /// Its id.
    pub id: RightId,
    /// To whom.
    #[serde(with = "crate::plain")]
    pub subject: Subject,
    /// Which service.
    #[serde(with = "crate::plain")]
    pub service: ServiceId,
    /// Which methods.
    pub method: MethodPattern,
    /// Which paths.
    pub path: PathGlob,
}

impl From<&Right> for AccessEntry {
    fn from(right: &Right) -> Self {
        Self {
            id: right.id(),
            subject: right.subject().clone(),
            service: right.service().clone(),
            method: right.method().clone(),
            path: right.path().clone(),
        }
    }
}

/// Which rights to list; every set field must match.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessFilter {
    /// To this service only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub service: Option<ServiceId>,
    /// To exactly this subject only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub subject: Option<Subject>,
}

/// A local group to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewGroup {
    /// Whose; a hosted subsystem.
    #[serde(with = "crate::plain")]
    pub owner: SubsystemId,
    /// Its code.
    pub code: GroupCode,
    /// What people call it.
    #[serde(default)]
    pub description: String,
}

/// A local group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupEntry {
    /// Whose.
    #[serde(with = "crate::plain")]
    pub owner: SubsystemId,
    /// Its code.
    pub code: GroupCode,
    /// What people call it.
    pub description: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

impl From<&LocalGroup> for GroupEntry {
    fn from(group: &LocalGroup) -> Self {
        Self {
            owner: group.owner.clone(),
            code: group.code.clone(),
            description: group.description.clone(),
            members: group.members.iter().cloned().collect(),
        }
    }
}

/// Which local groups to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupFilter {
    /// Of this subsystem only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub owner: Option<SubsystemId>,
}

/// Someone to be put into or taken out of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupMemberBody {
    /// `SUBSYSTEM:…` or `MEMBER:…`.
    pub member: GroupMember,
}
