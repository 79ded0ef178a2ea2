//! Certificate status by OCSP (RFC 6960): asking, judging answers, and answering.
//!
//! An answer is judged for a moment, not fetched: how fresh it has to be is for the caller to say (protocol P3.5).
//! Requests carry no nonce, because answers are passed on to peers and kept as evidence.

mod make;
mod read;
#[cfg(test)]
mod tests;

use der::asn1::ObjectIdentifier;
use truc_model::Timestamp;

use crate::algorithm::Hash;
use crate::asn1::{self, INTEGER, Malformed, OCTET_STRING, Read, SEQUENCE, Tlv};
use crate::{Certificate, CertificateError};

pub use make::{Failure, ToSignResponse, failure, prepare_response};
pub use read::{OcspResponse, read, read_request};

/// Longer answers and requests are not looked at.
pub const SIZE_LIMIT: usize = 16 * 1024;
/// Entries in one request or answer.
pub const ENTRIES_LIMIT: usize = 16;

const BASIC_RESPONSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

/// What a CA says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Not revoked.
    Good,
    /// Revoked, or on hold.
    Revoked {
        /// From this moment on.
        at: Timestamp,
    },
    /// The responder does not know the certificate.
    Unknown,
}

/// A verdict with its times, as signed by the CA or its responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CertificateStatus {
    /// Good, revoked or unknown.
    pub verdict: Verdict,
    /// The moment for which the verdict is known to be right; freshness counts from here (protocol P3.5).
    pub this_update: Timestamp,
    /// When newer information will be there at the latest, if the responder says so.
    pub next_update: Option<Timestamp>,
    /// When the answer was signed; of a revocation list its `this_update`.
    pub produced_at: Timestamp,
}

/// Names a certificate to a responder: hashes of its issuer's name and key, and its serial number (RFC 6960 §4.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertId {
    hash: Hash,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Vec<u8>,
}

impl CertId {
    /// Names `certificate`, issued by `issuer`, with SHA-256.
    pub fn of(certificate: &Certificate, issuer: &Certificate) -> Self {
        Self {
            hash: Hash::Sha256,
            issuer_name_hash: Hash::Sha256.digest(issuer.subject_raw()),
            issuer_key_hash: Hash::Sha256.digest(issuer.public_key()),
            serial: certificate.serial().to_vec(),
        }
    }

    /// Whether this names a certificate of `issuer`.
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        self.issuer_name_hash == self.hash.digest(issuer.subject_raw())
            && self.issuer_key_hash == self.hash.digest(issuer.public_key())
    }

    /// Whether this names exactly `certificate` of `issuer`.
    pub fn names(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.serial == certificate.serial()
            && certificate.issuer_raw() == issuer.subject_raw()
            && self.is_of(issuer)
    }

    /// The serial number asked for, in the form of [`Certificate::serial`].
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    fn read(id: Tlv<'_>) -> Read<Self> {
        const WHAT: &str = "certificate id";
        let mut inside = id.open();
        let hash = Hash::read(inside.take(SEQUENCE, WHAT)?)?;
        let issuer_name_hash = inside.octets(WHAT)?.to_vec();
        let issuer_key_hash = inside.octets(WHAT)?.to_vec();
        let serial = inside.integer(WHAT)?.to_vec();
        inside.end(WHAT)?;
        if !matches!(hash, Hash::Sha1 | Hash::Sha256) {
            return Err(Malformed("certificate id: SHA-1 or SHA-256 is expected"));
        }
        Ok(Self { hash, issuer_name_hash, issuer_key_hash, serial })
    }

    fn write(&self) -> Vec<u8> {
        asn1::sequence(&[
            &self.hash.identifier_with_null(),
            &asn1::tlv(OCTET_STRING, &[&self.issuer_name_hash]),
            &asn1::tlv(OCTET_STRING, &[&self.issuer_key_hash]),
            &asn1::tlv(INTEGER, &[&self.serial]),
        ])
    }
}

/// What an answer says of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The certificate, named as the request named it.
    pub id: CertId,
    /// Good, revoked or unknown.
    pub verdict: Verdict,
    /// The moment for which the verdict is known to be right; whole seconds are written.
    pub this_update: Timestamp,
    /// When newer information will be there at the latest.
    pub next_update: Option<Timestamp>,
}

/// A request for the status of `certificate`, issued by `issuer`: DER, to be posted as `application/ocsp-request`.
pub fn request(certificate: &Certificate, issuer: &Certificate) -> Vec<u8> {
    let single = asn1::sequence(&[&CertId::of(certificate, issuer).write()]);
    asn1::sequence(&[&asn1::sequence(&[&asn1::sequence(&[&single])])])
}

/// Why a status was not asked, answered or believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Longer than [`SIZE_LIMIT`].
    #[error("the OCSP message has {0} bytes, more than the 16384 allowed")]
    TooLong(usize),
    /// Not strict DER of the expected shape.
    #[error("not an OCSP message in strict DER: {0}")]
    Malformed(&'static str),
    /// More than [`ENTRIES_LIMIT`] entries, or none.
    #[error("the OCSP message has {0} entries; 1 to 16 are allowed")]
    EntryCount(usize),
    /// The responder answered with an error of its own (RFC 6960 §4.2.1).
    #[error("the OCSP responder refused with status {0}; look at its log")]
    NotSuccessful(u8),
    /// A certificate inside cannot be read.
    #[error("a certificate in the OCSP answer: {0}")]
    Certificate(#[from] CertificateError),
    /// Signed neither by the CA nor by a responder that the CA authorised.
    #[error(
        "the OCSP answer is not signed by the CA or by a responder it authorised (extended key usage OCSPSigning)"
    )]
    UnauthorisedResponder,
    /// The signature value is wrong, or of an algorithm that is not allowed.
    #[error("the signature of the OCSP answer does not hold")]
    BadSignature,
    /// The answer is about other certificates, or says two things about this one.
    #[error("the OCSP answer does not speak of the certificate exactly once")]
    OtherCertificate,
    /// thisUpdate lies in the future, or after nextUpdate.
    #[error("the times of the OCSP answer do not fit; check the clocks of node and responder")]
    Times,
    /// The responder's key cannot sign with the algorithm.
    #[error("the responder's key does not sign with this algorithm; choose one of its kind")]
    WrongKey,
    /// What the signer returned cannot be a signature value.
    #[error("the signer returned {0} bytes, which is no signature")]
    BadSignatureValue(usize),
}

impl From<Malformed> for OcspError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
