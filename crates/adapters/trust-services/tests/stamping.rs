//! Time-stamp authorities that work, refuse, hang or talk too much.
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

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use truc_model::{Clock as _, SystemClock};
use truc_trust::Certificate;
use truc_trust::contract::{StampingAuthorities, time_stamp_source};
use truc_trust::timestamp::{SIZE_LIMIT, TimeStampAuthority, TimeStampSource as _};
use truc_trust_services::TimeStampHttp;

type Answer = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// Reads one request per connection and answers what `answer` makes of its head and body.
async fn server(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            let (head, body) = loop {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).await.unwrap();
                read.extend_from_slice(&buffer[..n]);
                let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                let length: usize = length.unwrap_or(0);
                if read.len() >= end + 4 + length {
                    break (head, read[end + 4..].to_vec());
                }
            };
            // The client may have hung up; that is its right.
            let _ = stream.write_all(&answer(&head, &body)).await;
        }
    });
    format!("http://{address}/tsa")
}

fn answered(media: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn reply(body: &[u8]) -> Vec<u8> {
    answered("application/timestamp-reply", body)
}

/// An authority of openssl's in a folder; none, said loudly, where there is no openssl.
fn authority(dir: &Path) -> Option<Certificate> {
    let script = "
        openssl ecparam -name prime256v1 -genkey -noout -out tsa.key &&
        openssl req -x509 -new -key tsa.key -days 2 -subj /O=Pilot/CN=TSA -out tsa.pem -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=critical,timeStamping &&
        printf '01\\n' > serial &&
        printf '[tsa]\\ndefault_tsa=t\\n[t]\\nserial=serial\\nsigner_cert=tsa.pem\\nsigner_key=tsa.key\\ndefault_policy=1.2.3.4.1\\ndigests=sha256\\nsigner_digest=sha256\\n' > ts.cnf";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is needed: {made:?}");
        eprintln!("SKIPPED: a time-stamp authority by openssl (it does not run here)");
        return None;
    }
    Some(Certificate::from_pem(&std::fs::read(dir.join("tsa.pem")).unwrap()).unwrap())
}

fn openssl_answer(dir: &Path, head: &str, request: &[u8]) -> Vec<u8> {
    assert!(head.starts_with("post /tsa http/1.1"), "{head}");
    assert!(head.contains("content-type: application/timestamp-query"), "{head}");
    std::fs::write(dir.join("request"), request).unwrap();
    let arguments = "ts -reply -config ts.cnf -queryfile request -out answer";
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    answered("Application/Timestamp-Reply; charset=binary", &std::fs::read(dir.join("answer")).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificate) = authority(dir.path()) else { return };
    let folder = dir.path().to_owned();
    let url = server(Arc::new(move |head, request| openssl_answer(&folder, head, request))).await;
    let up = TimeStampAuthority { name: "TSA".into(), certificate, url };
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    // Connections wait in the listener's queue for ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let on = StampingAuthorities { up: &up, down: &down, silent: &silent_url };
    time_stamp_source(&TimeStampHttp::new(), on, SystemClock.now()).await.unwrap();
}

#[tokio::test]
async fn only_a_whole_reply_of_the_right_type_is_taken() {
    let long = Duration::from_secs(10);
    let fetch = async |answer: Answer| {
        TimeStampHttp::new().fetch(&server(answer).await, Bytes::from_static(b"q"), long).await
    };
    let most = fetch(Arc::new(|_, _| reply(&[7; SIZE_LIMIT]))).await.unwrap();
    assert_eq!(most.len(), SIZE_LIMIT);
    let bad: [(Answer, &str); 6] = [
        (Arc::new(|_, _| reply(&[7; SIZE_LIMIT + 1])), "length limit exceeded"),
        (Arc::new(|_, _| answered("text/html", b"<html>")), "timestamp-reply"),
        (Arc::new(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx".to_vec()), "timestamp-reply"),
        (Arc::new(|_, _| b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()), "500"),
        (
            Arc::new(|_, _| {
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()
            }),
            "302",
        ),
        (Arc::new(|_, _| b"nonsense\r\n\r\n".to_vec()), "pars"),
    ];
    for (answer, reason) in bad {
        let error = fetch(answer).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    for url in ["https://example.vn/tsa", "file:///etc/passwd", ""] {
        let outcome = TimeStampHttp::new().fetch(url, Bytes::from_static(b"q"), long).await;
        assert!(outcome.is_err(), "{url}");
    }
}
