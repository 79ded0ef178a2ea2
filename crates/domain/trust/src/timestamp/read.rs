//! The parts of a token.

use der::asn1::ObjectIdentifier;
use truc_model::{Digest, Timestamp};

use super::token::Info;
use super::{CERTIFICATES_LIMIT, TimeStampError};
use crate::Certificate;
use crate::algorithm::Hash;
use crate::asn1::{
    self, BOOLEAN, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Read, Reader, SEQUENCE, SET, Tlv,
    context,
};
use crate::cms::{CONTENT_TYPE, CmsError, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2, TIME_STAMP_INFO};
use crate::extensions::read_extension;

/// SigningCertificate with SHA-1 (RFC 2634 §5.4), which RFC 3161 asks for and RFC 5816 replaces.
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
/// Signed attributes of one token.
const ATTRIBUTES_LIMIT: usize = 16;
/// Octets of a serial number: 160 bits (RFC 3161 §2.4.2) and a sign; and of a nonce, ours has 8.
const INTEGER_LIMIT: usize = 21;

/// Reads a TSTInfo.
pub(super) fn read_info(content: &[u8]) -> Result<Info, TimeStampError> {
    let mut inside = Tlv::only(content, SEQUENCE, "TSTInfo")?.open();
    if inside.small("TSTInfo version")? != 1 {
        return Err(TimeStampError::Malformed("TSTInfo version"));
    }
    let policy = inside.oid("policy")?;
    let mut imprint = inside.sequence("message imprint")?;
    let hash = Hash::read(imprint.take(SEQUENCE, "message imprint")?)?;
    let digest = imprint.octets("message imprint")?;
    imprint.end("message imprint")?;
    let serial = bounded(inside.integer("serial number")?, "serial number")?;
    let gen_time = fractional(inside.take(GENERALIZED_TIME, "genTime")?).ok_or(Malformed("genTime"))?;
    inside.take_if(SEQUENCE, "accuracy")?;
    match inside.take_if(BOOLEAN, "ordering")?.map(|flag| flag.value) {
        None | Some([0x00 | 0xff]) => {}
        Some(_) => return Err(TimeStampError::Malformed("ordering")),
    }
    let nonce = match inside.take_if(INTEGER, "nonce")? {
        None => None,
        Some(tlv) => Some(bounded(Reader::new(tlv.raw).integer("nonce")?, "nonce")?),
    };
    // What the authority calls itself is not needed: the directory says whose the certificate is.
    inside.take_if(context(0), "tsa")?;
    if let Some(list) = inside.take_if(context(1), "extensions")? {
        let mut list = list.open();
        while !list.is_empty() {
            if read_extension(&mut list)?.1 {
                return Err(TimeStampError::Malformed("a critical extension that is not known here"));
            }
        }
    }
    inside.end("bytes after TSTInfo")?;
    let imprint = Digest::from_slice(digest).filter(|_| hash == Hash::Sha256);
    Ok(Info { policy, imprint, serial, gen_time, nonce })
}

fn bounded(value: &[u8], what: &'static str) -> Read<Vec<u8>> {
    if value.len() <= INTEGER_LIMIT { Ok(value.to_vec()) } else { Err(Malformed(what)) }
}

/// A GeneralizedTime in UTC that may have fractions of a second, without trailing zeros (RFC 3161 §2.4.2); cut to
/// milliseconds.
fn fractional(time: Tlv<'_>) -> Option<Timestamp> {
    let text = time.value.strip_suffix(b"Z")?;
    let (whole, fraction) = match text.split_at_checked(14)? {
        (whole, []) => (whole, &[][..]),
        (whole, [b'.', digits @ ..]) if !digits.is_empty() && !digits.ends_with(b"0") => (whole, digits),
        _ => return None,
    };
    if fraction.len() > 9 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = [100, 10, 1].iter().zip(fraction).map(|(weight, digit)| weight * i64::from(digit - b'0'));
    let written = asn1::tlv(GENERALIZED_TIME, &[whole, b"Z"]);
    let seconds = Reader::new(&written).time("genTime").ok()?;
    Some(Timestamp::from_millis(seconds.millis() + millis.sum::<i64>()))
}

/// The certificates of a token that this bus can read; those of other kinds are passed over, and not more than a few are
/// looked at.
pub(super) fn read_certificates(set: Tlv<'_>) -> Read<Vec<Certificate>> {
    let mut certificates = Vec::new();
    let mut inside = set.open();
    while !inside.is_empty() {
        let next = inside.any("certificates")?;
        if certificates.len() < CERTIFICATES_LIMIT {
            certificates.extend(Certificate::from_der(next.raw).ok());
        }
    }
    Ok(certificates)
}

