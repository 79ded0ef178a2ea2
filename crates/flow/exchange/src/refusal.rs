//! The body of a signed refusal: the fault, as JSON.

use serde::{Deserialize, Serialize};
use truc_message::{Body, BodyInfo};
use truc_model::{Fault, FaultCode, Lang, MemberId, SubsystemId};

/// The media type of a refusal's body.
pub(crate) const MEDIA_TYPE: &str = "application/json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefusalBody {
    code: String,
    detail: String,
    vi: String,
    en: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    successor: Option<MemberId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    successor_subsystem: Option<SubsystemId>,
}

/// Writes the body that is signed.
pub(crate) fn body_of(fault: &Fault) -> Body {
    let body = RefusalBody {
        code: fault.code.as_str().to_owned(),
        detail: fault.detail.clone(),
        vi: fault.code.public_text(Lang::Vi).to_owned(),
        en: fault.code.public_text(Lang::En).to_owned(),
        retry_after_ms: fault.retry_after.and_then(|d| u64::try_from(d.as_millis()).ok()),
        successor: fault.successor.clone(),
        successor_subsystem: fault.successor_subsystem.clone(),
    };
    Body::new(serde_json::to_vec(&body).unwrap_or_default().into())
}

pub(crate) fn body_info(body: &Body) -> BodyInfo {
    BodyInfo { media_type: Some(MEDIA_TYPE.to_owned()), length: Some(body.len()) }
}

/// Reads a verified refusal's body; a code that this version does not know becomes INTERNAL with its name in the detail.
pub(crate) fn fault_of(body: &[u8]) -> Fault {
    let Ok(read) = serde_json::from_slice::<RefusalBody>(body) else {
        return Fault::provider(FaultCode::Internal, "the refusal's body is not the JSON of a refusal");
    };
    let (code, detail) = match FaultCode::from_name(&read.code) {
        Some(code) => (code, read.detail),
        None => (FaultCode::Internal, format!("{}: {}", read.code, read.detail)),
    };
    let fault = Fault::provider(code, detail).with_successor(read.successor);
    let mut fault = fault.with_successor_subsystem(read.successor_subsystem);
    fault.retry_after = read.retry_after_ms.map(std::time::Duration::from_millis);
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_fault_said() {
        let fault = Fault::provider(FaultCode::NoRight, "no right for VN/GOV/H26/mot-cua-so-9");
        assert_eq!(fault_of(body_of(&fault).bytes().unwrap()), fault);
        assert_eq!(fault_of(b"{}").code, FaultCode::Internal);
    }
}
