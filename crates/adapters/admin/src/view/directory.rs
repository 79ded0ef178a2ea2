//! The node and the directory that it believes.

use serde::{Deserialize, Serialize};
use truc_directory::{Directory, Freshness, GroupMember, MemberEntry, MemberStatus};
use truc_model::{Digest, MemberId, NodeId, SubsystemId, Timestamp};

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Which node.
    #[serde(with = "crate::plain")]
    pub node: NodeId,
    /// The instance it belongs to.
    pub instance: String,
    /// The software's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// For how long it has been running, in seconds.
    pub uptime_seconds: u64,
    /// The directory in force; none before the first one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,
    /// The subsystems it hosts.
    #[serde(with = "crate::plain::list")]
    pub hosted: Vec<SubsystemId>,
}

/// The state of the directory in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryStatus {
    /// The registry's epoch.
    pub epoch: u64,
    /// The version within the epoch.
    pub version: u64,
    /// [`Directory::head_digest`].
    pub digest: Digest,
    /// When its head was signed.
    pub issued: Timestamp,
    /// When it stops counting.
    pub expires: Timestamp,
    /// `fresh`, `degraded` or `expired` (protocol P6.2).
    pub freshness: String,
}

impl DirectoryStatus {
    /// The state at `now`.
    pub fn of(directory: &Directory, now: Timestamp) -> Self {
        Self {
            epoch: directory.epoch(),
            version: directory.version(),
            digest: directory.head_digest(),
            issued: directory.issued(),
            expires: directory.expires(),
            freshness: freshness_word(directory.freshness(now)).to_owned(),
        }
    }
}

/// The word for a freshness.
pub const fn freshness_word(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Degraded => "degraded",
        Freshness::Expired => "expired",
    }
}

/// The directory in force, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryView {
    /// The instance.
    pub instance: String,
    /// Its head.
    pub head: DirectoryStatus,
    /// All members, by id.
    pub members: Vec<MemberView>,
    /// The global groups.
    pub groups: Vec<GroupView>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its id.
    #[serde(with = "crate::plain")]
    pub id: MemberId,
    /// Its name in Vietnamese.
    pub name_vi: String,
    /// Its name in English.
    pub name_en: String,
    /// `active`, `suspended` or `closed`.
    pub status: String,
    /// Who took over from a closed member.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub successor: Option<MemberId>,
    /// Its information systems.
    pub subsystems: Vec<SubsystemView>,
    /// The nodes it owns.
    pub nodes: Vec<NodeView>,
}

/// An information system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubsystemView {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its id.
    #[serde(with = "crate::plain")]
    pub id: NodeId,
    /// `host:port` of its peer door.
    pub address: String,
    /// The subsystems it speaks for.
    #[serde(with = "crate::plain::list")]
    pub serves: Vec<SubsystemId>,
}

/// A global group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

impl DirectoryView {
    /// The directory as it counts at `now`.
    pub fn of(directory: &Directory, now: Timestamp) -> Self {
        let group = |g: &truc_directory::Group| GroupView {
            code: g.code.clone(),
            name: g.name.clone(),
            members: g.members.clone(),
        };
        Self {
            instance: directory.instance().to_owned(),
            head: DirectoryStatus::of(directory, now),
            members: directory.members().map(MemberView::of).collect(),
            groups: directory.groups().groups.iter().map(group).collect(),
        }
    }
}

impl MemberView {
    fn of(member: &MemberEntry) -> Self {
        let status = match member.status {
            MemberStatus::Active => "active",
            MemberStatus::Suspended => "suspended",
            MemberStatus::Closed => "closed",
        };
        let subsystems = member.subsystems.iter();
        let nodes = member.nodes.iter();
        Self {
            id: member.id.clone(),
            name_vi: member.name_vi.clone(),
            name_en: member.name_en.clone(),
            status: status.to_owned(),
            successor: member.succession.as_ref().map(|s| s.member.clone()),
            subsystems: subsystems
                .map(|s| SubsystemView { code: s.code.clone(), name: s.name.clone() })
                .collect(),
            nodes: nodes
                .map(|n| NodeView { id: n.id.clone(), address: n.address.clone(), serves: n.serves.clone() })
                .collect(),
        }
    }
}
