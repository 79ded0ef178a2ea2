//! Reading and verifying signatures. Nothing here trusts a certificate: that is [`crate::check_path`].

use std::fmt;

use der::asn1::ObjectIdentifier;
use truc_keys::SignatureAlgorithm;
use truc_model::Timestamp;

use super::{
    CERTIFICATES_LIMIT, CONTENT_TYPE, CmsError, DATA, MESSAGE_DIGEST, SIGNED_DATA, SIGNING_CERTIFICATE_V2,
    SIGNING_TIME, SIZE_LIMIT,
};
use crate::Certificate;
use crate::algorithm::{self, Hash, RSA_ENCRYPTION};
use crate::asn1::{
    self, Malformed, OCTET_STRING, OID, Reader, SEQUENCE, SET, Tlv, context, context_primitive,
};

/// A signature as read: of the right shape, its parts agreeing with each other, but not yet verified.
#[derive(Clone)]
pub struct SignedMessage {
    certificate: Certificate,
    intermediates: Vec<Certificate>,
    signing_time: Timestamp,
    algorithm: SignatureAlgorithm,
    message_digest: Vec<u8>,
    /// The signed attributes with the tag of a SET OF, as they were signed.
    attributes: Vec<u8>,
    signature: Vec<u8>,
}

/// Reads a detached signature over a manifest (protocol P2.2): strict DER, one signer, exactly the four signed
/// attributes, the signer's certificate inside and named by signing-certificate-v2, an allowed pair of algorithms.
///
/// # Errors
/// [`CmsError`]; whatever is not exactly that.
pub fn read(der: &[u8]) -> Result<SignedMessage, CmsError> {
    if der.len() > SIZE_LIMIT {
        return Err(CmsError::TooLong(der.len()));
    }
    let parts = SignedData::read(der)?;
    let signer = SignerInfo::read(parts.signer_info)?;
    if parts.version != signer.version {
        return Err(CmsError::Malformed("version"));
    }
    let hash = Hash::read(signer.digest_algorithm)?;
    if Hash::read(parts.digest_algorithm)? != hash {
        return Err(CmsError::Malformed("digest algorithms"));
    }
    let mut certificates = read_certificates(parts.certificates)?;
    let position =
        certificates.iter().position(|c| signer.id.names(c)).ok_or(CmsError::NoSignerCertificate)?;
    let certificate = certificates.remove(position);
    if certificates.iter().any(|other| signer.id.names(other)) {
        return Err(CmsError::NotAllowed("two certificates for one signer"));
    }
    let algorithm = signature_algorithm(signer.signature_algorithm, hash, &certificate)?;
    let attributes = Attributes::read(signer.attributes)?;
    check_signing_certificate(attributes.signing_certificate, &certificate)?;
    Ok(SignedMessage {
        certificate,
        intermediates: certificates,
        signing_time: attributes.signing_time,
        algorithm,
        message_digest: attributes.message_digest.to_vec(),
        attributes: asn1::tlv(SET, &[signer.attributes.value]),
        signature: signer.signature.to_vec(),
    })
}

impl SignedMessage {
    /// The signer's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
    /// The other certificates carried, in no particular order.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }
    /// The signing-time attribute; whole seconds.
    pub fn signing_time(&self) -> Timestamp {
        self.signing_time
    }
    /// The signature algorithm, allowed for the certificate's key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Checks that the certificate's key signed exactly `manifest`.
    ///
    /// # Errors
    /// [`CmsError::OtherContent`] or [`CmsError::BadSignature`].
    pub fn verify(&self, manifest: &[u8]) -> Result<(), CmsError> {
        if Hash::of_signature(self.algorithm).digest(manifest) != self.message_digest {
            return Err(CmsError::OtherContent);
        }
        if !self.algorithm.verify(self.certificate.public_key(), &self.attributes, &self.signature) {
            return Err(CmsError::BadSignature);
        }
        Ok(())
    }
}

/// Only what identifies it: the certificate's fingerprint and the time.
impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedMessage")
            .field("certificate", &self.certificate)
            .field("signing_time", &self.signing_time)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// SignedData (RFC 5652 §5.1), detached, with one digest algorithm and one signer.
struct SignedData<'a> {
    version: u8,
    digest_algorithm: Tlv<'a>,
    certificates: Tlv<'a>,
    signer_info: Tlv<'a>,
}

