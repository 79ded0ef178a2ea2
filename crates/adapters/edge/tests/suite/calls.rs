//! What the consumer side is handed.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::node::{CLIENT, Node, SERVICE};

#[tokio::test]
async fn a_call_becomes_a_draft() {
    let node = Node::start().await;
    let fields = "X-Road-Client: VN/GOV/H26/mot%2Dcua-so-1\r\nX-Road-Id: hs-1\r\nX-Road-UserId: cán bộ 1\r\nX-Road-Issue: i\r\n\
        X-Road-Represented-Party: COM/0123\r\nX-Road-Security-Server: VN/GOV/G01/ss1\r\nTruc-Agency: a\r\n\
        Truc-Purpose: UTF-8''%C4%90%C4%83ng%20k%C3%BD\r\nTruc-Legal-Basis: l\r\nTruc-Consent: c\r\nIdempotency-Key: \"k\"\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nContent-Type: Application/X; q=\"1\"\r\n\
        Authorization: Bearer s\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\nUser-Agent: u\r\nX-Road-Request-Id: x\r\nX-Road-Request-Hash: x\r\n";
    let line = format!("POST {SERVICE}/%63ong-dan/a%2fb/?x=1&x=%2F&y");
    assert_eq!(node.send(&line, fields, b"{\"a\":1}").await.status, 200);
    let draft = node.draft();
    assert_eq!(draft.client.as_str(), "VN/GOV/H26/mot-cua-so-1");
    assert_eq!(draft.service.as_str(), "VN/GOV/G01/csdl-dancu/tra-cuu");
    assert_eq!((draft.method.as_str(), draft.path.as_str()), ("POST", "/cong-dan/a%2Fb/"));
    assert_eq!(draft.query.as_ref().unwrap().as_str(), "x=1&x=%2F&y");
    assert_eq!(draft.media_type.as_deref(), Some("Application/X; q=\"1\""));
    assert_eq!(Node::bytes(&draft).as_ref(), b"{\"a\":1}");
    let headers: Vec<(&str, &[u8])> = draft.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let expected: [(&str, &[u8]); 4] =
        [("authorization", b"Bearer s"), ("x-b", b"1"), ("x-b", b"3"), ("x-a", b"2")];
    assert_eq!(headers, expected);
    let words = draft.context;
    assert_eq!(words.user_id.as_deref(), Some("cán bộ 1"));
    assert_eq!(words.purpose.as_deref(), Some("Đăng ký"));
    assert_eq!(words.idempotency_key.as_deref(), Some("\"k\""));
    assert_eq!(words.client_message_id.as_deref(), Some("hs-1"));
    assert_eq!(words.represented_party.as_deref(), Some("COM/0123"));
    assert_eq!(words.target.unwrap().as_str(), "VN/GOV/G01/ss1");
    let rest = [words.agency, words.legal_basis, words.consent, words.issue].map(Option::unwrap);
    assert_eq!(rest, ["a", "l", "c", "i"]);
    assert!(words.trace.is_some());
    node.stop().await;
}

#[tokio::test]
async fn any_method_passes() {
    let node = Node::start().await;
    for method in
        ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PATCH", "PUT", "POST", "PROPFIND", "M-SEARCH"]
    {
        let answer = node.send(&format!("{method} {SERVICE}"), CLIENT, b"").await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{method}");
        let draft = node.draft();
        assert_eq!((draft.method.as_str(), draft.path.as_str()), (method, ""));
        assert!(draft.query.is_none() && Node::bytes(&draft).is_empty());
    }
    for meta in ["listMethods", "allowedMethods", "getOpenAPI?serviceCode=x"] {
        let line = format!("GET /r1/VN/GOV/G01/csdl-dancu/{meta}");
        assert_eq!(node.send(&line, CLIENT, b"").await.status, 200);
        assert_eq!(node.draft().service.code(), meta.split('?').next().unwrap());
    }
    node.stop().await;
}

#[tokio::test]
async fn bodies_arrive_whole_however_they_are_sent() {
    let node = Node::start().await;
    let big: Vec<u8> = (0..1024 * 1024u32).map(|n| n.to_le_bytes()[0]).collect();
    node.send(&format!("PUT {SERVICE}"), CLIENT, &big).await;
    assert_eq!(Node::bytes(&node.draft()), big);
    let head = format!(
        "POST {SERVICE} HTTP/1.1\r\nHost: n\r\n{CLIENT}Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
    );
    let chunks = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx: 1\r\n\r\n";
    assert_eq!(node.raw(&[head.as_bytes(), chunks].concat()).await.status, 200);
    let draft = node.draft();
    assert_eq!(Node::bytes(&draft).as_ref(), b"abcde");
    assert!(draft.headers.is_empty(), "{:?}", draft.headers);
    node.stop().await;
}

#[tokio::test]
async fn several_calls_share_one_http1_connection() {
    use tokio::io::AsyncWriteExt;
    let node = Node::start().await;
    let mut stream = node.connect().await;
    let one = format!("GET {SERVICE}/1 HTTP/1.1\r\nHost: n\r\n{CLIENT}\r\n");
    let two = format!("GET {SERVICE}/2 HTTP/1.1\r\nHost: n\r\n{CLIENT}Connection: close\r\n\r\n");
    stream.write_all(format!("{one}{two}").as_bytes()).await.unwrap();
    assert_eq!(crate::node::Answer::read(stream).await.status, 200);
    assert_eq!(node.consumer.drafts.lock().unwrap().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken() {
    let node = Node::start().await;
    let io = TokioIo::new(node.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://node{SERVICE}/x?q"))
        .header("x-road-client", "VN/GOV/H26/mot-cua-so-1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::from_static(b"two")))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().as_ref(), b"ok");
    let draft = node.draft();
    assert_eq!(Node::bytes(&draft).as_ref(), b"two");
    assert_eq!(draft.headers, [("cookie".to_owned(), b"a=1; b=2".to_vec())]);
    drop(sender);
    connection.await.unwrap().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_call_never_reaches_the_consumer_side() {
    let node = Node::start().await;
    let two = format!("{CLIENT}X-Road-Client: VN/GOV/H26/other\r\n");
    let twice = format!("{CLIENT}Truc-Purpose: a\r\nTruc-Purpose: a\r\n");
    for (line, fields) in [
        (format!("GET {SERVICE}"), ""),
        (format!("GET {SERVICE}"), "X-Road-Client: VN/GOV/H26\r\n"),
        (format!("GET {SERVICE}"), two.as_str()),
        (format!("GET {SERVICE}"), twice.as_str()),
        ("GET /r2/VN/GOV/G01/csdl-dancu/tra-cuu".to_owned(), CLIENT),
        ("GET /r1/VN/GOV/G01/csdl%2Fdancu/tra-cuu".to_owned(), CLIENT),
        (format!("GET {SERVICE}/../x"), CLIENT),
        (format!("GET {SERVICE}/%2e%2e/x"), CLIENT),
        (format!("get {SERVICE}"), CLIENT),
        ("OPTIONS *".to_owned(), CLIENT),
        ("CONNECT node:80".to_owned(), CLIENT),
    ] {
        let answer = node.send(&line, fields, b"").await;
        assert_eq!(
            (answer.status, answer.one("x-road-error")),
            (400, "client.bad_request"),
            "{line} {fields}"
        );
    }
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;
}
