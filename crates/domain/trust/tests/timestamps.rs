//! Time-stamps against openssl: its tokens are judged here, ours by it.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use truc_keys::SignatureAlgorithm;
use truc_model::{Clock as _, Digest, SystemClock, Timestamp};
use truc_trust::timestamp::{
    TimeStamp, TimeStampAuthority, TimeStampError, TimeStampRequest, TimeStampToken, judge_response,
    judge_token,
};
use truc_trust::{Certificate, cms};

const CONFIG: &str =
    "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\n[req]\ndistinguished_name=n\n[n]\n";

/// A time-stamp authority of openssl's in a folder of its own.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// `None` (said aloud) where there is no openssl.
    fn new() -> Option<Self> {
        let found = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
        if !found {
            assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "openssl is required and was not found");
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        }
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        bench.write("ca.cnf", CONFIG.as_bytes());
        bench.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key");
        bench.run(
            "req -new -x509 -config ca.cnf -key ca.key -days 365 -subj /C=VN/CN=CA -out ca.pem \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
        );
        bench.write("serial", b"0101\n");
        Some(bench)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }
    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }
    fn run(&self, args: &str) -> String {
        let (good, said) = attempt(self.dir.path(), args);
        assert!(good, "openssl {args}\n{said}");
        said
    }

    /// A certificate with this extended key usage, and its key as `NAME.key`.
    fn certificate(&self, name: &str, genpkey: &str, serial: u32, usage: &str) -> Certificate {
        self.run(&format!("genpkey {genpkey} -out {name}.key"));
        self.run(&format!(
            "req -new -config ca.cnf -key {name}.key -subj /C=VN/O=TSA/CN={name} -out {name}.csr"
        ));
        let extensions = format!("keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n");
        self.write("ext", extensions.as_bytes());
        self.run(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 300 -extfile ext -out {name}.pem"));
        Certificate::from_pem(&self.read(&format!("{name}.pem"))).unwrap()
    }

    /// What openssl, as the authority `name`, answers.
    fn reply(&self, name: &str, request: &TimeStampRequest, settings: &str) -> Vec<u8> {
        self.write("request.tsq", &request.to_der());
        let config = format!(
            "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert={name}.pem\nsigner_key={name}.key\ncerts=ca.pem\n\
             default_policy=1.2.3.4.1\nother_policies=1.2.3.4.5\ndigests=sha256,sha384,sha512\naccuracy=secs:1\n{settings}\n"
        );
        self.write("ts.cnf", config.as_bytes());
        self.run("ts -reply -config ts.cnf -queryfile request.tsq -out answer.tsr");
        self.read("answer.tsr")
    }
}

