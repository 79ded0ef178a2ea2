//! How an exchange ended, told from what the provider's member signed and never from the node's own notes.

use bytes::Bytes;
use serde::Deserialize;
use truc_message::Kind;
use truc_model::{FaultCode, MemberId};

use crate::ending::Ending;
use crate::record::{LocalPart, Outcome};

/// The body of a signed refusal, as the nodes write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "a body without these is not the body of a refusal")]
struct RefusalBody {
    code: String,
    detail: String,
    vi: String,
    en: String,
    #[serde(default)]
    retry_after_ms: Option<u64>,
    #[serde(default)]
    successor: Option<MemberId>,
}

/// What a signed answer says of the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    pub(super) fault: Option<String>,
    /// The refusal's code where this version does not know it: nodes note INTERNAL in its place.
    unknown: bool,
}

impl Told {
    /// Nothing signed says it.
    pub(super) const NOTHING: Self = Self { outcome: Outcome::Unknown, fault: None, unknown: false };

    /// Reads an answer; `None` for a message that answers nothing. A refusal whose body is not there keeps its code.
    pub(super) fn by(kind: Kind, body: Option<&Bytes>) -> Option<Self> {
        match (kind, body) {
            (Kind::Response, _) => Some(Self { outcome: Ending::OK.outcome, fault: None, unknown: false }),
            (Kind::Refusal, None) => Some(Self::NOTHING),
            (Kind::Refusal, Some(body)) => Some(Self::refused(body)),
            _ => None,
        }
    }

    fn refused(body: &[u8]) -> Self {
        let named = serde_json::from_slice::<RefusalBody>(body).map(|refusal| refusal.code);
        let code = named.as_deref().map_or(Some(FaultCode::Internal), FaultCode::from_name);
        match (code, named) {
            (Some(code), _) => Self {
                outcome: Ending::of(code).outcome,
                fault: Some(code.as_str().to_owned()),
                unknown: false,
            },
            (None, name) => Self { outcome: Outcome::Unknown, fault: name.ok(), unknown: true },
        }
    }
}

/// Whether a node's own note of the end, on its record of a signed message, agrees with what is signed.
pub(super) fn note_fits(kind: Kind, body: Option<&Bytes>, local: &LocalPart) -> bool {
    let (outcome, fault) = (local.outcome, local.fault.as_deref());
    match Told::by(kind, body) {
        // A request ends nothing.
        None => outcome.is_none() && fault.is_none(),
        Some(told) if kind == Kind::Response => outcome.is_none_or(|o| o == told.outcome) && fault.is_none(),
        // The code is not shown, or not known here: a refusal is no success, whatever its code.
        Some(told) if told.fault.is_none() || told.unknown => {
            let same = |f| f == FaultCode::Internal.as_str() || told.fault.as_deref().is_none_or(|t| t == f);
            outcome != Some(Outcome::Ok) && fault.is_none_or(same)
        }
        Some(told) => {
            outcome.is_none_or(|o| o == told.outcome)
                && fault.is_none_or(|f| told.fault.as_deref() == Some(f))
        }
    }
}
