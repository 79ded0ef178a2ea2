//! Certificates over HTTP, as a registry asks for them while it approves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_directory::Usage;
use truc_keystores::Passphrase;
use truc_model::{Clock as _, Fingerprint, SystemClock};
use truc_pki::{InitOptions, Listeners, Pki, PkiConfig, PkiError, serve};
use truc_trust::{
    Certificate, CertificateRequest, Purpose, SubjectAttribute, Verdict, check_path, crl, ocsp,
};
use truc_trust_services::{IssuerError, IssuerLimits, PilotIssuer};

/// A PKI that issues, and can be started again on its folder.
struct Bench {
    dir: tempfile::TempDir,
    ca: Certificate,
    public: SocketAddr,
    issuing: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Result<(), PkiError>>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let options = InitOptions { issuing: Some(any), ..InitOptions::default() };
        let folder = dir.path().join("pki");
        drop(
            Pki::init_folder(&folder, any, "http://127.0.0.1:1", &options, Arc::new(SystemClock))
                .await
                .unwrap(),
        );
        Self::on(dir).await
    }

    async fn on(dir: tempfile::TempDir) -> Self {
        let config = PkiConfig::load(&dir.path().join("pki/pki.toml")).unwrap();
        let passphrase = Passphrase::from_file(&config.passphrase_file).unwrap();
        let pki = Pki::open(&config, &passphrase, Arc::new(SystemClock)).await.unwrap();
        let ca = pki.ca().clone();
        let listeners = Listeners {
            public: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            issuing: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
        };
        let public = listeners.public.local_addr().unwrap();
        let issuing = listeners.issuing.as_ref().unwrap().local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(pki, listeners, stop.clone()));
        Self { dir, ca, public, issuing, stop, server }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.server.await.unwrap().unwrap();
        self.dir
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("pki").join(name)
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.file("issuing-token")).unwrap().trim().to_owned()
    }

    fn issuer(&self) -> PilotIssuer {
        let url = format!("http://{}", self.issuing);
        PilotIssuer::new(&url, &self.token(), None, IssuerLimits::default()).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        exchange(self.issuing, path, &format!("Bearer {}", self.token()), body.to_string()).await
    }

    /// What OCSP says.
    async fn verdict(&self, certificate: &Certificate) -> Verdict {
        let question = ocsp::request(certificate, &self.ca);
        let request = http::Request::post(format!("http://{}/ocsp", self.public))
            .header("content-type", "application/ocsp-request")
            .body(Full::new(Bytes::from(question)))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        ocsp::read(&answer).unwrap().judge(certificate, &self.ca, SystemClock.now()).unwrap().verdict
    }

    /// What the revocation list says.
    async fn listed(&self, certificate: &Certificate) -> Verdict {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = http::Request::get(format!("http://{}/crl", self.public));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let list = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        crl::read(&list, &self.ca).unwrap().judge(certificate, SystemClock.now()).unwrap().verdict
    }
}

async fn exchange(address: SocketAddr, path: &str, token: &str, body: String) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("authorization", token)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// A request as a node makes it.
fn request(key: &KeyPair, member: &str, name: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), member);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn ask(csr: &[u8], usage: &str, holder: &str) -> Value {
    json!({ "csr": STANDARD.encode(csr), "usage": usage, "holder": holder, "organisation": "UBND thành phố Hà Nội" })
}

