//! Responders that work, refuse, hang or talk too much.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]
#![allow(missing_docs, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_keys::KeyKind;
use truc_model::{Clock as _, Digest, ManualClock, MemberId, SystemClock};
use truc_testkit::authority::Authority;
use truc_testkit::memory_signer::TestKey;
use truc_trust::contract::{Answering, status_source};
use truc_trust::{Certificate, StatusBook, StatusPolicy, StatusSource as _, Subject, TrustError, Verdict};
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
    assert_eq!(client.revocation_list(&url).await.unwrap().len(), 1024 * 1024);
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
        let error = client.revocation_list(&server(answer).await).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_responder_that_hangs_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/crl", listener.local_addr().unwrap());
    let error = quick().revocation_list(&url).await.unwrap_err().to_string();
    assert!(error.contains("no whole answer within 500 ms"), "{error}");
}

#[tokio::test]
async fn only_plain_http_is_asked() {
    for url in ["https://example.vn/crl", "file:///etc/passwd", "example.vn", "", "http://"] {
        assert!(OcspHttp::default().revocation_list(url).await.is_err(), "{url}");
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

    let on = Answering { certificate: &certificate, issuer: &issuer, up: &good, down: &nobody };
    status_source(&OcspHttp::default(), on, SystemClock.now()).await.unwrap();
    let approved = |ocsp: &[String]| ApprovedAuthority {
        name: "Pilot".to_owned(),
        certificate: Der(issuer.der().to_vec().into()),
        intermediates: Vec::new(),
        usages: vec![Usage::Sign, Usage::Auth],
        profile: Profile::Truc1,
        ocsp: ocsp.to_vec(),
        crl: None,
    };
    let book = || StatusBook::new(Arc::new(OcspHttp::default()), StatusPolicy::default(), Digest([0; 32]));
    let urls = [nobody.clone(), try_later.clone(), chatty.clone(), good];
    let authority = approved(&urls);
    let subject = Subject { certificate: &certificate, issuer: &issuer, authority: &authority };
    let accepted = book().establish(&subject, &[], SystemClock.now()).await.unwrap();
    assert_eq!(accepted.known.unwrap().status.verdict, Verdict::Good);

    let authority = approved(&urls[..3]);
    let subject = Subject { certificate: &certificate, issuer: &issuer, authority: &authority };
    let error = book().renew(&subject, SystemClock.now()).await.unwrap_err().to_string();
    for url in [&nobody, &try_later, &chatty] {
        assert!(error.contains(url.as_str()), "{error}");
    }
    let authority = approved(&[]);
    let subject = Subject { certificate: &certificate, issuer: &issuer, authority: &authority };
    let none = book().renew(&subject, SystemClock.now()).await.unwrap_err().to_string();
    assert!(none.contains("no OCSP responder"), "{none}");
}

/// A responder and a list behind one address each, which can go away and come back.
struct Site {
    address: SocketAddr,
    answer: Answer,
    task: Option<JoinHandle<()>>,
}

impl Site {
    async fn up(answer: Answer) -> Self {
        let mut site = Self { address: ([127, 0, 0, 1], 0).into(), answer, task: None };
        site.come_back().await;
        site
    }

    async fn come_back(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        // Connections of before may still be in TIME_WAIT.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap();
        self.address = listener.local_addr().unwrap();
        let answer = Arc::clone(&self.answer);
        self.task = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one(stream, Arc::clone(&answer)));
            }
        }));
    }

    async fn go_away(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        drop(task.await);
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Services of the real kind go away and come back, and the node follows without being told; only the clock is the test's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_degrades_and_heals_by_itself() {
    let clock = Arc::new(ManualClock::new("2026-11-22T08:00:00.000Z".parse().unwrap()));
    let now = || clock.now();
    let ca = Arc::new(Authority::new("CA"));
    let member: MemberId = "VN/GOV/G01".parse().unwrap();
    let seal = ca.seal(&member, &TestKey::generate(KeyKind::EcP256));
    let answer: Answer = {
        let (ca, clock, seal) = (Arc::clone(&ca), Arc::clone(&clock), seal.clone());
        Arc::new(move |_| ok(&ca.status(&seal, Verdict::Good, clock.now())))
    };
    let list: Answer = {
        let (ca, clock) = (Arc::clone(&ca), Arc::clone(&clock));
        Arc::new(move |_| ok(&ca.list(&[], clock.now())))
    };
    let (mut responder, mut lists) = (Site::up(answer).await, Site::up(list).await);
    let authority =
        ApprovedAuthority { ocsp: vec![responder.url()], crl: Some(lists.url()), ..ca.approved("CA") };
    let source = Arc::new(OcspHttp::default());
    let book = StatusBook::new(source, StatusPolicy::default(), Digest([0; 32]));
    let subject = Subject { certificate: &seal, issuer: ca.certificate(), authority: &authority };
    let judged = async || {
        let accepted = book.establish(&subject, &[], now()).await;
        accepted.map(|accepted| (accepted.graced, accepted.list.is_some()))
    };
    let hours = |n: u64| clock.advance(Duration::from_secs(n * 3600 + 60));

    assert_eq!(judged().await, Ok((false, false)), "all is well");
    responder.go_away().await;
    hours(1);
    assert_eq!(judged().await, Ok((false, true)), "the list stands in");
    lists.go_away().await;
    hours(1);
    assert_eq!(judged().await, Ok((true, true)), "the list of an hour ago, by grace");
    hours(9);
    assert_eq!(judged().await, Ok((true, true)));
    hours(2);
    assert!(matches!(judged().await, Err(TrustError::StatusUnavailable(_))), "past every grace");
    lists.come_back().await;
    hours(0);
    hours(0);
    assert_eq!(judged().await, Ok((false, true)), "the list is back");
    responder.come_back().await;
    hours(1);
    hours(0);
    assert_eq!(judged().await, Ok((false, false)), "and so is the responder");
}
