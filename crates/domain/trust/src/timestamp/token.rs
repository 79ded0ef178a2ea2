//! A token as read: of the right shape, its parts agreeing with each other, nothing believed yet.

use std::fmt;

use der::asn1::ObjectIdentifier;
use truc_model::{Digest, Timestamp};

use super::read::{read_attributes, read_certificates, read_info};
use super::{SIZE_LIMIT, TimeStampAuthority, TimeStampError};
use crate::Certificate;
use crate::algorithm::Hash;
use crate::asn1::{self, Malformed, SEQUENCE, SET, Tlv, context};
use crate::cms::{CmsError, SIGNED_DATA, SignerInfo, TIME_STAMP_INFO, only_member, signature_algorithm};

/// A TimeStampToken (RFC 3161 §2.4.2) as read; believed only through [`super::judge_token`] or [`super::judge_response`].
#[derive(Clone)]
pub struct TimeStampToken {
    der: Vec<u8>,
    content: Vec<u8>,
    pub(super) info: Info,
    certificates: Vec<Certificate>,
    /// The element of the one SignerInfo.
    signer_info: Vec<u8>,
}

/// TSTInfo (RFC 3161 §2.4.2), as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) policy: ObjectIdentifier,
    /// `None` when it was made by another algorithm than SHA-256.
    pub(super) imprint: Option<Digest>,
    /// Content octets of the INTEGER.
    pub(super) serial: Vec<u8>,
    pub(super) gen_time: Timestamp,
    pub(super) nonce: Option<Vec<u8>>,
}

impl TimeStampToken {
    /// Reads a token: strict DER, SignedData with one signer over a TSTInfo.
    ///
    /// # Errors
    /// [`TimeStampError`]; whatever is not exactly that.
    pub fn read(der: &[u8]) -> Result<Self, TimeStampError> {
        if der.len() > SIZE_LIMIT {
            return Err(TimeStampError::TooLong(der.len()));
        }
        let mut content_info = Tlv::only(der, SEQUENCE, "token")?.open();
        if content_info.oid("token")? != SIGNED_DATA {
            return Err(TimeStampError::Malformed("the token is not SignedData"));
        }
        let signed_data = content_info.explicit(0, SEQUENCE, "SignedData")?.ok_or(Malformed("SignedData"))?;
        content_info.end("bytes after SignedData")?;

        let mut inside = signed_data.open();
        // 3, and more where certificates of other kinds are carried (RFC 5652 §5.1); old writers leave it at 1.
        if !matches!(inside.small("version")?, 1 | 3 | 4 | 5) {
            return Err(TimeStampError::Malformed("version"));
        }
        let digest_algorithm =
            only_member(inside.take(SET, "digest algorithms")?, SEQUENCE, "digest algorithms")?;
        let mut encapsulated = inside.sequence("content")?;
        if encapsulated.oid("content type")? != TIME_STAMP_INFO {
            return Err(TimeStampError::OtherContentType);
        }
        let content = encapsulated
            .explicit(0, asn1::OCTET_STRING, "content")?
            .ok_or(Malformed("the token's content is missing"))?
            .value;
        encapsulated.end("content")?;
        let certificates = match inside.take_if(context(0), "certificates")? {
            Some(set) => read_certificates(set)?,
            None => Vec::new(),
        };
        // Revocation data may travel along (RFC 5652 §5.1); nothing here relies on it.
        inside.take_if(context(1), "revocation data")?;
        let signer_info =
            only_member(inside.take(SET, "signer infos")?, SEQUENCE, "exactly one signer info")?;
        inside.end("bytes after the signer info")?;
        let signer = SignerInfo::read(signer_info)?;
        if Hash::read(signer.digest_algorithm)? != Hash::read(digest_algorithm)? {
            return Err(TimeStampError::Malformed("digest algorithms"));
        }
        Ok(Self {
            der: der.to_vec(),
            content: content.to_vec(),
            info: read_info(content)?,
            certificates,
            signer_info: signer_info.raw.to_vec(),
        })
    }

    /// The bytes, as read.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it says it was made; not to be believed before it was judged.
    pub fn gen_time(&self) -> Timestamp {
        self.info.gen_time
    }

    /// The SHA-256 digest that it says it is over.
    pub fn imprint(&self) -> Option<Digest> {
        self.info.imprint
    }

    /// The certificates carried that can be read, in their order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate whose key made the signature over exactly this content: carried, or the authority's own. Whether it may
    /// is not said.
    pub(super) fn signer(&self, authority: &TimeStampAuthority) -> Result<Certificate, TimeStampError> {
        let signer = SignerInfo::read(Tlv::only(&self.signer_info, SEQUENCE, "signer info")?)?;
        let known = self.certificates.iter().chain([&authority.certificate]);
        let mut named: Vec<&Certificate> = Vec::new();
        for certificate in known.filter(|certificate| signer.id.names(certificate)) {
            if !named.contains(&certificate) {
                named.push(certificate);
            }
        }
        let certificate = match named.as_slice() {
            [one] => *one,
            [] => return Err(CmsError::NoSignerCertificate.into()),
            _ => return Err(CmsError::NotAllowed("two certificates for one signer").into()),
        };
        let hash = Hash::read(signer.digest_algorithm)?;
        if hash == Hash::Sha1 {
            return Err(CmsError::AlgorithmNotAllowed.into());
        }
        let algorithm = signature_algorithm(signer.signature_algorithm, hash, certificate)?;
        let attributes = read_attributes(signer.attributes)?;
        if hash.digest(&self.content) != attributes.message_digest {
            return Err(CmsError::OtherContent.into());
        }
        // Signed as a SET OF, carried as `[0] IMPLICIT`: same bytes, other tag (RFC 5652 §5.4).
        let signed = asn1::tlv(SET, &[signer.attributes.value]);
        if !algorithm.verify(certificate.public_key(), &signed, signer.signature) {
            return Err(CmsError::BadSignature.into());
        }
        attributes.check_certificate(certificate)?;
        Ok(certificate.clone())
    }
}

/// Only when it was made and over what.
impl fmt::Debug for TimeStampToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeStampToken").field("info", &self.info).finish_non_exhaustive()
    }
}
