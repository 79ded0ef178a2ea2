//! The OCSP responder (RFC 6960), answering under a certificate the CA delegated to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _};
use ring::digest;
use truc_model::Timestamp;
use x509_cert::ext::Extension;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, ResponderId,
    ResponseData, RevokedInfo, SingleResponse, Version,
};

use crate::crl::reason_code;
use crate::encoding::{algorithm_identifier, generalized_time, sha1, sign};
use crate::error::{PkiError, blocking};
use crate::ledger::{IssuedCertificate, Serial};
use crate::pki::Pki;

const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
/// Certificates one request may ask for.
const QUESTIONS: usize = 16;
/// RFC 9654 §2.1.
const NONCE_LIMIT: usize = 128;
/// An answer to the same question is given again for this long, unless the ledger has changed.
const REUSE: Duration = Duration::from_secs(5);
const REUSED: usize = 256;

/// Answers that need no new signature.
#[derive(Default)]
pub(crate) struct Responder {
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// The ledger's revision the answers were made at.
    revision: u64,
    /// By request: when it was answered, and how.
    answers: HashMap<Vec<u8>, (Timestamp, Vec<u8>)>,
}

impl Responder {
    /// The DER of the answer to a request's DER; every failure is an answer too.
    pub(crate) async fn answer(&self, pki: &Pki, request: &[u8]) -> Vec<u8> {
        let Ok(read) = OcspRequest::from_der(request) else {
            return failure(&OcspResponse::malformed_request());
        };
        let ledger = Arc::clone(&pki.ledger);
        let revision = match blocking(move || ledger.revision()).await {
            Ok(revision) => revision,
            Err(error) => {
                tracing::error!(%error, "the ledger cannot be read");
                return failure(&OcspResponse::internal_error());
            }
        };
        let now = pki.clock.now();
        if let Some(known) = self.recall(revision, request, now) {
            return known;
        }
        match respond(pki, &read, now).await {
            Ok(Some(answer)) => {
                if read.tbs_request.request_extensions.is_none() {
                    self.remember(revision, request, now, &answer);
                }
                answer
            }
            Ok(None) => failure(&OcspResponse::unauthorized()),
            Err(PkiError::Signer(error)) => {
                tracing::warn!(%error, "no OCSP answer was signed");
                failure(&OcspResponse::try_later())
            }
            Err(error) => {
                tracing::error!(%error, "no OCSP answer was made");
                failure(&OcspResponse::internal_error())
            }
        }
    }

    fn recall(&self, revision: u64, request: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = recent.answers.get(request).filter(|_| recent.revision == revision)?;
        (*at <= now && now.since(*at) < REUSE).then(|| answer.clone())
    }

    fn remember(&self, revision: u64, request: &[u8], now: Timestamp, answer: &[u8]) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.revision != revision || recent.answers.len() >= REUSED {
            recent.answers.clear();
            recent.revision = revision;
        }
        recent.answers.insert(request.to_vec(), (now, answer.to_vec()));
    }
}

/// These have no content that could fail to encode; were it otherwise, an empty body is no answer either.
fn failure(response: &OcspResponse) -> Vec<u8> {
    response.to_der().unwrap_or_default()
}

/// `None` when the question is not about this CA's certificates.
async fn respond(pki: &Pki, request: &OcspRequest, now: Timestamp) -> Result<Option<Vec<u8>>, PkiError> {
    let questions = &request.tbs_request.request_list;
    if questions.is_empty() || questions.len() > QUESTIONS {
        return Ok(None);
    }
    let mut responses = Vec::with_capacity(questions.len());
    for question in questions {
        if !is_ours(pki, &question.req_cert)? {
            return Ok(None);
        }
        responses.push(single(pki, question.req_cert.clone(), now)?);
    }
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(OctetString::new(sha1(&pki.ocsp.key.public_key))?),
        produced_at: ocsp_time(now)?,
        responses,
        response_extensions: nonce(request).map(|nonce| vec![nonce]),
    };
    let signature_algorithm =
        algorithm_identifier(pki.ocsp.key.kind.default_algorithm()).ok_or(PkiError::UnusableKey)?;
    let signature = sign(&pki.keys, &pki.ocsp.key, data.to_der()?).await?;
    let certs = Some(vec![pki.ocsp.certificate.clone()]);
    let basic = BasicOcspResponse { tbs_response_data: data, signature_algorithm, signature, certs };
    Ok(Some(OcspResponse::successful(basic)?.to_der()?))
}

fn single(pki: &Pki, cert_id: CertId, now: Timestamp) -> Result<SingleResponse, PkiError> {
    let serial = Serial::from_bytes(cert_id.serial_number.as_bytes());
    Ok(SingleResponse {
        cert_id,
        cert_status: status(pki.ledger.find(&serial))?,
        this_update: ocsp_time(now)?,
        next_update: Some(ocsp_time(now.plus(pki.config.ocsp_validity))?),
        single_extensions: None,
    })
}

/// A serial number that was never issued is "unknown", not "good": a forged certificate must not pass.
fn status(entry: Option<IssuedCertificate>) -> Result<CertStatus, PkiError> {
    let Some(entry) = entry else { return Ok(CertStatus::unknown()) };
    let Some(revocation) = entry.revoked else { return Ok(CertStatus::good()) };
    Ok(CertStatus::revoked(RevokedInfo {
        revocation_time: ocsp_time(revocation.at)?,
        revocation_reason: reason_code(revocation.reason),
    }))
}

fn ocsp_time(at: Timestamp) -> Result<OcspGeneralizedTime, PkiError> {
    Ok(OcspGeneralizedTime(generalized_time(at)?))
}

/// Whether the CertID names this CA, under any of the digests in use.
fn is_ours(pki: &Pki, id: &CertId) -> Result<bool, PkiError> {
    let hash: fn(&[u8]) -> Vec<u8> = match id.hash_algorithm.oid.to_string().as_str() {
        "1.3.14.3.2.26" => sha1,
        "2.16.840.1.101.3.4.2.1" => |bytes| digest::digest(&digest::SHA256, bytes).as_ref().to_vec(),
        "2.16.840.1.101.3.4.2.2" => |bytes| digest::digest(&digest::SHA384, bytes).as_ref().to_vec(),
        "2.16.840.1.101.3.4.2.3" => |bytes| digest::digest(&digest::SHA512, bytes).as_ref().to_vec(),
        _ => return Ok(false),
    };
    let name = hash(&pki.ca_name().to_der()?);
    Ok(id.issuer_name_hash.as_bytes() == name
        && id.issuer_key_hash.as_bytes() == hash(&pki.ca.key.public_key))
}

/// The request's nonce, to be given back as it came.
fn nonce(request: &OcspRequest) -> Option<Extension> {
    let extensions = request.tbs_request.request_extensions.as_ref()?;
    let nonce =
        extensions.iter().find(|e| e.extn_id == NONCE && e.extn_value.as_bytes().len() <= NONCE_LIMIT + 3)?;
    Some(Extension { critical: false, ..nonce.clone() })
}
