//! Exchanges on record.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truc_evidence::{
    ExchangeSummary, Found, KeyedHash, LocalPart, Outcome, Query, RecordKind, Role, StoredRecord,
};
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
    /// Goes on where an answer ended: its header `truc-next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// The header of a list of exchanges that is not at its end, with where to go on (`after`).
pub(crate) const NEXT_HEADER: &str = "truc-next";

fn checked(limit: Option<usize>) -> Result<usize, String> {
    let limit = limit.unwrap_or(LIST_DEFAULT);
    if (1..=LIST_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(format!(
        "limit: {limit} is out of bounds; write a whole number from 1 to {LIST_LIMIT}, and go on with after"
    ))
}

impl EvidenceFilter {
    /// # Errors
    /// A sentence, when the limit is out of bounds.
    pub(crate) fn query(self) -> Result<Query, String> {
        let limit = checked(self.limit)?;
        Ok(Query {
            after: self.after,
            client: self.client,
            service: self.service,
            since: self.since,
            until: self.until,
            limit,
            ..Query::default()
        })
    }
}

/// What to search for; every set field must match. People and dossiers are named here as they are: this is the body of a request and
/// never part of an address, which others may log.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceSearch {
    /// The exchange of this message: a request's id or an answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// Requests to which the caller itself gave this id (`X-Road-Id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Of this client only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub client: Option<SubsystemId>,
    /// Of this service only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub service: Option<ServiceId>,
    /// Asked for by this officer (`userId`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officer: Option<String>,
    /// About this person: the number as the service is told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// For this dossier (`issue`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dossier: Option<String>,
    /// For this agency, as the request writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// For this purpose, as the request writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Ended by this fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Ended like this; `unknown` also finds what has no answer yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// This half of the node took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Recorded at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub since: Option<Timestamp>,
    /// Recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub until: Option<Timestamp>,
    /// At most so many, newest first; 100 unless given, 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Goes on where a page ended: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

impl std::fmt::Debug for EvidenceSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not what it looks for.
        f.write_str("EvidenceSearch")
    }
}

impl EvidenceSearch {
    /// The query, with people and dossiers as `hashes` makes them.
    ///
    /// # Errors
    /// A sentence, when the limit is out of bounds.
    pub fn query(self, hashes: impl Fn(&str) -> Vec<KeyedHash>) -> Result<Query, String> {
        let hashed = |text: Option<String>| text.map(|text| hashes(&text));
        Ok(Query {
            limit: checked(self.limit)?,
            message: self.message,
            caller_id: self.caller_id,
            owner: None,
            client: self.client,
            service: self.service,
            officer: hashed(self.officer),
            subject: hashed(self.subject),
            dossier: hashed(self.dossier),
            agency: self.agency,
            purpose: self.purpose,
            fault: self.fault,
            outcome: self.outcome,
            role: self.role,
            since: self.since,
            until: self.until,
            after: self.after,
        })
    }
}

/// A page of what a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidencePage {
    /// The exchanges, newest first.
    pub exchanges: Vec<EvidenceEntry>,
    /// Where to go on (`after`); absent when there is nothing more. A page may be short, or empty, and have a next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl From<Found> for EvidencePage {
    fn from(found: Found) -> Self {
        Self { exchanges: found.exchanges.into_iter().map(EvidenceEntry::from).collect(), next: found.next }
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
