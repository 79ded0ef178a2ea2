//! Signatures, statuses and lists against openssl, in both directions.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{self as r, EcdsaKeyPair, RsaKeyPair};
use truc_keys::{KeyKind, SignatureAlgorithm as A};
use truc_model::Timestamp;
use truc_trust::ocsp::{self, Entry};
use truc_trust::{Certificate, CertificateError, Purpose, Verdict, check_path, cms, crl};

const MANIFEST: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\"/>";

/// A CA of openssl's in a folder of its own; `None` (said aloud) where there is no openssl.
struct Bench {
    dir: tempfile::TempDir,
    ca: Certificate,
}

struct Key {
    name: String,
    certificate: Certificate,
    pkcs8: Vec<u8>,
}

impl Bench {
    fn new() -> Option<Self> {
        let found = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
        if !found {
            assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "openssl is required and was not found");
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &str| openssl(dir.path(), args);
        run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key");
        std::fs::write(dir.path().join("ca.cnf"), "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=1\n[req]\ndistinguished_name=n\n[n]\n").unwrap();
        run("req -new -x509 -config ca.cnf -key ca.key -days 365 -subj /C=VN/CN=CA -out ca.pem \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature");
        let ca = Certificate::from_pem(&std::fs::read(dir.path().join("ca.pem")).unwrap()).unwrap();
        Some(Self { dir, ca })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn run(&self, args: &str) -> String {
        openssl(self.dir.path(), args)
    }
    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Makes a key and has the CA certify it.
    fn key(&self, name: &str, genpkey: &str, serial: u32, extensions: &str) -> Key {
        self.run(&format!("genpkey {genpkey} -out {name}.key"));
        self.run(&format!(
            "req -new -config ca.cnf -key {name}.key -subj /C=VN/O=G01/CN={name} -out {name}.csr"
        ));
        self.write(
            "ext",
            format!("basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\n{extensions}\n")
                .as_bytes(),
        );
        self.run(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 300 -extfile ext -out {name}.pem"));
        self.run(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER -out {name}.p8"));
        let certificate = Certificate::from_pem(&self.read(&format!("{name}.pem"))).unwrap();
        Key { name: name.to_owned(), certificate, pkcs8: self.read(&format!("{name}.p8")) }
    }

    fn seal(&self, name: &str, genpkey: &str, serial: u32) -> Key {
        self.key(name, genpkey, serial, "keyUsage=critical,digitalSignature,nonRepudiation")
    }

    /// What openssl says of a detached signature of ours.
    fn verified_by_openssl(&self, signature: &[u8], at: Timestamp) -> bool {
        self.write("ours.p7s", signature);
        let args = format!(
            "cms -verify -cades -binary -inform DER -in ours.p7s -content manifest.xml -CAfile ca.pem -purpose any \
             -attime {} -out verified.out",
            at.seconds()
        );
        attempt(self.dir.path(), &args).0
    }
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";

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

impl Key {
    fn sign(&self, algorithm: A, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let ecdsa = |with| {
            EcdsaKeyPair::from_pkcs8(with, &self.pkcs8, &random).unwrap().sign(&random, bytes).unwrap()
        };
        let padding: &dyn r::RsaEncoding = match algorithm {
            A::EcdsaP256Sha256 => return ecdsa(&r::ECDSA_P256_SHA256_ASN1_SIGNING).as_ref().to_vec(),
            A::EcdsaP384Sha384 => return ecdsa(&r::ECDSA_P384_SHA384_ASN1_SIGNING).as_ref().to_vec(),
            A::RsaPkcs1Sha256 => &r::RSA_PKCS1_SHA256,
            A::RsaPkcs1Sha384 => &r::RSA_PKCS1_SHA384,
            A::RsaPkcs1Sha512 => &r::RSA_PKCS1_SHA512,
            A::RsaPssSha256 => &r::RSA_PSS_SHA256,
            A::EcdsaP384Sha256 | A::Ed25519 => panic!("never made"),
        };
        let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let mut value = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &random, bytes, &mut value).unwrap();
        value
    }

    fn cades(&self, algorithm: A, at: Timestamp) -> Vec<u8> {
        let to_sign = cms::prepare(MANIFEST, &self.certificate, algorithm, at).unwrap();
        let value = self.sign(algorithm, to_sign.bytes());
        to_sign.assemble(&value).unwrap()
    }
}

/// A key, the algorithms made with it, and those accepted with openssl's options for them.
type Kind = (Key, Vec<A>, Vec<(A, &'static str)>);

/// Every kind of key with the algorithms made here, and how openssl is told to use those accepted.
fn kinds(bench: &Bench) -> Vec<Kind> {
    let pss = "-md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:32";
    let rsa = || {
        (
            vec![A::RsaPkcs1Sha256, A::RsaPkcs1Sha384, A::RsaPkcs1Sha512, A::RsaPssSha256],
            vec![
                (A::RsaPkcs1Sha256, "-md sha256"),
                (A::RsaPkcs1Sha384, "-md sha384"),
                (A::RsaPkcs1Sha512, "-md sha512"),
                (A::RsaPssSha256, pss),
            ],
        )
    };
    let mut kinds = vec![
        (bench.seal("p256", P256, 256), vec![A::EcdsaP256Sha256], vec![(A::EcdsaP256Sha256, "-md sha256")]),
        (
            bench.seal("p384", P384, 384),
            vec![A::EcdsaP384Sha384],
            vec![(A::EcdsaP384Sha384, "-md sha384"), (A::EcdsaP384Sha256, "-md sha256")],
        ),
    ];
    for bits in [2048u32, 3072, 4096] {
        let genpkey = format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
        let (made, accepted) = rsa();
        kinds.push((bench.seal(&format!("rsa{bits}"), &genpkey, bits), made, accepted));
    }
    kinds
}

#[test]
fn signatures_hold_in_both_directions() {
    let Some(bench) = Bench::new() else { return };
    bench.write("manifest.xml", MANIFEST);
    for (key, made, accepted) in kinds(&bench) {
        let at = key.certificate.not_before().plus(Duration::from_secs(3600));
        let anchors = std::slice::from_ref(&bench.ca);
        let path = check_path(&key.certificate, &[], anchors, Purpose::Sign, at).unwrap();
        assert_eq!(path.issuer, bench.ca);
        for algorithm in made {
            let mut signature = key.cades(algorithm, at);
            let message = cms::read(&signature).unwrap();
            assert_eq!((message.algorithm(), message.verify(MANIFEST)), (algorithm, Ok(())));
            assert!(bench.verified_by_openssl(&signature, at), "{} {algorithm:?}", key.name);
            *signature.last_mut().unwrap() ^= 1;
            assert!(!bench.verified_by_openssl(&signature, at), "{} {algorithm:?} tampered", key.name);
            assert!(cms::read(&signature).unwrap().verify(MANIFEST).is_err());
        }
        for (algorithm, options) in accepted {
            for signer_id in ["", "-keyid"] {
                let name = &key.name;
                bench.run(&format!(
                    "cms -sign -cades -binary -nosmimecap {signer_id} -in manifest.xml -signer {name}.pem -inkey {name}.key \
                     {options} -outform DER -out theirs.p7s"
                ));
                let message = cms::read(&bench.read("theirs.p7s"))
                    .unwrap_or_else(|e| panic!("{name} {options} {signer_id}: {e}"));
                assert_eq!(
                    (message.algorithm(), message.verify(MANIFEST)),
                    (algorithm, Ok(())),
                    "{name} {options}"
                );
                assert_eq!(message.certificate(), &key.certificate);
            }
        }
    }
}

#[test]
fn forms_of_openssl_that_are_not_cades_b_are_refused() {
    let Some(bench) = Bench::new() else { return };
    bench.write("manifest.xml", MANIFEST);
    bench.seal("p256", P256, 5);
    bench.seal("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", 6);
    for (refusal, signer, options) in [
        // No signing-certificate-v2.
        ("Attributes", "p256", "-md sha256 -nosmimecap"),
        ("AlgorithmNotAllowed", "p256", "-cades -md sha1 -nosmimecap"),
        ("NotAllowed(\"encapsulated content\")", "p256", "-cades -md sha256 -nosmimecap -nodetach"),
        ("CertificateCount(0)", "p256", "-cades -md sha256 -nosmimecap -nocerts"),
        // S/MIME capabilities.
        ("Attributes", "p256", "-cades -md sha256"),
        ("Attributes(\"missing\")", "p256", "-noattr -md sha256"),
        ("AlgorithmNotAllowed", "p256", "-cades -md sha512 -nosmimecap"),
        (
            "AlgorithmNotAllowed",
            "rsa",
            "-cades -md sha256 -nosmimecap -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:20",
        ),
        (
            "AlgorithmNotAllowed",
            "rsa",
            "-cades -md sha384 -nosmimecap -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:32",
        ),
        // Indefinite lengths.
        ("Malformed(\"content info\")", "p256", "-cades -md sha256 -nosmimecap -stream"),
        (
            "Malformed(\"exactly one signer info\")",
            "p256",
            "-cades -md sha256 -nosmimecap -signer rsa.pem -inkey rsa.key",
        ),
    ] {
        bench.run(&format!(
            "cms -sign -binary -in manifest.xml -signer {signer}.pem -inkey {signer}.key {options} -outform DER -out odd.p7s"
        ));
        let error = format!("{:?}", cms::read(&bench.read("odd.p7s")).unwrap_err());
        assert!(error.starts_with(refusal), "{options}: {error} instead of {refusal}");
    }
}

#[test]
fn weak_or_odd_keys_are_refused() {
    let Some(bench) = Bench::new() else { return };
    for (name, options) in [
        ("rsa1024", "-newkey rsa:1024"),
        ("rsa4104", "-newkey rsa:4104"),
        ("p521", "-newkey ec -pkeyopt ec_paramgen_curve:P-521"),
        ("explicit", "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit"),
        ("ed25519", "-newkey ed25519"),
        ("pss", "-newkey rsa-pss"),
    ] {
        bench.run(&format!(
            "req -x509 -config ca.cnf -nodes {options} -keyout odd.key -subj /CN={name} -addext keyUsage=digitalSignature -out odd.pem"
        ));
        assert_eq!(Certificate::from_pem(&bench.read("odd.pem")), Err(CertificateError::Key), "{name}");
    }
}

#[test]
fn content_inside_is_what_openssl_finds_there() {
    let Some(bench) = Bench::new() else { return };
    let key = bench.seal("tsa", P256, 9);
    let at = key.certificate.not_before();
    let to_sign = cms::prepare_encapsulated(
        cms::TIME_STAMP_INFO,
        b"time stamp info",
        &key.certificate,
        A::EcdsaP256Sha256,
        at,
    )
    .unwrap();
    let value = key.sign(A::EcdsaP256Sha256, to_sign.bytes());
    bench.write("token.der", &to_sign.assemble(&value).unwrap());
    bench.run(&format!(
        "cms -verify -cades -binary -inform DER -in token.der -CAfile ca.pem -purpose any -attime {} -out content",
        at.seconds()
    ));
    assert_eq!(bench.read("content"), b"time stamp info");
}

/// `V` or `R` lines of the database of `openssl ca`.
fn index(bench: &Bench, good: u32, revoked: u32) {
    let lines = format!(
        "V\t491231235959Z\t\t{good:04X}\tunknown\t/CN=good\nR\t491231235959Z\t260101000000Z,keyCompromise\t{revoked:04X}\tunknown\t/CN=revoked\n"
    );
    bench.write("index.txt", lines.as_bytes());
}

fn revoked() -> Verdict {
    Verdict::Revoked { at: "2026-01-01T00:00:00.000Z".parse().unwrap() }
}

#[test]
fn openssl_answers_and_is_believed() {
    let Some(bench) = Bench::new() else { return };
    let (good, bad, unknown) = (
        bench.seal("good", P256, 0x1001),
        bench.seal("bad", P256, 0x1002),
        bench.seal("unknown", P256, 0x1003),
    );
    bench.key("responder", P256, 3, "keyUsage=digitalSignature\nextendedKeyUsage=OCSPSigning");
    index(&bench, 0x1001, 0x1002);
    for (key, verdict) in [(&good, Verdict::Good), (&bad, revoked()), (&unknown, Verdict::Unknown)] {
        for responder in ["responder", "ca", "responder.pem -resp_key_id -rkey responder"] {
            // Ours asks with SHA-256, openssl itself with SHA-1.
            bench.write("ours.req", &ocsp::request(&key.certificate, &bench.ca));
            bench.run(&format!("ocsp -issuer ca.pem -cert {}.pem -no_nonce -reqout theirs.req", key.name));
            for request in ["ours.req", "theirs.req"] {
                let signer = responder.split(' ').next().unwrap().trim_end_matches(".pem");
                let by_key = if responder.contains("-resp_key_id") { "-resp_key_id" } else { "" };
                bench.run(&format!(
                    "ocsp -index index.txt -CA ca.pem -rsigner {signer}.pem -rkey {signer}.key {by_key} -ndays 1 \
                     -reqin {request} -respout answer.der"
                ));
                let answer = ocsp::read(&bench.read("answer.der")).unwrap();
                let at = answer.produced_at();
                let status = answer.judge(&key.certificate, &bench.ca, at).unwrap();
                assert_eq!(status.verdict, verdict, "{} by {responder}", key.name);
                assert!(status.next_update.is_some_and(|next| next > at));
            }
        }
    }
}

#[test]
fn openssl_believes_our_answers() {
    let Some(bench) = Bench::new() else { return };
    let key = bench.seal("good", P256, 0x1001);
    let responders = [
        (
            bench.key("responder", P256, 3, "keyUsage=digitalSignature\nextendedKeyUsage=OCSPSigning"),
            A::EcdsaP256Sha256,
        ),
        (
            bench.key(
                "rsa",
                "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
                4,
                "extendedKeyUsage=OCSPSigning",
            ),
            A::RsaPkcs1Sha256,
        ),
    ];
    for (responder, algorithm) in responders {
        for digest in ["-sha1", "-sha256"] {
            bench.run(&format!("ocsp {digest} -issuer ca.pem -cert good.pem -no_nonce -reqout req.der"));
            let id = ocsp::read_request(&bench.read("req.der")).unwrap().remove(0);
            assert!(id.names(&key.certificate, &bench.ca));
            let this_update = key.certificate.not_before();
            for (verdict, said) in
                [(Verdict::Good, "good"), (revoked(), "revoked"), (Verdict::Unknown, "unknown")]
            {
                let entry = Entry {
                    id: id.clone(),
                    verdict,
                    this_update,
                    next_update: Some(this_update.plus(Duration::from_secs(3600))),
                };
                let to_sign =
                    ocsp::prepare_response(&[entry], &responder.certificate, this_update, algorithm).unwrap();
                let value = responder.sign(algorithm, to_sign.bytes());
                bench.write("answer.der", &to_sign.assemble(&value).unwrap());
                let told = bench.run(&format!(
                    "ocsp {digest} -respin answer.der -issuer ca.pem -cert good.pem -CAfile ca.pem -no_nonce"
                ));
                assert!(told.contains("Response verify OK"), "{told}");
                assert!(told.contains(&format!("good.pem: {said}")), "{told}");
            }
        }
    }
}

#[test]
fn lists_of_openssl_are_read() {
    let Some(bench) = Bench::new() else { return };
    let (good, bad) = (bench.seal("good", P256, 0x1001), bench.seal("bad", P256, 0x1002));
    index(&bench, 0x1001, 0x1002);
    bench.run("ca -config ca.cnf -gencrl -keyfile ca.key -cert ca.pem -out list.pem");
    bench.run("crl -in list.pem -outform DER -out list.der");
    let list = crl::read(&bench.read("list.der"), &bench.ca).unwrap();
    assert_eq!(list.judge(&good.certificate, list.this_update()).unwrap().verdict, Verdict::Good);
    assert_eq!(list.judge(&bad.certificate, list.this_update()).unwrap().verdict, revoked());
}

/// Makes `tests/golden` anew, keys thrown away. Only for a new format: the old files then stay beside it.
#[test]
#[ignore = "writes into the repository; run by hand for a new format"]
fn write_golden() {
    let Some(bench) = Bench::new() else { return };
    bench.write("manifest.xml", MANIFEST);
    let key = bench.seal("signer", P256, 0x1234);
    assert_eq!(key.certificate.key_kind(), KeyKind::EcP256);
    bench.write("cades-b.p7s", &key.cades(A::EcdsaP256Sha256, key.certificate.not_before()));
    bench.run(
        "cms -sign -cades -binary -nosmimecap -in manifest.xml -signer signer.pem -inkey signer.key -md sha256 \
         -outform DER -out cades-b-openssl.p7s",
    );
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for name in ["ca.pem", "manifest.xml", "signer.pem", "cades-b.p7s", "cades-b-openssl.p7s"] {
        std::fs::copy(bench.path(name), golden.join(name)).unwrap();
    }
}
