//! A CA whose private key is the number 1, so that its signatures can be made over whatever a fuzzer invents.

use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use truc_model::Timestamp;
use truc_trust::Certificate;

use crate::der;

/// The generator of P-256, uncompressed: the public key of the private key 1 (FIPS 186-5, SEC 2).
const GENERATOR: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

/// PKCS#8 of that key (RFC 5208, RFC 5915).
fn pkcs8() -> Vec<u8> {
    let mut scalar = [0; 32];
    scalar[31] = 1;
    let key = der::tlv(
        der::SEQUENCE,
        &[
            &der::tlv(der::INTEGER, &[&[1]]),
            &der::tlv(0x04, &[&scalar]),
            &der::tlv(0xa1, &[&der::bits(&GENERATOR)]),
        ],
    );
    der::tlv(der::SEQUENCE, &[&der::tlv(der::INTEGER, &[&[0]]), &key_algorithm(), &der::tlv(0x04, &[&key])])
}

fn key_algorithm() -> Vec<u8> {
    let ec = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    der::tlv(der::SEQUENCE, &[&ec, &p256])
}

/// SubjectPublicKeyInfo of that key.
pub fn spki() -> Vec<u8> {
    der::tlv(der::SEQUENCE, &[&key_algorithm(), &der::bits(&GENERATOR)])
}

static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8(), &SystemRandom::new()).unwrap()
});

/// The CA's own certificate.
pub static CA: LazyLock<Certificate> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params.serial_number = Some(SerialNumber::from(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::try_from(pkcs8()).unwrap();
    Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
});

/// `content`, the signature algorithm and the CA's signature over it, in one SEQUENCE: a certificate or a list.
pub fn signed(content: &[u8]) -> Vec<u8> {
    let value = KEY.sign(&SystemRandom::new(), content).unwrap();
    der::tlv(der::SEQUENCE, &[content, der::ECDSA_SHA256, &der::bits(value.as_ref())])
}

/// A certificate of `issuer` (a name, DER) with these extensions, whatever they are; its key is the CA's own.
pub fn certificate(issuer: &[u8], subject: &[u8], serial: u8, extensions: &[u8]) -> Vec<u8> {
    let validity = der::tlv(der::SEQUENCE, &[&der::time("260101000000Z"), &der::time("270101000000Z")]);
    let content = der::tlv(
        der::SEQUENCE,
        &[
            &[0xa0, 0x03, 0x02, 0x01, 0x02],
            &der::tlv(der::INTEGER, &[&[serial & 0x7f]]),
            der::ECDSA_SHA256,
            issuer,
            &validity,
            subject,
            &spki(),
            &der::tlv(0xa3, &[&der::tlv(der::SEQUENCE, &[extensions])]),
        ],
    );
    signed(&content)
}

/// A name of one common name.
pub fn name(text: &str) -> Vec<u8> {
    let attribute =
        der::tlv(der::SEQUENCE, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &der::tlv(0x0c, &[text.as_bytes()])]);
    der::tlv(der::SEQUENCE, &[&der::tlv(0x31, &[&attribute])])
}

/// Within the validity of every certificate here.
pub fn noon() -> Timestamp {
    "2026-11-21T12:00:00.000Z".parse().unwrap()
}
