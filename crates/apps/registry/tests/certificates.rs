//! What a registrar is told of every certificate and request that cannot be registered; openssl makes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]
#![allow(missing_docs, reason = "a test")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_governance::{CertificateInspector as _, SubjectKey};
use truc_model::{Clock as _, SystemClock};
use truc_registry::{CaInspector, CertificateProblem, Expectation, Offered};

const CONFIG: &str = "[req]\ndistinguished_name=n\nstring_mask=utf8only\n[n]\n\
    [ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\ndefault_days=300\n\
    rand_serial=yes\n[p]\ncommonName=optional\n";
const SIGN: &str = "keyUsage=critical,digitalSignature,nonRepudiation";
const AUTH: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth";
const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// CAs of openssl's in a folder; `None` (said aloud) where there is no openssl.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Option<Self> {
        let found = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
        if !found {
            assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "openssl is required and was not found");
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        }
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.path("c.cnf"), CONFIG).unwrap();
        std::fs::write(bench.path("index.txt"), "").unwrap();
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, args: &str) {
        let out = Command::new("openssl").args(args.split_whitespace()).current_dir(self.0.path()).output();
        let out = out.unwrap();
        assert!(out.status.success(), "openssl {args}\n{}", String::from_utf8_lossy(&out.stderr));
    }

    fn der(&self, name: &str) -> Der {
        Der::from(std::fs::read(self.path(name)).unwrap())
    }

    fn ca(&self, name: &str, profile: Profile, usages: &[Usage]) -> ApprovedAuthority {
        self.openssl(&format!("genpkey {P256} -out {name}.key"));
        self.openssl(&format!(
            "req -new -x509 -config c.cnf -key {name}.key -days 900 -subj /CN={name} -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign,cRLSign -out {name}.pem"
        ));
        self.openssl(&format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        ApprovedAuthority {
            name: name.to_owned(),
            certificate: self.der(&format!("{name}.der")),
            intermediates: vec![],
            usages: usages.to_vec(),
            profile,
            ocsp: vec![],
            crl: None,
        }
    }

    fn request(&self, name: &str, genpkey: &str, subject: &str) -> Der {
        self.openssl(&format!("genpkey {genpkey} -out {name}.key"));
        self.openssl(&format!("req -new -config c.cnf -key {name}.key -subj {subject} -out {name}.csr"));
        self.openssl(&format!("req -in {name}.csr -outform DER -out {name}.csr.der"));
        self.der(&format!("{name}.csr.der"))
    }

    fn certificate(&self, ca: &str, name: &str, subject: &str, extensions: &str, dates: &str) -> Der {
        if !self.path(&format!("{name}.csr")).exists() {
            self.request(name, P256, subject);
        }
        std::fs::write(self.path("ext"), format!("basicConstraints=critical,CA:FALSE\n{extensions}\n"))
            .unwrap();
        self.openssl(&format!(
            "ca -batch -notext -preserveDN -config c.cnf -cert {ca}.pem -keyfile {ca}.key -in {name}.csr -extfile ext {dates} -out {name}.pem"
        ));
        self.openssl(&format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        self.der(&format!("{name}.der"))
    }
}

const MEMBER: &str = "VN/GOV/H26";
const NODE: &str = "VN/GOV/H26/ss1";
const SUBJECT: &str = "/2.5.4.97=VN\\/GOV\\/H26/CN=VN\\/GOV\\/H26\\/ss1";
const FIRM: &str = "/C=VN/CN=CONG.TY/UID=MST:9901000019";
const FIRM_NODE: &str = "VN/COM/9901000019/ss1";

#[test]
fn every_certificate_that_does_not_fit_is_told_why() {
    let Some(bench) = Bench::new() else { return };
    let both = [Usage::Sign, Usage::Auth];
    let approved = [
        bench.ca("pilot", Profile::Truc1, &both),
        bench.ca("half", Profile::Truc1, &[Usage::Auth]),
        bench.ca("firms", Profile::VnEnterprise, &both),
        bench.ca("state", Profile::VnState, &both),
    ];
    bench.ca("stranger", Profile::Truc1, &both);
    // After everything that is made below.
    let at = SystemClock.now().plus(Duration::from_secs(3600));
    let mut number = 0;
    let mut check =
        |ca: &str, subject: &str, extensions: &str, dates: &str, usage, holder: &str, told: &str| {
            number += 1;
            let certificate = bench.certificate(ca, &format!("c{number}"), subject, extensions, dates);
            let expectation =
                Expectation { usage, holder, key: None, authorities: &approved, at, key_used: &|_| false };
            let outcome = expectation.check(Offered::Certificate(&certificate));
            match (outcome, told) {
                (Ok(_), "") => {}
                (Ok(_), told) => panic!("{ca} {subject} {holder}: taken instead of {told:?}"),
                (Err(problem), told) => {
                    let sentence = problem.to_string();
                    assert!(
                        !told.is_empty() && sentence.contains(told),
                        "{ca} {subject} {holder}: {sentence}"
                    );
                    assert!(sentence.contains(" / "), "in both languages: {sentence}");
                }
            }
        };
    let (sign, auth) = (Usage::Sign, Usage::Auth);
    let past = "-startdate 20200101000000Z -enddate 20210101000000Z";
    let future = "-startdate 20900101000000Z -enddate 20910101000000Z";
    check("pilot", SUBJECT, SIGN, "", sign, MEMBER, "");
    check("pilot", SUBJECT, AUTH, "", auth, NODE, "");
    check("half", SUBJECT, AUTH, "", auth, NODE, "");
    check("pilot", SUBJECT, SIGN, "", sign, "VN/GOV/H49", "names VN/GOV/H26, not VN/GOV/H49");
    check("pilot", SUBJECT, AUTH, "", auth, "VN/GOV/H26/ss2", "names VN/GOV/H26/ss1, not VN/GOV/H26/ss2");
    check("pilot", SUBJECT, SIGN, "", sign, "H49", "no member (sign)");
    check("pilot", "/CN=VN\\/GOV\\/H26\\/ss1", AUTH, "", auth, NODE, "organizationIdentifier");
    check("pilot", "/2.5.4.97=VN\\/GOV\\/H26", AUTH, "", auth, NODE, "commonName");
    check("pilot", SUBJECT, SIGN, past, sign, MEMBER, "expired at 2021-01-01T00:00:00.000Z");
    check("pilot", SUBJECT, SIGN, future, sign, MEMBER, "not valid before 2090-01-01T00:00:00.000Z");
    check("pilot", SUBJECT, SIGN, "", auth, NODE, "clientAuth and serverAuth");
    check("pilot", SUBJECT, "keyUsage=critical,keyAgreement", "", sign, MEMBER, "digitalSignature or");
    check("stranger", SUBJECT, SIGN, "", sign, MEMBER, "no CA approved for sign");
    check("stranger", SUBJECT, AUTH, "", auth, NODE, "no CA approved for auth");
    check("half", SUBJECT, SIGN, "", sign, MEMBER, "no CA approved for sign");
    // A public CA: the member from the tax number, the node from nowhere.
    check("firms", FIRM, SIGN, "", sign, "VN/COM/9901000019", "");
    check("firms", FIRM, AUTH, "", auth, FIRM_NODE, "");
    check("firms", FIRM, AUTH, "", auth, "VN/COM/9901000019/ss2", "");
    check("firms", FIRM, AUTH, "", auth, "VN/COM/9901002753/ss1", "names VN/COM/9901000019, not");
    check("firms", SUBJECT, AUTH, "", auth, NODE, "UID=MST");
    check("firms", "/UID=MST:9901000018", SIGN, "", sign, "VN/COM/9901000018", "check digit");
    check("firms", "/UID=MST:9901000019-001", SIGN, "", sign, "VN/COM/9901000019", "branch");
    let person = "/UID=MST:9901000019/UID=CCCD:099085000011";
    check("firms", person, SIGN, "", sign, "VN/COM/9901000019", "person");
    check("state", "/CN=UBND/serialNumber=MDD:000.00.00.H49", AUTH, "", auth, "VN/GOV/H49/ss1", "");
    check("state", "/CN=UBND/UID=MDD:H49", SIGN, "", sign, "VN/GOV/H49", "");
    check("state", "/CN=UBND/UID=MDD:H49", SIGN, "", sign, MEMBER, "names VN/GOV/H49, not VN/GOV/H26");
    check("state", "/CN=UBND/UID=MNS:1047665", SIGN, "", sign, MEMBER, "UID=MDD:H49");

    // The key: weak, another one, in use.
    bench.request("weak", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", SUBJECT);
    let weak = bench.certificate("pilot", "weak", SUBJECT, SIGN, "");
    let expectation = |key, key_used| Expectation {
        usage: sign,
        holder: MEMBER,
        key,
        authorities: &approved,
        at,
        key_used,
    };
    let free: &dyn Fn(&SubjectKey) -> bool = &|_| false;
    let bring = |der: &Der| expectation(None, free).check(Offered::Certificate(der));
    assert_eq!(bring(&weak), Err(CertificateProblem::WeakKey));
    assert!(matches!(bring(&Der::from(b"junk".to_vec())), Err(CertificateProblem::Unreadable(_))));
    let request = bench.request("good", P256, SUBJECT);
    let good = bench.certificate("pilot", "good", SUBJECT, SIGN, "");
    let key = expectation(None, free).check(Offered::Request(&request)).unwrap();
    assert_eq!(expectation(Some(&key), free).check(Offered::Certificate(&good)), Ok(key.clone()));
    assert_eq!(CaInspector.certificate_key(&good), Ok(key.clone()));
    assert_eq!(CaInspector.request_key(&request, sign, MEMBER), Ok(key.clone()));
    let other = SubjectKey { public_key: vec![4; 65], ..key };
    let refused = expectation(Some(&other), free).check(Offered::Certificate(&good));
    assert_eq!(refused, Err(CertificateProblem::OtherKey));
    let used = |found: &SubjectKey| *found == key;
    for offered in [Offered::Certificate(&good), Offered::Request(&request)] {
        assert_eq!(expectation(None, &used).check(offered), Err(CertificateProblem::KeyUsed));
    }
}

#[test]
fn every_request_that_does_not_fit_is_told_why() {
    let Some(bench) = Bench::new() else { return };
    let (sign, auth) = (Usage::Sign, Usage::Auth);
    let good = bench.request("good", P256, SUBJECT);
    for (usage, holder) in [(sign, MEMBER), (auth, NODE)] {
        CaInspector.request_key(&good, usage, holder).unwrap();
    }
    let mut forged = good.as_bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let weak = bench.request("weak", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", SUBJECT);
    let odd = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3";
    for (request, usage, holder, told) in [
        (Der::from(forged), sign, MEMBER, "not by its own key"),
        (Der::from(b"junk".to_vec()), sign, MEMBER, "strict DER"),
        (weak, sign, MEMBER, "too weak"),
        (bench.request("odd", odd, SUBJECT), sign, MEMBER, "too weak"),
        (good.clone(), sign, "VN/GOV/H49", "names VN/GOV/H26, not VN/GOV/H49"),
        (good.clone(), auth, "VN/GOV/H26/ss2", "names VN/GOV/H26/ss1, not VN/GOV/H26/ss2"),
        (good, auth, MEMBER, "no member (sign) or node"),
        (bench.request("firm", P256, FIRM), sign, "VN/COM/9901000019", "organizationIdentifier"),
    ] {
        let sentence = CaInspector.request_key(&request, usage, holder).unwrap_err();
        assert!(sentence.contains(told) && sentence.contains(" / "), "{sentence}");
    }
}
