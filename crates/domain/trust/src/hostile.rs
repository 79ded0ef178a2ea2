//! Bytes from outside never make a reader panic, and no changed byte makes it believe another thing.

use std::sync::LazyLock;

use proptest::prelude::*;
use truc_keys::{KeyKind, SignatureAlgorithm};

use crate::testing::{Party, noon, seal};
use crate::{Certificate, cms, crl, ocsp};

const MANIFEST: &[u8] = b"<asic:ASiCManifest/>";

struct Good {
    ca: Party,
    leaf: Party,
    signature: Vec<u8>,
    answer: Vec<u8>,
    list: Vec<u8>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let ca = Party::root("CA");
    let leaf = ca.issue(KeyKind::EcP256, seal("G01"), 4711);
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let to_sign = cms::prepare(MANIFEST, &leaf.certificate, algorithm, noon()).unwrap();
    let signature = {
        let value = leaf.sign(to_sign.bytes());
        to_sign.assemble(&value).unwrap()
    };
    let entry = ocsp::Entry {
        id: ocsp::CertId::of(&leaf.certificate, &ca.certificate),
        verdict: crate::Verdict::Good,
        this_update: noon(),
        next_update: None,
    };
    let to_sign = ocsp::prepare_response(&[entry], &ca.certificate, noon(), algorithm).unwrap();
    let answer = {
        let value = ca.sign(to_sign.bytes());
        to_sign.assemble(&value).unwrap()
    };
    let list = crate::chain_tests::list(&ca, &[(4711, noon())]);
    Good { ca, leaf, signature, answer, list }
});

/// Feeds every reader; what it says does not matter.
fn feed(bytes: &[u8]) {
    let _ = Certificate::from_der(bytes);
    let _ = Certificate::all_from_pem(bytes);
    if let Ok(message) = cms::read(bytes) {
        let _ = message.verify(MANIFEST);
    }
    if let Ok(answer) = ocsp::read(bytes) {
        let _ = answer.judge(&GOOD.leaf.certificate, &GOOD.ca.certificate, noon());
    }
    let _ = ocsp::read_request(bytes);
    let _ = crl::read(bytes, &GOOD.ca.certificate);
}

/// Some octets overwritten, some cut out, some doubled.
fn mutated(good: &[u8], changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (place, kind, octet) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match kind % 3 {
            0 => bytes[at] = *octet,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, *octet),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        feed(&bytes);
    }

    #[test]
    fn mutated_bytes_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..4)) {
        let good = &*GOOD;
        for bytes in [good.leaf.certificate.der(), &good.signature, &good.answer, &good.list] {
            feed(&mutated(bytes, &changes));
        }
    }

    #[test]
    fn one_changed_octet_breaks_a_signature(place in any::<prop::sample::Index>(), octet in 1..=255u8) {
        let good = &*GOOD;
        let mut bytes = good.signature.clone();
        let at = place.index(bytes.len());
        bytes[at] ^= octet;
        let outcome = cms::read(&bytes).and_then(|message| message.verify(MANIFEST));
        prop_assert!(outcome.is_err(), "octet {} of {}", at, bytes.len());
    }
}

#[test]
fn every_cut_is_refused() {
    let good = &*GOOD;
    for length in 0..good.signature.len() {
        assert!(cms::read(&good.signature[..length]).is_err());
    }
    for length in 0..good.answer.len() {
        assert!(ocsp::read(&good.answer[..length]).is_err());
    }
    for length in 0..good.list.len() {
        assert!(crl::read(&good.list[..length], &good.ca.certificate).is_err());
    }
}
