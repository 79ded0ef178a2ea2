//! X.509 certificates (RFC 5280), read once and shared.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use truc_keys::KeyKind;
use truc_model::{Fingerprint, Timestamp};

use crate::SubjectAttribute;
use crate::algorithm::{self, RSA_ENCRYPTION};
use crate::asn1::{self, INTEGER, Malformed, OID, Read, SEQUENCE, Tlv, context_primitive};
use crate::extensions::{EXAMPLE_POLICY, Extensions, read_extensions};
use crate::name::Name;

/// No certificate of the bus is longer; real ones have 1 to 3 KiB.
const SIZE_LIMIT: usize = 16 * 1024;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");

/// Bits of the first octet of a KeyUsage (RFC 5280 §4.2.1.3).
mod usage {
    pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
    pub(super) const NON_REPUDIATION: u8 = 0x40;
    pub(super) const KEY_CERT_SIGN: u8 = 0x04;
    pub(super) const CRL_SIGN: u8 = 0x02;
}

/// Why bytes are not a certificate this bus works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not strict DER, or something is missing, doubled or left over.
    #[error("not a certificate in strict DER: {0}")]
    Malformed(&'static str),
    /// Longer than any certificate here.
    #[error("the certificate has {0} bytes, more than the 16384 allowed")]
    TooLong(usize),
    /// Version 1 or 2.
    #[error("the certificate is not of X.509 version 3; ask the CA for a version 3 certificate")]
    OldVersion,
    /// A key outside protocol P2.2.
    #[error(
        "the key of the certificate is not allowed; use ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits"
    )]
    Key,
    /// One of the repository's examples.
    #[error(
        "chứng thư ví dụ, ai cũng có khoá riêng của nó: không bao giờ được tin cậy; hãy dùng chứng thư do CA được công nhận cấp / \
         this is an example certificate from certs-example, whose private key is public: never to be trusted; use one of an approved CA"
    )]
    Example,
    /// An extension stands there twice.
    #[error("the certificate has extension {0} more than once")]
    DuplicateExtension(String),
    /// The PEM text holds no certificate, more than one where one is expected, or is damaged.
    #[error("expected {0} in PEM (-----BEGIN CERTIFICATE-----)")]
    Pem(&'static str),
}

