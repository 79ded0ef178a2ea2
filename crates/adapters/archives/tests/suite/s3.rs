use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use truc_archives::{OpenError, S3Archive, S3Settings};
use truc_evidence::{ArchiveError, ArchiveStore, Content, fetch};

use crate::server::{BUCKET, Server};

#[tokio::test]
async fn the_contract_at_a_real_server() {
    let Some(server) = Server::start().await else { return };
    let archive = S3Archive::open(&server.settings()).unwrap();
    truc_evidence::contract::archive(&archive).await.unwrap();
    let own = S3Settings { prefix: "nodes/h26-ss1".into(), ..server.settings() };
    archive.put("others.seg", Bytes::from_static(b"other")).await.unwrap();
    let below = S3Archive::open(&own).unwrap();
    truc_evidence::contract::archive(&below).await.unwrap();
    below.put("a.seg", Bytes::from_static(b"a")).await.unwrap();
    assert_eq!(archive.get("nodes/h26-ss1/a.seg").await.unwrap(), "a", "each node has a prefix of its own");
}

/// A whole segment travels, also over TLS, and only to a server whose certificate the CA file vouches for.
#[tokio::test]
async fn a_segment_over_tls() {
    let Some(server) = Server::start().await else { return };
    let (address, ca_file) = server.with_tls().await;
    let endpoint = format!("https://localhost:{}", address.port());
    let settings = S3Settings { endpoint, ca_file: Some(ca_file), ..server.settings() };
    let archive = S3Archive::open(&settings).unwrap();
    let segment: Bytes = (0..70_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let content = Content::of(&segment);
    archive.put("journal/big.seg", segment.clone()).await.unwrap();
    assert_eq!(fetch(&archive, "journal/big.seg", &content).await.unwrap(), segment);

    let strange = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let file = server.dir.path().join("strange.pem");
    std::fs::write(&file, strange.cert.pem()).unwrap();
    let wrong = S3Archive::open(&S3Settings { ca_file: Some(file), ..settings.clone() }).unwrap();
    assert!(matches!(wrong.get("journal/big.seg").await, Err(ArchiveError::Away(_))));
    let none = S3Archive::open(&S3Settings { ca_file: None, ..settings });
    assert!(matches!(none, Err(OpenError::Settings(_))), "there are no built-in CAs");
}

#[tokio::test]
async fn who_may_not_and_what_is_not_there() {
    let Some(mut server) = Server::start().await else { return };
    let archive = S3Archive::open(&server.settings()).unwrap();
    archive.put("a.seg", Bytes::from_static(b"a")).await.unwrap();
    std::fs::write(server.dir.path().join("wrong"), "not the secret").unwrap();
    let wrong = S3Settings { secret_key_file: server.dir.path().join("wrong"), ..server.settings() };
    let wrong = S3Archive::open(&wrong).unwrap();
    for outcome in [wrong.get("a.seg").await.map(drop), wrong.put("b.seg", Bytes::new()).await] {
        assert!(matches!(outcome, Err(ArchiveError::Refused(_))), "{outcome:?}");
    }
    let elsewhere = S3Settings { bucket: "no-such-bucket".into(), ..server.settings() };
    let elsewhere = S3Archive::open(&elsewhere).unwrap().get("a.seg").await;
    assert!(
        matches!(elsewhere, Err(ArchiveError::Refused(_))),
        "no bucket is not a missing object: {elsewhere:?}"
    );

    // What the disk under the server did to it.
    std::fs::write(server.dir.path().join("store").join(BUCKET).join("a.seg"), "b").unwrap();
    let damaged = fetch(&archive, "a.seg", &Content::of(b"a")).await;
    assert!(matches!(damaged, Err(ArchiveError::Damaged(_))), "{damaged:?}");

    server.stop();
    let away = archive.get("a.seg").await;
    assert!(matches!(away, Err(ArchiveError::Away(_))), "{away:?}");
    server.restart().await;
    assert_eq!(archive.get("a.seg").await.unwrap(), "b", "and it is back by itself");
}

/// A server that fails a few times is asked again; one that fails always is given up.
#[tokio::test]
async fn tries_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "key\n").unwrap();
    let settings = S3Settings {
        endpoint: format!("http://{address}"),
        bucket: BUCKET.into(),
        prefix: String::new(),
        region: "us-east-1".into(),
        access_key_file: file.clone(),
        secret_key_file: file,
        ca_file: None,
    };
    let archive = S3Archive::open(&settings).unwrap();
    assert!(matches!(archive.get("a.seg").await, Err(ArchiveError::Away(_))));
    assert_eq!(asked.load(Ordering::SeqCst), 4, "once, and three times again");
}
