//! Certificate signing requests (PKCS#10, RFC 2986): a subject, a key, and the proof that whoever asks holds the key.
//!
//! One that is read has been verified: there is no [`CertificateRequest`] whose signature does not hold under its own key.

use std::fmt;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use truc_directory::{Profile, Usage};
use truc_keys::KeyKind;
use truc_model::Digest;

use crate::SubjectAttribute;
use crate::algorithm;
use crate::asn1::{Malformed, Reader, SEQUENCE, SET, Tlv, context};
use crate::certificate::{CertificateError, read_key, rsa_exponent};
use crate::name::Name;
use crate::subject::{Named, ProfileError, named};

/// No request is longer; real ones have half a KiB, with RSA-4096 and some attributes less than 4 KiB.
const SIZE_LIMIT: usize = 16 * 1024;
/// Attributes a request may carry; they are read for their form and otherwise ignored.
const ATTRIBUTE_LIMIT: usize = 16;

/// Why bytes are no certificate request this bus works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not strict DER, or something is missing or left over.
    #[error(
        "yêu cầu cấp chứng thư (PKCS#10) sai cấu trúc: {0}; hãy tạo lại / not a certificate request (PKCS#10) in strict DER: {0}; make it again"
    )]
    Malformed(&'static str),
    /// Longer than any request here.
    #[error(
        "yêu cầu cấp chứng thư dài {0} byte, tối đa 16384 / the certificate request has {0} bytes, more than the 16384 allowed"
    )]
    TooLong(usize),
    /// A key outside protocol P2.2, or an RSA exponent that no careful generator chooses.
    #[error(
        "khoá của yêu cầu quá yếu hoặc không được dùng: cần ECDSA P-256, P-384 hoặc RSA 2048 đến 4096 bit, số mũ 65537 / the key of the \
         request is too weak or of no allowed kind: use ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits with exponent 65537"
    )]
    Key,
    /// The signature's algorithm is outside protocol P2.2 or not one for the key.
    #[error(
        "thuật toán chữ ký của yêu cầu không được dùng: cần SHA-256 trở lên / the signature algorithm of the request is not allowed: sign it \
         with SHA-256 or better"
    )]
    Algorithm,
    /// The signature is not by the key in the request: possession is not proven.
    #[error(
        "chữ ký của yêu cầu không phải của chính khoá trong đó / the signature of the request is not by its own key"
    )]
    Signature,
    /// An attribute stands there twice.
    #[error("yêu cầu có thuộc tính {0} hai lần / the request has attribute {0} more than once")]
    DuplicateAttribute(String),
    /// The PEM text holds no request, more than one, or is damaged.
    #[error(
        "cần đúng một yêu cầu dạng PEM (-----BEGIN CERTIFICATE REQUEST-----) / expected exactly one request in PEM \
         (-----BEGIN CERTIFICATE REQUEST-----)"
    )]
    Pem,
}

impl From<Malformed> for RequestError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl From<CertificateError> for RequestError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Malformed(what) => Self::Malformed(what),
            _ => Self::Key,
        }
    }
}

/// A certificate request, read and proven: its signature holds under its own key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    der: Vec<u8>,
    info: Vec<u8>,
    subject: Name,
    spki: Vec<u8>,
    key_kind: KeyKind,
    public_key: Vec<u8>,
}

