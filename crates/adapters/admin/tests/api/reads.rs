//! Searches and exports have places of their own, and what waits for one is bounded.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use truc_admin::{AdminClient, ClientError, EVIDENCE_ASKED, EVIDENCE_READS, EvidenceSearch, Role};

use crate::node::{EXCHANGE, start, token};

#[tokio::test]
async fn a_flood_of_searches_leaves_the_door_to_others() {
    let node = start().await;
    let client = AdminClient::new(&node.url, &token(Role::Administrator)).unwrap();
    node.hold_searches();
    let search = || {
        let client = client.clone();
        tokio::spawn(async move { client.evidence_search(&EvidenceSearch::default()).await })
    };
    let first: Vec<_> = (0..EVIDENCE_READS).map(|_| search()).collect();
    node.searches_have_begun(EVIDENCE_READS).await;
    // As many as may wait, and many more, which are told at once.
    let waiting = EVIDENCE_ASKED - EVIDENCE_READS;
    let mut rest = JoinSet::new();
    for _ in 0..waiting + 20 {
        let client = client.clone();
        rest.spawn(async move { client.evidence_search(&EvidenceSearch::default()).await });
    }
    for _ in 0..20 {
        match rest.join_next().await.unwrap().unwrap() {
            Err(ClientError::Refused { fault, .. }) => assert_eq!(fault.code, "BUSY"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rest.len(), waiting);
    assert!(!node.another_search_has_begun(), "no more than {EVIDENCE_READS} are at work");
    let export = client.evidence_container(EXCHANGE.parse().unwrap()).await;
    assert!(matches!(export, Err(ClientError::Refused { fault, .. }) if fault.code == "BUSY"));
    client.status().await.unwrap();
    client.services().await.unwrap();
    node.release_searches();
    for task in first {
        task.await.unwrap().unwrap();
    }
    for answered in rest.join_all().await {
        answered.unwrap();
    }
    client.evidence_container(EXCHANGE.parse().unwrap()).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn whoever_goes_away_keeps_the_place_until_the_work_is_done() {
    let node = start().await;
    let client = AdminClient::new(&node.url, &token(Role::Administrator)).unwrap();
    node.hold_searches();
    let search = |client: AdminClient| {
        tokio::spawn(async move { client.evidence_search(&EvidenceSearch::default()).await })
    };
    // Connections of their own, which end with their callers.
    for _ in 0..EVIDENCE_READS {
        let gone = AdminClient::new(&node.url, &token(Role::Administrator)).unwrap();
        let task = search(gone);
        node.searches_have_begun(1).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let next = search(client.clone());
    client.status().await.unwrap();
    assert!(!node.another_search_has_begun(), "all places are at work still");
    node.release_searches();
    next.await.unwrap().unwrap();
    node.stop().await;
}

/// A connection that breaks off is told apart from an answer that is none: whoever exports many asks again.
#[tokio::test]
async fn a_lost_connection_is_called_so() {
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(said).await.unwrap();
        });
        let client = AdminClient::new(&url, "token").unwrap();
        let lost = client.evidence_container(EXCHANGE.parse().unwrap()).await.unwrap_err();
        assert!(matches!(lost, ClientError::Lost { .. }), "{lost:?}");
        server.await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"SSH-2.0-other\r\n\r\n").await.unwrap();
    });
    let other = AdminClient::new(&url, "token").unwrap().status().await.unwrap_err();
    assert!(matches!(other, ClientError::BadAnswer { .. }), "{other:?}");
    server.await.unwrap();
}
