//! The pilot PKI as strangers see it: over HTTP, checked by openssl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]
#![allow(missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_keys::{KeyInfo, KeyKind, KeyLabel};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::{Clock as _, MemberId, NodeId, SystemClock};
use truc_pki::{
    InitOptions, Listening, Pki, PkiConfig, PkiError, RevocationReason, Serial, run, serve,
    subject_public_key_info,
};
use truc_trust::{Certificate, Purpose, RequestError, StatusSource as _, Verdict, check_path, crl, ocsp};
use truc_trust_services::OcspHttp;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A PKI that serves, and a second one open on the same folder, as another process would have it.
struct Bench {
    dir: tempfile::TempDir,
    url: String,
    pki: Pki,
    stop: CancellationToken,
    server: JoinHandle<Result<(), PkiError>>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let folder = dir.path().join("pki");
        let options = InitOptions::default();
        let served = Pki::init_folder(&folder, address, &url, &options, Arc::new(SystemClock)).await.unwrap();
        let config = PkiConfig::load(&folder.join("pki.toml")).unwrap();
        let passphrase = Passphrase::from_file(&config.passphrase_file).unwrap();
        let pki = Pki::open(&config, &passphrase, Arc::new(SystemClock)).await.unwrap();
        std::fs::copy(folder.join("ca.pem"), dir.path().join("ca.pem")).unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(served, listener, stop.clone()));
        Self { dir, url, pki, stop, server }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.server.await.unwrap().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_certificate(&self, name: &str, certificate: &Certificate) {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate.der());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        std::fs::write(self.path(name), pem).unwrap();
    }

    /// Runs openssl in the folder, off the runtime.
    async fn openssl(&self, line: &str) -> Output {
        let (dir, arguments) = (self.dir.path().to_owned(), line.to_owned());
        tokio::task::spawn_blocking(move || {
            Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output().unwrap()
        })
        .await
        .unwrap()
    }

    /// Runs openssl, which must succeed and say all of `expected`.
    async fn must_say(&self, line: &str, expected: &[&str]) {
        let output = self.openssl(line).await;
        let text = said(&output);
        assert!(output.status.success(), "openssl {line}\n{text}");
        for part in expected {
            assert!(text.contains(part), "openssl {line} does not say {part:?}\n{text}");
        }
    }

    async fn sign_certificate(&self, kind: KeyKind) -> (KeyInfo, Certificate) {
        let key = key(self.dir.path(), kind);
        let spki = subject_public_key_info(&key).unwrap();
        let certificate =
            self.pki.issue_sign_certificate(&spki, &member(), "UBND tỉnh Lào Cai", YEAR).await.unwrap();
        (key, certificate)
    }

    async fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> (u16, Bytes) {
        let request = http::Request::post(format!("{}{path}", self.url))
            .header("content-type", content_type)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        exchange(request).await
    }

    async fn get(&self, path: &str) -> (u16, Bytes) {
        exchange(http::Request::get(format!("{}{path}", self.url)).body(Full::default()).unwrap()).await
    }

    async fn time_stamp(&self, query: &str, answer: &str) {
        let query = std::fs::read(self.path(query)).unwrap();
        let (status, body) = self.post("/tsa", "application/timestamp-query", query).await;
        assert_eq!(status, 200);
        std::fs::write(self.path(answer), body).unwrap();
    }
}