impl CertificateRequest {
    /// Reads one request and verifies its signature (RFC 2986 §3, §4). What it asks for beside subject and key is ignored.
    ///
    /// # Errors
    /// [`RequestError`]: anything but strict DER of a version 1 request with an allowed key, without doubled attributes or trailing
    /// bytes, signed by that key.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > SIZE_LIMIT {
            return Err(RequestError::TooLong(der.len()));
        }
        let mut outer = Tlv::only(der, SEQUENCE, "certificate request")?.open();
        let info = outer.take(SEQUENCE, "request content")?;
        let identifier = outer.take(SEQUENCE, "signature algorithm")?;
        let signature = outer.bits("signature")?;
        outer.end("bytes after the signature")?;

        let mut inside = info.open();
        if inside.small("version")? != 0 {
            return Err(RequestError::Malformed("version"));
        }
        let subject = Name::read(inside.take(SEQUENCE, "subject")?.raw, "subject")?;
        let spki = inside.take(SEQUENCE, "public key")?;
        let (key_kind, public_key) = read_key(spki)?;
        if key_kind == KeyKind::Rsa && !usual_exponent(rsa_exponent(public_key)?) {
            return Err(RequestError::Key);
        }
        read_attributes(inside.take(context(0), "attributes")?.open())?;
        inside.end("bytes after the attributes")?;

        let algorithm = algorithm::read_signature(identifier, key_kind).ok_or(RequestError::Algorithm)?;
        if !algorithm.verify(public_key, info.raw, signature) {
            return Err(RequestError::Signature);
        }
        Ok(Self {
            der: der.to_vec(),
            info: info.raw.to_vec(),
            subject,
            spki: spki.raw.to_vec(),
            key_kind,
            public_key: public_key.to_vec(),
        })
    }

    /// Reads the one request of a PEM text (RFC 7468; the old label NEW CERTIFICATE REQUEST too).
    ///
    /// # Errors
    /// None or several of them, or as [`Self::from_der`].
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        if text.len() > 2 * SIZE_LIMIT {
            return Err(RequestError::TooLong(text.len()));
        }
        let text = std::str::from_utf8(text).map_err(|_| RequestError::Pem)?;
        let text = text.replace(" NEW CERTIFICATE REQUEST-----", " CERTIFICATE REQUEST-----");
        let mut all = CertificateSigningRequestDer::pem_slice_iter(text.as_bytes());
        match (all.next(), all.next()) {
            (Some(Ok(der)), None) => Self::from_der(&der),
            _ => Err(RequestError::Pem),
        }
    }

    /// The bytes, as read.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }
    /// The bytes that are signed (CertificationRequestInfo).
    pub fn signed_bytes(&self) -> &[u8] {
        &self.info
    }
    /// The subject as text, RFC 4514 (last part first).
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }
    /// An attribute of the subject; `None` when it is absent or stands there more than once.
    pub fn subject_attribute(&self, attribute: SubjectAttribute) -> Option<&str> {
        self.subject.get(attribute)
    }
    /// Whom the subject names. A request is written by the node itself, so always by profile `truc-1`, whatever the CA does later.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn named(&self, usage: Usage) -> Result<Named, ProfileError> {
        named(&self.subject, Profile::Truc1, usage)
    }
    /// The kind of key; never [`KeyKind::Ed25519`].
    pub fn key_kind(&self) -> KeyKind {
        self.key_kind
    }
    /// Content of the SubjectPublicKeyInfo's bit string (EC point or PKCS#1 RSAPublicKey).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
    /// DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

/// Only the digest: a subject may be a person.
impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateRequest({})", self.digest())
    }
}

/// Odd, above 2^16 (FIPS 186-5 §5.1), and at most 33 bits, which is what verifiers take.
fn usual_exponent(exponent: &[u8]) -> bool {
    let exponent = exponent.strip_prefix(&[0]).unwrap_or(exponent);
    if exponent.len() > 5 {
        return false;
    }
    let value = exponent.iter().fold(0u64, |sum, octet| (sum << 8) | u64::from(*octet));
    value % 2 == 1 && (65_537..1 << 33).contains(&value)
}

/// Attributes (RFC 2986 §4.1): each an identifier with at least one value, none twice.
fn read_attributes(mut list: Reader<'_>) -> Result<(), RequestError> {
    let mut seen: Vec<ObjectIdentifier> = Vec::new();
    while !list.is_empty() {
        let mut attribute = list.sequence("attribute")?;
        let id = attribute.oid("attribute")?;
        let mut values = attribute.take(SET, "attribute values")?.open();
        attribute.end("attribute")?;
        if values.is_empty() || seen.len() == ATTRIBUTE_LIMIT {
            return Err(RequestError::Malformed("attributes"));
        }
        while !values.is_empty() {
            values.any("attribute value")?;
        }
        if seen.contains(&id) {
            return Err(RequestError::DuplicateAttribute(id.to_string()));
        }
        seen.push(id);
    }
    Ok(())
}