impl<'a> SignedData<'a> {
    fn read(der: &'a [u8]) -> Result<Self, CmsError> {
        let mut content_info = Tlv::only(der, SEQUENCE, "content info")?.open();
        if content_info.oid("content info")? != SIGNED_DATA {
            return Err(CmsError::Malformed("not SignedData"));
        }
        let signed_data = content_info.explicit(0, SEQUENCE, "SignedData")?.ok_or(Malformed("SignedData"))?;
        content_info.end("bytes after SignedData")?;

        let mut inside = signed_data.open();
        let version = inside.small("version")?;
        let digest_algorithm =
            only_member(inside.take(SET, "digest algorithms")?, SEQUENCE, "digest algorithms")?;
        let mut content = inside.sequence("content")?;
        if content.oid("content type")? != DATA {
            return Err(CmsError::Malformed("content type"));
        }
        if !content.is_empty() {
            return Err(CmsError::NotAllowed("encapsulated content"));
        }
        let certificates =
            inside.take_if(context(0), "certificates")?.ok_or(CmsError::CertificateCount(0))?;
        if inside.take_if(context(1), "revocation data")?.is_some() {
            return Err(CmsError::NotAllowed("revocation data"));
        }
        let signer_info =
            only_member(inside.take(SET, "signer infos")?, SEQUENCE, "exactly one signer info")?;
        inside.end("bytes after the signer info")?;
        Ok(Self { version, digest_algorithm, certificates, signer_info })
    }
}

/// SignerInfo (RFC 5652 §5.3) with signed and without unsigned attributes.
pub(crate) struct SignerInfo<'a> {
    version: u8,
    pub(crate) id: SignerId<'a>,
    pub(crate) digest_algorithm: Tlv<'a>,
    pub(crate) attributes: Tlv<'a>,
    pub(crate) signature_algorithm: Tlv<'a>,
    pub(crate) signature: &'a [u8],
}

impl<'a> SignerInfo<'a> {
    pub(crate) fn read(info: Tlv<'a>) -> Result<Self, CmsError> {
        let mut inside = info.open();
        let version = inside.small("signer info version")?;
        let id = SignerId::read(inside.any("signer identifier")?)?;
        if version != id.version() {
            return Err(CmsError::Malformed("signer info version"));
        }
        let digest_algorithm = inside.take(SEQUENCE, "digest algorithm")?;
        let attributes =
            inside.take_if(context(0), "signed attributes")?.ok_or(CmsError::Attributes("missing"))?;
        let signature_algorithm = inside.take(SEQUENCE, "signature algorithm")?;
        let signature = inside.octets("signature value")?;
        if inside.take_if(context(1), "unsigned attributes")?.is_some() {
            return Err(CmsError::NotAllowed("unsigned attributes"));
        }
        inside.end("bytes after the signature value")?;
        Ok(Self { version, id, digest_algorithm, attributes, signature_algorithm, signature })
    }
}

pub(crate) enum SignerId<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

impl<'a> SignerId<'a> {
    fn read(id: Tlv<'a>) -> Result<Self, Malformed> {
        const KEY_IDENTIFIER: u8 = context_primitive(0);
        const WHAT: &str = "signer identifier";
        match id.tag {
            SEQUENCE => {
                let mut inside = id.open();
                let issuer = inside.take(SEQUENCE, WHAT)?.raw;
                let serial = inside.integer(WHAT)?;
                inside.end(WHAT)?;
                Ok(Self::IssuerAndSerial { issuer, serial })
            }
            KEY_IDENTIFIER => Ok(Self::KeyIdentifier(id.value)),
            _ => Err(Malformed(WHAT)),
        }
    }

    const fn version(&self) -> u8 {
        match self {
            Self::IssuerAndSerial { .. } => 1,
            Self::KeyIdentifier(_) => 3,
        }
    }

    pub(crate) fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerial { issuer, serial } => {
                certificate.issuer_raw() == *issuer && certificate.serial() == *serial
            }
            Self::KeyIdentifier(id) => certificate.subject_key_id() == Some(id),
        }
    }
}

/// The four attributes that CAdES-B has here, each exactly once.
struct Attributes<'a> {
    message_digest: &'a [u8],
    signing_time: Timestamp,
    signing_certificate: Tlv<'a>,
}

