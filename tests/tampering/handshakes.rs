//! Downgrades and strangers: who does not even get to say something.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use truc_keys::KeyKind;
use truc_model::{FaultCode, NodeId};
use truc_peer::Identity;
use truc_testkit::authority::Authority;
use truc_testkit::memory_signer::TestKey;
use truc_testkit::{Bus, draft};
use truc_trust::Certificate;
use truc_wire::peer::Frame;

use crate::hostile::{Hostile, client_tls, dial, server_tls};
use crate::wire::{Said, request_of};
use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, STRANGER, federation};

fn identity(certify: impl FnOnce(&TestKey) -> Certificate) -> (Arc<Identity>, Certificate) {
    let key = TestKey::generate(KeyKind::EcP256);
    let certificate = certify(&key);
    let der = Bytes::copy_from_slice(certificate.der());
    (Arc::new(Identity::new(&[der], &key.pkcs8()).unwrap()), certificate)
}

/// True when the provider's node lets nothing through: in TLS 1.3 the client learns it with its first question.
async fn shut_out(bus: &Bus, config: rustls::ClientConfig) -> bool {
    let Ok(mut client) = dial(config, &bus.node(PROVIDER).entry().address).await else { return true };
    client.exchange(stream::pending::<Frame>()).await.is_err()
}

#[tokio::test]
async fn at_the_providers_door() {
    let bus = federation().start().await;
    let (consumer, node) = (bus.node(CONSUMER), bus.node(CONSUMER).id.clone());
    let ca = &bus.authority;
    let stranger = Authority::new("CA thử nghiệm");
    let years = |from, to| identity(|k| ca.auth_of_years(&node, k, (from, to))).0;
    let seal = identity(|k| ca.seal(&node.owner(), k)).0;
    let foreign = identity(|k| stranger.auth(&node, k)).0;
    let rows = [
        ("TLS 1.2", client_tls(Some(&consumer.identity), &[&TLS12], b"h2")),
        ("no certificate", client_tls(None, &[&TLS13], b"h2")),
        ("another protocol inside", client_tls(Some(&consumer.identity), &[&TLS13], b"http/1.1")),
        ("an expired certificate", client_tls(Some(&years(2020, 2026)), &[&TLS13], b"h2")),
        ("a certificate that is not yet valid", client_tls(Some(&years(2027, 2030)), &[&TLS13], b"h2")),
        ("a certificate of another CA with the same name", client_tls(Some(&foreign), &[&TLS13], b"h2")),
        ("a seal as TLS certificate", client_tls(Some(&seal), &[&TLS13], b"h2")),
    ];
    let count = rows.len();
    for (name, config) in rows {
        assert!(shut_out(&bus, config).await, "{name}");
    }
    assert!(!shut_out(&bus, client_tls(Some(&consumer.identity), &[&TLS12, &TLS13], b"h2")).await, "control");
    eprintln!("at the provider's door: {count} of {count} rows hold");
    bus.close().await;
}

/// These get through the handshake, and everything they say is refused.
#[tokio::test]
async fn behind_the_door() {
    let bus = federation().start().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let address = provider.entry().address;
    let ca = &bus.authority;
    let other: NodeId = "VN/GOV/H26/ss9".parse().unwrap();
    let honest = request_of(consumer, provider, CLIENT, SERVICE).await;
    let rows = [
        ("a certificate that is not registered", identity(|k| ca.auth(&consumer.id, k)).0),
        ("a node that nobody knows", identity(|k| ca.auth(&other, k)).0),
        ("another member's node", Arc::clone(&bus.node(STRANGER).identity)),
        ("the provider's own certificate", Arc::clone(&provider.identity)),
    ];
    let count = rows.len() + 1;
    for (name, identity) in rows {
        let mut hostile = Hostile::connect(&identity, &address).await.unwrap();
        assert_eq!(hostile.said(&honest).await, Said::Fault(FaultCode::Untrusted), "{name}");
    }
    // Registered for the node, but made out to another: the profile does not allow it.
    let (posing, certificate) = identity(|k| ca.auth(&other, k));
    bus.change(|members| {
        let h26 = members.get_mut(&consumer.id.owner()).unwrap();
        h26.nodes[0].auth_certificates.push(certificate.fingerprint());
    });
    let mut hostile = Hostile::connect(&posing, &address).await.unwrap();
    assert_eq!(hostile.said(&honest).await, Said::Fault(FaultCode::Untrusted), "another node's name in it");
    assert_eq!(provider.services.count(), 0);
    assert!(provider.memory.as_ref().unwrap().is_empty());
    eprintln!("behind the door: {count} of {count} rows hold");
    bus.close().await;
}

/// What the honest consumer's node says of a provider's node that shows this: nothing is sent, nothing recorded.
async fn offered(
    bus: &Bus,
    identity: &Arc<Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> FaultCode {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    bus.change(|members| {
        members.get_mut(&"VN/GOV/G01".parse().unwrap()).unwrap().nodes[0].address = address;
    });
    let tls = TlsAcceptor::from(Arc::new(server_tls(identity, &[version])));
    let accepting = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        drop(tls.accept(tcp).await);
    });
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    accepting.abort();
    assert_eq!(failed.request, None);
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty());
    failed.fault.code
}

#[tokio::test]
async fn a_providers_node_that_is_none() {
    let bus = federation().start().await;
    let provider = bus.node(PROVIDER);
    let (ca, id) = (&bus.authority, provider.id.clone());
    let rows = [
        ("TLS 1.2", Arc::clone(&provider.identity), &TLS12),
        ("an expired certificate", identity(|k| ca.auth_of_years(&id, k, (2020, 2026))).0, &TLS13),
        ("a certificate of another CA", identity(|k| Authority::new("CA thử nghiệm").auth(&id, k)).0, &TLS13),
        ("a seal as TLS certificate", identity(|k| ca.seal(&id.owner(), k)).0, &TLS13),
    ];
    let count = rows.len();
    for (name, identity, version) in rows {
        assert_eq!(offered(&bus, &identity, version).await, FaultCode::Untrusted, "{name}");
    }
    eprintln!("a provider's node that is none: {count} of {count} rows hold");
    bus.close().await;
}
