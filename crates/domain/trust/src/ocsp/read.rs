//! Reading answers and requests, and judging answers.

use std::time::Duration;

use truc_model::Timestamp;

use super::{
    BASIC_RESPONSE, CertId, CertificateStatus, ENTRIES_LIMIT, Entry, OcspError, SIZE_LIMIT, Verdict,
};
use crate::Certificate;
use crate::algorithm::Hash;
use crate::asn1::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Read, Reader, SEQUENCE, Tlv, context,
    context_primitive,
};
use crate::extensions::read_extension;

/// How far a responder's clock may run ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
/// Certificates in one answer.
const CERTIFICATES_LIMIT: usize = 4;

/// An answer as read; believed only through [`OcspResponse::judge`].
#[derive(Debug, Clone)]
pub struct OcspResponse {
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    responder: ResponderId,
    produced_at: Timestamp,
    entries: Vec<Entry>,
    certificates: Vec<Certificate>,
}

#[derive(Debug, Clone)]
enum ResponderId {
    Name(Vec<u8>),
    /// SHA-1 of the key, which is how RFC 6960 names it.
    Key(Vec<u8>),
}

impl ResponderId {
    fn read(id: Tlv<'_>) -> Read<Self> {
        const NAME: u8 = context(1);
        const KEY: u8 = context(2);
        const WHAT: &str = "responder id";
        match id.tag {
            NAME => Ok(Self::Name(Tlv::only(id.value, SEQUENCE, WHAT)?.raw.to_vec())),
            KEY => Ok(Self::Key(Tlv::only(id.value, OCTET_STRING, WHAT)?.value.to_vec())),
            _ => Err(Malformed(WHAT)),
        }
    }

    fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Name(name) => certificate.subject_raw() == name,
            Self::Key(key) => Hash::Sha1.digest(certificate.public_key()) == *key,
        }
    }
}

/// Reads an answer (RFC 6960 §4.2.1, basic response type).
///
/// # Errors
/// [`OcspError::NotSuccessful`] when the responder refused; else what is wrong with the bytes.
pub fn read(der: &[u8]) -> Result<OcspResponse, OcspError> {
    if der.len() > SIZE_LIMIT {
        return Err(OcspError::TooLong(der.len()));
    }
    let mut outer = Tlv::only(der, SEQUENCE, "response")?.open();
    let &[status] = outer.take(ENUMERATED, "response status")?.value else {
        return Err(OcspError::Malformed("response status"));
    };
    if status != 0 {
        return Err(OcspError::NotSuccessful(status));
    }
    let mut wrapped =
        outer.explicit(0, SEQUENCE, "response bytes")?.ok_or(Malformed("response bytes"))?.open();
    outer.end("bytes after the response")?;
    if wrapped.oid("response type")? != BASIC_RESPONSE {
        return Err(OcspError::Malformed("response type"));
    }
    let basic = wrapped.octets("response bytes")?;
    wrapped.end("response bytes")?;

    let mut basic = Tlv::only(basic, SEQUENCE, "basic response")?.open();
    let signed = basic.take(SEQUENCE, "response data")?;
    let algorithm = basic.take(SEQUENCE, "signature algorithm")?.raw.to_vec();
    let signature = basic.bits("signature")?.to_vec();
    let certificates = match basic.explicit(0, SEQUENCE, "certificates")? {
        Some(list) => read_certificates(list.open())?,
        None => Vec::new(),
    };
    basic.end("bytes after the basic response")?;

    let mut data = signed.open();
    check_version(&mut data)?;
    let responder = ResponderId::read(data.any("responder id")?)?;
    let produced_at = generalized(&mut data, "producedAt")?;
    let entries = read_entries(data.sequence("responses")?)?;
    check_extensions(&mut data, 1)?;
    data.end("bytes after the responses")?;
    Ok(OcspResponse {
        signed: signed.raw.to_vec(),
        algorithm,
        signature,
        responder,
        produced_at,
        entries,
        certificates,
    })
}

impl OcspResponse {
    /// When the answer was signed, by its own word.
    pub fn produced_at(&self) -> Timestamp {
        self.produced_at
    }

    /// What the answer says of `certificate`, issued by `issuer`, as it may be believed at `at`: signed by the issuer
    /// or by a responder it authorised (RFC 6960 §4.2.2.2), about exactly this certificate, and not from the future.
    /// Whether it is fresh enough is the caller's to say; `issuer` is the one that [`crate::check_path`] found.
    ///
    /// # Errors
    /// [`OcspError`]; then the answer says nothing.
    pub fn judge(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        at: Timestamp,
    ) -> Result<CertificateStatus, OcspError> {
        let mut about = self.entries.iter().filter(|entry| entry.id.names(certificate, issuer));
        let (Some(entry), None) = (about.next(), about.next()) else {
            return Err(OcspError::OtherCertificate);
        };
        let latest = at.plus(SKEW);
        let ends_before_it_starts = entry.next_update.is_some_and(|next| next < entry.this_update);
        if entry.this_update > latest || self.produced_at > latest || ends_before_it_starts {
            return Err(OcspError::Times);
        }
        let signer = self.signer(issuer, at).ok_or(OcspError::UnauthorisedResponder)?;
        if !signer.has_signed(&self.signed, &self.algorithm, &self.signature) {
            return Err(OcspError::BadSignature);
        }
        Ok(CertificateStatus {
            verdict: entry.verdict,
            this_update: entry.this_update,
            next_update: entry.next_update,
            produced_at: self.produced_at,
        })
    }

