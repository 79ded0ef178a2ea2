//! A small CA with members, for the tests of this crate.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SerialNumber, SigningKey,
};
use truc_keys::KeyKind;
use truc_model::Timestamp;

use crate::Certificate;

/// A certificate with the key behind it.
pub(crate) struct Party {
    pub(crate) certificate: Certificate,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl Party {
    /// A self-signed CA.
    pub(crate) fn root(name: &str) -> Self {
        let (params, key) = (authority(name), key(KeyKind::EcP256));
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { certificate: Certificate::from_der(&der).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// A certificate of this CA, changed by `change` before it is signed.
    pub(crate) fn issue(&self, kind: KeyKind, mut params: CertificateParams, serial: u64) -> Self {
        params.serial_number = Some(SerialNumber::from(serial));
        let key = key(kind);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { certificate: Certificate::from_der(&der).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(bytes).unwrap()
    }
}

fn key(kind: KeyKind) -> KeyPair {
    let algorithm = if kind == KeyKind::EcP384 { &PKCS_ECDSA_P384_SHA384 } else { &PKCS_ECDSA_P256_SHA256 };
    KeyPair::generate_for(algorithm).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CountryName, "VN");
    params.distinguished_name.push(DnType::OrganizationName, "UBND tỉnh, \"thử\"");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

pub(crate) fn seal(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
    params
}

pub(crate) fn with_extended(name: &str, usages: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
    let mut params = seal(name);
    params.extended_key_usages = usages.to_vec();
    params
}

/// Within the validity of every certificate here.
pub(crate) fn noon() -> Timestamp {
    "2026-11-21T12:00:00.000Z".parse().unwrap()
}

/// Replaces `from` by `to` of the same length, wherever it stands; it must stand there.
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|at| &bytes[*at..at + from.len()] == from).collect();
    assert!(!places.is_empty(), "what is to be replaced is there");
    for at in places {
        out[at..at + to.len()].copy_from_slice(to);
    }
    out
}
