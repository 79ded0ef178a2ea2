//! Answering, for the pilot responder; the private key stays elsewhere.

use truc_keys::SignatureAlgorithm;
use truc_model::Timestamp;

use super::{BASIC_RESPONSE, ENTRIES_LIMIT, Entry, OcspError, Verdict};
use crate::Certificate;
use crate::algorithm;
use crate::asn1::{self, BIT_STRING, ENUMERATED, OCTET_STRING, context, context_primitive};

/// An answer that only lacks its signature.
#[derive(Debug, Clone)]
pub struct ToSignResponse {
    data: Vec<u8>,
    algorithm: Vec<u8>,
    responder: Option<Certificate>,
}

/// Why a responder does not answer (RFC 6960 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be read.
    MalformedRequest = 1,
    /// Something broke inside.
    InternalError = 2,
    /// Come back later.
    TryLater = 3,
    /// Not a responder for these certificates.
    Unauthorised = 6,
}

/// The unsigned answer that says why there is none.
pub fn failure(failure: Failure) -> Vec<u8> {
    asn1::sequence(&[&asn1::tlv(ENUMERATED, &[&[failure as u8]])])
}

/// Prepares an answer signed by `responder`: the CA itself, or one it authorised.
///
/// # Errors
/// [`OcspError::EntryCount`] for none or too many entries, [`OcspError::WrongKey`] when the responder's key cannot sign
/// with `algorithm`.
pub fn prepare_response(
    entries: &[Entry],
    responder: &Certificate,
    produced_at: Timestamp,
    algorithm: SignatureAlgorithm,
) -> Result<ToSignResponse, OcspError> {
    if !(1..=ENTRIES_LIMIT).contains(&entries.len()) {
        return Err(OcspError::EntryCount(entries.len()));
    }
    if algorithm.key_kind() != responder.key_kind() {
        return Err(OcspError::WrongKey);
    }
    let written: Vec<Vec<u8>> = entries.iter().map(write_entry).collect();
    let parts: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
    let data = asn1::sequence(&[
        &asn1::tlv(context(1), &[responder.subject_raw()]),
        &asn1::generalized_time(produced_at),
        &asn1::sequence(&parts),
    ]);
    let algorithm = algorithm::signature_identifier(algorithm).ok_or(OcspError::WrongKey)?;
    Ok(ToSignResponse { data, algorithm, responder: Some(responder.clone()) })
}

impl ToSignResponse {
    /// The bytes to sign: the DER of ResponseData.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Does not carry the responder's certificate, as when the CA signs itself.
    #[must_use]
    pub fn without_certificate(mut self) -> Self {
        self.responder = None;
        self
    }

    /// Puts the signature value in and writes the whole OCSPResponse, `application/ocsp-response`.
    ///
    /// # Errors
    /// [`OcspError::BadSignatureValue`] when it is empty or longer than any.
    pub fn assemble(self, signature: &[u8]) -> Result<Vec<u8>, OcspError> {
        if signature.is_empty() || signature.len() > 512 {
            return Err(OcspError::BadSignatureValue(signature.len()));
        }
        let certificates = self
            .responder
            .map(|certificate| asn1::tlv(context(0), &[&asn1::sequence(&[certificate.der()])]))
            .unwrap_or_default();
        let basic = asn1::sequence(&[
            &self.data,
            &self.algorithm,
            &asn1::tlv(BIT_STRING, &[&[0], signature]),
            &certificates,
        ]);
        let bytes = asn1::sequence(&[&asn1::oid(BASIC_RESPONSE), &asn1::tlv(OCTET_STRING, &[&basic])]);
        Ok(asn1::sequence(&[&asn1::tlv(ENUMERATED, &[&[0]]), &asn1::tlv(context(0), &[&bytes])]))
    }
}

fn write_entry(entry: &Entry) -> Vec<u8> {
    let verdict = match entry.verdict {
        Verdict::Good => asn1::tlv(context_primitive(0), &[]),
        Verdict::Revoked { at } => asn1::tlv(context(1), &[&asn1::generalized_time(at)]),
        Verdict::Unknown => asn1::tlv(context_primitive(2), &[]),
    };
    let next_update = entry
        .next_update
        .map(|next| asn1::tlv(context(0), &[&asn1::generalized_time(next)]))
        .unwrap_or_default();
    asn1::sequence(&[&entry.id.write(), &verdict, &asn1::generalized_time(entry.this_update), &next_update])
}