impl From<Malformed> for CertificateError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// A certificate, parsed and owned; cloning shares it. Equal means byte for byte.
///
/// Being parsed says nothing about trust: that is [`crate::check_path`].
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    fingerprint: Fingerprint,
    tbs: Vec<u8>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    subject_name: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    spki: Vec<u8>,
    key_kind: KeyKind,
    public_key: Vec<u8>,
    extensions: Extensions,
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// Anything but strict DER of an X.509 v3 certificate with an allowed key, without doubled extensions, damaged
    /// alternative names or trailing bytes; and the certificates of `certs-example/`, whose keys are public.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > SIZE_LIMIT {
            return Err(CertificateError::TooLong(der.len()));
        }
        read(der).map(|inner| Self(Arc::new(inner)))
    }

    /// Reads the one certificate of a PEM text (RFC 7468).
    ///
    /// # Errors
    /// None or several of them, or as [`Self::from_der`].
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let mut all = Self::all_from_pem(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(certificate), true) => Ok(certificate),
            _ => Err(CertificateError::Pem("exactly one certificate")),
        }
    }

    /// Reads all certificates of a PEM text, in order; at least one.
    ///
    /// # Errors
    /// None of them, or as [`Self::from_der`] for any.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let mut all = Vec::new();
        for der in CertificateDer::pem_slice_iter(text) {
            all.push(Self::from_der(&der.map_err(|_| CertificateError::Pem("undamaged certificates"))?)?);
        }
        if all.is_empty() { Err(CertificateError::Pem("at least one certificate")) } else { Ok(all) }
    }

    /// Whether this is one of `certs-example/`, for places that pin a certificate as bytes without reading it: there too it must be
    /// refused, with [`CertificateError::Example`]. Everywhere else [`Self::from_der`] refuses it already.
    pub fn is_example(der: &[u8]) -> bool {
        let policy = asn1::oid(EXAMPLE_POLICY);
        der.windows(policy.len()).any(|octets| octets == policy)
    }

    /// The bytes, as read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }
    /// SHA-256 of the bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }
    /// The subject as text, RFC 4514 (last part first). Compare [`Self::subject_raw`], never this.
    pub fn subject(&self) -> String {
        self.0.subject_name.to_string()
    }
    /// An attribute of the subject; `None` when it is absent or stands there more than once.
    pub fn subject_attribute(&self, attribute: SubjectAttribute) -> Option<&str> {
        self.0.subject_name.get(attribute)
    }
    pub(crate) fn subject_name(&self) -> &Name {
        &self.0.subject_name
    }
    /// DER of the subject name.
    pub fn subject_raw(&self) -> &[u8] {
        &self.0.subject
    }
    /// DER of the issuer name.
    pub fn issuer_raw(&self) -> &[u8] {
        &self.0.issuer
    }
    /// The serial number: content octets of the INTEGER, so with a leading zero where DER needs one.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }
    /// The kind of key; never [`KeyKind::Ed25519`].
    pub fn key_kind(&self) -> KeyKind {
        self.0.key_kind
    }
    /// Content of the SubjectPublicKeyInfo's bit string (EC point or PKCS#1 RSAPublicKey).
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key
    }
    /// DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }
    /// First moment of validity.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }
    /// Last second of validity.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }
    /// Whether `at` lies in the validity period, both ends included (RFC 5280 §4.1.2.5).
    pub fn valid_at(&self, at: Timestamp) -> bool {
        (self.0.not_before..=self.0.not_after).contains(&at.whole_second())
    }
    /// Whether the key may sign data: digitalSignature or nonRepudiation, or no key usage stated.
    pub fn may_sign(&self) -> bool {
        self.has_usage(usage::DIGITAL_SIGNATURE | usage::NON_REPUDIATION)
    }
    /// Whether this is a CA's certificate that may sign certificates.
    pub fn is_ca(&self) -> bool {
        self.0.extensions.is_ca && self.has_usage(usage::KEY_CERT_SIGN)
    }
    /// How many CAs may stand between this one and the end certificate; `None` for any number.
    pub(crate) fn path_length(&self) -> Option<u8> {
        self.0.extensions.path_length
    }
    /// Whether an extension is critical that this crate does not know.
    pub(crate) fn has_unknown_critical(&self) -> bool {
        self.0.extensions.unknown_critical
    }
    /// Whether this is a CA's certificate that may sign revocation lists.
    pub fn may_sign_crls(&self) -> bool {
        self.0.extensions.is_ca && self.has_usage(usage::CRL_SIGN)
    }
    /// Extended key usage names TLS client authentication.
    pub fn for_client_auth(&self) -> bool {
        self.has_extended(CLIENT_AUTH)
    }
    /// Extended key usage names TLS server authentication.
    pub fn for_server_auth(&self) -> bool {
        self.has_extended(SERVER_AUTH)
    }
    /// Extended key usage names OCSP signing (RFC 6960 §4.2.2.2).
    pub fn for_ocsp_signing(&self) -> bool {
        self.has_extended(OCSP_SIGNING)
    }
    /// Extended key usage is critical and names time-stamping and nothing else (RFC 3161 §2.3).
    pub fn for_time_stamping(&self) -> bool {
        matches!(&self.0.extensions.extended, Some((true, ids)) if ids.as_slice() == [TIME_STAMPING])
    }

    /// Content of the subject key identifier, if there is one.
    pub(crate) fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// Whether `issuer` is named as the issuer and its key made the signature. Says nothing about validity or usage.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        self.issuer_raw() == issuer.subject_raw()
            && issuer.has_signed(&self.0.tbs, &self.0.signature_algorithm, &self.0.signature)
    }

    /// Whether this certificate's key made `signature` over `bytes` with the algorithm of the AlgorithmIdentifier.
    pub(crate) fn has_signed(&self, bytes: &[u8], identifier: &[u8], signature: &[u8]) -> bool {
        Tlv::only(identifier, SEQUENCE, "signature algorithm")
            .ok()
            .and_then(|identifier| algorithm::read_signature(identifier, self.key_kind()))
            .is_some_and(|algorithm| algorithm.verify(self.public_key(), bytes, signature))
    }

    fn has_usage(&self, bits: u8) -> bool {
        self.0.extensions.key_usage.is_none_or(|usage| usage & bits != 0)
    }

    fn has_extended(&self, purpose: ObjectIdentifier) -> bool {
        self.0.extensions.extended.as_ref().is_some_and(|(_, ids)| ids.contains(&purpose))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.fingerprint.hash(state);
    }
}

/// Only the fingerprint: a subject may be a person.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.0.fingerprint)
    }
}

