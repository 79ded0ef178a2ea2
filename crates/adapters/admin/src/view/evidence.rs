//! Exchanges on record.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truc_evidence::{ExchangeSummary, LocalPart, Outcome, Query, RecordKind, Role, StoredRecord};
use truc_model::{Digest, MemberId, MessageId, ServiceId, SubsystemId, Timestamp};

/// Exchanges listed unless the caller says otherwise.
const LIST_DEFAULT: usize = 100;
/// Most exchanges listed at once.
const LIST_LIMIT: usize = 1000;

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
