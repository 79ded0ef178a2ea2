//! Certificate signing requests (PKCS#10, RFC 2986): only the key and the proof that the asker holds it are taken from one.

use der::{Decode as _, Reader as _, SliceReader};
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::request::CertReq;

use crate::encoding::{algorithm_of, subject_key_kind};
use crate::error::PkiError;

/// A request has one key, one name and few attributes.
const LIMIT: usize = 16 * 1024;

/// Reads a PEM request and checks that it is signed by its own key. The name and extensions it asks for are ignored: the caller says
/// for whom a certificate is issued.
pub(crate) fn public_key(pem: &str) -> Result<SubjectPublicKeyInfoOwned, PkiError> {
    let bad = PkiError::BadRequest;
    if pem.len() > LIMIT {
        return Err(bad("it is larger than 16 KiB"));
    }
    let (label, der) = der::pem::decode_vec(pem.trim().as_bytes()).map_err(|_| bad("it is not PEM"))?;
    if label != "CERTIFICATE REQUEST" && label != "NEW CERTIFICATE REQUEST" {
        return Err(bad("its PEM label is not CERTIFICATE REQUEST"));
    }
    let request = CertReq::from_der(&der).map_err(|_| bad("its structure is not PKCS#10"))?;
    let kind = subject_key_kind(&request.info.public_key).ok_or(PkiError::UnusableKey)?;
    let algorithm =
        algorithm_of(kind, &request.algorithm).ok_or(bad("its signature algorithm is not accepted"))?;
    let signed = first_element(&der).ok_or(bad("its structure is not PKCS#10"))?;
    let key = request.info.public_key.subject_public_key.as_bytes().unwrap_or_default();
    let value = request.signature.as_bytes().unwrap_or_default();
    if !algorithm.verify(key, signed, value) {
        return Err(bad("its signature is not by its own key"));
    }
    Ok(request.info.public_key)
}

/// The exact bytes of the first element of a sequence: what was signed, never re-encoded.
fn first_element(der: &[u8]) -> Option<&[u8]> {
    let mut outer = SliceReader::new(der).ok()?;
    der::Header::decode(&mut outer).ok()?;
    outer.tlv_bytes().ok()
}