async fn exchange(request: http::Request<Full<Bytes>>) -> (u16, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn member() -> MemberId {
    "VN/GOV/H26".parse().unwrap()
}

fn node() -> NodeId {
    "VN/GOV/H26/ss1".parse().unwrap()
}

/// A subject's key in its own store.
fn key(dir: &Path, kind: KeyKind) -> KeyInfo {
    let label = KeyLabel::new(&format!("subject-{kind:?}")).unwrap();
    FileKeyStore::generate(&dir.join("subject"), &Passphrase::new("subject"), &label, kind).unwrap()
}

fn openssl_missing() -> bool {
    let missing = !Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success());
    assert!(!missing || std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is needed");
    if missing {
        eprintln!("SKIPPED: openssl does not run here");
    }
    missing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_verify_and_look_as_the_profile_says() {
    if openssl_missing() {
        return;
    }
    let bench = Bench::new().await;
    let (_, sign) = bench.sign_certificate(KeyKind::EcP256).await;
    bench.write_certificate("sign.pem", &sign);
    let spki = subject_public_key_info(&key(bench.dir.path(), KeyKind::EcP384)).unwrap();
    let auth = bench.pki.issue_auth_certificate(&spki, &node(), "UBND tỉnh Lào Cai", YEAR).await.unwrap();
    bench.write_certificate("auth.pem", &auth);
    assert!(
        sign.may_sign()
            && auth.for_client_auth()
            && auth.for_server_auth()
            && bench.pki.tsa().for_time_stamping()
    );

    let ca = "-x509_strict -CAfile ca.pem";
    bench.must_say(&format!("verify {ca} -purpose smimesign sign.pem"), &["sign.pem: OK"]).await;
    bench.must_say(&format!("verify {ca} -purpose sslclient auth.pem"), &["auth.pem: OK"]).await;
    bench.must_say(&format!("verify {ca} -purpose sslserver auth.pem"), &["auth.pem: OK"]).await;
    bench.must_say(&format!("verify {ca} -purpose timestampsign pki/tsa.pem"), &["OK"]).await;
    bench.must_say(&format!("verify {ca} -purpose ocsphelper pki/ocsp.pem"), &["OK"]).await;
    let text = "x509 -noout -text -nameopt utf8,sep_comma_plus -in";
    let ocsp = format!("{}/ocsp", bench.url);
    bench
        .must_say(
            &format!("{text} sign.pem"),
            &[
                "Digital Signature, Non Repudiation",
                "=VN/GOV/H26,O=UBND tỉnh Lào Cai,CN=UBND tỉnh Lào Cai",
                &ocsp,
                "/crl",
            ],
        )
        .await;
    bench
        .must_say(&format!("{text} auth.pem"), &["=VN/GOV/H26,O=", "CN=VN/GOV/H26/ss1", "TLS Web Client"])
        .await;
    bench.must_say(&format!("{text} ca.pem"), &["CHỈ DÙNG THỬ NGHIỆM", "CA:TRUE, pathlen:0"]).await;
    bench.must_say(&format!("{text} pki/ocsp.pem"), &["OCSP No Check", "OCSP Signing"]).await;

    let (status, body) = bench.get("/ca.pem").await;
    assert_eq!((status, body.as_ref()), (200, std::fs::read(bench.path("ca.pem")).unwrap().as_slice()));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_told_and_changes_at_once() {
    if openssl_missing() {
        return;
    }
    let bench = Bench::new().await;
    let (_, sign) = bench.sign_certificate(KeyKind::EcP256).await;
    bench.write_certificate("sign.pem", &sign);
    let ask = format!("ocsp -issuer ca.pem -CAfile ca.pem -url {}/ocsp", bench.url);
    // With a nonce, without one (twice: the second answer is the remembered one), and under SHA-256.
    for form in
        ["-cert sign.pem", "-no_nonce -cert sign.pem", "-no_nonce -cert sign.pem", "-sha256 -cert sign.pem"]
    {
        bench.must_say(&format!("{ask} {form}"), &["Response verify OK", "sign.pem: good"]).await;
    }
    bench.must_say(&format!("{ask} -serial 0x1234"), &["Response verify OK", "0x1234: unknown"]).await;

    // The same question by GET.
    bench.must_say("ocsp -issuer ca.pem -cert sign.pem -no_nonce -reqout request.der", &[]).await;
    let question = std::fs::read(bench.path("request.der")).unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(&question);
    let escaped = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let (status, body) = bench.get(&format!("/ocsp/{escaped}")).await;
    assert_eq!(status, 200);
    std::fs::write(bench.path("answer.der"), body).unwrap();
    let check = "ocsp -issuer ca.pem -CAfile ca.pem -cert sign.pem -no_nonce -respin answer.der";
    bench.must_say(check, &["Response verify OK", "sign.pem: good"]).await;

    let crl_check = "verify -crl_check -CAfile ca.pem -CRLfile crl.pem sign.pem";
    let fetch = || async {
        let (status, body) = bench.get("/crl").await;
        assert_eq!(status, 200);
        std::fs::write(bench.path("crl.der"), body).unwrap();
        bench.must_say("crl -inform DER -in crl.der -out crl.pem -CAfile ca.pem", &["verify OK"]).await;
    };
    fetch().await;
    bench.must_say(crl_check, &["OK"]).await;

    let serial = Serial::from_bytes(sign.serial());
    bench.pki.revoke(&serial, RevocationReason::KeyCompromise).await.unwrap();
    bench.pki.revoke(&serial, RevocationReason::Superseded).await.unwrap();
    for form in ["", "-no_nonce"] {
        let expected = ["Response verify OK", "sign.pem: revoked", "keyCompromise"];
        bench.must_say(&format!("{ask} {form} -cert sign.pem"), &expected).await;
    }
    fetch().await;
    let refused = bench.openssl(crl_check).await;
    assert!(said(&refused).contains("certificate revoked"), "{}", said(&refused));
    let unknown = bench.pki.revoke(&"1234".parse().unwrap(), RevocationReason::Unspecified).await;
    assert!(matches!(unknown, Err(PkiError::UnknownSerial(_))));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_stamps_verify() {
    if openssl_missing() {
        return;
    }
    let bench = Bench::new().await;
    std::fs::write(bench.path("data"), "trục").unwrap();
    for hash in ["sha256", "sha384", "sha512"] {
        bench.must_say(&format!("ts -query -data data -{hash} -cert -out query"), &[]).await;
        bench.time_stamp("query", "answer").await;
        bench.must_say("ts -verify -queryfile query -in answer -CAfile ca.pem", &["Verification: OK"]).await;
        bench.must_say("ts -verify -data data -in answer -CAfile ca.pem", &["Verification: OK"]).await;
    }
    // Not asked for, the certificate is not sent.
    bench.must_say("ts -query -data data -sha256 -no_nonce -out query", &[]).await;
    bench.time_stamp("query", "answer").await;
    let verify = "ts -verify -queryfile query -in answer -CAfile ca.pem";
    assert!(!bench.openssl(verify).await.status.success());
    bench.must_say(&format!("{verify} -untrusted pki/tsa.pem"), &["Verification: OK"]).await;

    for (form, reason) in
        [("-sha1", "unrecognized or unsupported"), ("-sha256 -tspolicy 1.2.3.4", "policy is not supported")]
    {
        bench.must_say(&format!("ts -query -data data {form} -out query"), &[]).await;
        bench.time_stamp("query", "answer").await;
        bench.must_say("ts -reply -in answer -text", &["Rejected", reason]).await;
    }
    std::fs::write(bench.path("query"), "no request").unwrap();
    bench.time_stamp("query", "answer").await;
    bench.must_say("ts -reply -in answer -text", &["Rejected", "format"]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_prove_their_key_and_their_names_do_not_count() {
    if openssl_missing() {
        return;
    }
    let bench = Bench::new().await;
    for (number, key) in ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"].iter().enumerate() {
        let line =
            format!("req -new -newkey {key} -nodes -keyout key{number} -out csr{number} -subj /CN=anything");
        bench.must_say(&line, &[]).await;
        let pem = std::fs::read_to_string(bench.path(&format!("csr{number}"))).unwrap();
        let sign = bench.pki.sign_certificate_from_csr(&pem, &member(), "Sở Nội vụ", YEAR).await.unwrap();
        let auth = bench.pki.auth_certificate_from_csr(&pem, &node(), "Sở Nội vụ", YEAR).await.unwrap();
        assert_eq!(sign.public_key(), auth.public_key());
        assert!(!sign.subject().contains("anything"), "{}", sign.subject());
        let body: Vec<&str> = pem.lines().filter(|l| !l.starts_with("-----")).collect();
        let mut der = base64::engine::general_purpose::STANDARD.decode(body.concat()).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
        let forged = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            lines.join("\n")
        );
        let refused = bench.pki.sign_certificate_from_csr(&forged, &member(), "x", YEAR).await;
        assert!(matches!(refused, Err(PkiError::Request(RequestError::Signature))), "{refused:?}");
    }
    bench.must_say("req -new -newkey rsa:1024 -nodes -keyout key9 -out csr9 -subj /CN=small", &[]).await;
    let small = std::fs::read_to_string(bench.path("csr9")).unwrap();
    let refused = bench.pki.sign_certificate_from_csr(&small, &member(), "x", YEAR).await;
    assert!(matches!(refused, Err(PkiError::Request(RequestError::Key))));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_refuses_what_is_not_for_it() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/health").await.0, 200);
    assert_eq!(bench.get("/").await.0, 404);
    assert_eq!(bench.post("/ocsp", "text/plain", vec![]).await.0, 415);
    assert_eq!(bench.post("/tsa", "text/plain", vec![]).await.0, 415);
    assert_eq!(bench.post("/tsa", "application/timestamp-query", vec![0; 20_000]).await.0, 413);
    // malformedRequest, RFC 6960 §4.2.1
    assert_eq!(
        bench.post("/ocsp", "application/ocsp-request", vec![1, 2]).await.1.as_ref(),
        [0x30, 3, 10, 1, 1]
    );
    assert_eq!(bench.get("/ocsp/!!").await.1.as_ref(), [0x30, 3, 10, 1, 1]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_made_once_and_run_serves_it() {
    let bench = Bench::new().await;
    let folder = bench.path("pki");
    let options = InitOptions::default();
    let again =
        Pki::init_folder(&folder, ([127, 0, 0, 1], 1).into(), "http://x", &options, Arc::new(SystemClock));
    assert!(matches!(again.await, Err(PkiError::AlreadyThere(_))));
    let ed25519 = subject_public_key_info(&key(bench.dir.path(), KeyKind::Ed25519)).unwrap();
    let refused = bench.pki.issue_sign_certificate(&ed25519, &member(), "x", YEAR).await;
    assert!(matches!(refused, Err(PkiError::UnusableKey)));
    let (_, sign) = bench.sign_certificate(KeyKind::EcP384).await;
    let listed = bench.pki.issued().await.unwrap();
    assert_eq!(listed.len(), 4);
    assert!(
        listed
            .iter()
            .any(|c| c.fingerprint == sign.fingerprint() && c.subject == "VN/GOV/H26" && c.usage == "sign")
    );

    let config = PkiConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ..PkiConfig::load(&folder.join("pki.toml")).unwrap()
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let running = tokio::spawn(async move { run(&config, |at| tell.send(at).unwrap(), stopping).await });
    let Listening { public: address, issuing: None } = told.await.unwrap() else { panic!("it issues") };
    let request = http::Request::get(format!("http://{address}/health")).body(Full::default()).unwrap();
    assert_eq!(exchange(request).await.0, 200);
    stop.cancel();
    running.await.unwrap().unwrap();
    bench.stop().await;
}

/// The same answers as a node of the bus reads them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_believes_paths_and_statuses() {
    let bench = Bench::new().await;
    let (_, sign) = bench.sign_certificate(KeyKind::EcP256).await;
    let spki = subject_public_key_info(&key(bench.dir.path(), KeyKind::EcP384)).unwrap();
    let auth =
        bench.pki.issue_auth_certificate(&spki, &node(), "UBND tỉnh Lào Cai", 100 * YEAR).await.unwrap();
    let ca = bench.pki.ca();
    assert_eq!(auth.not_after(), ca.not_after(), "nothing outlives its CA");
    let anchors = [ca.clone()];
    for (certificate, purpose) in
        [(&sign, Purpose::Sign), (&auth, Purpose::Auth), (bench.pki.tsa(), Purpose::TimeStamping)]
    {
        let path = check_path(certificate, &[], &anchors, purpose, SystemClock.now()).unwrap();
        assert_eq!(path.issuer.fingerprint(), ca.fingerprint());
    }
    assert!(check_path(&sign, &[], &anchors, Purpose::Auth, SystemClock.now()).is_err());

    let client = OcspHttp::default();
    let url = format!("{}/ocsp", bench.url);
    let verdict = || async {
        let answer = client.ocsp(&url, &sign, ca).await.unwrap();
        ocsp::read(&answer).unwrap().judge(&sign, ca, SystemClock.now()).unwrap().verdict
    };
    let listed = || async {
        let list = client.revocation_list(&format!("{}/crl", bench.url)).await.unwrap();
        crl::read(&list, ca).unwrap().judge(&sign, SystemClock.now()).unwrap().verdict
    };
    assert_eq!((verdict().await, listed().await), (Verdict::Good, Verdict::Good));
    bench.pki.revoke(&Serial::from_bytes(sign.serial()), RevocationReason::KeyCompromise).await.unwrap();
    assert!(matches!(verdict().await, Verdict::Revoked { .. }));
    assert!(matches!(listed().await, Verdict::Revoked { .. }));
    bench.stop().await;
}
