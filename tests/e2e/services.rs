//! Services behind a node: from an OpenAPI document, behind TLS, paused, slow, broken.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use truc_demo::http::Answer;
use truc_policy::ServiceDefinition;

use crate::support::{Bus, DESK, Ran, arg, run, truc};

/// What a service does on one connection that has sent a request.
#[derive(Clone)]
enum Act {
    /// Answers this and closes.
    Answer(String),
    /// Answers this, then keeps the connection open.
    Hang(String),
}

fn ok(media_type: &str, body: &str) -> Act {
    Act::Answer(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// A service behind a node that counts what it was asked.
struct Register {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Register {
    async fn start(act: Act, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (act, asked, tls) = (act.clone(), Arc::clone(&counted), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, act, &asked).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, act, &asked).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: Act, asked: &AtomicUsize) {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let (Act::Answer(text) | Act::Hang(text)) = &act;
    if stream.write_all(text.as_bytes()).await.is_ok() {
        stream.flush().await.ok();
    }
    match act {
        Act::Answer(_) => stream.shutdown().await.unwrap_or_default(),
        Act::Hang(_) => drop(stream.read_to_end(&mut Vec::new()).await),
    }
}

type Key = rcgen::CertifiedKey<rcgen::KeyPair>;

/// A self-signed certificate that has long expired.
fn expired_key() -> Key {
    let mut params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    Key { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

fn server(key: &Key, version: &'static rustls::SupportedProtocolVersion) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret)
        .unwrap()
}

fn pem(folder: &Path, name: &str, key: &Key) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, key.cert.pem()).unwrap();
    file
}

fn done(ran: &Ran) -> &str {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    &ran.stdout
}

fn error(answer: &Answer) -> &str {
    answer.header("x-road-error").unwrap_or("none")
}

/// What the operator of G01's node finds in the signed refusal of an exchange.
async fn refusal(bus: &Bus, answer: &Answer) -> String {
    let id = answer.json()["requestId"].as_str().unwrap().parse().unwrap();
    let shown = bus.admin("G01").evidence_show(id, true).await.unwrap();
    let body = shown.records.iter().rev().find_map(|record| record.body.clone()).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Runs `truc service …` on G01's node.
async fn service(bus: &Bus, args: &[&str]) -> Ran {
    let config = bus.config("G01");
    truc(&[&["service"][..], args, &["--config", arg(&config)]].concat()).await
}

const YAML: &str = "openapi: 3.1.0
info: {title: Tra cứu, version: '1'}
servers:
  - url: http://10.1.2.3:9000/noi-bo
paths:
  /cong-dan/{so}:
    get: {responses: {200: {description: có}}}
  /cong-dan: {post: {responses: {}}}
";

#[test]
fn an_openapi_service_from_a_file_lists_its_endpoints_and_gives_its_document() {
    run(async {
        let bus = Bus::shared().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tra-cuu.yaml");
        let id = "VN/GOV/G01/csdl-dancu/mo-ta-tep";
        let add = ["add", id, "--url", &bus.echo.url(), "--openapi", arg(&file)];

        std::fs::write(&file, "swagger: '2.0'\n").unwrap();
        let refused = service(&bus, &add).await;
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("Swagger 2.0"), "{}", refused.stderr);

        std::fs::write(&file, YAML).unwrap();
        done(&service(&bus, &add).await);
        bus.grant(DESK, id, "GET", "/cong-dan/*").await;
        let lists = |answer: Answer| -> Value {
            let all = answer.json();
            let services = all["service"].as_array().unwrap();
            services.iter().find(|s| s["service_code"] == "mo-ta-tep").cloned().unwrap()
        };
        let get = async |path: &str| bus.call("GET", path, &[], "").await;
        let owner = "VN/GOV/G01/csdl-dancu";
        let all = lists(get(&format!("{owner}/listMethods")).await);
        assert_eq!(
            all,
            json!({"object_type":"SERVICE","xroad_instance":"VN","member_class":"GOV","member_code":"G01",
                "subsystem_code":"csdl-dancu","service_code":"mo-ta-tep","service_type":"OPENAPI",
                "endpoint_list":[{"method":"GET","path":"/cong-dan/*"},{"method":"POST","path":"/cong-dan"}]})
        );
        let allowed = lists(get(&format!("{owner}/allowedMethods")).await);
        assert_eq!(allowed["endpoint_list"], json!([{"method":"GET","path":"/cong-dan/*"}]));

        let document = get(&format!("{owner}/getOpenAPI?serviceCode=mo-ta-tep")).await;
        assert_eq!(
            (document.status.as_u16(), document.header("content-type")),
            (200, Some("application/yaml"))
        );
        let text = String::from_utf8_lossy(&document.body).into_owned();
        assert!(text.contains("/noi-bo") && !text.contains("10.1.2.3"), "{text}");

        // The base path of the document is not put before the path: endpoints are relative to the service's address.
        let answer = get(&format!("{id}/cong-dan/123")).await;
        assert_eq!((answer.status.as_u16(), answer.json()["uri"].as_str()), (200, Some("/cong-dan/123")));
        let denied = bus.call("POST", &format!("{id}/cong-dan"), &[], "{}").await;
        assert_eq!((denied.status.as_u16(), error(&denied)), (403, "server.serverproxy.access_denied"));

        done(&service(&bus, &["endpoint", "add", id, "--method", "GET", "--path", "/suc-khoe"]).await);
        let shown = service(&bus, &["show", id]).await;
        assert!(done(&shown).contains("GET /suc-khoe\n"), "{}", shown.stdout);
        let generated = ["endpoint", "remove", id, "--method", "POST", "--path", "/cong-dan"];
        assert_eq!(service(&bus, &generated).await.code, 1, "what comes from the document is read-only");
        assert!(done(&service(&bus, &["refresh", id]).await).contains("the same endpoints"));
    });
}

#[test]
fn an_openapi_service_from_an_address_is_read_again_on_request() {
    run(async {
        let bus = Bus::shared().await;
        let id = "VN/GOV/G01/csdl-dancu/mo-ta-url";
        let first = r#"{"openapi":"3.0.3","servers":[{"url":"https://10.1.2.3/v1"}],"paths":{"/a/{b}":{"get":{}},"/r":{"$ref":"other.json"}}}"#;
        let old = Register::start(ok("application/vnd.oai.openapi+json", first), None).await;
        let new =
            Register::start(ok("application/json", r#"{"openapi":"3.0.3","paths":{"/c":{"put":{}}}}"#), None)
                .await;

        let nobody = ["add", id, "--url", &bus.echo.url(), "--openapi", "http://127.0.0.1:1/openapi.json"];
        let refused = service(&bus, &nobody).await;
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("DESCRIPTION_UNUSABLE"), "{}", refused.stderr);

        let at = format!("{}/openapi.json", old.url());
        let added = service(&bus, &["add", id, "--url", &bus.echo.url(), "--openapi", &at]).await;
        done(&added);
        assert!(added.stderr.contains("other.json"), "what is not listed is told: {}", added.stderr);
        let got = bus.call("GET", "VN/GOV/G01/csdl-dancu/getOpenAPI?serviceCode=mo-ta-url", &[], "").await;
        assert_eq!(got.header("content-type"), Some("application/vnd.oai.openapi+json"), "its own");
        assert_eq!(got.body.as_ref(), first.replace("https://10.1.2.3", "").as_bytes());

        // The document at the address is another one now; the definition names a new address to the same end.
        let admin = bus.admin("G01");
        let mut definition = admin.service(&id.parse().unwrap()).await.unwrap();
        definition.description_url = Some(format!("{}/openapi.json", new.url()).parse().unwrap());
        let changed = admin.change_service(&definition).await.unwrap().service;
        assert_eq!(
            serde_json::to_value(&changed.endpoints).unwrap(),
            json!([{"method":"PUT","path":"/c","generated":true}])
        );
        assert!(done(&service(&bus, &["refresh", id]).await).contains("the same endpoints"));
    });
}

#[test]
fn a_paused_service_tells_its_notice() {
    run(async {
        let bus = Bus::shared().await;
        let id = "VN/GOV/G01/csdl-dancu/tam-dung";
        done(&service(&bus, &["add", id, "--url", &bus.echo.url(), "--side-effect-free"]).await);
        bus.grant(DESK, id, "*", "/**").await;
        done(&service(&bus, &["disable", id, "--notice", "Bảo trì đến 18 giờ"]).await);
        let list = service(&bus, &["list"]).await;
        let line = done(&list).lines().find(|l| l.starts_with(id)).unwrap();
        assert!(line.contains("side-effect free") && line.contains("paused: Bảo trì đến 18 giờ"), "{line}");
        let paused = bus.call("GET", &format!("{id}/x"), &[("Accept", "application/json")], "").await;
        assert_eq!((paused.status.as_u16(), error(&paused)), (503, "server.serverproxy.service_disabled"));
        let told = String::from_utf8_lossy(&paused.body).into_owned();
        assert!(told.contains("Bảo trì đến 18 giờ"), "{told}");
        done(&service(&bus, &["enable", id]).await);
        assert_eq!(bus.call("GET", &format!("{id}/x"), &[], "").await.status, 200);
    });
}

#[test]
fn pinned_services_over_tls_are_trusted_for_their_certificate_alone() {
    run(async {
        let bus = Bus::shared().await;
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (expired_key(), expired_key());
        let (right, wrong) = (pem(folder.path(), "a.pem", &key), pem(folder.path(), "b.pem", &other));
        for (code, version) in [("tls-12", &TLS12), ("tls-13", &TLS13)] {
            let register = Register::start(ok("text/plain", "chào"), Some(server(&key, version))).await;
            let url = format!("https://{}", register.address);
            let id = format!("VN/GOV/G01/csdl-dancu/{code}");
            done(&service(&bus, &["add", &id, "--url", &url, "--pin", arg(&right)]).await);
            bus.grant(DESK, &id, "*", "/**").await;
            let answer = bus.call("GET", &format!("{id}/x"), &[], "").await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_ref()),
                (200, "chào".as_bytes()),
                "{answer:?}"
            );
            let list = service(&bus, &["list"]).await;
            assert!(done(&list).lines().any(|l| l.starts_with(&id) && l.contains("1 pinned")));

            done(&service(&bus, &["add", &id, "--url", &url, "--pin", arg(&wrong), "--replace"]).await);
            let refused = bus.call("GET", &format!("{id}/x"), &[], "").await;
            assert!(error(&refused).starts_with("server.serverproxy.service_failed"), "{refused:?}");
            let told = refusal(&bus, &refused).await;
            assert!(told.contains("TLS with the service failed") && told.contains("not pinned"), "{told}");

            // Without a pin it is verified, and nothing vouches for it.
            done(&service(&bus, &["add", &id, "--url", &url, "--replace"]).await);
            let refused = bus.call("GET", &format!("{id}/x"), &[], "").await;
            let told = refusal(&bus, &refused).await;
            assert!(told.contains("TLS with the service failed") && told.contains("expired"), "{told}");
            assert_eq!(register.asked(), 1);
        }
    });
}

#[test]
fn a_verified_service_is_trusted_by_the_ca_file_and_sees_the_nodes_certificate() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let own = rcgen::generate_simple_self_signed(["ss1.g01".to_owned()]).unwrap();
        let (ca, certificate) = (pem(folder.path(), "ca.pem", &key), pem(folder.path(), "own.pem", &own));
        let own_key = folder.path().join("own.key");
        std::fs::write(&own_key, own.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&own_key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let bus = Bus::start_prepared(|layout| {
            let file = layout.node_config(layout.node("G01").unwrap());
            let mut text = std::fs::read_to_string(&file).unwrap();
            text.push_str(&format!(
                "\n[provider]\nca-file = '{}'\ncertificate-file = '{}'\nkey-file = '{}'\n",
                arg(&ca),
                arg(&certificate),
                arg(&own_key)
            ));
            std::fs::write(&file, text).unwrap();
        })
        .await;
        let config = bus.config("G01");
        done(&truc(&["node", "check-config", "--config", arg(&config)]).await);

        let open = Register::start(ok("text/plain", "mở"), Some(server(&key, &TLS12))).await;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut known = rustls::RootCertStore::empty();
        known.add(own.cert.der().clone()).unwrap();
        let known = WebPkiClientVerifier::builder_with_provider(Arc::new(known), Arc::clone(&provider));
        let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let asking = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(known.build().unwrap())
            .with_single_cert(vec![key.cert.der().clone()], secret)
            .unwrap();
        let asking = Register::start(ok("text/plain", "quen"), Some(asking)).await;
        for (code, register, body) in [("ky-ca", &open, "mở"), ("hai-chieu", &asking, "quen")] {
            let id = format!("VN/GOV/G01/csdl-dancu/{code}");
            let url = format!("https://{}", register.address);
            done(&service(&bus, &["add", &id, "--url", &url]).await);
            bus.grant(DESK, &id, "*", "/**").await;
            let answer = bus.call("GET", &format!("{id}/x"), &[], "").await;
            assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (200, body.as_bytes()), "{answer:?}");
        }
    });
}

