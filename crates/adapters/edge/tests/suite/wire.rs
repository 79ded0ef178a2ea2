//! HTTP as information systems in the field speak it: what passes, what ends at this door, what is never added.

use bytes::Bytes;
use truc_exchange::Reply;

use crate::node::{CLIENT, Node, SERVICE, id};

fn field(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

fn reply(status: u16, headers: Vec<(String, Vec<u8>)>, body: &'static [u8]) -> Reply {
    Reply {
        request: id(),
        status,
        headers,
        media_type: Some("text/plain".into()),
        body: truc_message::Body::new(Bytes::from_static(body)),
    }
}

#[tokio::test]
async fn ranges_and_conditions_pass_both_ways() {
    let node = Node::start().await;
    let headers =
        vec![field("content-range", "bytes 0-2/9"), field("accept-ranges", "bytes"), field("etag", "\"v1\"")];
    node.answer_with(Ok(reply(206, headers, b"abc")));
    let asked = "Range: bytes=0-2\r\nIf-Range: \"v1\"\r\nIf-None-Match: \"v0\"\r\nIf-Modified-Since: Sat, 21 Nov 2026 03:04:05 GMT\r\n";
    let answer = node.send(&format!("GET {SERVICE}"), &format!("{CLIENT}{asked}"), b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (206, b"abc".as_slice()));
    assert_eq!((answer.one("content-range"), answer.one("etag")), ("bytes 0-2/9", "\"v1\""));
    let names: Vec<String> = node.draft().headers.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["range", "if-range", "if-none-match", "if-modified-since"]);
    node.answer_with(Ok(reply(304, vec![field("etag", "\"v1\"")], b"")));
    let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
    assert_eq!((answer.status, answer.one("etag"), answer.body.len()), (304, "\"v1\"", 0));
    node.stop().await;
}

#[tokio::test]
async fn encodings_caching_and_cors_are_left_to_the_two_ends() {
    let node = Node::start().await;
    let zipped: &[u8] = b"\x1f\x8b\x08 not really";
    let headers = vec![
        field("content-encoding", "gzip"),
        field("vary", "Origin"),
        field("cache-control", "max-age=60"),
    ];
    node.answer_with(Ok(reply(200, headers, zipped)));
    let asked = format!(
        "{CLIENT}Accept-Encoding: gzip, br\r\nContent-Encoding: deflate\r\nOrigin: http://a\r\nCache-Control: no-cache\r\n"
    );
    let answer = node.send(&format!("POST {SERVICE}"), &asked, b"\x78\x9c").await;
    assert_eq!((answer.one("content-encoding"), answer.body.as_slice()), ("gzip", zipped));
    let draft = node.draft();
    let sent: Vec<&str> = draft.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(sent, ["accept-encoding", "content-encoding", "origin", "cache-control"]);
    assert_eq!(Node::bytes(&draft).as_ref(), b"\x78\x9c");
    // The same question again is a call again.
    node.answer_with(Ok(reply(200, vec![], b"")));
    let preflight = format!("{CLIENT}Origin: http://a\r\nAccess-Control-Request-Method: PUT\r\n");
    let answer = node.send(&format!("OPTIONS {SERVICE}"), &preflight, b"").await;
    assert_eq!(node.draft().method, "OPTIONS");
    assert!(
        !answer.fields.iter().any(|(name, _)| name.starts_with("access-control-")),
        "{:?}",
        answer.fields
    );
    node.stop().await;
}

#[tokio::test]
async fn a_date_is_there_once_whether_the_service_gave_one_or_not() {
    let node = Node::start().await;
    for headers in [vec![], vec![field("date", "Sat, 21 Nov 2026 03:04:05 GMT")]] {
        node.answer_with(Ok(reply(200, headers, b"")));
        assert_eq!(node.send(&format!("GET {SERVICE}"), CLIENT, b"").await.all("date").len(), 1);
    }
    let fault = node.send(&format!("GET {SERVICE}"), "", b"").await;
    assert_eq!((fault.status, fault.all("date").len()), (400, 1));
    node.stop().await;
}

