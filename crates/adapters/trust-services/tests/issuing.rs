//! A pilot CA that answers well, badly, slowly or too much, in the clear on loopback and behind TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use truc_directory::Usage;
use truc_model::Fingerprint;
use truc_trust_services::{IssuerError, IssuerLimits, PilotIssuer};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What the server does with a request, once it is read.
#[derive(Clone)]
enum Act {
    Answer(u16, String),
    Hang,
    Close,
}

/// Reads one request, notes it, and acts.
async fn one(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: Act) -> String {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        read.extend_from_slice(&buffer[..n]);
        let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else {
            assert!(n > 0, "the head ends");
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if read.len() >= end + 4 + length {
            break;
        }
    }
    match act {
        Act::Answer(status, body) => {
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // The client may have had enough.
            let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
        }
        Act::Hang => std::future::pending().await,
        Act::Close => {}
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Serves one request in the clear.
async fn plain(act: Act) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { one(listener.accept().await.unwrap().0, act).await }))
}

struct Asker {
    csr: Vec<u8>,
    certificate: Vec<u8>,
}

fn asker() -> Asker {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Asker { csr, certificate: params.self_signed(&key).unwrap().der().to_vec() }
}

fn answer(certificate: &[u8]) -> Act {
    Act::Answer(200, json!({ "certificate": STANDARD.encode(certificate), "later": 1 }).to_string())
}

async fn issue(url: &str, csr: &[u8]) -> Result<Vec<u8>, IssuerError> {
    let limits = IssuerLimits { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
    let issuer = PilotIssuer::new(url, TOKEN, None, limits).unwrap();
    issuer
        .issue(csr, Usage::Sign, "VN/GOV/H26", "UBND thành phố Hà Nội")
        .await
        .map(|issued| issued.certificate)
}

#[tokio::test]
async fn the_answer_is_the_requested_keys_certificate_and_nothing_else() {
    let asker = asker();
    let (url, heard) = plain(answer(&asker.certificate)).await;
    assert_eq!(issue(&url, &asker.csr).await.unwrap(), asker.certificate);
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("POST /issue HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("Bearer {TOKEN}")));
    assert!(heard.contains("\"usage\":\"sign\"") && heard.contains("UBND thành phố Hà Nội"), "{heard}");

    let many: Vec<String> = (0..9).map(|_| STANDARD.encode(&asker.certificate)).collect();
    let many = json!({ "certificate": many[0], "intermediates": many }).to_string();
    let foreign = self::asker().certificate;
    let large = format!("{{\"certificate\":\"{}\"}}", "A".repeat(300_000));
    for (act, told) in [
        (answer(&foreign), "another key"),
        (answer(b"junk"), "strict DER"),
        (Act::Answer(200, "{\"certificate\":\"?\"}".into()), "base64"),
        (Act::Answer(200, "{}".into()), "certificate"),
        (Act::Answer(200, "no JSON".into()), "something else"),
        (Act::Answer(200, many), "more than 8"),
        (Act::Answer(200, large), "length limit"),
        (
            Act::Answer(409, json!({ "error": "khoá này / this key" }).to_string()),
            "refused: khoá này / this key",
        ),
        (Act::Answer(502, "<html>".into()), "refused: status 502"),
        (Act::Answer(307, String::new()), "refused: status 307"),
        (Act::Close, "does not answer"),
    ] {
        let (url, server) = plain(act).await;
        let error = issue(&url, &asker.csr).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error:?} does not say {told:?}");
        server.await.unwrap();
    }
    // What is no request is not sent anywhere.
    let refused = issue("http://127.0.0.1:1", b"junk").await.unwrap_err();
    assert!(matches!(refused, IssuerError::Refused(_)));
    let away = issue("http://127.0.0.1:1", &asker.csr).await.unwrap_err();
    assert!(matches!(away, IssuerError::Away { .. }), "{away}");
}

#[tokio::test]
async fn a_ca_that_hangs_is_not_waited_for() {
    let (url, server) = plain(Act::Hang).await;
    let limits = IssuerLimits { connect: Duration::from_secs(5), total: Duration::from_millis(50) };
    let issuer = PilotIssuer::new(&url, TOKEN, None, limits).unwrap();
    let error = issuer.issue(&asker().csr, Usage::Sign, "VN/GOV/H26", "x").await.unwrap_err();
    assert!(error.to_string().contains("50 ms"), "{error}");
    server.abort();
}

/// Serves one request behind TLS; answers the certificate's fingerprint.
async fn tls(act: Act) -> (String, Fingerprint, tokio::task::JoinHandle<Option<String>>) {
    let key = KeyPair::generate().unwrap();
    let shown = CertificateParams::new(vec!["pki.example.vn".into()]).unwrap().self_signed(&key).unwrap();
    let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.der().clone()], pkcs8)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.ok()?;
        Some(one(stream, act).await)
    });
    (url, Fingerprint::of(shown.der()), server)
}

#[tokio::test]
async fn behind_tls_only_the_pinned_certificate_hears_the_token() {
    let asker = asker();
    let ask = async |url: &str, pin| {
        let issuer = PilotIssuer::new(url, TOKEN, Some(pin), IssuerLimits::default()).unwrap();
        issuer.issue(&asker.csr, Usage::Sign, "VN/GOV/H26", "x").await
    };
    let (url, pin, server) = tls(answer(&asker.certificate)).await;
    assert_eq!(ask(&url, pin).await.unwrap().certificate, asker.certificate);
    assert!(server.await.unwrap().unwrap().contains(TOKEN));

    let (url, _, server) = tls(answer(&asker.certificate)).await;
    let error = ask(&url, Fingerprint::of(b"another")).await.unwrap_err();
    assert!(error.to_string().contains("not the pinned one"), "{error}");
    assert_eq!(server.await.unwrap(), None, "no request came");
}
