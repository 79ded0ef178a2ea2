//! One record: a signed message, or what stood in for one, with what this node knew at the time (protocol P5.1).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_message::{Kind, Leaf};
use truc_model::{Digest, Fingerprint, MemberId, MessageId, NodeId, ServiceId, SubsystemId, Timestamp};
use truc_policy::BodyClass;

use crate::leaf::leaf_hash;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A signed request.
    Request,
    /// A signed response.
    Response,
    /// A signed refusal.
    Refusal,
    /// An unsigned fault that ended an exchange; only the consumer's node records it (protocol P4.6).
    Unsigned,
}

impl RecordKind {
    /// The number written into leaves and segments; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Refusal => 3,
            Self::Unsigned => 4,
        }
    }
    /// The message kind this record holds, if it holds a message.
    pub const fn message_kind(self) -> Option<Kind> {
        match self {
            Self::Request => Some(Kind::Request),
            Self::Response => Some(Kind::Response),
            Self::Refusal => Some(Kind::Refusal),
            Self::Unsigned => None,
        }
    }
}

/// Which half of the node wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The consumer side.
    Consumer,
    /// The provider side.
    Provider,
}

/// Which way the message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// This node sent it.
    Sent,
    /// This node received it.
    Received,
}

/// How an exchange ended, as far as this node's records tell (protocol P10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The service answered; whatever its HTTP status.
    Ok,
    /// The provider refused, signed or unsigned, before the service was called.
    Refused,
    /// It failed in a stated way.
    Failed,
    /// It is not known whether the service acted, or no answer is recorded yet.
    Unknown,
}

impl Outcome {
    /// The word of protocol P10.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// An officer or a subject as the index may hold them: HMAC-SHA-256 under a key of the member (protocol P5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyedHash {
    /// Which of the member's index keys.
    pub key_id: String,
    /// The HMAC value.
    pub hash: Digest,
}

/// What was known about trust when the message was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustNote {
    /// The signer's certificate.
    pub signer: Fingerprint,
    /// `thisUpdate` of the signer's status; absent for this node's own messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_this_update: Option<Timestamp>,
    /// True when a status past freshness was accepted by grace (protocol P3.5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status_graced: bool,
    /// True when the directory was older than 10 minutes (protocol P6.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory_degraded: bool,
    /// The revocation lists that stood in for a responder that was away (ADR 0019).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_lists: Vec<ListNote>,
}

/// A revocation list that was relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListNote {
    /// SHA-256 of the list; up to 32 KiB it lies in the same journal.
    pub digest: Digest,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one would be there at the latest.
    pub next_update: Timestamp,
}

/// The part of a record that this node adds to the message; its digest is in the leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalPart {
    /// Format version, 1.
    pub v: u32,
    /// When the record was made, by this node's clock.
    pub at: Timestamp,
    /// Which half of the node made it.
    pub role: Role,
    /// Which way the message went.
    pub direction: Direction,
    /// The request this record belongs to; for a request its own id.
    pub request: MessageId,
    /// The calling subsystem.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// The node at the other end.
    pub peer: NodeId,
    /// The directory head in force, by the digest of its bytes.
    pub directory: Digest,
    /// What was known about trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustNote>,
    /// The officer, hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officer: Option<KeyedHash>,
    /// Whom the data is about, hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<KeyedHash>,
    /// The dossier that the request names (`issue`), hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dossier: Option<KeyedHash>,
    /// How the exchange ended, on records that end one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The fault's code, where the record is of a refusal or an unsigned fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Something a record refers to by digest and that must lie in the same journal: an OCSP response, a certificate,
/// a directory head or part. Stored once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

impl Artifact {
    /// Takes the bytes and names them by their digest.
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }
}

/// A record to be appended.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// What it holds.
    pub kind: RecordKind,
    /// The hosted member whose record it is: its key encrypts it (protocol P5.2).
    pub owner: MemberId,
    /// The header's exact bytes; empty for [`RecordKind::Unsigned`].
    pub header: Bytes,
    /// The manifest's digest; the digest of nothing for [`RecordKind::Unsigned`].
    pub manifest_digest: Digest,
    /// The CMS signature; empty for [`RecordKind::Unsigned`].
    pub cms: Bytes,
    /// Digests of the OCSP responses that vouch for it, in order.
    pub statuses: Vec<Digest>,
    /// What this node adds.
    pub local: LocalPart,
    /// The body; `None` stores none (digest-only).
    pub body: Option<Bytes>,
    /// SHA-256 of a body that is not stored: the manifest is still written from it. A stored body's is taken from the body.
    pub body_digest: Option<Digest>,
    /// Which retention class its body is of.
    pub class: BodyClass,
    /// What the record refers to; already stored ones are skipped.
    pub artifacts: Vec<Artifact>,
}

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Place in the log, from 0; also its leaf index.
    pub sequence: u64,
    /// What it holds.
    pub kind: RecordKind,
    /// The hosted member whose record it is.
    pub owner: MemberId,
    /// The header's exact bytes.
    pub header: Bytes,
    /// The manifest's digest.
    pub manifest_digest: Digest,
    /// The CMS signature.
    pub cms: Bytes,
    /// Digests of the OCSP responses.
    pub statuses: Vec<Digest>,
    /// The local part as parsed.
    pub local: LocalPart,
    /// The local part's exact bytes, as digested into the leaf.
    pub local_bytes: Bytes,
    /// True when the body was stored and can be asked for.
    pub has_body: bool,
    /// SHA-256 of a body that was stored apart from the record, or never: when it is gone, the manifest is still written from it.
    pub body_digest: Option<Digest>,
}

impl StoredRecord {
    /// The record's leaf (protocol P5.3), computed from what it holds.
    pub fn leaf(&self) -> Leaf {
        let hash = leaf_hash(
            self.sequence,
            self.kind,
            self.manifest_digest,
            &self.cms,
            &self.statuses,
            &self.local_bytes,
        );
        Leaf { index: self.sequence, hash }
    }
}
