//! Certificate revocation lists (RFC 5280 §5): whole lists of one CA, the fallback where no responder answers.

use std::collections::HashMap;
use std::time::Duration;

use der::asn1::ObjectIdentifier;
use truc_model::Timestamp;

use crate::asn1::{INTEGER, Malformed, Reader, SEQUENCE, Tlv};
use crate::extensions::read_extension;
use crate::{Certificate, CertificateStatus, Verdict};

/// Longer lists are not looked at.
pub const SIZE_LIMIT: usize = 16 * 1024 * 1024;

/// How far a CA's clock may run ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
const DELTA_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");

/// Why a list was not believed or says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Longer than [`SIZE_LIMIT`].
    #[error("the revocation list has {0} bytes, more than the 16 MiB allowed")]
    TooLong(usize),
    /// Not strict DER of the expected shape.
    #[error("not a revocation list in strict DER: {0}")]
    Malformed(&'static str),
    /// A delta, partial or indirect list.
    #[error("the revocation list is not a whole list of its CA ({0}); fetch the whole list")]
    NotWhole(&'static str),
    /// Another CA's list, or the CA may not sign lists.
    #[error("the revocation list is not of this CA, or the CA may not sign lists")]
    OtherIssuer,
    /// The signature value is wrong, or of an algorithm that is not allowed.
    #[error("the signature of the revocation list does not hold")]
    BadSignature,
    /// The certificate is not of the list's CA.
    #[error("the revocation list is not about certificates of this issuer")]
    OtherCertificate,
    /// thisUpdate lies in the future.
    #[error("the revocation list is from the future; check the clocks of node and CA")]
    NotYetValid,
    /// nextUpdate has passed.
    #[error("the revocation list has expired; fetch a newer one")]
    Expired,
}

impl From<Malformed> for CrlError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// A whole list whose signature holds under its CA's key.
#[derive(Debug, Clone)]
pub struct Crl {
    issuer: Certificate,
    this_update: Timestamp,
    next_update: Timestamp,
    revoked: HashMap<Vec<u8>, Timestamp>,
}

/// Reads a DER list of `issuer` and checks its signature.
///
/// # Errors
/// [`CrlError`].
pub fn read(der: &[u8], issuer: &Certificate) -> Result<Crl, CrlError> {
    if der.len() > SIZE_LIMIT {
        return Err(CrlError::TooLong(der.len()));
    }
    let mut outer = Tlv::only(der, SEQUENCE, "list")?.open();
    let signed = outer.take(SEQUENCE, "list content")?;
    let algorithm = outer.take(SEQUENCE, "signature algorithm")?.raw;
    let signature = outer.bits("signature")?;
    outer.end("bytes after the signature")?;

    let mut inside = signed.open();
    if inside.take_if(INTEGER, "version")?.is_some_and(|version| version.value != [1]) {
        return Err(CrlError::Malformed("version"));
    }
    if inside.take(SEQUENCE, "signature algorithm")?.raw != algorithm {
        return Err(CrlError::Malformed("the two signature algorithms differ"));
    }
    if inside.take(SEQUENCE, "issuer")?.raw != issuer.subject_raw() || !issuer.may_sign_crls() {
        return Err(CrlError::OtherIssuer);
    }
    // Before anything is built from the entries.
    if !issuer.has_signed(signed.raw, algorithm, signature) {
        return Err(CrlError::BadSignature);
    }
    let this_update = inside.time("thisUpdate")?;
    let next_update = inside.time("nextUpdate")?;
    let revoked = match inside.take_if(SEQUENCE, "entries")? {
        Some(list) => read_entries(list.open())?,
        None => HashMap::new(),
    };
    if let Some(list) = inside.explicit(0, SEQUENCE, "extensions")? {
        check_extensions(list.open())?;
    }
    inside.end("bytes after the extensions")?;
    Ok(Crl { issuer: issuer.clone(), this_update, next_update, revoked })
}

impl Crl {
    /// When the list was made.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }
    /// When the next one will be there at the latest.
    pub fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// Whether the list is in force at `at`.
    ///
    /// # Errors
    /// [`CrlError::NotYetValid`], [`CrlError::Expired`].
    pub fn in_force(&self, at: Timestamp) -> Result<(), CrlError> {
        if self.this_update > at.plus(SKEW) {
            return Err(CrlError::NotYetValid);
        }
        if at > self.next_update {
            return Err(CrlError::Expired);
        }
        Ok(())
    }

    /// What the list says of `certificate` at `at`; never [`Verdict::Unknown`]. The list must have been read
    /// with the issuer that [`crate::check_path`] found for the certificate.
    ///
    /// # Errors
    /// The certificate is not of the list's CA, or the list is not in force at `at`.
    pub fn judge(&self, certificate: &Certificate, at: Timestamp) -> Result<CertificateStatus, CrlError> {
        if certificate.issuer_raw() != self.issuer.subject_raw() {
            return Err(CrlError::OtherCertificate);
        }
        self.in_force(at)?;
        let verdict = match self.revoked.get(certificate.serial()) {
            Some(at) => Verdict::Revoked { at: *at },
            None => Verdict::Good,
        };
        Ok(CertificateStatus {
            verdict,
            this_update: self.this_update,
            next_update: Some(self.next_update),
            produced_at: self.this_update,
        })
    }
}

fn read_entries(mut list: Reader<'_>) -> Result<HashMap<Vec<u8>, Timestamp>, CrlError> {
    let mut revoked = HashMap::new();
    while !list.is_empty() {
        let mut entry = list.sequence("entry")?;
        let serial = entry.integer("serial number")?.to_vec();
        let at = entry.time("revocation date")?;
        if let Some(extensions) = entry.take_if(SEQUENCE, "entry extensions")? {
            check_entry_extensions(extensions.open())?;
        }
        entry.end("entry")?;
        revoked.insert(serial, at);
    }
    Ok(revoked)
}

/// A critical extension of an entry is certificateIssuer: the list speaks of other CAs' certificates.
fn check_entry_extensions(mut list: Reader<'_>) -> Result<(), CrlError> {
    while !list.is_empty() {
        if read_extension(&mut list)?.1 {
            return Err(CrlError::NotWhole("it has entries with a critical extension"));
        }
    }
    Ok(())
}

/// The critical extensions of a list say that it is partial, indirect or a delta.
fn check_extensions(mut list: Reader<'_>) -> Result<(), CrlError> {
    while !list.is_empty() {
        let (id, critical, _) = read_extension(&mut list)?;
        if id == DELTA_INDICATOR {
            return Err(CrlError::NotWhole("it is a delta"));
        }
        if critical {
            return Err(CrlError::NotWhole("it has a critical extension"));
        }
    }
    Ok(())
}