impl<'a> Attributes<'a> {
    fn read(set: Tlv<'a>) -> Result<Self, CmsError> {
        let (mut content_type, mut message_digest, mut signing_time, mut signing_certificate) =
            (None, None, None, None);
        for element in members(set, "signed attributes")? {
            let mut attribute = Tlv::only(element.raw, SEQUENCE, "signed attribute")?.open();
            let id = attribute.oid("signed attribute")?;
            let value = attribute.take(SET, "signed attribute")?;
            attribute.end("signed attribute")?;
            let place = match id {
                CONTENT_TYPE => &mut content_type,
                MESSAGE_DIGEST => &mut message_digest,
                SIGNING_TIME => &mut signing_time,
                SIGNING_CERTIFICATE_V2 => &mut signing_certificate,
                _ => return Err(CmsError::Attributes("one is there that CAdES-B does not need here")),
            };
            let mut values = value.open();
            let value = values.any("attribute value")?;
            values.end("attribute with more than one value")?;
            if place.replace(value).is_some() {
                return Err(CmsError::Attributes("one is there twice"));
            }
        }
        let (Some(content_type), Some(digest), Some(time), Some(signing_certificate)) =
            (content_type, message_digest, signing_time, signing_certificate)
        else {
            return Err(CmsError::Attributes(
                "content-type, message-digest, signing-time and signing-certificate-v2 are all needed",
            ));
        };
        if content_type.tag != OID || ObjectIdentifier::from_bytes(content_type.value) != Ok(DATA) {
            return Err(CmsError::Attributes("content-type"));
        }
        if digest.tag != OCTET_STRING {
            return Err(CmsError::Attributes("message-digest"));
        }
        let at = asn1::read_time(time).ok_or(CmsError::Attributes("signing-time"))?;
        // UTCTime up to 2049 and only then GeneralizedTime: one moment has one form.
        if asn1::time(at) != time.raw {
            return Err(CmsError::Attributes("signing-time"));
        }
        Ok(Self { message_digest: digest.value, signing_time: at, signing_certificate })
    }
}

/// The members of a SET OF, which must stand in strictly ascending order (X.690 §11.6), so none is there twice.
fn members<'a>(set: Tlv<'a>, what: &'static str) -> Result<Vec<Tlv<'a>>, Malformed> {
    let mut found: Vec<Tlv<'a>> = Vec::new();
    let mut inside = set.open();
    while !inside.is_empty() {
        let next = inside.any(what)?;
        if found.last().is_some_and(|last| last.raw >= next.raw) {
            return Err(Malformed(what));
        }
        found.push(next);
    }
    Ok(found)
}

pub(crate) fn only_member<'a>(set: Tlv<'a>, tag: u8, what: &'static str) -> Result<Tlv<'a>, Malformed> {
    Tlv::only(set.value, tag, what)
}

fn read_certificates(set: Tlv<'_>) -> Result<Vec<Certificate>, CmsError> {
    let all = members(set, "certificates")?;
    if !(1..=CERTIFICATES_LIMIT).contains(&all.len()) {
        return Err(CmsError::CertificateCount(all.len()));
    }
    all.iter().map(|one| Certificate::from_der(one.raw).map_err(CmsError::from)).collect()
}

/// The pair of digest and signature algorithm, if it is allowed for this key (protocol P2.2). openssl writes
/// `rsaEncryption` for PKCS#1 v1.5 and leaves the digest to digestAlgorithm, as RFC 3370 §3.2 allows.
pub(crate) fn signature_algorithm(
    identifier: Tlv<'_>,
    hash: Hash,
    certificate: &Certificate,
) -> Result<SignatureAlgorithm, CmsError> {
    let (id, parameters) = algorithm::parts(identifier, "signature algorithm")?;
    let found = if id == RSA_ENCRYPTION {
        algorithm::pkcs1_with(hash).filter(|_| algorithm::absent_or_null(parameters))
    } else {
        algorithm::read_signature(identifier, certificate.key_kind())
    };
    found
        .filter(|a| a.key_kind() == certificate.key_kind() && Hash::of_signature(*a) == hash)
        .ok_or(CmsError::AlgorithmNotAllowed)
}

/// SigningCertificateV2 (RFC 5035 §3) with exactly one ESSCertIDv2, which must name the signer's certificate by SHA-256
/// or longer, and by issuer and serial where those are there.
fn check_signing_certificate(value: Tlv<'_>, certificate: &Certificate) -> Result<(), CmsError> {
    const WHAT: &str = "signing-certificate-v2";
    let mut outer = Tlv::only(value.raw, SEQUENCE, WHAT)?.open();
    let mut ids = outer.sequence(WHAT)?;
    let mut id: Reader<'_> = ids.sequence(WHAT)?;
    ids.end("signing-certificate-v2 with more than one certificate")?;
    outer.end("signing-certificate-v2 with policies")?;

    let hash = match id.take_if(SEQUENCE, WHAT)? {
        None => Hash::Sha256,
        Some(identifier) => Hash::read(identifier)?,
    };
    let digest = id.octets(WHAT)?;
    if hash == Hash::Sha1 || hash.digest(certificate.der()) != digest {
        return Err(CmsError::OtherCertificate);
    }
    if !id.is_empty() {
        let mut issuer_serial = id.sequence(WHAT)?;
        let name = Tlv::only(issuer_serial.take(SEQUENCE, WHAT)?.value, context(4), WHAT)?.value;
        let serial = issuer_serial.integer(WHAT)?;
        issuer_serial.end(WHAT)?;
        if name != certificate.issuer_raw() || serial != certificate.serial() {
            return Err(CmsError::OtherCertificate);
        }
    }
    id.end(WHAT)?;
    Ok(())
}
