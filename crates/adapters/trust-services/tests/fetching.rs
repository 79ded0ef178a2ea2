//! Responders that work, refuse, hang or talk too much.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]
#![allow(missing_docs, reason = "a test")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_model::{Clock as _, SystemClock};
use truc_trust::contract::{Answering, status_source};
use truc_trust::{Certificate, Verdict, ocsp};
use truc_trust_services::{FetchLimits, OcspHttp};

type Answer = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A server that reads one request per connection and answers what `answer` makes of its body.
async fn server(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, Arc::clone(&answer)));
        }
    });
    format!("http://{address}/ocsp")
}

async fn one(mut stream: TcpStream, answer: Answer) {
    let mut read = Vec::new();
    let body = loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        read.extend_from_slice(&buffer[..n]);
        let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if read.len() >= end + 4 + length {
            break read[end + 4..].to_vec();
        }
    };
    // The client may have hung up; that is its right.
    let _ = stream.write_all(&answer(&body)).await;
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn quick() -> OcspHttp {
    OcspHttp::new(FetchLimits { total: Duration::from_millis(500), ..FetchLimits::default() })
}

#[tokio::test]
async fn a_list_comes_whole_or_not_at_all() {
    let url = server(Arc::new(|_| ok(&[7; 1024 * 1024]))).await;
    let client = OcspHttp::default();
    assert_eq!(client.fetch_crl(&url).await.unwrap().len(), 1024 * 1024);
    let bad: [(Answer, &str); 4] = [
        (Arc::new(|_| ok(&[7; 1024 * 1024 + 1])), "length limit exceeded"),
        (
            Arc::new(|_| {
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()
            }),
            "302",
        ),
        (Arc::new(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()), "body"),
        (Arc::new(|_| b"nonsense\r\n\r\n".to_vec()), "pars"),
    ];
    for (answer, reason) in bad {
        let error = client.fetch_crl(&server(answer).await).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_responder_that_hangs_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/crl", listener.local_addr().unwrap());
    let error = quick().fetch_crl(&url).await.unwrap_err().to_string();
    assert!(error.contains("no whole answer within 500 ms"), "{error}");
}

#[tokio::test]
async fn only_plain_http_is_asked() {
    for url in ["https://example.vn/crl", "file:///etc/passwd", "example.vn", "", "http://"] {
        assert!(OcspHttp::default().fetch_crl(url).await.is_err(), "{url}");
    }
}

/// A CA made by openssl, in a folder; none, said loudly, where there is no openssl.
fn authority(dir: &Path) -> Option<(Certificate, Certificate)> {
    let script = "
        openssl ecparam -name prime256v1 -genkey -noout -out ca.key &&
        openssl req -x509 -new -key ca.key -days 2 -subj /O=Pilot/CN=CA -out ca.pem -addext keyUsage=critical,keyCertSign,cRLSign &&
        openssl ecparam -name prime256v1 -genkey -noout -out a.key &&
        printf 'keyUsage=critical,digitalSignature\\n' > ext &&
        openssl req -new -key a.key -subj /CN=a -out a.csr &&
        openssl x509 -req -in a.csr -CA ca.pem -CAkey ca.key -set_serial 0x1001 -days 2 -extfile ext -out a.pem &&
        printf 'V\\t491231235959Z\\t\\t1001\\tunknown\\t/CN=a\\n' > index.txt";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is needed: {made:?}");
        eprintln!("SKIPPED: an OCSP responder by openssl (it does not run here)");
        return None;
    }
    let read = |name: &str| Certificate::from_pem(&std::fs::read(dir.join(name)).unwrap()).unwrap();
    Some((read("a.pem"), read("ca.pem")))
}

/// Answers as openssl's responder would.
fn openssl_answer(dir: &Path, request: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join("request"), request).unwrap();
    let arguments = "ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -ndays 1 -reqin request -respout answer";
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    ok(&std::fs::read(dir.join("answer")).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_responder_that_answers_counts() {
    let dir = tempfile::tempdir().unwrap();
    let Some((certificate, issuer)) = authority(dir.path()) else { return };
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let try_later = server(Arc::new(|_| ok(&[0x30, 3, 10, 1, 3]))).await;
    let chatty = server(Arc::new(|_| ok(&[0; 70_000]))).await;
    let folder = dir.path().to_owned();
    let good = server(Arc::new(move |request| openssl_answer(&folder, request))).await;

    let urls = [nobody.clone(), try_later.clone(), chatty.clone(), good];
    let answer = OcspHttp::default().fetch(&certificate, &issuer, &urls).await.unwrap();
    let status = ocsp::read(&answer).unwrap().judge(&certificate, &issuer, SystemClock.now()).unwrap();
    assert_eq!(status.verdict, Verdict::Good);

    let error = OcspHttp::default().fetch(&certificate, &issuer, &urls[..3]).await.unwrap_err().to_string();
    for url in [&nobody, &try_later, &chatty] {
        assert!(error.contains(url.as_str()), "{error}");
    }
    let approved = |urls: &[String]| ApprovedAuthority {
        name: "Pilot".to_owned(),
        certificate: Der(issuer.der().to_vec().into()),
        intermediates: Vec::new(),
        usages: vec![Usage::Sign, Usage::Auth],
        profile: Profile::Truc1,
        ocsp: urls.to_vec(),
        crl: None,
    };
    let (up, down) = (approved(&urls), approved(&urls[..3]));
    let on = Answering { certificate: &certificate, issuer: &issuer, up: &up, down: &down };
    status_source(&OcspHttp::default(), on, SystemClock.now()).await.unwrap();
    let none = OcspHttp::default().fetch(&certificate, &issuer, &[]).await.unwrap_err().to_string();
    assert!(none.contains("no OCSP responder"), "{none}");
}
