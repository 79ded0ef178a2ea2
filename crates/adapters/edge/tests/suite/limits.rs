//! Limits: nobody holds the edge open, and nothing is cut that was begun.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truc_edge::EdgeConfig;

use crate::node::{Answer, CLIENT, Node, SERVICE};

fn config() -> EdgeConfig {
    EdgeConfig { body_limit: 1000, ..EdgeConfig::default() }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let node = Node::with(config(), 9).await;
    let fits = vec![b'x'; 1000];
    assert_eq!(node.send(&format!("POST {SERVICE}"), CLIENT, &fits).await.status, 200);
    let answer = node.send(&format!("POST {SERVICE}"), CLIENT, &[b'x'; 1001]).await;
    assert_eq!((answer.status, answer.one("x-road-error")), (413, "client.too_large"));
    // Announced and waiting for 100 Continue: refused without a byte of it.
    let expect = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(node.raw(expect.as_bytes()).await.status, 413);
    let head = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    assert_eq!(node.raw(format!("{head}{chunk}").as_bytes()).await.status, 413);
    assert_eq!(node.consumer.drafts.lock().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_head_over_the_limit_or_with_too_many_fields_is_refused() {
    let node = Node::with(EdgeConfig { header_limit: 8 * 1024, ..config() }, 9).await;
    let long = format!("{CLIENT}X-Long: {}\r\n", "x".repeat(64 * 1024));
    assert_eq!(node.send(&format!("GET {SERVICE}"), &long, b"").await.status, 431);
    let many = format!("{CLIENT}{}", "x: 1\r\n".repeat(230));
    assert_eq!(node.send(&format!("GET {SERVICE}"), &many, b"").await.status, 400);
    node.stop().await;
}

#[tokio::test]
async fn slow_heads_bodies_and_silent_connections_are_given_up() {
    let short = Duration::from_millis(100);
    let hasty = EdgeConfig { head_timeout: short, idle_timeout: short, ..config() };
    let node = Node::with(hasty, 9).await;
    let mut seen = Vec::new();
    for begun in ["", "PRI * HT", "GET /r1/VN"] {
        let mut stream = node.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut seen)).await;
        assert!(closed.is_ok(), "{begun:?} is not given up");
    }
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;

    let node = Node::with(EdgeConfig { body_timeout: short, ..config() }, 9).await;
    let mut stream = node.connect().await;
    let head = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}Content-Length: 9\r\n\r\nab"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::read(stream).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["reason"].as_str().unwrap().contains("did not arrive"));
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn one_call_too_many_is_told_busy() {
    let node = Node::with(EdgeConfig { max_calls: 1, ..config() }, 0).await;
    let mut first = node.connect().await;
    let line = format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}\r\n");
    first.write_all(line.as_bytes()).await.unwrap();
    node.consumer.entered.acquire().await.unwrap().forget();
    let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
    assert_eq!((answer.status, answer.one("x-road-error")), (503, "server.clientproxy.busy"));
    assert_eq!(answer.one("retry-after"), "1");
    // The list of clients is no call.
    assert_eq!(node.send("GET /listClients", "", b"").await.status, 200);
    node.consumer.gate.add_permits(1);
    assert_eq!(Answer::read(first).await.status, 200);
    node.stop().await;
}

/// Begins a call whose body of 9 bytes is being read: the edge asks for it.
async fn begin(node: &Node) -> TcpStream {
    let mut stream = node.connect().await;
    let head = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn slow_bodies_do_not_use_up_the_calls() {
    let node = Node::with(EdgeConfig { max_calls: 1, ..config() }, 9).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(begin(&node).await);
    }
    assert_eq!(node.send(&format!("POST {SERVICE}"), CLIENT, b"quick").await.status, 200);
    for mut stream in slow {
        stream.write_all(b"123456789").await.unwrap();
        assert_eq!(Answer::read(stream).await.status, 200);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_body_below_the_slowest_rate_is_given_up() {
    let short = Duration::from_millis(100);
    let node = Node::with(EdgeConfig { body_start: short, ..config() }, 9).await;
    let mut stream = begin(&node).await;
    stream.write_all(b"ab").await.unwrap();
    let answer = Answer::read(stream).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["reason"].as_str().unwrap().contains("1024 bytes/s"));
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn bodies_that_do_not_fit_beside_those_being_read_are_told_busy() {
    // A request counts 4096 bytes, its fields and its body.
    let node = Node::with(EdgeConfig { body_memory: 5000, ..config() }, 9).await;
    let post = format!("POST {SERVICE}");
    let answer = node.send(&post, CLIENT, &[b'x'; 905 + 64]).await;
    assert_eq!((answer.status, answer.one("x-road-error")), (503, "server.clientproxy.busy"));
    assert_eq!(answer.one("retry-after"), "1");
    let mut reading = begin(&node).await;
    assert_eq!(node.send(&post, CLIENT, b"x").await.status, 503);
    // Without a body there is nothing to hold.
    assert_eq!(node.send(&format!("GET {SERVICE}"), CLIENT, b"").await.status, 200);
    reading.write_all(b"123456789").await.unwrap();
    assert_eq!(Answer::read(reading).await.status, 200);
    // All of it was given back.
    assert_eq!(node.send(&post, CLIENT, &[b'x'; 256]).await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn a_call_goes_on_when_its_caller_hangs_up_and_the_stop_waits_for_it() {
    let node = Node::with(config(), 0).await;
    let mut stream = node.connect().await;
    stream.write_all(format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}\r\n").as_bytes()).await.unwrap();
    node.consumer.entered.acquire().await.unwrap().forget();
    drop(stream);
    node.shutdown.cancel();
    node.answer_with(Ok(crate::node::reply(200, b"done")));
    node.consumer.gate.add_permits(1);
    let consumer = node.consumer.clone();
    node.stop().await;
    assert!(consumer.answers.lock().unwrap().is_empty(), "the exchange was carried to its end");
}

#[tokio::test]
async fn a_stop_lets_calls_end_then_cuts_them() {
    let node = Node::with(config(), 0).await;
    let mut stream = node.connect().await;
    stream.write_all(format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}\r\n").as_bytes()).await.unwrap();
    node.consumer.entered.acquire().await.unwrap().forget();
    node.shutdown.cancel();
    node.consumer.gate.add_permits(1);
    assert_eq!(
        Answer::read(stream).await.status,
        200,
        "a call under way is answered, then the connection ends"
    );
    node.stop().await;

    let node = Node::with(EdgeConfig { drain: Duration::from_millis(50), ..config() }, 0).await;
    let mut stream = node.connect().await;
    stream.write_all(format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}\r\n").as_bytes()).await.unwrap();
    node.consumer.entered.acquire().await.unwrap().forget();
    node.stop().await;
}
