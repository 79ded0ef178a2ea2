//! `certs-example/`: openssl reads it and finds the chain sound, and nothing of ours believes any of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use truc_directory::{Anchor, Der, Usage};
use truc_governance::CertificateInspector as _;
use truc_model::{Clock as _, SystemClock};
use truc_registry::CaInspector;
use truc_trust::{Certificate, CertificateError};

const CERTIFICATES: [&str; 9] =
    ["root", "ca", "ca-chain", "ocsp", "tsa", "a-auth", "a-sign", "b-auth", "b-sign"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../certs-example")
}

fn file(name: &str) -> String {
    folder().join(name).to_str().unwrap().to_owned()
}

fn truc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_truc")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn assert_refused(output: &Output, what: &str) {
    let told = text(output);
    assert!(!output.status.success(), "{what} was accepted: {told}");
    assert!(told.contains("certs-example") && told.contains("không bao giờ được tin cậy"), "{what}: {told}");
}

#[test]
fn no_certificate_of_it_is_even_read() {
    for name in CERTIFICATES {
        let pem = std::fs::read(file(&format!("{name}.pem"))).unwrap();
        assert_eq!(Certificate::all_from_pem(&pem), Err(CertificateError::Example), "{name}");
    }
    let error = Anchor::parse(&std::fs::read(file("anchor.json")).unwrap()).unwrap_err().to_string();
    assert!(error.contains("certs-example"), "{error}");
}

#[test]
fn openssl_reads_all_of_it_and_finds_the_chain_sound() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none_or(|v| v != "1"), "openssl is not there");
        eprintln!("SKIPPED: openssl is not there");
        return;
    }
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder()).output().unwrap();
        (output.status.success(), text(&output))
    };
    let verify = ["verify", "-no_check_time", "-CAfile", "root.pem", "-untrusted", "ca.pem"];
    for name in ["ocsp.pem", "tsa.pem", "a-auth.pem", "a-sign.pem", "b-auth.pem", "b-sign.pem"] {
        let (good, told) = openssl(&[&verify[..], &[name]].concat());
        assert!(good, "{name}: {told}");
        // They are expired for everybody who looks at the clock.
        let (good, told) = openssl(&["verify", "-CAfile", "root.pem", "-untrusted", "ca.pem", name]);
        assert!(!good && told.contains("expired"), "{name}: {told}");
    }
    for name in CERTIFICATES.iter().filter(|name| **name != "ca-chain") {
        let (good, told) =
            openssl(&["x509", "-in", &format!("{name}.pem"), "-noout", "-subject", "-nameopt", "utf8"]);
        assert!(
            good && told.contains("KHÔNG BAO GIỜ TIN CẬY / EXAMPLE, NEVER TO BE TRUSTED"),
            "{name}: {told}"
        );
        let (_, of_certificate) = openssl(&["x509", "-in", &format!("{name}.pem"), "-noout", "-pubkey"]);
        let (good, of_key) = openssl(&["pkey", "-in", &format!("{name}.key.pem"), "-pubout"]);
        assert!(good && of_key == of_certificate, "{name}.key.pem is not its key");
    }
    let (good, told) = openssl(&["crl", "-in", "ca.crl.pem", "-noout", "-CAfile", "ca.pem"]);
    assert!(good && told.contains("verify OK"), "{told}");
    let (good, told) = openssl(&["pkey", "-in", "anchor-root.key.pem", "-noout", "-text"]);
    let key = told.lines().skip_while(|l| !l.starts_with("pub")).skip(1).flat_map(str::chars);
    let key: String = key.filter(char::is_ascii_hexdigit).collect();
    let anchor = std::fs::read_to_string(file("anchor.json")).unwrap();
    assert!(good && key.len() == 64 && anchor.contains(&key), "{told}");
}

#[test]
fn a_node_refuses_anchor_and_certificates() {
    let place = tempfile::tempdir().unwrap();
    let node = place.path().join("node");
    let init = |anchor: &[&str]| {
        let plain = ["node", "init", "--dir", node.to_str().unwrap(), "--node", "EXAMPLE/GOV/A/ss1"];
        truc(&[&plain[..], &["--subsystem", "EXAMPLE/GOV/A/thu"], anchor].concat())
    };
    assert_refused(&init(&["--anchor", &file("anchor.json")]), "the anchor");
    assert!(!node.exists(), "nothing is made for an anchor that is refused");
    let made = init(&[]);
    assert!(made.status.success(), "{}", text(&made));
    std::fs::create_dir_all(node.join("certs")).unwrap();
    std::fs::copy(file("anchor.json"), node.join("anchor.json")).unwrap();
    std::fs::copy(file("a-auth.pem"), node.join("certs/auth.pem")).unwrap();
    std::fs::copy(file("a-sign.pem"), node.join("certs/sign-EXAMPLE-GOV-A.pem")).unwrap();
    let config = node.join("node.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let [pem, key] = [file("a-auth.pem"), file("a-auth.key.pem")];
    let edge = format!("https-listen = '127.0.0.1:0'\ncertificate-file = '{pem}'\nkey-file = '{key}'");
    let with_edge = |line: &str| {
        if line.starts_with("[edge]") { format!("{line}\n{edge}\n") } else { format!("{line}\n") }
    };
    let written: String = written.lines().map(with_edge).collect();
    let more = format!(
        "[provider]\nca-file = '{}'\n[[client]]\nsubsystem = 'EXAMPLE/GOV/A/thu'\n\
         connection = 'https-client-certificate'\ncertificate-files = ['{pem}']\n",
        file("ca.pem")
    );
    std::fs::write(&config, format!("{written}{more}")).unwrap();
    let config = config.to_str().unwrap();
    let check = truc(&["node", "check-config", "--config", config]);
    assert_refused(&check, "check-config");
    assert_eq!(
        text(&check).matches("không bao giờ được tin cậy").count(),
        6,
        "anchor, two certificates of the node, the edge's, a client's and the CA of services: {}",
        text(&check)
    );
    assert_refused(&truc(&["node", "run", "--config", config]), "run");
}

#[test]
fn a_registry_refuses_authorities_and_certificates() {
    let place = tempfile::tempdir().unwrap();
    let registry = place.path().join("registry");
    let made = truc(&[
        "registry",
        "init",
        "--dir",
        registry.to_str().unwrap(),
        "--instance",
        "VN",
        "--public-address",
        "registry.example.vn:4001",
    ]);
    assert!(made.status.success(), "{}", text(&made));
    let config = registry.join("registry.toml");
    let at = ["--config", config.to_str().unwrap()];
    let authority = ["registry", "authority", "add", "--name", "X", "--usage", "sign", "--certificate"];
    assert_refused(&truc(&[&authority[..], &[&file("ca.pem")], &at].concat()), "a CA");
    let stamps =
        ["registry", "authority", "add-tsa", "--name", "X", "--url", "http://x/tsa", "--certificate"];
    assert_refused(&truc(&[&stamps[..], &[&file("tsa.pem")], &at].concat()), "a TSA");
    // However the bytes came to the registry, the one who reads certificates for it refuses them.
    for (name, usage) in [("a-sign", Usage::Sign), ("a-auth", Usage::Auth)] {
        let pem = std::fs::read_to_string(file(&format!("{name}.pem"))).unwrap();
        let body: String =
            pem.lines().skip_while(|l| !l.starts_with("-----")).filter(|l| !l.starts_with("-----")).collect();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
        let told = CaInspector.inspect(&Der::from(der), usage, &[], SystemClock.now()).unwrap_err();
        assert!(told.contains("certs-example"), "{told}");
    }
}