fn attempt(dir: &Path, args: &str) -> (bool, String) {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn authority(certificate: &Certificate) -> TimeStampAuthority {
    TimeStampAuthority { name: "TSA".into(), certificate: certificate.clone(), url: "http://tsa.test".into() }
}

fn judged(answer: &[u8], request: &TimeStampRequest, of: &Certificate) -> Result<TimeStamp, TimeStampError> {
    let fresh = judge_response(answer, request, &authority(of), SystemClock.now());
    fresh.map(|(stamp, token)| {
        assert_eq!(judge_token(token.der(), request.imprint(), &authority(of)).as_ref(), Ok(&stamp));
        stamp
    })
}

const STAMPING: &str = "critical,timeStamping";

#[test]
fn tokens_of_openssl_are_judged() {
    let Some(bench) = Bench::new() else { return };
    let ca = Certificate::from_pem(&bench.read("ca.pem")).unwrap();
    let kinds = [
        ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha256"),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "sha384"),
        ("rsa2048", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha256"),
        ("rsa3072", "-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "sha512"),
        ("rsa2048b", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha384"),
    ];
    for (serial, (name, genpkey, digest)) in (10..).zip(kinds) {
        let tsa = bench.certificate(name, genpkey, serial, STAMPING);
        let request =
            TimeStampRequest::new(Digest::of(name.as_bytes()), 0x8000_0000_0000_0000 + u64::from(serial));
        // ESSCertID with SHA-1 (RFC 2634) and ESSCertIDv2 (RFC 5816); with and without the path's certificates.
        for ess in ["sha1", "sha256", "sha512"] {
            for chain in ["yes", "no"] {
                let settings = format!(
                    "signer_digest={digest}\ness_cert_id_alg={ess}\ness_cert_id_chain={chain}\ntsa_name={chain}\n\
                     clock_precision_digits=3"
                );
                let answer = bench.reply(name, &request, &settings);
                let stamp =
                    judged(&answer, &request, &tsa).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
                assert_eq!(stamp.signer, tsa);
                assert_eq!(stamp.policy, "1.2.3.4.1");
                assert_eq!(judged(&answer, &request, &ca).as_ref(), Ok(&stamp), "by the CA above it");
                // The request is openssl's to judge too.
                bench.run("ts -verify -queryfile request.tsq -in answer.tsr -CAfile ca.pem");
            }
        }
        let other = TimeStampRequest::new(request.imprint(), 1);
        let answer = bench.reply(name, &other, "signer_digest=sha256");
        assert_eq!(judged(&answer, &request, &tsa), Err(TimeStampError::OtherNonce));
        let other = TimeStampRequest::new(Digest::of(b"someone else's"), 5);
        let answer = bench.reply(name, &other, "signer_digest=sha256");
        let asked = TimeStampRequest::new(request.imprint(), 5);
        assert_eq!(judged(&answer, &asked, &tsa), Err(TimeStampError::OtherImprint));
    }
}

#[test]
fn refusals_and_policies_of_openssl_are_read() {
    let Some(bench) = Bench::new() else { return };
    let tsa = bench.certificate("tsa", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", 10, STAMPING);
    let request = TimeStampRequest::new(Digest::of(b"x"), 7);
    let under = request.clone().under("1.2.3.4.5".parse().unwrap());
    let answer = bench.reply("tsa", &under, "signer_digest=sha256");
    assert_eq!(judged(&answer, &under, &tsa).unwrap().policy, "1.2.3.4.5");
    let nowhere = request.under("1.2.3.4.9".parse().unwrap());
    let answer = bench.reply("tsa", &nowhere, "signer_digest=sha256");
    let outcome = judged(&answer, &nowhere, &tsa).unwrap_err();
    assert!(matches!(outcome, TimeStampError::Refused { status: 2, .. }), "{outcome}");
    assert!(outcome.to_string().contains("unacceptedPolicy"), "{outcome}");
}

/// Our tokens, as the pilot's authority makes them, satisfy `openssl ts -verify` and say the same to us.
#[test]
fn openssl_judges_our_tokens() {
    let Some(bench) = Bench::new() else { return };
    let tsa = bench.certificate("tsa", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", 10, STAMPING);
    bench.run("pkcs8 -topk8 -nocrypt -in tsa.key -outform DER -out tsa.p8");
    let now = SystemClock.now();
    let request = TimeStampRequest::new(Digest::of(b"root"), 99);
    let answer = bench.reply("tsa", &request, "signer_digest=sha256");
    // openssl's own statement, signed by us anew.
    let token = judge_response(&answer, &request, &authority(&tsa), now).unwrap().1;
    let ours = signed_anew(&bench, &tsa, &token, now);
    bench.write("ours.tst", &ours);
    bench.run("ts -verify -queryfile request.tsq -in ours.tst -token_in -CAfile ca.pem");
    assert!(judge_token(&ours, request.imprint(), &authority(&tsa)).is_ok());
    // Years later openssl needs to be told the time; we look at the token's own.
    let later = now.plus(Duration::from_secs(20 * 365 * 86_400)).seconds();
    let args = "ts -verify -queryfile request.tsq -in ours.tst -token_in -CAfile ca.pem -attime";
    assert!(!attempt(bench.dir.path(), &format!("{args} {later}")).0);
    assert!(attempt(bench.dir.path(), &format!("{args} {}", now.seconds())).0);
}

fn signed_anew(bench: &Bench, tsa: &Certificate, token: &TimeStampToken, now: Timestamp) -> Vec<u8> {
    // The content of the OCTET STRING under [0] in EncapsulatedContentInfo: openssl extracts it.
    bench.write("theirs.tst", token.der());
    bench.run("cms -verify -inform DER -in theirs.tst -noverify -out info.der");
    let info = bench.read("info.der");
    let made =
        cms::prepare_encapsulated(cms::TIME_STAMP_INFO, &info, tsa, SignatureAlgorithm::EcdsaP256Sha256, now)
            .unwrap();
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bench.read("tsa.p8"), &random).unwrap();
    let value = key.sign(&random, made.bytes()).unwrap();
    made.assemble(value.as_ref()).unwrap()
}
