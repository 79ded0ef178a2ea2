//! Signatures as a liar writes them: whoever holds a key can sign anything, in any form.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use truc_keys::{KeyKind, KeyLabel, SignatureAlgorithm, Signer as _};
use truc_model::{Digest, Timestamp};
use truc_testkit::TestNode;
use truc_testkit::memory_signer::{MemorySigner, TestKey};
use truc_trust::{Certificate, cms};

const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 0x2f];
const CONTENT_HINTS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 4];
pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
pub(crate) const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
pub(crate) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
pub(crate) const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
pub(crate) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 4;
const INTEGER: u8 = 2;
const OID: u8 = 6;

/// One DER element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    match value.len() {
        short @ 0..=127 => out.push(short as u8),
        middle @ 128..=255 => out.extend([0x81, middle as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(value);
    out
}

fn algorithm(oid: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(OID, &[oid])])
}

fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(OID, &[oid]), &tlv(SET, &[value])])
}

/// UTCTime, as protocol P2.2 has it through 2049.
fn utc_time(at: Timestamp) -> Vec<u8> {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    tlv(0x17, &[&digits.as_bytes()[2..], b"Z"])
}

/// A key with a certificate: what one signs with.
pub(crate) struct Pen {
    pub(crate) certificate: Certificate,
    signer: Arc<MemorySigner>,
    label: KeyLabel,
    algorithm: SignatureAlgorithm,
}

impl Pen {
    /// The seal of a member that the node hosts.
    pub(crate) fn of(node: &TestNode, member: &str) -> Self {
        let seal = &node.seals[&member.parse().unwrap()];
        let (signer, label) = (Arc::clone(&node.signer), seal.key.clone());
        Self { certificate: seal.certificate.clone(), signer, label, algorithm: seal.algorithm }
    }

    /// A key of one's own under a certificate made for it.
    pub(crate) fn fresh(kind: KeyKind, certify: impl FnOnce(&TestKey) -> Certificate) -> Self {
        let key = TestKey::generate(kind);
        Self::with(&key, certify(&key))
    }

    pub(crate) fn with(key: &TestKey, certificate: Certificate) -> Self {
        let mut signer = MemorySigner::default();
        let label = signer.add("pen", key);
        Self { certificate, signer: Arc::new(signer), label, algorithm: key.kind().default_algorithm() }
    }

    /// The same key under another certificate.
    pub(crate) fn shown_as(&self, certificate: Certificate) -> Self {
        let (signer, label) = (Arc::clone(&self.signer), self.label.clone());
        Self { certificate, signer, label, algorithm: self.algorithm }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signing = self.signer.sign(&self.label, self.algorithm, Bytes::copy_from_slice(bytes));
        signing.now_or_never().unwrap().unwrap()
    }

    /// As honest code signs.
    pub(crate) fn cms(&self, manifest: &[u8], sent: Timestamp) -> Bytes {
        let to_sign = cms::prepare(manifest, &self.certificate, self.algorithm, sent).unwrap();
        let value = self.sign(to_sign.bytes());
        to_sign.assemble(&value).unwrap().into()
    }
}

/// A CMS in the making, every part of which may be another one.
pub(crate) struct Cms {
    pub(crate) version: u8,
    pub(crate) signer_version: u8,
    pub(crate) digest_algorithms: Vec<Vec<u8>>,
    pub(crate) content: Vec<u8>,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) revocation: Vec<u8>,
    pub(crate) signer: Vec<u8>,
    pub(crate) digest_algorithm: Vec<u8>,
    pub(crate) content_type: Option<Vec<u8>>,
    pub(crate) message_digest: Option<Vec<u8>>,
    pub(crate) signing_time: Option<Vec<u8>>,
    pub(crate) signing_certificate: Option<Vec<u8>>,
    pub(crate) more_attributes: Vec<Vec<u8>>,
    pub(crate) sorted: bool,
    pub(crate) signature_algorithm: Vec<u8>,
    pub(crate) unsigned: Vec<u8>,
    pub(crate) signers: usize,
    pub(crate) tail: Vec<u8>,
}

