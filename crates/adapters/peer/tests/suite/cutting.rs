//! Peers that stop being trusted are cut at once, whatever their connections are doing; renewed identities lose nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use truc_directory::{MemberEntry, MemberStatus};
use truc_exchange::ports::{ConsumerSide as _, CurrentDirectory};
use truc_exchange::{Draft, DraftBody, Failed, Reply};
use truc_keys::KeyKind;
use truc_model::{FaultCode, MemberId};
use truc_testkit::memory_signer::TestKey;
use truc_testkit::services::json;
use truc_testkit::{Bus, draft};

use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, open_connections};

/// Changes one member, and has every node look through its connections, as a node does on every new directory.
fn change(bus: &Bus, member: &str, change: impl FnOnce(&mut MemberEntry)) {
    bus.change(|members| change(members.get_mut(&member.parse::<MemberId>().unwrap()).unwrap()));
    for node in [CONSUMER, PROVIDER] {
        let node = bus.node(node);
        let directory = CurrentDirectory::current(node.directory.as_ref()).unwrap();
        node.connections.close_untrusted(|one| directory.node_of_auth_certificate(one).is_some());
    }
}

async fn all_closed(bus: &Bus) {
    while [CONSUMER, PROVIDER].iter().any(|node| bus.node(node).connections.count() > 0) {
        tokio::task::yield_now().await;
    }
}

fn calling(bus: &Bus, draft: Draft) -> tokio::task::JoinHandle<Result<Reply, Failed>> {
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    tokio::spawn(async move { consumer.call(draft).await })
}

/// Each way to stop being trusted, for either end: the idle connection ends on both sides, and the next call is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_cut_on_both_sides() {
    type Change = fn(&mut MemberEntry);
    let cases: [(Change, FaultCode); 3] = [
        (|m| m.status = MemberStatus::Suspended, FaultCode::Suspended),
        (|m| m.status = MemberStatus::Closed, FaultCode::Moved),
        (|m| m.nodes[0].suspended = true, FaultCode::Suspended),
    ];
    for member in ["VN/GOV/H26", "VN/GOV/G01"] {
        for (apply, code) in cases {
            let bus = bus().await;
            assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
            change(&bus, member, apply);
            all_closed(&bus).await;
            let told = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err().fault;
            assert_eq!(told.code, code, "{member}: {told}");
            assert_eq!(bus.node(PROVIDER).services.count(), 1);
            bus.close().await;
        }
    }
}

/// Taking a certificate out of the directory is what a revocation comes to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_not_shaken_hands_holds_nothing_and_ends() {
    let bus = bus().await;
    let silent = TcpStream::connect(bus.node(PROVIDER).entry().address).await.unwrap();
    let held = bus.node(CONSUMER).open(bus.node(PROVIDER)).await;
    assert_eq!(bus.node(PROVIDER).connections.count(), 1, "only who has shaken hands has a connection");
    change(&bus, "VN/GOV/H26", |h26| h26.nodes[0].auth_certificates.clear());
    all_closed(&bus).await;
    drop((held, silent));
    bus.close().await;
}

/// The body stops where it is; the caller is told, nothing was called, and nobody waits for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_on_its_way_is_cut_off() {
    let bus = bus().await;
    let (pieces, coming) = mpsc::channel(1);
    let coming = stream::unfold(coming, |mut coming: mpsc::Receiver<Bytes>| async move {
        Some((Ok(coming.recv().await?), coming))
    });
    let mut asked = draft(CLIENT, SERVICE);
    asked.method = "POST".into();
    asked.body = DraftBody::Coming { announced: None, pieces: coming.boxed() };
    let called = calling(&bus, asked);
    for _ in 0..8 {
        pieces.send(Bytes::from(vec![7; 256 * 1024])).await.unwrap();
    }
    change(&bus, "VN/GOV/H26", |h26| h26.nodes[0].suspended = true);
    // The pieces are no longer wanted, or nobody is there to take them.
    while pieces.send(Bytes::from(vec![7; 256 * 1024])).await.is_ok() {}
    let told = tokio::time::timeout(Duration::from_secs(60), called).await.unwrap().unwrap().unwrap_err();
    assert_eq!(told.fault.code, FaultCode::Unavailable, "{}", told.fault);
    all_closed(&bus).await;
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
    bus.close().await;
}

/// The certificate is renewed while a call is being carried out, and the old one deleted before it is answered: the
/// connection is cut, and the answer comes by a new one under the new certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_the_old_certificate_loses_no_exchange() {
    for renewed in [CONSUMER, PROVIDER] {
        let bus = bus().await;
        let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (start, wait) = (Arc::clone(&started), Arc::clone(&go));
        bus.node(PROVIDER).services.on(SERVICE, move |_| {
            let (start, wait) = (Arc::clone(&start), Arc::clone(&wait));
            async move {
                start.notify_one();
                wait.notified().await;
                Ok(json(200, "{\"one\":1}"))
            }
        });
        let node = bus.node(renewed);
        let member = node.id.owner();
        let key = TestKey::generate(KeyKind::EcP256);
        let certificate = bus.authority.auth(&node.id, &key);
        let (fingerprint, der) = (certificate.fingerprint(), Bytes::copy_from_slice(certificate.der()));
        // Both are registered: nothing is cut.
        change(&bus, member.as_str(), |m| m.nodes[0].auth_certificates.push(fingerprint));
        let called = calling(&bus, draft(CLIENT, SERVICE));
        started.notified().await;
        let status = bus.responder.answer(&certificate);
        node.identity.replace(&[der], &key.pkcs8(), Some(&status)).unwrap();
        assert!(!node.identity.staple(&node.auth.fingerprint(), &status), "not its own");
        assert_eq!(open_connections(&bus, PROVIDER), [bus.node(CONSUMER).auth.fingerprint()]);
        change(&bus, member.as_str(), |m| m.nodes[0].auth_certificates = vec![fingerprint]);
        // The consumer's node asks for the outcome over a new connection at once.
        let old = node.auth.fingerprint();
        while [CONSUMER, PROVIDER].iter().any(|one| open_connections(&bus, one).contains(&old)) {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        let reply = called.await.unwrap().unwrap();
        assert_eq!(reply.body.bytes().unwrap().as_ref(), b"{\"one\":1}", "{renewed}");
        assert_eq!(bus.node(PROVIDER).services.count(), 1, "{renewed}: called once");
        let expected = if renewed == CONSUMER { fingerprint } else { bus.node(CONSUMER).auth.fingerprint() };
        assert_eq!(open_connections(&bus, PROVIDER), [expected], "{renewed}");
        bus.close().await;
    }
}
