//! HTTPS, and who may speak for whom over which connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use truc_edge::{ClientConnections, Connection, EdgeConfig, EdgeIdentity};

use crate::node::{Answer, CLIENT, Node, SERVICE, Setup};

type Pair = CertifiedKey<KeyPair>;

fn pair() -> Pair {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

fn identity(pair: &Pair) -> Arc<EdgeIdentity> {
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    Arc::new(EdgeIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap())
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// How a caller shakes hands.
struct Shake<'a> {
    versions: &'a [&'static SupportedProtocolVersion],
    protocols: &'a [&'a str],
    certificate: Option<&'a Pair>,
}

impl Default for Shake<'_> {
    fn default() -> Self {
        Self { versions: BOTH, protocols: &[], certificate: None }
    }
}

async fn connect(to: SocketAddr, server: &Pair, shake: Shake<'_>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(server.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(shake.versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shake.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
            builder.with_client_auth_cert(vec![pair.cert.der().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = shake.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

async fn call(to: SocketAddr, server: &Pair, shake: Shake<'_>, fields: &str) -> Answer {
    let mut stream = connect(to, server, shake).await.unwrap();
    let request = format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Answer::read(stream).await
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_both_versions_of_http() {
    let server = pair();
    let node = Node::set_up(Setup { identity: Some(identity(&server)), ..Setup::default() }).await;
    let to = node.secured.unwrap();
    for version in [&TLS12, &TLS13] {
        let shake = Shake { versions: &[version], ..Shake::default() };
        assert_eq!(call(to, &server, shake, CLIENT).await.status, 200, "{version:?}");
    }
    let shake = Shake { protocols: &["http/1.1"], ..Shake::default() };
    let stream = connect(to, &server, shake).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let shake = Shake { protocols: &["h2", "http/1.1"], ..Shake::default() };
    let stream = connect(to, &server, shake).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("https://node{SERVICE}/x"))
        .header("x-road-client", "VN/GOV/H26/mot-cua-so-1")
        .body(Full::new(Bytes::from_static(b"two")))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().as_ref(), b"ok");
    drop(sender);
    connection.await.unwrap().ok();
    node.stop().await;
}

#[tokio::test]
async fn each_subsystem_is_spoken_for_over_its_own_connection_only() {
    let (server, one, two) = (pair(), pair(), pair());
    let pinned = Connection::Certificate(vec![Bytes::copy_from_slice(one.cert.der())]);
    let id = |code: &str| format!("VN/GOV/H26/{code}").parse().unwrap();
    let connections =
        ClientConnections::new([(id("https"), Connection::Https), (id("pinned"), pinned)], false);
    let setup = Setup { identity: Some(identity(&server)), connections, ..Setup::default() };
    let node = Node::set_up(setup).await;
    let to = node.secured.unwrap();
    let named = |code: &str| format!("X-Road-Client: VN/GOV/H26/{code}\r\n");
    for (code, tls, certificate, fine) in [
        ("open", false, None, true),
        ("open", true, None, true),
        ("open", true, Some(&two), true),
        ("https", false, None, false),
        ("https", true, None, true),
        ("pinned", false, None, false),
        ("pinned", true, None, false),
        ("pinned", true, Some(&two), false),
        ("pinned", true, Some(&one), true),
    ] {
        let answer = if tls {
            call(to, &server, Shake { certificate, ..Shake::default() }, &named(code)).await
        } else {
            node.send(&format!("GET {SERVICE}"), &named(code), b"").await
        };
        let what = format!("{code} tls {tls} certificate {}", certificate.is_some());
        if fine {
            assert_eq!(answer.status, 200, "{what}");
            continue;
        }
        let kind = "server.clientproxy.ssl_authentication_failed";
        assert_eq!((answer.status, answer.one("x-road-error")), (401, kind), "{what}");
        assert_eq!(answer.one("www-authenticate"), "TLS-Client-Certificate");
        let told = answer.json();
        assert_eq!(told["code"], "CLIENT_NOT_AUTHENTICATED");
        assert!(told["reason"].as_str().unwrap().contains(code), "{told}");
        for lang in ["vi", "en"] {
            assert!(told["text"][lang].as_str().is_some_and(|text| text.contains("HTTPS")));
        }
    }
    assert_eq!(node.consumer.drafts.lock().unwrap().len(), 5);
    // The other TLS version proves possession in its own way.
    let shake = Shake { versions: &[&TLS12], certificate: Some(&one), ..Shake::default() };
    assert_eq!(call(to, &server, shake, &named("pinned")).await.status, 200);
    // What is asked of each request, and not of the connection, changes under a live connection.
    let mut stream =
        connect(to, &server, Shake { certificate: Some(&one), ..Shake::default() }).await.unwrap();
    let first = format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\n{}\r\n", named("pinned"));
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nok") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
    }
    node.connections
        .store(Arc::new(ClientConnections::new([(id("pinned"), Connection::Certificate(vec![]))], false)));
    let again = format!("GET {SERVICE} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{}\r\n", named("pinned"));
    stream.write_all(again.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(stream).await.status, 401);
    node.stop().await;
}

#[tokio::test]
async fn the_list_of_clients_needs_no_client_on_any_listener() {
    let server = pair();
    let setup = Setup { identity: Some(identity(&server)), ..Setup::default() };
    let node = Node::set_up(setup).await;
    let mut stream = connect(node.secured.unwrap(), &server, Shake::default()).await.unwrap();
    stream.write_all(b"GET /listClients HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").await.unwrap();
    let secured = Answer::read(stream).await;
    let plain = node.send("GET /listClients", "", b"").await;
    assert_eq!((secured.status, plain.status), (200, 200));
    assert_eq!(secured.json(), plain.json());
    node.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_not_done_is_given_up_and_keeps_nobody_waiting() {
    let server = pair();
    let hasty = EdgeConfig {
        handshake_timeout: Duration::from_millis(200),
        max_handshakes: 1,
        ..EdgeConfig::default()
    };
    let setup = Setup { identity: Some(identity(&server)), config: hasty, ..Setup::default() };
    let node = Node::set_up(setup).await;
    let to = node.secured.unwrap();
    for begun in [b"".as_slice(), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut seen = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut seen)).await;
        assert!(closed.is_ok(), "{begun:?} is not given up");
    }
    assert_eq!(call(to, &server, Shake::default(), CLIENT).await.status, 200);
    // A stop does not wait for a handshake either.
    let _silent = TcpStream::connect(to).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_handshakes() {
    let (old, new) = (pair(), pair());
    let identity = identity(&old);
    let node = Node::set_up(Setup { identity: Some(identity.clone()), ..Setup::default() }).await;
    let to = node.secured.unwrap();
    assert_eq!(call(to, &old, Shake::default(), CLIENT).await.status, 200);
    let (certificate, key) = (new.cert.pem(), new.signing_key.serialize_pem());
    assert!(identity.replace(certificate.as_bytes(), old.signing_key.serialize_pem().as_bytes()).is_err());
    assert!(
        identity.replace(b"", key.as_bytes()).is_err()
            && identity.replace(certificate.as_bytes(), b"").is_err()
    );
    assert_eq!(
        call(to, &old, Shake::default(), CLIENT).await.status,
        200,
        "the old one stays when the new one is broken"
    );
    identity.replace(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(call(to, &new, Shake::default(), CLIENT).await.status, 200);
    assert!(connect(to, &old, Shake::default()).await.is_err());
    node.stop().await;
}