const NODE: &str = "VN/GOV/H26/ss1";
const MEMBER: &str = "VN/GOV/H26";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_with_one_certificate_for_ever() {
    let bench = Bench::new().await;
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, MEMBER, NODE);
    let issued = bench.issuer().issue(&csr, Usage::Auth, NODE, "UBND thành phố Hà Nội").await.unwrap();
    assert!(issued.intermediates.is_empty());
    let certificate = Certificate::from_der(&issued.certificate).unwrap();
    assert_eq!(certificate.spki_der(), CertificateRequest::from_der(&csr).unwrap().spki_der());
    assert_eq!(certificate.subject_attribute(SubjectAttribute::CommonName), Some(NODE));
    assert_eq!(certificate.subject_attribute(SubjectAttribute::OrganizationIdentifier), Some(MEMBER));
    let path =
        check_path(&certificate, &[], std::slice::from_ref(&bench.ca), Purpose::Auth, SystemClock.now());
    assert_eq!(path.unwrap().issuer, bench.ca);
    assert_eq!(bench.verdict(&certificate).await, Verdict::Good);

    // Again, at once eight times, in PEM, with another validity: the same.
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(&csr)
    );
    let again =
        json!({ "csr": pem, "usage": "auth", "holder": NODE, "organisation": "khác", "validity": "7d" });
    let (status, answer) = bench.post("/issue", &again).await;
    assert_eq!((status, &answer["certificate"]), (200, &json!(STANDARD.encode(&issued.certificate))));
    assert_eq!(answer["fingerprint"], certificate.fingerprint().to_string());

    // Also after a restart: it was in the ledger before it was answered.
    let bench = Bench::on(bench.stop().await).await;
    let same = bench.issuer().issue(&csr, Usage::Auth, NODE, "UBND").await.unwrap();
    assert_eq!(same, issued);

    // A new request for the same key and holder is another request: its own certificate.
    let other = request(&key, MEMBER, NODE);
    assert_ne!(other, csr, "ECDSA signatures differ");
    let renewed = bench.issuer().issue(&other, Usage::Auth, NODE, "UBND").await.unwrap();
    assert_ne!(renewed.certificate, issued.certificate);
    let lines = std::fs::read_to_string(bench.file("ledger.jsonl")).unwrap();
    assert_eq!(lines.lines().filter(|l| l.contains(NODE)).count(), 2);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_by_many_at_once_there_is_still_one_certificate() {
    let bench = Bench::new().await;
    let body = ask(&request(&KeyPair::generate().unwrap(), MEMBER, "H26"), "sign", MEMBER);
    let asked = (0..8).map(|_| {
        let (address, token, body) = (bench.issuing, format!("Bearer {}", bench.token()), body.to_string());
        tokio::spawn(async move { exchange(address, "/issue", &token, body).await })
    });
    let mut answers = Vec::new();
    for task in asked.collect::<Vec<_>>() {
        let (status, answer) = task.await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answers.push(answer["certificate"].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    let lines = std::fs::read_to_string(bench.file("ledger.jsonl")).unwrap();
    assert_eq!(lines.lines().filter(|l| l.contains(MEMBER)).count(), 1);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_what_is_not_his() {
    let bench = Bench::new().await;
    let key = KeyPair::generate().unwrap();
    let good = ask(&request(&key, MEMBER, NODE), "auth", NODE);
    for token in ["", "Bearer ", "Bearer 0123456789", &bench.token()] {
        let (status, answer) = exchange(bench.issuing, "/issue", token, good.to_string()).await;
        assert_eq!(status, 401, "{token:?}");
        assert!(answer["error"].as_str().unwrap().contains("token"));
        assert_eq!(exchange(bench.issuing, "/revoke", token, good.to_string()).await.0, 401);
    }
    // The public address does not issue, the issuing one tells no status.
    let token = format!("Bearer {}", bench.token());
    assert_eq!(exchange(bench.public, "/issue", &token, good.to_string()).await.0, 404);
    assert_eq!(exchange(bench.issuing, "/ocsp", &token, good.to_string()).await.0, 404);
    assert_eq!(bench.post("/issue", &good).await.0, 200);

    let other = KeyPair::generate().unwrap();
    let mut forged = request(&other, MEMBER, NODE);
    *forged.last_mut().unwrap() ^= 1;
    let mut unknown = ask(&request(&other, MEMBER, NODE), "auth", NODE);
    unknown["extra"] = json!(1);
    let mut short = ask(&request(&other, MEMBER, NODE), "auth", NODE);
    short["validity"] = json!("1h");
    let mut nameless = ask(&request(&other, MEMBER, NODE), "auth", NODE);
    nameless["organisation"] = json!(" ");
    for (body, status, told) in [
        // The key of NODE, for another node, for the member's seal, and for another member.
        (ask(&request(&key, MEMBER, "VN/GOV/H26/ss2"), "auth", "VN/GOV/H26/ss2"), 409, "another holder"),
        (ask(&request(&key, MEMBER, NODE), "sign", MEMBER), 409, "another holder"),
        (ask(&request(&key, "VN/GOV/H49", "x"), "sign", "VN/GOV/H49"), 409, "another holder"),
        // A request that names another.
        (ask(&request(&other, MEMBER, NODE), "auth", "VN/GOV/H26/ss2"), 422, "names VN/GOV/H26/ss1, not"),
        (ask(&request(&other, MEMBER, NODE), "sign", "VN/GOV/H49"), 422, "names VN/GOV/H26, not"),
        (ask(&request(&other, "VN/GOV/H49", NODE), "auth", NODE), 422, "not of member"),
        (ask(&request(&other, "", NODE), "sign", MEMBER), 422, "no valid code"),
        (ask(&request(&other, MEMBER, NODE), "sign", NODE), 422, "no member"),
        (ask(&forged, "auth", NODE), 400, "not by its own key"),
        (ask(b"", "auth", NODE), 400, "strict DER"),
        (ask(&[0x30; 20_000], "auth", NODE), 400, "16384"),
        (ask(&request(&other, MEMBER, NODE), "ca", NODE), 400, "ca"),
        (unknown, 400, "extra"),
        (short, 400, "1825d"),
        (nameless, 400, "organisation"),
        (json!({ "csr": "ä", "usage": "auth", "holder": NODE, "organisation": "x" }), 400, "base64"),
        (json!([]), 400, "body"),
    ] {
        let (got, answer) = bench.post("/issue", &body).await;
        let sentence = answer["error"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{body}: {sentence}");
        assert!(sentence.contains(told), "{sentence:?} does not say {told:?}");
    }
    let large = json!({ "csr": "x".repeat(70_000) });
    assert_eq!(bench.post("/issue", &large).await.0, 413);
    let lines = std::fs::read_to_string(bench.file("ledger.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4, "the PKI's own three and one issued");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_over_http_is_revoked_everywhere() {
    let bench = Bench::new().await;
    let csr = request(&KeyPair::generate().unwrap(), MEMBER, "H26");
    let issuer = bench.issuer();
    let issued = issuer.issue(&csr, Usage::Sign, MEMBER, "UBND").await.unwrap();
    let certificate = Certificate::from_der(&issued.certificate).unwrap();
    assert_eq!(
        (bench.verdict(&certificate).await, bench.listed(&certificate).await),
        (Verdict::Good, Verdict::Good)
    );
    issuer.revoke(&certificate.fingerprint(), "key-compromise").await.unwrap();
    assert!(matches!(bench.verdict(&certificate).await, Verdict::Revoked { .. }));
    assert!(matches!(bench.listed(&certificate).await, Verdict::Revoked { .. }));
    // A second time changes nothing, and tells the first.
    let again = json!({ "fingerprint": certificate.fingerprint(), "reason": "superseded" });
    assert_eq!(bench.post("/revoke", &again).await.1["reason"], "key-compromise");
    // The request does not get a revoked certificate again, nor a new one.
    let refused = issuer.issue(&csr, Usage::Sign, MEMBER, "UBND").await.unwrap_err();
    assert!(refused.to_string().contains("revoked"), "{refused}");
    let unknown = issuer.revoke(&Fingerprint::of(b"x"), "superseded").await.unwrap_err();
    assert!(matches!(&unknown, IssuerError::Refused(why) if why.contains("no certificate")), "{unknown}");
    assert_eq!(bench.post("/revoke", &json!({ "fingerprint": "x" })).await.0, 400);
    assert_eq!(
        bench.post("/revoke", &json!({ "fingerprint": certificate.fingerprint(), "reason": "mood" })).await.0,
        400
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_others_can_read_or_guess_opens_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new().await;
    let (token, long) = (bench.file("issuing-token"), Duration::from_secs(60));
    let dir = bench.stop().await;
    let config = PkiConfig::load(&dir.path().join("pki/pki.toml")).unwrap();
    let start = || async {
        let stop = CancellationToken::new();
        let running = truc_pki::run(&config, |_| stop.cancel(), stop.clone());
        tokio::time::timeout(long, running).await.unwrap()
    };
    start().await.unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(start().await, Err(PkiError::BadToken(_))));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&token, "short\n").unwrap();
    assert!(matches!(start().await, Err(PkiError::BadToken(_))));
    std::fs::remove_file(&token).unwrap();
    assert!(matches!(start().await, Err(PkiError::Io { .. })));
}