/// The signed attributes that a token must have.
pub(super) struct Attributes<'a> {
    pub(super) message_digest: &'a [u8],
    with_sha1: Option<Tlv<'a>>,
    with_other: Option<Tlv<'a>>,
}

/// Reads the signed attributes: others than the needed ones may be there, none twice.
pub(super) fn read_attributes(set: Tlv<'_>) -> Result<Attributes<'_>, TimeStampError> {
    let mut seen: Vec<(ObjectIdentifier, Tlv<'_>)> = Vec::new();
    let mut inside = set.open();
    while !inside.is_empty() {
        let mut attribute = inside.sequence("signed attribute")?;
        let id = attribute.oid("signed attribute")?;
        let values = attribute.take(SET, "signed attribute")?;
        attribute.end("signed attribute")?;
        if seen.iter().any(|(other, _)| *other == id) || seen.len() == ATTRIBUTES_LIMIT {
            return Err(CmsError::Attributes("one is there twice, or more than 16").into());
        }
        seen.push((id, values));
    }
    let only = |id: ObjectIdentifier| -> Read<Option<Tlv<'_>>> {
        let Some((_, values)) = seen.iter().find(|(other, _)| *other == id) else { return Ok(None) };
        let mut values = values.open();
        let value = values.any("attribute value")?;
        values.end("attribute with more than one value")?;
        Ok(Some(value))
    };
    let content_type = only(CONTENT_TYPE)?.filter(|value| value.tag == OID);
    let content_type = content_type.and_then(|value| ObjectIdentifier::from_bytes(value.value).ok());
    if content_type != Some(TIME_STAMP_INFO) {
        return Err(CmsError::Attributes("content-type").into());
    }
    let message_digest = only(MESSAGE_DIGEST)?.filter(|value| value.tag == OCTET_STRING);
    let message_digest = message_digest.ok_or(CmsError::Attributes("message-digest"))?.value;
    Ok(Attributes {
        message_digest,
        with_sha1: only(SIGNING_CERTIFICATE)?,
        with_other: only(SIGNING_CERTIFICATE_V2)?,
    })
}

impl Attributes<'_> {
    /// At least one of ESSCertID (RFC 2634) and ESSCertIDv2 (RFC 5035) is there, and each that is names `certificate` first:
    /// the others that it may name are the path's.
    pub(super) fn check_certificate(&self, certificate: &Certificate) -> Result<(), TimeStampError> {
        let first = self.with_sha1.map(|value| names(value, Some(Hash::Sha1), certificate)).transpose()?;
        let second = self.with_other.map(|value| names(value, None, certificate)).transpose()?;
        match (first, second) {
            (None, None) | (Some(false), _) | (_, Some(false)) => Err(TimeStampError::OtherCertificate),
            _ => Ok(()),
        }
    }
}

/// Whether the first certificate id of a SigningCertificate names `certificate`; `fixed` is the digest algorithm where the
/// form states none.
fn names(value: Tlv<'_>, fixed: Option<Hash>, certificate: &Certificate) -> Read<bool> {
    const WHAT: &str = "signing-certificate";
    let mut outer = Tlv::only(value.raw, SEQUENCE, WHAT)?.open();
    let mut id = outer.sequence(WHAT)?.sequence(WHAT)?;
    outer.take_if(SEQUENCE, WHAT)?;
    outer.end(WHAT)?;
    let hash = match (fixed, id.take_if(SEQUENCE, WHAT)?) {
        (Some(hash), None) => hash,
        (None, None) => Hash::Sha256,
        (None, Some(identifier)) => Hash::read(identifier)?,
        (Some(_), Some(_)) => return Err(Malformed(WHAT)),
    };
    let digest = id.octets(WHAT)?;
    let mut named = hash.digest(certificate.der()) == digest && (fixed.is_some() || hash != Hash::Sha1);
    if !id.is_empty() {
        let mut issuer_serial = id.sequence(WHAT)?;
        let name = Tlv::only(issuer_serial.take(SEQUENCE, WHAT)?.value, context(4), WHAT)?.value;
        let serial = issuer_serial.integer(WHAT)?;
        issuer_serial.end(WHAT)?;
        named &= name == certificate.issuer_raw() && serial == certificate.serial();
    }
    id.end(WHAT)?;
    Ok(named)
}
