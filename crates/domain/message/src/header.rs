//! The header: one JSON object whose exact bytes are signed, sent, stored and exported (protocol P1.1, P1.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use truc_model::{Digest, MessageId, NodeId, ServiceId, SubsystemId, Timestamp};

use crate::one_form;
use crate::path::{CanonicalPath, CanonicalQuery};
use crate::secrets::is_secret;

/// The header version this code writes and reads.
pub const VERSION: u32 = 1;

/// Longest header accepted, in bytes.
pub const HEADER_LIMIT: usize = 64 * 1024;

/// Most HTTP header fields carried in one message.
const FIELD_LIMIT: usize = 200;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A call.
    Request,
    /// What the service answered.
    Response,
    /// A signed "no" of the service's member.
    Refusal,
    /// A document (delivery).
    Document,
    /// A receipt for a document (delivery).
    Receipt,
    /// An event (delivery).
    Event,
    /// An order to the registry.
    Management,
}

impl Kind {
    /// The word used in JSON and in container names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Refusal => "refusal",
            Self::Document => "document",
            Self::Receipt => "receipt",
            Self::Event => "event",
            Self::Management => "management",
        }
    }
    /// True for a message that answers a request.
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Response | Self::Refusal)
    }
}

/// One HTTP header field: exactly one of value, base64 and sha256 is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderField {
    /// The name in lower case.
    pub name: String,
    /// A value that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// A value that is not UTF-8, base64-encoded (RFC 4648 §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// A secret: sha256(salt ‖ value), see [`crate::Secret`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
}

/// What a [`HeaderField`] holds.
#[derive(Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// The value's bytes.
    Plain(Vec<u8>),
    /// Only the digest of a secret is signed (protocol P1.3).
    Hidden(Digest),
}

impl HeaderField {
    /// A field whose value is signed as it is.
    pub fn plain(name: &str, value: &[u8]) -> Self {
        let (text, coded) = match std::str::from_utf8(value) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(value))),
        };
        Self { name: name.to_ascii_lowercase(), value: text, base64: coded, sha256: None }
    }
    /// A field of which only the digest is signed.
    pub fn hidden(name: &str, digest: Digest) -> Self {
        Self { name: name.to_ascii_lowercase(), value: None, base64: None, sha256: Some(digest) }
    }
    /// The field's content; `None` when the field is malformed, which [`Header::parse`] has excluded.
    pub fn content(&self) -> Option<FieldValue> {
        match (&self.value, &self.base64, &self.sha256) {
            (Some(text), None, None) => Some(FieldValue::Plain(text.as_bytes().to_vec())),
            (None, Some(coded), None) => STANDARD.decode(coded).ok().map(FieldValue::Plain),
            (None, None, Some(digest)) => Some(FieldValue::Hidden(*digest)),
            _ => None,
        }
    }
    fn well_formed(&self) -> bool {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
        let name = !self.name.is_empty() && self.name.len() <= 256 && self.name.bytes().all(token);
        let value = match self.content() {
            // A secret in clear would be signed, stored and exported (protocol P1.3), whoever sealed it.
            Some(FieldValue::Plain(bytes)) => {
                !is_secret(&self.name) && !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
            }
            Some(FieldValue::Hidden(_)) => true,
            None => false,
        };
        name && value
    }
}

/// The body as the header describes it; its digest is in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodyInfo {
    /// The media type as the sender gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Length in bytes, only when it was known before the body was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

/// The directory in force at the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryRef {
    /// The registry's epoch.
    pub epoch: u64,
    /// The version within the epoch.
    pub version: u64,
}

/// What an answer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InReplyTo {
    /// The request's id.
    pub id: MessageId,
    /// The request's digest (protocol P1.4).
    pub digest: Digest,
}

/// Where a record lies in its node's log (protocol P5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Index of the leaf, from 0.
    pub index: u64,
    /// RFC 6962 leaf hash.
    pub hash: Digest,
}

