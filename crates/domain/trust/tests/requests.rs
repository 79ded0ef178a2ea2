//! Certificate requests against openssl, and against anybody who changes one.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use truc_directory::Usage;
use truc_keys::KeyKind;
use truc_trust::{CertificateRequest, RequestError, SubjectAttribute};

/// A folder for openssl; `None` (said aloud) where there is none.
fn bench() -> Option<tempfile::TempDir> {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
    if !found {
        assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "openssl is required and was not found");
        eprintln!("SKIPPED: openssl is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = "[req]\ndistinguished_name=n\nstring_mask=utf8only\n[n]\n[more]\nsubjectAltName=DNS:x\nkeyUsage=critical,digitalSignature\n";
    std::fs::write(dir.path().join("req.cnf"), config).unwrap();
    Some(dir)
}

fn attempt(dir: &Path, args: &str) -> (bool, String) {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    (
        out.status.success(),
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
    )
}

fn openssl(dir: &Path, args: &str) -> String {
    let (good, said) = attempt(dir, args);
    assert!(good, "openssl {args}\n{said}");
    said
}

const SUBJECT: &str = "/C=VN/O=UBND/2.5.4.97=VN\\/GOV\\/H26/CN=VN\\/GOV\\/H26\\/ss1";

/// What openssl makes of a key, and we of it: the request as DER.
fn made(dir: &Path, genpkey: &str, options: &str) -> Vec<u8> {
    openssl(dir, &format!("genpkey {genpkey} -out a.key"));
    openssl(
        dir,
        &format!("req -new -config req.cnf -key a.key -subj {SUBJECT} {options} -outform DER -out a.der"),
    );
    std::fs::read(dir.join("a.der")).unwrap()
}

#[test]
fn openssls_requests_of_every_kind_of_key_are_read() {
    let Some(dir) = bench() else { return };
    let dir = dir.path();
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256";
    for (genpkey, kind, options) in [
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", KeyKind::EcP256, ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", KeyKind::EcP384, "-sha384"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", KeyKind::EcP384, "-sha256"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", KeyKind::Rsa, ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", KeyKind::Rsa, pss),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", KeyKind::Rsa, "-sha512 -reqexts more"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:4096", KeyKind::Rsa, "-sha384"),
    ] {
        let der = made(dir, genpkey, options);
        let request =
            CertificateRequest::from_der(&der).unwrap_or_else(|e| panic!("{genpkey} {options}: {e}"));
        openssl(dir, "req -verify -noout -inform DER -in a.der");
        assert_eq!(request.key_kind(), kind);
        assert_eq!(request.der(), der);
        assert_eq!(request.subject_attribute(SubjectAttribute::OrganizationIdentifier), Some("VN/GOV/H26"));
        let named = request.named(Usage::Auth).unwrap();
        assert_eq!(named.node.unwrap().as_str(), "VN/GOV/H26/ss1");
        // The key is the one openssl finds in it.
        openssl(dir, "pkey -in a.key -pubout -outform DER -out a.pub");
        assert_eq!(request.spki_der(), std::fs::read(dir.join("a.pub")).unwrap());
        // In PEM, under both labels, and only alone.
        for label in ["", "-newhdr"] {
            openssl(dir, &format!("req -inform DER -in a.der {label} -out a.pem"));
            let pem = std::fs::read(dir.join("a.pem")).unwrap();
            assert_eq!(CertificateRequest::from_pem(&pem).unwrap(), request);
            assert_eq!(CertificateRequest::from_pem(&[pem.clone(), pem].concat()), Err(RequestError::Pem));
        }
    }
    assert_eq!(CertificateRequest::from_pem(b"nothing"), Err(RequestError::Pem));
}

#[test]
fn weak_keys_and_algorithms_are_refused_though_openssl_takes_them() {
    let Some(dir) = bench() else { return };
    let dir = dir.path();
    for (genpkey, options, expected) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "", RequestError::Key),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2040", "", RequestError::Key),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3", "", RequestError::Key),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:17", "", RequestError::Key),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha1", RequestError::Algorithm),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "", RequestError::Key),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "", RequestError::Key),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "",
            RequestError::Key,
        ),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha384", RequestError::Algorithm),
        ("-algorithm ED25519", "", RequestError::Key),
    ] {
        let der = made(dir, genpkey, options);
        openssl(dir, "req -verify -noout -inform DER -in a.der");
        assert_eq!(CertificateRequest::from_der(&der), Err(expected), "{genpkey} {options}");
    }
}

/// A request as the node makes it.
fn good() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "VN/GOV/H26/ss1");
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), "VN/GOV/H26");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[test]
fn what_is_left_over_or_cut_off_is_refused() {
    let good = good();
    assert!(CertificateRequest::from_der(&good).is_ok());
    let after = [good.as_slice(), &[0]].concat();
    assert!(matches!(CertificateRequest::from_der(&after), Err(RequestError::Malformed(_))));
    for length in 0..good.len() {
        assert!(CertificateRequest::from_der(&good[..length]).is_err());
    }
    let long = vec![0x30; 17_000];
    assert_eq!(CertificateRequest::from_der(&long), Err(RequestError::TooLong(17_000)));
    // A bit of the signature is another signature.
    let mut forged = good;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(CertificateRequest::from_der(&forged), Err(RequestError::Signature));
}

#[test]
fn ten_thousand_changed_requests_never_pass_for_another() {
    let good = good();
    let honest = CertificateRequest::from_der(&good).unwrap();
    let one = (any::<prop::sample::Index>(), 0..4u8, any::<u8>());
    let config = Config {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2986),
        ..Config::default()
    };
    let accepted = Cell::new(0);
    TestRunner::new(config)
        .run(&prop::collection::vec(one, 1..4), |changes| {
            let mut bytes = good.clone();
            for (place, kind, octet) in &changes {
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = *octet,
                    1 => bytes[at] ^= 1 << (octet % 8),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, *octet),
                }
            }
            if let Ok(read) = CertificateRequest::from_der(&bytes) {
                accepted.set(accepted.get() + 1);
                // Only what was signed is believed: the same key, subject and attributes, to the octet.
                prop_assert_eq!(read.signed_bytes(), honest.signed_bytes());
            }
            let _ = CertificateRequest::from_pem(&bytes);
            Ok(())
        })
        .unwrap();
    assert!(accepted.get() < 200, "{} changes that changed nothing", accepted.get());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_request(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(CertificateRequest::from_der(&bytes).is_err());
        prop_assert!(CertificateRequest::from_pem(&bytes).is_err());
    }
}
