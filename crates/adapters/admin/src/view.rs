//! The JSON of the API. Identifiers are in plain form; subjects and group members, whose kind varies, carry their type.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use truc_directory::{Directory, Freshness, GroupMember, MemberEntry, MemberStatus};
use truc_evidence::{ExchangeSummary, LocalPart, Outcome, Query, RecordKind, Role, StoredRecord};
use truc_model::{Digest, MemberId, MessageId, NodeId, ServiceId, SubsystemId, Timestamp};
use truc_policy::{
    Endpoint, GroupCode, LocalGroup, MethodPattern, PathGlob, Right, RightId, ServiceDefinition, Subject,
};

/// Exchanges listed unless the caller says otherwise.
const LIST_DEFAULT: usize = 100;
/// Most exchanges listed at once.
const LIST_LIMIT: usize = 1000;

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
    /// `active` or `closed`.
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

/// A service as the API writes it: its definition with the id in plain form.
pub fn service_to_json(service: &ServiceDefinition) -> Value {
    // Texts, numbers and lists only: writing them cannot fail.
    let mut json = serde_json::to_value(service).unwrap_or_default();
    json["id"] = Value::String(service.id.to_string());
    json
}

/// Reads a service as the API writes it.
///
/// # Errors
/// A sentence that names the key that is off.
pub fn service_from_json(mut json: Value) -> Result<ServiceDefinition, String> {
    let id = json
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| crate::explain::value("", "missing field `id`"))?;
    let id: ServiceId = id.parse().map_err(|e| format!("id: {e}"))?;
    json["id"] = Value::String(id.tagged());
    serde_path_to_error::deserialize(json)
        .map_err(|e| crate::explain::value(&e.path().to_string(), &e.inner().to_string()))
}

/// A service as it is in force after it was added or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its definition.
    pub service: ServiceDefinition,
    /// What of its OpenAPI document could not be listed, and what keeps calls from it; JSON key `notes`, absent when there is none.
    pub notes: Vec<String>,
}

impl Offered {
    /// As the API writes it: the service with its notes.
    pub fn to_json(&self) -> Value {
        let mut json = service_to_json(&self.service);
        if !self.notes.is_empty() {
            json["notes"] = Value::from(self.notes.clone());
        }
        json
    }

    /// Reads it as the API writes it.
    ///
    /// # Errors
    /// A sentence that names the key that is off.
    pub fn from_json(mut json: Value) -> Result<Self, String> {
        let notes = json.as_object_mut().and_then(|object| object.remove("notes"));
        let notes = notes.map_or_else(|| Ok(Vec::new()), serde_json::from_value);
        Ok(Self { notes: notes.map_err(|e| format!("notes: {e}"))?, service: service_from_json(json)? })
    }
}

/// What reading a service's OpenAPI document again has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refreshed {
    /// Endpoints that are new in the document.
    pub added: Vec<Endpoint>,
    /// Endpoints that are no longer in it. Rights that name them stay.
    pub deleted: Vec<Endpoint>,
    /// What of the document could not be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The notice of a paused service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notice {
    /// What callers read.
    pub notice: String,
}

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

/// Which exchanges to list; every set field must match.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceFilter {
    /// Of this client only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub client: Option<SubsystemId>,
    /// Of this service only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub service: Option<ServiceId>,
    /// Recorded at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub since: Option<Timestamp>,
    /// Recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub until: Option<Timestamp>,
    /// At most so many, newest first; 100 unless given, 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl EvidenceFilter {
    /// # Errors
    /// A sentence, when the limit is out of bounds.
    pub(crate) fn query(self) -> Result<Query, String> {
        let limit = self.limit.unwrap_or(LIST_DEFAULT);
        if !(1..=LIST_LIMIT).contains(&limit) {
            return Err(format!(
                "limit: {limit} is out of bounds; write a whole number from 1 to {LIST_LIMIT}, and go on with until"
            ));
        }
        Ok(Query {
            client: self.client,
            service: self.service,
            since: self.since,
            until: self.until,
            limit,
            ..Query::default()
        })
    }
}

/// One exchange in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceEntry {
    /// The request's id.
    pub id: MessageId,
    /// When the request was recorded.
    pub time: Timestamp,
    /// Which half of the node took part.
    pub role: Role,
    /// The calling subsystem.
    #[serde(with = "crate::plain")]
    pub client: SubsystemId,
    /// The called service.
    #[serde(with = "crate::plain")]
    pub service: ServiceId,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault's code, if it ended in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl From<ExchangeSummary> for EvidenceEntry {
    fn from(s: ExchangeSummary) -> Self {
        Self {
            id: s.id,
            time: s.time,
            role: s.role,
            client: s.client,
            service: s.service,
            outcome: s.outcome,
            fault: s.fault,
        }
    }
}

/// One exchange in full.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceShown {
    /// The request's id.
    pub id: MessageId,
    /// Its records, in order.
    pub records: Vec<EvidenceRecord>,
}

/// One record of an exchange.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceRecord {
    /// Place in the node's log.
    pub sequence: u64,
    /// What it holds.
    pub kind: RecordKind,
    /// The hosted member whose record it is.
    #[serde(with = "crate::plain")]
    pub owner: MemberId,
    /// The header's exact text, as signed; none for an unsigned fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Box<RawValue>>,
    /// The message's digest (protocol P1.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// SHA-256 over the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cms_digest: Option<Digest>,
    /// Digests of the certificate statuses.
    pub statuses: Vec<Digest>,
    /// What the node added.
    pub local: LocalPart,
    /// Whether a body is stored.
    pub has_body: bool,
    /// The body in base64, where asked for and stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl EvidenceRecord {
    pub(crate) fn of(record: StoredRecord, body: Option<String>) -> Self {
        let signed = record.kind != RecordKind::Unsigned;
        let header =
            String::from_utf8(record.header.to_vec()).ok().and_then(|text| RawValue::from_string(text).ok());
        Self {
            sequence: record.sequence,
            kind: record.kind,
            owner: record.owner,
            header,
            digest: signed.then_some(record.manifest_digest),
            cms_digest: signed.then(|| Digest::of(&record.cms)),
            statuses: record.statuses,
            local: record.local,
            has_body: record.has_body,
            body,
        }
    }
}