/// The header's fields. Optional ones are absent from the JSON, never null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Format version, 1.
    pub v: u32,
    /// What the message is.
    pub kind: Kind,
    /// This message's own id.
    pub id: MessageId,
    /// The instance, e.g. `VN`.
    pub instance: String,
    /// The calling subsystem.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// The sending node.
    pub from: NodeId,
    /// The receiving node.
    pub to: NodeId,
    /// The directory in force at the sender.
    pub directory: DirectoryRef,
    /// When it was sealed.
    pub sent: Timestamp,
    /// Until when it may be acted on.
    pub expires: Timestamp,
    /// HTTP method of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Canonical path of a request, as forwarded; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Query of a request, without `?`; absent when there was no `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// HTTP header fields in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderField>,
    /// The officer (`X-Road-UserId`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The officer's agency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Purpose of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Legal basis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
    /// Reference to the citizen's consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// On whose behalf (`X-Road-Represented-Party`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub represented_party: Option<String>,
    /// Case or document number (`X-Road-Issue`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// The caller's `X-Road-Id`, verbatim; may repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// The caller's `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The body, when there is one to describe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyInfo>,
    /// HTTP status of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Which request an answer answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<InReplyTo>,
    /// Where the request's record lies in the provider's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Leaf>,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHeader {
    /// Longer than [`HEADER_LIMIT`].
    #[error("a header has at most {HEADER_LIMIT} bytes, this has {0}")]
    TooLong(usize),
    /// Not the JSON object of protocol P1.2; unknown, missing and repeated keys included.
    #[error("the header is not the JSON object of protocol P1.2: {0}")]
    Json(String),
    /// A version this code does not know.
    #[error("header version {0} is not known here")]
    Version(u64),
    /// A field the kind needs is missing.
    #[error("a {kind} needs {field}")]
    Missing {
        /// The message's kind.
        kind: &'static str,
        /// The missing key.
        field: &'static str,
    },
    /// A field the kind must not have, or a value outside its rules.
    #[error("{field}: {problem}")]
    Field {
        /// The key.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}

fn bad(field: &'static str, problem: impl Into<String>) -> MalformedHeader {
    MalformedHeader::Field { field, problem: problem.into() }
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u64,
}

impl Header {
    /// Reads exact bytes.
    ///
    /// # Errors
    /// [`MalformedHeader`] names the field that breaks protocol P1.2.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedHeader> {
        if bytes.len() > HEADER_LIMIT {
            return Err(MalformedHeader::TooLong(bytes.len()));
        }
        let header: Self = match serde_json::from_slice(bytes) {
            Ok(header) => header,
            // A header of another version may have other keys: say the version, not the key.
            Err(error) => {
                return Err(match serde_json::from_slice::<VersionOnly>(bytes) {
                    Ok(VersionOnly { v }) if v != u64::from(VERSION) => MalformedHeader::Version(v),
                    _ => MalformedHeader::Json(error.to_string()),
                });
            }
        };
        one_form::check(bytes).map_err(|e| MalformedHeader::Json(e.to_string()))?;
        header.check()?;
        Ok(header)
    }

    /// Writes the bytes that are signed; done once per message.
    ///
    /// # Errors
    /// [`MalformedHeader`] when the fields break protocol P1.2.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MalformedHeader> {
        self.check()?;
        let bytes = serde_json::to_vec(self).map_err(|e| MalformedHeader::Json(e.to_string()))?;
        if bytes.len() > HEADER_LIMIT { Err(MalformedHeader::TooLong(bytes.len())) } else { Ok(bytes) }
    }

    fn check(&self) -> Result<(), MalformedHeader> {
        if self.v != VERSION {
            return Err(MalformedHeader::Version(u64::from(self.v)));
        }
        self.check_instance()?;
        match self.kind {
            Kind::Request => self.check_request()?,
            Kind::Response | Kind::Refusal => self.check_answer()?,
            Kind::Document | Kind::Receipt | Kind::Event | Kind::Management => {}
        }
        self.check_texts()?;
        if self.headers.len() > FIELD_LIMIT {
            return Err(bad("headers", format!("at most {FIELD_LIMIT} fields")));
        }
        match self.headers.iter().find(|field| !field.well_formed()) {
            Some(field) => Err(bad("headers", format!("field {:?} is not well-formed", field.name))),
            None => Ok(()),
        }
    }

    /// Everyone a header names is of its one instance [cross-instance messages are refused].
    fn check_instance(&self) -> Result<(), MalformedHeader> {
        let named = [
            ("client", self.client.instance()),
            ("service", self.service.instance()),
            ("from", self.from.instance()),
            ("to", self.to.instance()),
        ];
        match named.into_iter().find(|(_, instance)| *instance != self.instance) {
            Some((field, _)) => Err(bad(field, "is of another instance than the header")),
            None => Ok(()),
        }
    }

    fn check_request(&self) -> Result<(), MalformedHeader> {
        let missing = |field| MalformedHeader::Missing { kind: "request", field };
        let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
        if method.is_empty()
            || method.len() > 32
            || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        {
            return Err(bad("method", "is 1 to 32 upper-case letters"));
        }
        let path = self.path.as_deref().ok_or_else(|| missing("path"))?;
        CanonicalPath::from_canonical(path).map_err(|e| bad("path", e.to_string()))?;
        if let Some(query) = &self.query {
            CanonicalQuery::parse(query).map_err(|e| bad("query", e.to_string()))?;
        }
        let stray = [
            ("status", self.status.is_some()),
            ("inReplyTo", self.in_reply_to.is_some()),
            ("leaf", self.leaf.is_some()),
        ];
        match stray.into_iter().find(|(_, there)| *there) {
            Some((field, _)) => Err(bad(field, "is not a field of a request")),
            None => Ok(()),
        }
    }

    fn check_answer(&self) -> Result<(), MalformedHeader> {
        let missing = |field| MalformedHeader::Missing { kind: self.kind.as_str(), field };
        let status = self.status.ok_or_else(|| missing("status"))?;
        if !(200..=599).contains(&status) {
            return Err(bad("status", "is a final HTTP status, 200 to 599"));
        }
        self.in_reply_to.ok_or_else(|| missing("inReplyTo"))?;
        let stray = [
            ("method", self.method.is_some()),
            ("path", self.path.is_some()),
            ("query", self.query.is_some()),
        ];
        match stray.into_iter().find(|(_, there)| *there) {
            Some((field, _)) => Err(bad(field, "is not a field of an answer")),
            None => Ok(()),
        }
    }

    fn check_texts(&self) -> Result<(), MalformedHeader> {
        let texts = [
            ("userId", &self.user_id, 256),
            ("agency", &self.agency, 256),
            ("purpose", &self.purpose, 1024),
            ("legalBasis", &self.legal_basis, 1024),
            ("consent", &self.consent, 1024),
            ("representedParty", &self.represented_party, 256),
            ("issue", &self.issue, 256),
            ("clientMessageId", &self.client_message_id, 256),
            ("idempotencyKey", &self.idempotency_key, 256),
            ("trace", &self.trace, 256),
        ];
        for (field, text, limit) in texts {
            if let Some(text) = text
                && (text.is_empty() || text.len() > limit || text.chars().any(char::is_control))
            {
                return Err(bad(field, format!("is 1 to {limit} bytes without control characters")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
