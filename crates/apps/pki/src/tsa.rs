//! The time-stamping authority (RFC 3161, with the signing-certificate-v2 of RFC 5816).

use der::asn1::{Any, BitString, Int, ObjectIdentifier};
use der::{Decode as _, Encode as _, Sequence};
use truc_keys::Signer as _;
use truc_trust::cms;
use x509_tsp::{Accuracy, TimeStampReq, TspVersion, TstInfo};

use crate::error::PkiError;
use crate::pki::Pki;

/// RFC 3161 §2.4.2 PKIFailureInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadAlgorithm = 0,
    BadRequest = 2,
    BadDataFormat = 5,
    UnacceptedPolicy = 15,
    UnacceptedExtension = 16,
    SystemFailure = 25,
}

/// PKIStatusInfo without its optional text.
#[derive(Sequence)]
struct StatusInfo {
    status: u8,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

#[derive(Sequence)]
struct Response {
    status: StatusInfo,
    #[asn1(optional = "true")]
    token: Option<Any>,
}

/// The DER of the answer to a request's DER; every refusal is an answer too.
pub(crate) async fn answer(pki: &Pki, request: &[u8]) -> Vec<u8> {
    let outcome = match check(request, &pki.config.tsa_policy) {
        Ok(request) => stamp(pki, request).await.map_err(|error| {
            tracing::error!(%error, "no time-stamp was made");
            Refusal::SystemFailure
        }),
        Err(refusal) => Err(refusal),
    };
    let response = match outcome {
        Ok(token) => Response { status: StatusInfo { status: 0, failure: None }, token: Some(token) },
        Err(refusal) => {
            Response { status: StatusInfo { status: 2, failure: failure_bits(refusal) }, token: None }
        }
    };
    response.to_der().unwrap_or_default()
}

/// A BIT STRING of named bits ends with its last one (X.690 §11.2.2).
fn failure_bits(refusal: Refusal) -> Option<BitString> {
    let bit = refusal as usize;
    let mut bytes = vec![0; bit / 8 + 1];
    *bytes.last_mut()? = 0x80 >> (bit % 8);
    BitString::new(7 - (bit % 8) as u8, bytes).ok()
}

fn check(request: &[u8], policy: &ObjectIdentifier) -> Result<TimeStampReq, Refusal> {
    let request = TimeStampReq::from_der(request).map_err(|_| Refusal::BadDataFormat)?;
    let length = match request.message_imprint.hash_algorithm.oid.to_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => 32,
        "2.16.840.1.101.3.4.2.2" => 48,
        "2.16.840.1.101.3.4.2.3" => 64,
        _ => return Err(Refusal::BadAlgorithm),
    };
    if request.message_imprint.hashed_message.as_bytes().len() != length {
        return Err(Refusal::BadDataFormat);
    }
    if request.nonce.as_ref().is_some_and(|nonce| nonce.as_bytes().len() > 64) {
        return Err(Refusal::BadRequest);
    }
    if request.req_policy.is_some_and(|asked| asked != *policy) {
        return Err(Refusal::UnacceptedPolicy);
    }
    if request.extensions.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(Refusal::UnacceptedExtension);
    }
    Ok(request)
}

async fn stamp(pki: &Pki, request: TimeStampReq) -> Result<Any, PkiError> {
    let now = pki.clock.now();
    let info = TstInfo {
        version: TspVersion::V1,
        policy: pki.config.tsa_policy,
        message_imprint: request.message_imprint,
        serial_number: Int::new(crate::pki::fresh_serial()?.as_bytes())?,
        gen_time: crate::encoding::generalized_time(now)?,
        // The time is cut to whole seconds.
        accuracy: Some(Accuracy { seconds: Some(1), millis: None, micros: None }),
        ordering: false,
        nonce: request.nonce,
        tsa: None,
        extensions: None,
    };
    let algorithm = pki.tsa.key.kind.default_algorithm();
    let content = info.to_der()?;
    let prepared = cms::prepare_encapsulated(
        cms::TIME_STAMP_INFO,
        &content,
        &pki.tsa.trusted,
        algorithm,
        now.whole_second(),
    )?;
    let prepared = if request.cert_req { prepared } else { prepared.without_certificates() };
    let value = pki.keys.sign(&pki.tsa.key.label, algorithm, prepared.bytes().to_vec().into()).await?;
    Ok(Any::from_der(&prepared.assemble(&value)?)?)
}