impl Cms {
    /// What honest code would write.
    pub(crate) fn honest(pen: &Pen, manifest: &[u8], sent: Timestamp) -> Self {
        let certificate = &pen.certificate;
        let serial = tlv(INTEGER, &[certificate.serial()]);
        let digest = Digest::of(manifest);
        Self {
            version: 1,
            signer_version: 1,
            digest_algorithms: vec![algorithm(SHA256)],
            content: tlv(SEQUENCE, &[&tlv(OID, &[DATA])]),
            certificates: vec![certificate.der().to_vec()],
            revocation: vec![],
            signer: tlv(SEQUENCE, &[certificate.issuer_raw(), &serial]),
            digest_algorithm: algorithm(SHA256),
            content_type: Some(attribute(CONTENT_TYPE, &tlv(OID, &[DATA]))),
            message_digest: Some(attribute(MESSAGE_DIGEST, &tlv(OCTETS, &[digest.as_bytes()]))),
            signing_time: Some(attribute(SIGNING_TIME, &utc_time(sent))),
            signing_certificate: Some(Self::names(certificate)),
            more_attributes: vec![],
            sorted: true,
            signature_algorithm: algorithm(ECDSA_SHA256),
            unsigned: vec![],
            signers: 1,
            tail: vec![],
        }
    }

    /// signing-certificate-v2 that names this certificate.
    pub(crate) fn names(certificate: &Certificate) -> Vec<u8> {
        let id = tlv(SEQUENCE, &[&tlv(OCTETS, &[certificate.fingerprint().as_bytes()])]);
        attribute(SIGNING_CERTIFICATE_V2, &tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&id])]))
    }

    /// signing-certificate-v2 with this digest and, behind it, an issuer and serial number.
    pub(crate) fn names_with(digest: &[u8], issuer: &[u8], serial: &[u8]) -> Vec<u8> {
        let names = tlv(SEQUENCE, &[&tlv(0xa4, &[issuer])]);
        let issuer_serial = tlv(SEQUENCE, &[&names, &tlv(INTEGER, &[serial])]);
        let id = tlv(SEQUENCE, &[&tlv(OCTETS, &[digest]), &issuer_serial]);
        attribute(SIGNING_CERTIFICATE_V2, &tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&id])]))
    }

    pub(crate) fn digest_of(bytes: &[u8]) -> Vec<u8> {
        attribute(MESSAGE_DIGEST, &tlv(OCTETS, &[bytes]))
    }

    pub(crate) fn time(at: Timestamp) -> Vec<u8> {
        attribute(SIGNING_TIME, &utc_time(at))
    }

    pub(crate) fn algorithm(oid: &[u8]) -> Vec<u8> {
        algorithm(oid)
    }

    /// content-type of something else: SignedData.
    pub(crate) fn other_content_type() -> Vec<u8> {
        attribute(CONTENT_TYPE, &tlv(OID, &[SIGNED_DATA]))
    }

    /// An attribute that CAdES has and protocol P2.2 has not.
    pub(crate) fn content_hints() -> Vec<u8> {
        attribute(CONTENT_HINTS, &tlv(SEQUENCE, &[&tlv(OID, &[DATA])]))
    }

    fn attributes(&self) -> Vec<u8> {
        let four = [&self.content_type, &self.message_digest, &self.signing_time, &self.signing_certificate];
        let mut all: Vec<Vec<u8>> = four.into_iter().flatten().cloned().collect();
        all.extend(self.more_attributes.iter().cloned());
        all.sort();
        if !self.sorted {
            all.reverse();
        }
        all.concat()
    }

    /// Signs the attributes as they are and writes the whole.
    pub(crate) fn write(&self, pen: &Pen) -> Bytes {
        let attributes = self.attributes();
        let value = pen.sign(&tlv(SET, &[&attributes]));
        let carried = if attributes.is_empty() { vec![] } else { tlv(0xa0, &[&attributes]) };
        let info = tlv(
            SEQUENCE,
            &[
                &tlv(INTEGER, &[&[self.signer_version]]),
                &self.signer,
                &self.digest_algorithm,
                &carried,
                &self.signature_algorithm,
                &tlv(OCTETS, &[&value]),
                &self.unsigned,
            ],
        );
        let mut certificates = self.certificates.clone();
        certificates.sort();
        let certificates =
            if certificates.is_empty() { vec![] } else { tlv(0xa0, &[&certificates.concat()]) };
        let signed_data = tlv(
            SEQUENCE,
            &[
                &tlv(INTEGER, &[&[self.version]]),
                &tlv(SET, &[&self.digest_algorithms.concat()]),
                &self.content,
                &certificates,
                &self.revocation,
                &tlv(SET, &[&info.repeat(self.signers)]),
            ],
        );
        let whole = tlv(SEQUENCE, &[&tlv(OID, &[SIGNED_DATA]), &tlv(0xa0, &[&signed_data])]);
        [whole, self.tail.clone()].concat().into()
    }
}
