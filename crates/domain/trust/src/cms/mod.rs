//! Message signatures: CMS SignedData (RFC 5652) with the attributes of CAdES-B (ETSI EN 319 122-1), protocol P2.2.
//!
//! [`prepare`] → sign [`ToSign::bytes`] → [`ToSign::assemble`] makes one; [`read`] → [`SignedMessage::verify`] checks
//! one. The signed content, a message's manifest, travels apart (detached); [`prepare_encapsulated`] puts it inside, as
//! time-stamp tokens need it.

mod make;
mod read;
#[cfg(test)]
mod tests;

use der::asn1::ObjectIdentifier;

use crate::CertificateError;
use crate::asn1::Malformed;

pub use make::{ToSign, prepare, prepare_encapsulated};
pub use read::{SignedMessage, read};
pub(crate) use read::{SignerInfo, only_member, signature_algorithm};

/// A signature with its certificates has 1 to 8 KiB; longer ones are not looked at.
pub const SIZE_LIMIT: usize = 32 * 1024;
/// Certificates in one signature: the signer's and up to three above it.
pub const CERTIFICATES_LIMIT: usize = 4;

/// The content type of a message's manifest: id-data (RFC 5652 §4).
pub const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// The content type of a time-stamp: id-ct-TSTInfo (RFC 3161 §2.4.2).
pub const TIME_STAMP_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

pub(crate) const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
pub(crate) const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
pub(crate) const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
pub(crate) const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// Why a signature was not made, not read, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmsError {
    /// The certificate's key cannot make such a signature, or the algorithm is never made here.
    #[error("the certificate's key does not sign messages with this algorithm; choose one of its kind")]
    WrongKey,
    /// What the signer returned cannot be a signature value.
    #[error("the signer returned {0} bytes, which is no signature")]
    BadSignatureValue(usize),
    /// Longer than [`SIZE_LIMIT`].
    #[error("the signature has {0} bytes, more than the 32768 allowed")]
    TooLong(usize),
    /// Not strict DER, or not the one shape allowed.
    #[error("not a CAdES-B signature in strict DER: {0}")]
    Malformed(&'static str),
    /// A signed attribute is missing, doubled, or not among the four allowed.
    #[error("signed attributes: {0}")]
    Attributes(&'static str),
    /// Unsigned attributes, revocation data or encapsulated content where none may be.
    #[error("the signature carries {0}, which is not allowed here")]
    NotAllowed(&'static str),
    /// More than [`CERTIFICATES_LIMIT`], or none.
    #[error("the signature carries {0} certificates; 1 to 4 are allowed")]
    CertificateCount(usize),
    /// A certificate inside cannot be read.
    #[error("a certificate in the signature: {0}")]
    Certificate(#[from] CertificateError),
    /// The signer's certificate is not inside.
    #[error("the signature does not carry its signer's certificate")]
    NoSignerCertificate,
    /// signing-certificate-v2 names another certificate.
    #[error("signing-certificate-v2 names another certificate than the one that signs")]
    OtherCertificate,
    /// The algorithms are not a pair allowed for the key (protocol P2.2).
    #[error("the signature algorithm is not allowed for the certificate's key")]
    AlgorithmNotAllowed,
    /// The signature is over other content.
    #[error("the signature is over another content")]
    OtherContent,
    /// The signature value is wrong.
    #[error("the signature value does not hold under the certificate's key")]
    BadSignature,
}

impl From<Malformed> for CmsError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