    /// The issuer itself, or the responder named, carried and authorised by it.
    fn signer<'a>(&'a self, issuer: &'a Certificate, at: Timestamp) -> Option<&'a Certificate> {
        if self.responder.names(issuer) {
            return Some(issuer);
        }
        self.certificates.iter().find(|candidate| {
            self.responder.names(candidate)
                && candidate.for_ocsp_signing()
                && candidate.may_sign()
                && !candidate.has_unknown_critical()
                && candidate.valid_at(at)
                && candidate.is_signed_by(issuer)
        })
    }
}

/// Reads a request: the certificates it asks about, at least one. Who asks and a signature are not looked at.
///
/// # Errors
/// What is wrong with the bytes; answer with [`super::Failure::MalformedRequest`].
pub fn read_request(der: &[u8]) -> Result<Vec<CertId>, OcspError> {
    if der.len() > SIZE_LIMIT {
        return Err(OcspError::TooLong(der.len()));
    }
    let mut outer = Tlv::only(der, SEQUENCE, "request")?.open();
    let mut inside = outer.sequence("request content")?;
    outer.take_if(context(0), "request signature")?;
    outer.end("bytes after the request")?;
    check_version(&mut inside)?;
    inside.take_if(context(1), "requestor")?;
    let mut list = inside.sequence("request list")?;
    inside.take_if(context(2), "request extensions")?;
    inside.end("request content")?;
    let mut ids = Vec::new();
    while !list.is_empty() {
        let mut single = list.sequence("single request")?;
        ids.push(CertId::read(single.take(SEQUENCE, "certificate id")?)?);
        check_extensions(&mut single, 0)?;
        single.end("single request")?;
        if ids.len() > ENTRIES_LIMIT {
            return Err(OcspError::EntryCount(ids.len()));
        }
    }
    if ids.is_empty() { Err(OcspError::EntryCount(0)) } else { Ok(ids) }
}

fn read_certificates(mut list: Reader<'_>) -> Result<Vec<Certificate>, OcspError> {
    let mut certificates = Vec::new();
    while !list.is_empty() {
        if certificates.len() == CERTIFICATES_LIMIT {
            return Err(OcspError::Malformed("more than 4 certificates"));
        }
        certificates.push(Certificate::from_der(list.take(SEQUENCE, "certificate")?.raw)?);
    }
    Ok(certificates)
}

fn read_entries(mut list: Reader<'_>) -> Result<Vec<Entry>, OcspError> {
    let mut entries = Vec::new();
    while !list.is_empty() {
        if entries.len() == ENTRIES_LIMIT {
            return Err(OcspError::EntryCount(ENTRIES_LIMIT + 1));
        }
        entries.push(read_entry(list.sequence("single response")?)?);
    }
    if entries.is_empty() { Err(OcspError::EntryCount(0)) } else { Ok(entries) }
}

fn read_entry(mut entry: Reader<'_>) -> Read<Entry> {
    let id = CertId::read(entry.take(SEQUENCE, "certificate id")?)?;
    let verdict = read_verdict(entry.any("certificate status")?)?;
    let this_update = generalized(&mut entry, "thisUpdate")?;
    let next_update = match entry.take_if(context(0), "nextUpdate")? {
        None => None,
        Some(outer) => {
            let mut inside = outer.open();
            let next = generalized(&mut inside, "nextUpdate")?;
            inside.end("nextUpdate")?;
            Some(next)
        }
    };
    check_extensions(&mut entry, 1)?;
    entry.end("single response")?;
    Ok(Entry { id, verdict, this_update, next_update })
}

fn read_verdict(status: Tlv<'_>) -> Read<Verdict> {
    const GOOD: u8 = context_primitive(0);
    const REVOKED: u8 = context(1);
    const UNKNOWN: u8 = context_primitive(2);
    const WHAT: &str = "certificate status";
    match (status.tag, status.value.is_empty()) {
        (GOOD, true) => Ok(Verdict::Good),
        (UNKNOWN, true) => Ok(Verdict::Unknown),
        (REVOKED, false) => {
            let mut inside = status.open();
            let at = generalized(&mut inside, WHAT)?;
            inside.explicit(0, ENUMERATED, WHAT)?;
            inside.end(WHAT)?;
            Ok(Verdict::Revoked { at })
        }
        _ => Err(Malformed(WHAT)),
    }
}

fn generalized(reader: &mut Reader<'_>, what: &'static str) -> Read<Timestamp> {
    let tlv = reader.take(GENERALIZED_TIME, what)?;
    crate::asn1::read_time(tlv).ok_or(Malformed(what))
}

/// Version 1, which is the default and left out; some write it nevertheless.
fn check_version(reader: &mut Reader<'_>) -> Read<()> {
    match reader.explicit(0, INTEGER, "version")? {
        Some(version) if version.value != [0] => Err(Malformed("version")),
        _ => Ok(()),
    }
}

/// Extensions under `[n]` are passed over, unless they say that they must not be.
fn check_extensions(reader: &mut Reader<'_>, n: u8) -> Read<()> {
    let Some(list) = reader.explicit(n, SEQUENCE, "extensions")? else { return Ok(()) };
    let mut list = list.open();
    while !list.is_empty() {
        if read_extension(&mut list)?.1 {
            return Err(Malformed("a critical extension that is not known here"));
        }
    }
    Ok(())
}
