//! Making signatures; the private key stays elsewhere and only sees [`ToSign::bytes`].

use der::asn1::ObjectIdentifier;
use truc_keys::SignatureAlgorithm;
use truc_model::Timestamp;

use super::{
    CERTIFICATES_LIMIT, CONTENT_TYPE, CmsError, DATA, MESSAGE_DIGEST, SIGNED_DATA, SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
};
use crate::Certificate;
use crate::algorithm::{self, Hash};
use crate::asn1::{self, INTEGER, OCTET_STRING, SET, context};

/// The largest signature value: RSA 4096.
const VALUE_LIMIT: usize = 512;

/// A signature that only lacks its value.
#[derive(Debug, Clone)]
pub struct ToSign {
    pub(super) content_type: ObjectIdentifier,
    pub(super) content: Option<Vec<u8>>,
    pub(super) attributes: Vec<u8>,
    pub(super) certificate: Certificate,
    pub(super) embedded: Vec<Certificate>,
    pub(super) hash: Hash,
    pub(super) signature_identifier: Vec<u8>,
}

/// Prepares a detached signature over `manifest` (protocol P2.1); `signing_time` is the header's `sent`, of which whole
/// seconds are written.
///
/// # Errors
/// [`CmsError::WrongKey`] when the certificate's key cannot sign with `algorithm`, or with P-384/SHA-256 and Ed25519,
/// which are never made.
pub fn prepare(
    manifest: &[u8],
    certificate: &Certificate,
    algorithm: SignatureAlgorithm,
    signing_time: Timestamp,
) -> Result<ToSign, CmsError> {
    build(DATA, manifest, None, certificate, algorithm, signing_time)
}

/// Prepares a signature that carries its content, e.g. a TSTInfo under [`super::TIME_STAMP_INFO`].
///
/// # Errors
/// As [`prepare`].
pub fn prepare_encapsulated(
    content_type: ObjectIdentifier,
    content: &[u8],
    certificate: &Certificate,
    algorithm: SignatureAlgorithm,
    signing_time: Timestamp,
) -> Result<ToSign, CmsError> {
    build(content_type, content, Some(content.to_vec()), certificate, algorithm, signing_time)
}

fn build(
    content_type: ObjectIdentifier,
    signed: &[u8],
    content: Option<Vec<u8>>,
    certificate: &Certificate,
    algorithm: SignatureAlgorithm,
    signing_time: Timestamp,
) -> Result<ToSign, CmsError> {
    if algorithm.key_kind() != certificate.key_kind() || algorithm == SignatureAlgorithm::EcdsaP384Sha256 {
        return Err(CmsError::WrongKey);
    }
    let signature_identifier = algorithm::signature_identifier(algorithm).ok_or(CmsError::WrongKey)?;
    let hash = Hash::of_signature(algorithm);
    let attributes = asn1::set_of(vec![
        attribute(CONTENT_TYPE, &asn1::oid(content_type)),
        attribute(MESSAGE_DIGEST, &asn1::tlv(OCTET_STRING, &[&hash.digest(signed)])),
        attribute(SIGNING_TIME, &asn1::time(signing_time)),
        attribute(SIGNING_CERTIFICATE_V2, &signing_certificate(certificate)),
    ]);
    Ok(ToSign {
        content_type,
        content,
        attributes,
        certificate: certificate.clone(),
        embedded: vec![certificate.clone()],
        hash,
        signature_identifier,
    })
}

impl ToSign {
    /// The bytes to sign: the DER SET OF signed attributes (RFC 5652 §5.4).
    pub fn bytes(&self) -> &[u8] {
        &self.attributes
    }

    /// Also carries these certificates, the issuing CA first.
    ///
    /// # Errors
    /// [`CmsError::CertificateCount`] when there would be more than four.
    pub fn with_intermediates(mut self, intermediates: &[Certificate]) -> Result<Self, CmsError> {
        self.embedded.extend_from_slice(intermediates);
        if self.embedded.len() > CERTIFICATES_LIMIT {
            return Err(CmsError::CertificateCount(self.embedded.len()));
        }
        Ok(self)
    }