#[test]
fn a_service_that_breaks_its_answer_is_asked_once_and_told_as_failed() {
    run(async {
        let bus = Bus::shared().await;
        let admin = bus.admin("G01");
        let cases = [
            ("dong-ngay", Act::Answer(String::new()), "service_failed"),
            (
                "noi-doi",
                Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".into()),
                "service_failed",
            ),
            (
                "chet-giua",
                Act::Answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".into()),
                "service_failed",
            ),
            ("khong-http", Act::Answer("SSH-2.0-x\r\n\r\n".into()), "service_failed"),
            ("cham", Act::Hang(String::new()), "timeout"),
            ("cham-than", Act::Hang("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".into()), "timeout"),
        ];
        for (code, act, expected) in cases {
            let register = Register::start(act, None).await;
            let id = format!("VN/GOV/G01/csdl-dancu/{code}");
            let mut definition =
                ServiceDefinition::rest(id.parse().unwrap(), register.url().parse().unwrap());
            definition.timeout = std::time::Duration::from_secs(2);
            admin.add_service(&definition).await.unwrap();
            bus.grant(DESK, &id, "*", "/**").await;
            let answer = bus.call("POST", &format!("{id}/x"), &[], "{}").await;
            assert!(error(&answer).contains(expected), "{code}: {answer:?}");
            assert_eq!(register.asked(), 1, "{code}");
        }
    });
}