fn read(der: &[u8]) -> Result<Inner, CertificateError> {
    let mut outer = Tlv::only(der, SEQUENCE, "certificate")?.open();
    let tbs = outer.take(SEQUENCE, "certificate content")?;
    let signature_algorithm = outer.take(SEQUENCE, "signature algorithm")?;
    let signature = outer.bits("signature")?;
    outer.end("bytes after the signature")?;

    let mut inside = tbs.open();
    let version = inside.explicit(0, INTEGER, "version")?.ok_or(CertificateError::OldVersion)?;
    if version.value != [2] {
        return Err(CertificateError::OldVersion);
    }
    let serial = inside.integer("serial number")?;
    if serial.len() > 21 {
        return Err(CertificateError::Malformed("serial number"));
    }
    if inside.take(SEQUENCE, "signature algorithm")?.raw != signature_algorithm.raw {
        return Err(CertificateError::Malformed("the two signature algorithms differ"));
    }
    let issuer = inside.take(SEQUENCE, "issuer")?.raw;
    Name::read(issuer, "issuer")?;
    let mut validity = inside.sequence("validity")?;
    let (not_before, not_after) = (validity.time("notBefore")?, validity.time("notAfter")?);
    validity.end("validity")?;
    let subject = inside.take(SEQUENCE, "subject")?.raw;
    let spki = inside.take(SEQUENCE, "public key")?;
    let (key_kind, public_key) = read_key(spki)?;
    // Unique identifiers: obsolete, but still in the standard.
    inside.take_if(context_primitive(1), "issuer identifier")?;
    inside.take_if(context_primitive(2), "subject identifier")?;
    let extensions = match inside.explicit(3, SEQUENCE, "extensions")? {
        Some(list) => read_extensions(list)?,
        None => Extensions::default(),
    };
    inside.end("bytes after the extensions")?;

    Ok(Inner {
        der: der.to_vec(),
        fingerprint: Fingerprint::of(der),
        tbs: tbs.raw.to_vec(),
        signature_algorithm: signature_algorithm.raw.to_vec(),
        signature: signature.to_vec(),
        serial: serial.to_vec(),
        issuer: issuer.to_vec(),
        subject: subject.to_vec(),
        subject_name: Name::read(subject, "subject")?,
        not_before,
        not_after,
        spki: spki.raw.to_vec(),
        key_kind,
        public_key: public_key.to_vec(),
        extensions,
    })
}

pub(crate) fn read_key(spki: Tlv<'_>) -> Result<(KeyKind, &[u8]), CertificateError> {
    let mut inside = spki.open();
    let (id, parameters) = algorithm::parts(inside.take(SEQUENCE, "key algorithm")?, "key algorithm")?;
    let key = inside.bits("public key")?;
    inside.end("public key")?;
    if id == RSA_ENCRYPTION {
        let allowed = algorithm::absent_or_null(parameters) && (2048..=4096).contains(&rsa_bits(key)?);
        return if allowed { Ok((KeyKind::Rsa, key)) } else { Err(CertificateError::Key) };
    }
    let curve = parameters.filter(|p| id == EC_PUBLIC_KEY && p.tag == OID).map(|p| p.value);
    let (kind, length) = match curve {
        Some(curve) if curve == P256.as_bytes() => (KeyKind::EcP256, 65),
        Some(curve) if curve == P384.as_bytes() => (KeyKind::EcP384, 97),
        _ => return Err(CertificateError::Key),
    };
    if key.len() == length && key.first() == Some(&4) { Ok((kind, key)) } else { Err(CertificateError::Key) }
}

/// Content octets of an RSAPublicKey's exponent.
pub(crate) fn rsa_exponent(key: &[u8]) -> Read<&[u8]> {
    let mut inside = Tlv::only(key, SEQUENCE, "RSA key")?.open();
    inside.integer("RSA modulus")?;
    inside.integer("RSA exponent")
}

/// Size of an RSAPublicKey's modulus (RFC 8017 §A.1.1).
fn rsa_bits(key: &[u8]) -> Read<usize> {
    let mut inside = Tlv::only(key, SEQUENCE, "RSA key")?.open();
    let modulus = inside.integer("RSA modulus")?;
    inside.integer("RSA exponent")?;
    inside.end("RSA key")?;
    let magnitude = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let leading = magnitude.first().map_or(0, |octet| octet.leading_zeros() as usize);
    Ok(magnitude.len() * 8 - leading.min(magnitude.len() * 8))
}
