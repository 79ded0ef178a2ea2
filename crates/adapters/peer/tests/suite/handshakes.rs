//! Who gets through the handshake, and whose connection is cut.

use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use truc_exchange::ports::{LinkError, PeerLink as _};
use truc_keys::KeyKind;
use truc_model::{FaultCode, NodeId};
use truc_peer::{Connections, Identity, PeerLinks};
use truc_testkit::authority::Authority;
use truc_testkit::memory_signer::TestKey;
use truc_testkit::{Anybody, Bus, draft};

use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, open_connections};

fn identity(
    authority: &Authority,
    node: &NodeId,
) -> (Arc<Identity>, truc_model::Fingerprint, Bytes, Vec<u8>) {
    let key = TestKey::generate(KeyKind::EcP256);
    let certificate = authority.auth(node, &key);
    let der = Bytes::copy_from_slice(certificate.der());
    let identity = Identity::new(std::slice::from_ref(&der), &key.pkcs8()).unwrap();
    (Arc::new(identity), certificate.fingerprint(), der, key.pkcs8())
}

fn links(bus: &Bus, identity: &Arc<Identity>) -> PeerLinks {
    let directory = Arc::clone(&bus.node(CONSUMER).directory);
    PeerLinks::new(
        identity,
        directory as _,
        Arc::clone(&bus.clock),
        Connections::default(),
        truc_testkit::MemorySpool::for_tests(),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let bus = bus().await;
    let consumer = bus.node(CONSUMER);
    assert_eq!(consumer.call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    let (_, renewed, der, pkcs8) = identity(&bus.authority, &consumer.id);
    bus.change(|members| {
        let h26 = members.get_mut(&consumer.id.owner()).unwrap();
        h26.nodes[0].auth_certificates.push(renewed);
    });
    consumer.identity.replace(&[der], &pkcs8, None).unwrap();
    assert_eq!(consumer.identity.fingerprint(), renewed);
    // The next call is made over a connection of the new identity; nothing is cut for it.
    assert_eq!(consumer.call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    while open_connections(&bus, PROVIDER) != [renewed] {
        tokio::task::yield_now().await;
    }
    // The old one is taken out of the directory: nobody stands on it any more.
    bus.change(|members| {
        let h26 = members.get_mut(&consumer.id.owner()).unwrap();
        h26.nodes[0].auth_certificates.retain(|known| *known == renewed);
    });
    let cut = bus.node(PROVIDER).connections.close_untrusted(|certificate| *certificate == renewed);
    assert_eq!(cut, 0);
    assert_eq!(consumer.call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    assert_eq!(open_connections(&bus, PROVIDER), [renewed]);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_status_is_stapled() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let conversation = consumer.open(provider).await;
    assert_eq!(
        conversation.handshake_statuses(),
        provider.own.carried(&provider.auth.fingerprint(), bus.clock.now())
    );
    assert_eq!(conversation.handshake_statuses().len(), 1);
    drop(conversation);
    bus.close().await;
}

/// The handshake proves possession only; whether the certificate counts is told as a fault on the first frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_registered_gets_a_typed_fault() {
    let bus = bus().await;
    let consumer = bus.node(CONSUMER);
    assert_eq!(consumer.call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    let (_, other, ..) = identity(&bus.authority, &consumer.id);
    bus.change(|members| {
        members.get_mut(&consumer.id.owner()).unwrap().nodes[0].auth_certificates = vec![other]
    });
    let directory =
        truc_exchange::ports::CurrentDirectory::current(bus.node(PROVIDER).directory.as_ref()).unwrap();
    let registered = |certificate: &_| directory.node_of_auth_certificate(certificate).is_some();
    assert_eq!(bus.node(PROVIDER).connections.close_untrusted(registered), 1);
    while bus.node(PROVIDER).connections.count() > 0 || consumer.connections.count() > 0 {
        tokio::task::yield_now().await;
    }
    let failed = consumer.call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::Untrusted);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    bus.close().await;
}

/// A call that is under way when its connection is cut is not carried out twice, and its answer is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_in_the_middle_loses_no_answer() {
    let bus = bus().await;
    let connections = bus.node(PROVIDER).connections.clone();
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        let connections = connections.clone();
        async move {
            connections.close_untrusted(|_| false);
            Ok(truc_testkit::services::json(200, "{}"))
        }
    });
    let reply = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap();
    assert_eq!(reply.body.bytes().unwrap().as_ref(), b"{}");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_other_authorities_do_not_get_in() {
    let bus = bus().await;
    let stranger = Authority::new("CA lạ");
    let (theirs, ..) = identity(&stranger, &bus.node(CONSUMER).id);
    let links = links(&bus, &theirs);
    let refused = links.open(&bus.node(PROVIDER).entry()).await.map(drop);
    assert!(
        matches!(refused, Err(LinkError::Unreachable { .. } | LinkError::WrongPeer { .. })),
        "{refused:?}"
    );
    links.close().await;
    bus.close().await;
}

/// A node whose own server certificate is of another authority gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_the_wrong_peer() {
    let bus = bus().await;
    let stranger = Authority::new("CA lạ");
    let key = TestKey::generate(KeyKind::EcP256);
    let certificate = stranger.auth(&bus.node(PROVIDER).id, &key);
    bus.node(PROVIDER)
        .identity
        .replace(&[Bytes::copy_from_slice(certificate.der())], &key.pkcs8(), None)
        .unwrap();
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!((failed.fault.code, failed.request), (FaultCode::Untrusted, None));
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_is_turned_away() {
    let bus = bus().await;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(bus.node(PROVIDER).entry().address).await.unwrap();
    let name = ServerName::try_from("node.invalid").unwrap();
    // In TLS 1.3 the client's own handshake is over before the server looks at its certificate.
    let refused = match TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
        Ok(mut stream) => stream.read_u8().await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert_eq!(bus.node(PROVIDER).connections.count(), 0);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tls_1_3_is_spoken() {
    let bus = bus().await;
    let address = bus.node(PROVIDER).entry().address;
    let asked = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args(["s_client", "-connect", &address, "-tls1_2"])
            .stdin(Stdio::null())
            .output()
    });
    match asked.await.unwrap() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(!output.status.success() && said.contains("alert"), "{said}");
        }
        Err(error) => {
            assert!(std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is required: {error}");
            eprintln!("SKIPPED: only_tls_1_3_is_spoken: no openssl: {error}");
        }
    }
    bus.close().await;
}
