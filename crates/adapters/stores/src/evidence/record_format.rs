//! The content of a record's frame, format versions 1 to 3, and what the index takes from it.
//!
//! ```text
//! version 1    body reference (bodies.rs) · 1 u8 · parts
//! version 2    body reference · 2 u8 · length of the parts u32 · the parts as zstd
//! version 3    body reference · 3 u8 · SHA-256 of the body 32 · length of the parts u32 · the parts as zstd
//! parts        kind u8 · owner u32+tagged text · header u32+bytes · manifest digest 32 · CMS u32+bytes · number of statuses u16 ·
//!              their digests · local part u32+JSON
//! ```

use bytes::Bytes;
use truc_evidence::{
    Indexed, KeyedHash, LocalPart, NewRecord, Outcome, RecordKind, Role, StoreError, StoredRecord,
};
use truc_model::{Digest, MemberId, MessageId, ServiceId, SubsystemId, Timestamp};

use crate::bodies::BodyRef;
use crate::journal::content;
use crate::journal::format::Reader;

/// The versions written: without the digest of a body, and with it, so that it stays when the body is gone or was never kept.
const VERSION: u8 = 2;
const WITH_BODY: u8 = 3;
const UNCOMPRESSED: u8 = 1;

fn kind_from_number(number: u8) -> Option<RecordKind> {
    let all = [RecordKind::Request, RecordKind::Response, RecordKind::Refusal, RecordKind::Unsigned];
    all.into_iter().find(|k| k.number() == number)
}

fn push_long(out: &mut Vec<u8>, bytes: &[u8]) {
    // Messages are far below 4 GiB: the header has its limit, and frames have one too.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes all but the body reference. `body` is the digest of a body that lies apart, or is not kept.
pub(crate) fn encode(
    record: &NewRecord,
    body: Option<Digest>,
    local_bytes: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(256 + record.header.len() + record.cms.len() + local_bytes.len());
    out.push(record.kind.number());
    push_long(&mut out, record.owner.tagged().as_bytes());
    push_long(&mut out, &record.header);
    out.extend_from_slice(record.manifest_digest.as_bytes());
    push_long(&mut out, &record.cms);
    let count = u16::try_from(record.statuses.len());
    let count = count.map_err(|_| StoreError::Failed("a record has too many statuses".into()))?;
    out.extend_from_slice(&count.to_be_bytes());
    for status in &record.statuses {
        out.extend_from_slice(status.as_bytes());
    }
    push_long(&mut out, local_bytes);
    let too_long = |_| StoreError::Failed("a record is too long".into());
    let length = u32::try_from(out.len()).map_err(too_long)?;
    let mut content = vec![if body.is_some() { WITH_BODY } else { VERSION }];
    content.extend(body.iter().flat_map(Digest::as_bytes));
    content.extend_from_slice(&length.to_be_bytes());
    content.extend_from_slice(&content::pack(&out)?);
    Ok(content)
}

/// Reads a frame's content; `None` when it is not one of these versions.
pub(crate) fn decode(sequence: u64, content: Vec<u8>) -> Option<(StoredRecord, BodyRef)> {
    let content = Bytes::from(content);
    let mut r = Reader(&content);
    let body = BodyRef::decode(&mut r)?;
    let version = r.u8()?;
    let digest = if version == WITH_BODY { Some(r.digest()?) } else { None };
    let content = match version {
        UNCOMPRESSED => content.slice_ref(r.0),
        VERSION | WITH_BODY => {
            let length = r.u32()? as usize;
            Bytes::from(content::decompress(r.0, length)?)
        }
        _ => return None,
    };
    parts(sequence, body, digest, &content)
}

fn parts(
    sequence: u64,
    body: BodyRef,
    body_digest: Option<Digest>,
    content: &Bytes,
) -> Option<(StoredRecord, BodyRef)> {
    let mut r = Reader(content);
    let kind = kind_from_number(r.u8()?)?;
    let owner = MemberId::from_tagged(std::str::from_utf8(r.long()?).ok()?).ok()?;
    let header = content.slice_ref(r.long()?);
    let manifest_digest = r.digest()?;
    let cms = content.slice_ref(r.long()?);
    let count = r.u16()?;
    let statuses = (0..count).map(|_| r.digest()).collect::<Option<Vec<Digest>>>()?;
    let local_bytes = content.slice_ref(r.long()?);
    let local: LocalPart = serde_json::from_slice(&local_bytes).ok()?;
    let has_body = body != BodyRef::None;
    let whole = r.0.is_empty();
    let record = StoredRecord {
        sequence,
        kind,
        owner,
        header,
        manifest_digest,
        cms,
        statuses,
        local,
        local_bytes,
        has_body,
        body_digest,
    };
    whole.then_some((record, body))
}

/// What the index keeps of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) kind: RecordKind,
    pub(crate) at: Timestamp,
    pub(crate) role: Role,
    pub(crate) request: MessageId,
    pub(crate) client: SubsystemId,
    pub(crate) service: ServiceId,
    pub(crate) officer: Option<KeyedHash>,
    pub(crate) subject: Option<KeyedHash>,
    pub(crate) dossier: Option<KeyedHash>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) fault: Option<String>,
    /// The message's own id.
    pub(crate) message: Option<MessageId>,
    /// SHA-256 of the id that the caller gave, of the agency and of the purpose: the texts stay in the encrypted record.
    pub(crate) caller_id: Option<Digest>,
    pub(crate) agency: Option<Digest>,
    pub(crate) purpose: Option<Digest>,
}

impl Summary {
    pub(crate) fn of(kind: RecordKind, header: &[u8], local: &LocalPart) -> Self {
        let indexed = Indexed::of(kind, header);
        let digest = |text: Option<String>| text.map(|text| Digest::of(text.as_bytes()));
        Self {
            kind,
            at: local.at,
            role: local.role,
            request: local.request,
            client: local.client.clone(),
            service: local.service.clone(),
            officer: local.officer.clone(),
            subject: local.subject.clone(),
            dossier: local.dossier.clone(),
            outcome: local.outcome,
            fault: local.fault.clone(),
            message: indexed.id,
            caller_id: digest(indexed.caller_id),
            agency: digest(indexed.agency),
            purpose: digest(indexed.purpose),
        }
    }

    /// How the exchange ended if this record ended it.
    pub(crate) fn ends_as(&self) -> Option<Outcome> {
        match self.kind {
            RecordKind::Request => None,
            RecordKind::Response => Some(Outcome::Ok),
            RecordKind::Refusal => Some(self.outcome.unwrap_or(Outcome::Refused)),
            RecordKind::Unsigned => Some(self.outcome.unwrap_or(Outcome::Failed)),
        }
    }
}
