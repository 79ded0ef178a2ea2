//! What one message costs in signatures: making and checking a CAdES-B, and judging an OCSP response.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench may stop where it stands"
)]
#![allow(missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
    SigningKey as _,
};
use truc_keys::SignatureAlgorithm;
use truc_message::{Kind, manifest};
use truc_model::{Digest, MessageId, Timestamp};
use truc_trust::ocsp::{self, CertId, Entry, Verdict};
use truc_trust::{Certificate, cms};

fn noon() -> Timestamp {
    "2026-11-21T12:00:00.000Z".parse().unwrap()
}

struct Party {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    algorithm: SignatureAlgorithm,
}

impl Party {
    fn new(algorithm: SignatureAlgorithm, by: Option<&Self>) -> Self {
        let kind = match algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            _ => &rcgen::PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(1000_u64));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issued = match by {
            Some(ca) => params.signed_by(&key, &ca.issuer),
            None => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
                params.self_signed(&key)
            }
        };
        let certificate = Certificate::from_der(issued.unwrap().der()).unwrap();
        Self { certificate, issuer: Issuer::new(params, key), algorithm }
    }

    fn sign(&self, manifest: &[u8]) -> Vec<u8> {
        let to_sign = cms::prepare(manifest, &self.certificate, self.algorithm, noon()).unwrap();
        let value = self.issuer.key().sign(to_sign.bytes()).unwrap();
        to_sign.assemble(&value).unwrap()
    }
}

fn message_signature(c: &mut Criterion) {
    let ca = Party::new(SignatureAlgorithm::EcdsaP256Sha256, None);
    let id = MessageId::new(noon(), [7; 10]);
    let manifest = manifest::write(Kind::Request, id, Digest::of(b"header"), Digest::of(b"body"));
    let mut group = c.benchmark_group("signature");
    for (name, algorithm) in
        [("P-256", SignatureAlgorithm::EcdsaP256Sha256), ("P-384", SignatureAlgorithm::EcdsaP384Sha384)]
    {
        let signer = Party::new(algorithm, Some(&ca));
        group.bench_function(format!("sign {name}"), |b| b.iter(|| signer.sign(black_box(&manifest))));
        let signature = signer.sign(&manifest);
        group.bench_function(format!("read and verify {name}"), |b| {
            b.iter(|| cms::read(black_box(&signature)).unwrap().verify(&manifest).unwrap());
        });
    }
    group.finish();
}

fn certificate_status(c: &mut Criterion) {
    let ca = Party::new(SignatureAlgorithm::EcdsaP256Sha256, None);
    let seal = Party::new(SignatureAlgorithm::EcdsaP256Sha256, Some(&ca));
    let entry = Entry {
        id: CertId::of(&seal.certificate, &ca.certificate),
        verdict: Verdict::Good,
        this_update: noon(),
        next_update: Some(noon().plus(Duration::from_secs(3600))),
    };
    let to_sign = ocsp::prepare_response(&[entry], &ca.certificate, noon(), ca.algorithm).unwrap();
    let value = ca.issuer.key().sign(to_sign.bytes()).unwrap();
    let response = to_sign.assemble(&value).unwrap();
    c.bench_function("status: read and judge", |b| {
        b.iter(|| {
            ocsp::read(black_box(&response))
                .unwrap()
                .judge(&seal.certificate, &ca.certificate, noon())
                .unwrap()
        });
    });
}

criterion_group!(benches, message_signature, certificate_status);
criterion_main!(benches);