#[tokio::test]
async fn old_and_odd_request_lines_are_understood() {
    let node = Node::start().await;
    let old = format!("GET {SERVICE}/1 HTTP/1.0\r\n{CLIENT}\r\n");
    let answer = node.raw(old.as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert!(answer.all("transfer-encoding").is_empty(), "HTTP/1.0 knows no chunks");
    assert_eq!(node.draft().path.as_str(), "/1");
    // Absolute form: the host in it is of no account, the address is.
    let absolute = format!(
        "GET http://elsewhere.example:99{SERVICE}//a//?b HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}\r\n"
    );
    assert_eq!(node.raw(absolute.as_bytes()).await.status, 200);
    let draft = node.draft();
    assert_eq!((draft.path.as_str(), draft.query.unwrap().as_str()), ("//a//", "b"));
    assert!(draft.headers.is_empty(), "no Host travels: {:?}", draft.headers);
    node.stop().await;
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_never_a_second_request() {
    let node = Node::start().await;
    // Two different lengths: refused. A length beside chunks: the chunks count, and what follows is not smuggled in.
    let two = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    );
    assert_eq!(node.raw(two.as_bytes()).await.status, 400);
    let both = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nab\r\n0\r\n\r\nGET {SERVICE}/smuggled HTTP/1.1\r\nHost: n\r\n{CLIENT}\r\n"
    );
    node.raw(both.as_bytes()).await;
    let drafts = node.consumer.drafts.lock().unwrap().drain(..).collect::<Vec<_>>();
    assert!(drafts.len() <= 1 && drafts.iter().all(|d| Node::bytes(d).as_ref() == b"ab"), "{drafts:?}");
    node.stop().await;
}

#[tokio::test]
async fn empty_bodies_are_empty_however_they_are_announced() {
    let node = Node::start().await;
    for announced in ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        let end = if announced.starts_with('T') { "0\r\n\r\n" } else { "" };
        let request = format!(
            "POST {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{CLIENT}{announced}\r\n{end}"
        );
        assert_eq!(node.raw(request.as_bytes()).await.status, 200, "{announced}");
        assert!(Node::bytes(&node.draft()).is_empty());
    }
    node.answer_with(Ok(Reply {
        request: id(),
        status: 200,
        headers: vec![],
        media_type: None,
        body: truc_message::Body::empty(),
    }));
    let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
    assert_eq!((answer.one("content-length"), answer.all("content-type").len()), ("0", 0));
    node.stop().await;
}

#[tokio::test]
async fn a_represented_party_and_a_target_have_their_form() {
    let node = Node::start().await;
    for (fields, fine) in [
        ("X-Road-Represented-Party: 0123456789\r\n", true),
        ("X-Road-Represented-Party: COM/0123456789\r\n", true),
        ("X-Road-Represented-Party: VN/COM/0123456789\r\n", false),
        ("X-Road-Represented-Party: COM/\r\n", false),
        ("X-Road-Security-Server: VN/GOV/G01/ss1\r\n", true),
        ("X-Road-Security-Server: VN/GOV/G01\r\n", false),
        ("X-Road-Security-Server: VN/GOV/G01/ss1/x\r\n", false),
    ] {
        let answer = node.send(&format!("GET {SERVICE}"), &format!("{CLIENT}{fields}"), b"").await;
        assert_eq!(answer.status, if fine { 200 } else { 400 }, "{fields}");
    }
    assert_eq!(node.consumer.drafts.lock().unwrap().len(), 3);
    node.stop().await;
}

#[tokio::test]
async fn x_road_fields_of_no_known_meaning_pass_both_ways() {
    let node = Node::start().await;
    node.answer_with(Ok(reply(200, vec![field("x-road-future", "b"), field("x-road-issue", "c")], b"")));
    let answer = node.send(&format!("GET {SERVICE}"), &format!("{CLIENT}X-Road-Future: a\r\n"), b"").await;
    assert_eq!((answer.one("x-road-future"), answer.one("x-road-issue")), ("b", "c"));
    assert_eq!(node.draft().headers, [field("x-road-future", "a")]);
    node.stop().await;
}
