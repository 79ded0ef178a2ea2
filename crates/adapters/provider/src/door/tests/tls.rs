//! Services behind TLS.

use rustls::SupportedProtocolVersion;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};

use super::*;

type Key = rcgen::CertifiedKey<rcgen::KeyPair>;

fn key_for(name: &str) -> Key {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

fn expired_key() -> Key {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    Key { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

fn fingerprint(key: &Key) -> Fingerprint {
    Fingerprint::of(key.cert.der())
}

/// A service that answers every request on `connections` connections; it lets in only clients with `client` when given.
async fn tls_service(
    key: &Key,
    versions: &[&'static SupportedProtocolVersion],
    client: Option<&Key>,
    connections: usize,
) -> (String, JoinHandle<usize>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(vec![key.cert.der().clone()], secret).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        let mut served = 0;
        for _ in 0..connections {
            let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if read_request(&mut stream).await.is_some() {
                stream.write_all(&ok("tls")).await.unwrap();
                served += 1;
            }
        }
        served
    });
    (format!("https://localhost:{port}/"), task)
}

async fn call(door: &HttpServiceDoor, url: &str, pins: &[Fingerprint]) -> Result<Bytes, ServiceFailure> {
    let id = "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap();
    let mut service = ServiceDefinition::rest(id, url.parse().unwrap());
    service.pinned_certificates = pins.to_vec();
    door.client_for(&service)?.call(get(url)).await.map(|answer| answer.body.whole().unwrap().clone())
}

fn untrusted(got: &Result<Bytes, ServiceFailure>, said: &str) -> bool {
    matches!(got, Err(ServiceFailure::Unreachable(why)) if why.contains("TLS with the service failed") && why.contains(said))
}

#[tokio::test]
async fn https_services_are_trusted_by_the_configured_ca_only() {
    let key = key_for("localhost");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, key.cert.pem()).unwrap();
    let (url, task) = tls_service(&key, rustls::DEFAULT_VERSIONS, None, 3).await;
    let stranger = call(&door(&ProviderConfig::default()), &url, &[]).await;
    assert!(untrusted(&stranger, "ca-file"), "{stranger:?}");
    let trusting = ProviderConfig { ca_file: Some(file.clone()), ..ProviderConfig::default() };
    let by_address = url.replace("localhost", "127.0.0.1");
    let other_name = call(&door(&trusting), &by_address, &[]).await;
    assert!(untrusted(&other_name, "another host name"), "{other_name:?}");
    assert_eq!(call(&door(&trusting), &url, &[]).await.unwrap().as_ref(), b"tls");
    assert_eq!(task.await.unwrap(), 1);
    std::fs::write(&file, "no certificate").unwrap();
    assert!(matches!(HttpServiceDoor::new(&trusting), Err(ProviderError::CaFile { .. })));
}

#[tokio::test]
async fn a_pinned_certificate_is_trusted_for_being_itself() {
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        for key in [key_for("another.example"), expired_key()] {
            let (url, task) = tls_service(&key, versions, None, 2).await;
            let door = door(&ProviderConfig::default());
            let pins = [fingerprint(&key_for("x")), fingerprint(&key)];
            assert_eq!(call(&door, &url, &pins).await.unwrap().as_ref(), b"tls");
            // Another service at the same address with other pins does not ride on that connection.
            let wrong = call(&door, &url, &pins[..1]).await;
            assert!(untrusted(&wrong, &fingerprint(&key).to_string()), "{wrong:?}");
            assert_eq!(task.await.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn tls_12_is_enough_for_a_verified_service_and_an_expired_certificate_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let trusting = ProviderConfig { ca_file: Some(file.clone()), ..ProviderConfig::default() };
    let key = key_for("localhost");
    std::fs::write(&file, key.cert.pem()).unwrap();
    let (url, task) = tls_service(&key, &[&TLS12], None, 1).await;
    assert_eq!(call(&door(&trusting), &url, &[]).await.unwrap().as_ref(), b"tls");
    assert_eq!(task.await.unwrap(), 1);
    let expired = expired_key();
    std::fs::write(&file, expired.cert.pem()).unwrap();
    let (url, task) = tls_service(&expired, &[&TLS12], None, 1).await;
    let got = call(&door(&trusting), &url, &[]).await;
    assert!(untrusted(&got, "expired"), "{got:?}");
    assert_eq!(task.await.unwrap(), 0);
}

#[tokio::test]
async fn the_node_shows_its_certificate_to_services_that_ask() {
    let (key, own) = (key_for("localhost"), key_for("node"));
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (dir.path().join("own.pem"), dir.path().join("own.key"));
    std::fs::write(&certificate_file, own.cert.pem()).unwrap();
    std::fs::write(&key_file, own.signing_key.serialize_pem()).unwrap();
    let identity = ClientIdentity { certificate_file, key_file: key_file.clone() };
    let config = ProviderConfig { identity: Some(identity), ..ProviderConfig::default() };
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let (url, task) = tls_service(&key, versions, Some(&own), 2).await;
        assert!(call(&door(&ProviderConfig::default()), &url, &[fingerprint(&key)]).await.is_err());
        let got = call(&door(&config), &url, &[fingerprint(&key)]).await;
        assert_eq!(got.unwrap().as_ref(), b"tls");
        assert_eq!(task.await.unwrap(), 1);
    }
    std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
    let told = HttpServiceDoor::new(&config).unwrap_err().to_string();
    assert!(told.contains("own.key") && told.contains("does not fit"), "{told}");
}

#[tokio::test]
async fn plain_http_where_tls_should_be_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _reset = stream.read_to_end(&mut Vec::new()).await;
    });
    let got = call(&door(&ProviderConfig::default()), &url, &[]).await;
    assert!(untrusted(&got, "does not speak TLS"), "{got:?}");
    task.await.unwrap();
}

#[test]
fn the_examples_are_neither_cas_nor_the_nodes_certificate() {
    let example =
        |name: &str| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../certs-example")).join(name);
    let own = ClientIdentity { certificate_file: example("a-auth.pem"), key_file: example("a-auth.key.pem") };
    for config in [
        ProviderConfig { ca_file: Some(example("ca.pem")), ..ProviderConfig::default() },
        ProviderConfig { identity: Some(own), ..ProviderConfig::default() },
    ] {
        let told = HttpServiceDoor::new(&config).unwrap_err().to_string();
        assert!(told.contains("certs-example"), "{told}");
    }
}

#[tokio::test]
async fn a_self_signed_ca_as_a_services_certificate_is_told_as_what_it_is() {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let key = Key { cert: params.self_signed(&signing_key).unwrap(), signing_key };
    let (url, task) = tls_service(&key, &[&TLS13], None, 1).await;
    let told = call(&door(&ProviderConfig::default()), &url, &[]).await.unwrap_err().to_string();
    assert!(told.contains("is a CA's own") && told.contains("--pin"), "{told}");
    task.await.unwrap();
}
