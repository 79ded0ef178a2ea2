//! The door against real sockets on port 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use truc_message::{BodyInfo, DirectoryRef, Header, HeaderField, Kind, hide};
use truc_model::{MessageId, Timestamp};

use super::*;
use crate::outgoing::fields_of;

/// One request as it arrived: head with its empty line, and body.
#[derive(Debug)]
struct Seen {
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|l| l.split_once(": "));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }
}

async fn read_request<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut seen =
        Seen { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: bytes[end..].to_vec() };
    let length: usize = seen.values("content-length").first().map_or(0, |v| v.parse().unwrap());
    while seen.body.len() < length {
        stream.read_buf(&mut seen.body).await.ok()?;
    }
    Some(seen)
}

/// A service that answers each request on each connection with the next of `answers`, then closes. Returns its address,
/// the number of connections, and the task that ends with what was asked.
async fn service(answers: Vec<Vec<u8>>) -> (String, Arc<AtomicUsize>, JoinHandle<Vec<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let task = tokio::spawn(async move {
        let mut all = Vec::new();
        let mut answers = answers.into_iter();
        while answers.len() > 0 {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            while answers.len() > 0
                && let Some(seen) = read_request(&mut stream).await
            {
                all.push(seen);
                stream.write_all(&answers.next().unwrap()).await.unwrap();
            }
        }
        all
    });
    (url, connections, task)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn door(config: &ProviderConfig) -> HttpServiceDoor {
    HttpServiceDoor::new(config).unwrap()
}

fn get(url: &str) -> Outgoing {
    Outgoing {
        method: "GET".into(),
        url: url.into(),
        fields: vec![],
        body: Body::empty(),
        timeout: Duration::from_secs(30),
    }
}

fn header() -> Header {
    let sent: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
    Header {
        v: truc_message::VERSION,
        kind: Kind::Request,
        id: MessageId::new(sent, [7; 10]),
        instance: "VN".into(),
        client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: "VN/GOV/G01/csdl-dancu/a?b".parse().unwrap(),
        from: "VN/GOV/H26/ss1".parse().unwrap(),
        to: "VN/GOV/G01/ss1".parse().unwrap(),
        directory: DirectoryRef { epoch: 1, version: 7 },
        sent,
        expires: sent.plus(Duration::from_secs(60)),
        method: Some("POST".into()),
        path: Some("/x".into()),
        query: None,
        headers: vec![
            HeaderField::plain("accept", b"*/*"),
            HeaderField::plain("x-multi", b"1"),
            HeaderField::plain("x-multi", b"2"),
            HeaderField::plain("x-road-userid", b"forged"),
            HeaderField::plain("x-road-request-id", b"forged"),
            HeaderField::plain("truc-purpose", b"forged"),
            HeaderField::plain("x_road_userid", b"forged"),
            HeaderField::plain("truc_purpose", b"forged"),
            HeaderField::plain("x-http-method-override", b"DELETE"),
            HeaderField::plain("content-length", b"999"),
            HeaderField::plain("transfer-encoding", b"chunked"),
            HeaderField::plain("host", b"elsewhere"),
        ],
        user_id: Some("cb-0123".into()),
        agency: None,
        purpose: Some("Đăng ký".into()),
        legal_basis: None,
        consent: None,
        represented_party: None,
        issue: Some("hs-1".into()),
        client_message_id: None,
        idempotency_key: Some("k".into()),
        trace: None,
        body: Some(BodyInfo { media_type: Some("application/json".into()), length: Some(2) }),
        status: None,
        in_reply_to: None,
        leaf: None,
    }
}

#[tokio::test]
async fn the_service_sees_the_signed_request_and_who_asks_exactly_once() {
    let (url, _, task) = service(vec![ok("")]).await;
    let mut header = header();
    let (field, secret) = hide("authorization", b"Bearer s", [1; 16]);
    header.headers.push(field);
    let fields = fields_of(&header, &[secret]).unwrap();
    let call = Outgoing {
        method: "POST".into(),
        url: format!("{url}/x/a%2Fb?q=1&q=2"),
        fields,
        body: Body::new(bytes::Bytes::from_static(b"{}")),
        timeout: Duration::from_secs(30),
    };
    door(&ProviderConfig::default()).client.call(call).await.unwrap();
    let seen = task.await.unwrap().remove(0);
    assert!(seen.head.starts_with("POST /x/a%2Fb?q=1&q=2 HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.body, b"{}");
    let id = header.id.to_string();
    for (name, values) in [
        ("accept", vec!["*/*"]),
        ("x-multi", vec!["1", "2"]),
        ("authorization", vec!["Bearer s"]),
        ("content-type", vec!["application/json"]),
        ("content-length", vec!["2"]),
        ("transfer-encoding", vec![]),
        ("host", vec![url.trim_start_matches("http://")]),
        ("x_road_userid", vec![]),
        ("truc_purpose", vec![]),
        ("x-http-method-override", vec![]),
        ("x-road-client", vec!["VN/GOV/H26/mot-cua-so-1"]),
        ("x-road-service", vec!["VN/GOV/G01/csdl-dancu/a%3Fb"]),
        ("x-road-id", vec![&format!("VN-{id}")]),
        ("x-road-request-id", vec![&id]),
        ("x-road-userid", vec!["cb-0123"]),
        ("x-road-issue", vec!["hs-1"]),
        ("truc-purpose", vec!["UTF-8''%C4%90%C4%83ng%20k%C3%BD"]),
        ("idempotency-key", vec!["k"]),
    ] {
        assert_eq!(seen.values(name), values, "{name} in {}", seen.head);
    }
}

#[tokio::test]
async fn a_secret_that_does_not_fit_is_never_forwarded() {
    let mut header = header();
    let (field, mut secret) = hide("authorization", b"Bearer s", [1; 16]);
    header.headers.push(field);
    secret.value = b"Bearer t".to_vec();
    assert!(matches!(fields_of(&header, &[secret]), Err(ServiceFailure::Unreachable(_))));
}

#[tokio::test]
async fn answers_pass_as_they_are_but_for_the_connection_and_the_nodes_fields() {
    let answer = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nDate: d1\r\nDate: d2\r\nServer: s\r\nConnection: keep-alive, X-Hop\r\n\
        X-Hop: 1\r\nX-Road-Error: forged\r\nX-Road-Request-Hash: forged\r\nX-Road-UserId: kept\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
        Content-Type: text/plain; charset=x\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (url, connections, task) = service(vec![answer.to_vec()]).await;
    let got = door(&ProviderConfig::default()).client.call(get(&url)).await.unwrap();
    assert_eq!((got.status, got.media_type.as_deref()), (302, Some("text/plain; charset=x")));
    assert_eq!(got.body.whole().unwrap().as_ref(), b"abc");
    let fields: Vec<(&str, &[u8])> = got.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let expected: [(&str, &[u8]); 6] = [
        ("location", b"http://elsewhere/"),
        ("date", b"d1"),
        ("x-road-userid", b"kept"),
        ("set-cookie", b"a"),
        ("set-cookie", b"b"),
        ("content-encoding", b"br"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(
        (task.await.unwrap().len(), connections.load(Ordering::SeqCst)),
        (1, 1),
        "no redirect is followed"
    );
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let (url, connections, task) = service((0..5).map(|n| ok(&n.to_string())).collect()).await;
    let door = door(&ProviderConfig::default());
    for n in 0..5 {
        let got = door.client.call(get(&format!("{url}/{n}"))).await.unwrap();
        assert_eq!(got.body.whole().unwrap().as_ref(), n.to_string().as_bytes());
    }
    assert_eq!(task.await.unwrap().len(), 5);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_sent_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let door = door(&ProviderConfig::default());
    for url in [format!("http://{free}/"), "http://no-such-host.invalid/".into(), "http://x/ y".into()] {
        let got = door.client.call(get(&url)).await;
        assert!(matches!(got, Err(ServiceFailure::Unreachable(_))), "{url}: {got:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_and_never_asked_for_again() {
    let truncated = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    for answer in [truncated, b"".to_vec(), b"SSH-2.0-x\r\n\r\n".to_vec(), b"HTTP/1.1 101 x\r\n\r\n".to_vec()]
    {
        let (url, connections, task) = service(vec![answer.clone()]).await;
        let got = door(&ProviderConfig::default()).client.call(get(&url)).await;
        assert!(matches!(got, Err(ServiceFailure::Broken(_))), "{answer:?}: {got:?}");
        assert_eq!((task.await.unwrap().len(), connections.load(Ordering::SeqCst)), (1, 1));
    }
}

#[tokio::test]
async fn a_service_that_never_answers_times_out_and_may_have_acted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = read_request(&mut stream).await;
        // Holds the connection until the door gives it up.
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest).await;
        seen.is_some()
    });
    let call = Outgoing { timeout: Duration::from_secs(1), ..get(&url) };
    let got = door(&ProviderConfig::default()).client.call(call).await;
    assert_eq!(got.unwrap_err(), ServiceFailure::Timeout(1000));
    assert!(silent.await.unwrap());
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let silent =
        tokio::spawn(async move { listener.accept().await.unwrap().0.read_to_end(&mut Vec::new()).await });
    let config = ProviderConfig { connect_timeout: Duration::from_millis(200), ..ProviderConfig::default() };
    let got = door(&config).client.call(get(&url)).await;
    assert!(matches!(&got, Err(ServiceFailure::Unreachable(why)) if why.contains("200 ms")), "{got:?}");
    let _ended = silent.await.unwrap();
}

#[tokio::test]
async fn answers_have_a_limit_announced_or_not() {
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{}\r\n0\r\n\r\n", "x".repeat(11));
    for answer in [ok(&"x".repeat(11)), chunked.into_bytes()] {
        let (url, _, task) = service(vec![answer]).await;
        let config = ProviderConfig { body_limit: 10, ..ProviderConfig::default() };
        assert_eq!(door(&config).client.call(get(&url)).await.unwrap_err(), ServiceFailure::TooLarge(10));
        task.await.unwrap();
    }
}

#[tokio::test]
async fn head_and_empty_answers_end_at_once() {
    let answers = vec![
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n".to_vec(),
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
    ];
    let (url, _, task) = service(answers).await;
    let door = door(&ProviderConfig::default());
    let head = Outgoing { method: "HEAD".into(), ..get(&url) };
    assert_eq!(door.client.call(head).await.unwrap().body.whole().unwrap().len(), 0);
    assert_eq!(door.client.call(get(&url)).await.unwrap().status, 204);
    task.await.unwrap();
}

#[tokio::test]
async fn descriptions_are_fetched_with_addresses_hidden() {
    let document = r#"{"openapi":"3.0.3","servers":[{"url":"http://10.0.0.5/v1"}],"paths":{}}"#;
    let missing = b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n".to_vec();
    let yaml = "openapi: 3.1.0\nservers:\n- url: http://10.0.0.5/v1\n";
    let typed = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/x-yaml\r\ncontent-length: {}\r\n\r\n{yaml}",
        yaml.len()
    );
    let answers = vec![ok(document), typed.into_bytes(), ok(r#"{"swagger":"2.0"}"#), missing];
    let (url, _, task) = service(answers).await;
    let id = "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap();
    let rest = ServiceDefinition::rest(id, url.parse().unwrap());
    let open = ServiceDefinition {
        kind: ServiceKind::OpenApi,
        description_url: Some(format!("{url}/openapi.json").parse().unwrap()),
        ..rest.clone()
    };
    let door = door(&ProviderConfig::default());
    assert!(matches!(door.description(&rest).await, Err(ServiceFailure::Description(_))));
    let got = door.description(&open).await.unwrap();
    assert_eq!(got.body.whole().unwrap().as_ref(), document.replace("http://10.0.0.5", "").as_bytes());
    assert_eq!(got.media_type.as_deref(), Some("text/plain"), "X-Road's fallback");
    let got = door.description(&open).await.unwrap();
    assert_eq!(got.media_type.as_deref(), Some("text/x-yaml"), "as it was announced");
    assert!(
        got.body.whole().unwrap().starts_with(b"openapi:")
            && !got.body.whole().unwrap().windows(4).any(|w| w == b"10.0"),
        "{got:?}"
    );
    for said in ["Swagger 2.0", "404"] {
        let got = door.description(&open).await;
        assert!(matches!(&got, Err(ServiceFailure::Description(why)) if why.contains(said)), "{got:?}");
    }
    assert!(task.await.unwrap()[0].head.starts_with("GET /openapi.json "));
    let held = ServiceDefinition { description_url: None, document: Some(yaml.into()), ..open };
    let got = door.description(&held).await.unwrap();
    assert_eq!(got.media_type.as_deref(), Some("application/yaml"));
}

#[tokio::test]
async fn a_kept_connection_that_dies_costs_one_request_at_most() {
    // The second request on the kept connection is read, then the connection closes without an answer.
    let (url, connections, task) = service(vec![ok("1"), vec![]]).await;
    let door = door(&ProviderConfig::default());
    assert_eq!(door.client.call(get(&url)).await.unwrap().body.whole().unwrap().as_ref(), b"1");
    let got = door.client.call(get(&url)).await;
    assert!(matches!(got, Err(ServiceFailure::Broken(_))), "{got:?}");
    assert_eq!((task.await.unwrap().len(), connections.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn base_and_path_are_joined_with_one_slash() {
    for (base, path, query, line) in [
        ("", "/a/b", Some("x=1&y=%20//"), "/a/b?x=1&y=%20//"),
        ("/", "/a", None, "/a"),
        ("/api/v1/", "/a/", Some(""), "/api/v1/a/?"),
        ("/api", "", None, "/api"),
        ("", "", Some("q=?"), "/?q=?"),
        ("/api", "/", None, "/api/"),
    ] {
        let (url, _, task) = service(vec![ok("")]).await;
        let base: truc_policy::ServiceUrl = format!("{url}{base}").parse().unwrap();
        door(&ProviderConfig::default()).client.call(get(&base.call(path, query))).await.unwrap();
        let seen = task.await.unwrap().remove(0);
        assert_eq!(seen.head.lines().next().unwrap(), format!("GET {line} HTTP/1.1"));
    }
}

mod tls;

#[tokio::test(start_paused = true)]
async fn a_description_waits_for_its_turn_no_longer_than_its_service_may_take() {
    let door = door(&ProviderConfig::default());
    let _all = door.descriptions.acquire_many(u32::try_from(DESCRIPTIONS_AT_ONCE).unwrap()).await.unwrap();
    let url = "http://127.0.0.1:1".parse().unwrap();
    let mut service = ServiceDefinition::rest("VN/GOV/G01/csdl-dancu/a".parse().unwrap(), url);
    (service.kind, service.document) = (ServiceKind::OpenApi, Some("{}".to_owned()));
    service.timeout = Duration::from_secs(7);
    assert_eq!(door.description(&service).await.unwrap_err(), ServiceFailure::Timeout(7000));
}