    /// Carries no certificate at all, as a time-stamp does when its request did not ask for one (RFC 3161 §2.4.1).
    #[must_use]
    pub fn without_certificates(mut self) -> Self {
        self.embedded.clear();
        self
    }

    /// Puts the signature value in and writes the ContentInfo.
    ///
    /// The value is not checked; whoever needs certainty reads and verifies the result.
    ///
    /// # Errors
    /// [`CmsError::BadSignatureValue`] when it is empty or longer than any.
    pub fn assemble(self, signature: &[u8]) -> Result<Vec<u8>, CmsError> {
        if signature.is_empty() || signature.len() > VALUE_LIMIT {
            return Err(CmsError::BadSignatureValue(signature.len()));
        }
        // Version 3 as soon as the content is not id-data (RFC 5652 §5.1).
        let version = if self.content_type == DATA { 1 } else { 3 };
        let certificates = self.certificates();
        let signed_data = asn1::sequence(&[
            &asn1::tlv(INTEGER, &[&[version]]),
            &asn1::set_of(vec![self.hash.identifier()]),
            &self.encapsulated(),
            &certificates,
            &asn1::tlv(SET, &[&self.signer_info(signature)]),
        ]);
        Ok(asn1::sequence(&[&asn1::oid(SIGNED_DATA), &asn1::tlv(context(0), &[&signed_data])]))
    }

    fn encapsulated(&self) -> Vec<u8> {
        let content_type = asn1::oid(self.content_type);
        match &self.content {
            None => asn1::sequence(&[&content_type]),
            Some(content) => {
                let octets = asn1::tlv(OCTET_STRING, &[content]);
                asn1::sequence(&[&content_type, &asn1::tlv(context(0), &[&octets])])
            }
        }
    }

    /// `[0] IMPLICIT CertificateSet`, in DER order; nothing when none is carried.
    fn certificates(&self) -> Vec<u8> {
        let mut all: Vec<&[u8]> = self.embedded.iter().map(Certificate::der).collect();
        all.sort_unstable();
        all.dedup();
        if all.is_empty() { Vec::new() } else { asn1::tlv(context(0), &all) }
    }

    fn signer_info(&self, signature: &[u8]) -> Vec<u8> {
        let serial = asn1::tlv(INTEGER, &[self.certificate.serial()]);
        // The attributes are signed as a SET OF and carried as `[0] IMPLICIT`: same bytes, other tag.
        let mut attributes = self.attributes.clone();
        if let Some(tag) = attributes.first_mut() {
            *tag = context(0);
        }
        asn1::sequence(&[
            &asn1::tlv(INTEGER, &[&[1]]),
            &asn1::sequence(&[self.certificate.issuer_raw(), &serial]),
            &self.hash.identifier(),
            &attributes,
            &self.signature_identifier,
            &asn1::tlv(OCTET_STRING, &[signature]),
        ])
    }
}

pub(super) fn attribute(id: ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(id), &asn1::tlv(SET, &[value])])
}

/// SigningCertificateV2 (RFC 5035 §3): SHA-256, which is the default and therefore not written, with issuer and serial.
pub(super) fn signing_certificate(certificate: &Certificate) -> Vec<u8> {
    let directory_name = asn1::tlv(context(4), &[certificate.issuer_raw()]);
    let serial = asn1::tlv(INTEGER, &[certificate.serial()]);
    let issuer_serial = asn1::sequence(&[&asn1::sequence(&[&directory_name]), &serial]);
    let hash = asn1::tlv(OCTET_STRING, &[certificate.fingerprint().as_bytes()]);
    let id = asn1::sequence(&[&hash, &issuer_serial]);
    asn1::sequence(&[&asn1::sequence(&[&id])])
}
