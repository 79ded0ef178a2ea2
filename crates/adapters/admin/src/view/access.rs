//! Rights and local groups.

use serde::{Deserialize, Serialize};
use truc_directory::GroupMember;
use truc_model::{MemberId, ServiceId, SubsystemId, Timestamp};
use truc_policy::{
    Conditions, Explanation, GroupCode, LocalGroup, MethodPattern, PathGlob, Right, RightId, Subject,
};

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
    /// Under which conditions; none unless given. A right is revoked by what it says without them.
    #[serde(default, skip_serializing_if = "Conditions::is_none")]
    pub conditions: Conditions,
}

const fn any_method() -> MethodPattern {
    MethodPattern::Any
}

impl Grant {
    /// The right it says.
    pub fn right(self) -> Right {
        Right::new(self.subject, self.service, self.method, self.path).under(self.conditions)
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
    /// Under which conditions.
    #[serde(default, skip_serializing_if = "Conditions::is_none")]
    pub conditions: Conditions,
    /// The closed member from which it was carried over, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub by_succession_of: Option<MemberId>,
}

impl From<&Right> for AccessEntry {
    fn from(right: &Right) -> Self {
        Self {
            id: right.id(),
            subject: right.subject().clone(),
            service: right.service().clone(),
            method: right.method().clone(),
            path: right.path().clone(),
            conditions: *right.conditions(),
            by_succession_of: right.by_succession_of().cloned(),
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

/// A call to be judged without being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckCall {
    /// Who would call.
    #[serde(with = "crate::plain")]
    pub client: SubsystemId,
    /// What would be called; a service of a hosted subsystem.
    #[serde(with = "crate::plain")]
    pub service: ServiceId,
    /// The HTTP method.
    pub method: String,
    /// The path after the service's code, with its query.
    #[serde(default)]
    pub path: String,
    /// Whether it would name the officer.
    #[serde(default)]
    pub officer: bool,
    /// Whether it would state its purpose.
    #[serde(default)]
    pub purpose: bool,
    /// Whether it would state its legal basis.
    #[serde(default)]
    pub legal_basis: bool,
    /// Length of its body, in bytes.
    #[serde(default)]
    pub body_length: u64,
    /// When it would arrive; now unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Whether the call would be permitted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckAnswer {
    /// Whether it would be permitted.
    pub allowed: bool,
    /// The moment for which this holds.
    pub at: Timestamp,
    /// By which right; none for a metaservice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<RightId>,
    /// The fault's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rights to the service that the caller has, nearest first, at most 50.
    pub rights: Vec<CheckedRight>,
    /// What is no matter of rights and would stop the call before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How one right stands to the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckedRight {
    /// The right.
    pub right: AccessEntry,
    /// What keeps it from permitting the call; nothing when it permits it.
    pub misses: Vec<String>,
}

impl CheckAnswer {
    pub(crate) fn of(explained: Explanation, at: Timestamp, notes: Vec<String>) -> Self {
        let rights = explained.considered.iter().map(|considered| CheckedRight {
            right: AccessEntry::from(&considered.right),
            misses: considered.misses.iter().map(ToString::to_string).collect(),
        });
        let rights = rights.collect();
        let (allowed, right, fault) = match explained.judged {
            Ok(judgement) => (true, judgement.right(), None),
            Err(fault) => (false, None, Some(fault)),
        };
        let code = fault.as_ref().map(|fault| fault.code.as_str().to_owned());
        Self { allowed, at, right, code, reason: fault.map(|fault| fault.detail), rights, notes }
    }
}
