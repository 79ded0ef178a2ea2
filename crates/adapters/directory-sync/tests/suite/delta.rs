//! Changes as they reach a node: along with the head, asked for, by polling, past addresses that are silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use truc_directory::{MemberStatus, RegistryAddress};

use crate::bus::{Bus, at, member};
use crate::registry::{Journal, Registry, node};

fn suspend_h26(bus: &mut Bus, version: u64) {
    let mut entry = member("H26", 12);
    entry.status = MemberStatus::Suspended;
    entry.name_en = format!("as of {version}");
    bus.head.version = version;
    bus.set("member/VN/GOV/H26", entry.to_bytes());
}

#[tokio::test]
async fn a_change_comes_along_with_its_head() {
    let (mut bus, place, journal) =
        (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let (mut handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();
    let asked = registry.shelf.asked.load(Ordering::SeqCst);
    suspend_h26(&mut bus, 2);
    registry.show(&bus);
    assert!(handle.changed().await);
    let h26 = "VN/GOV/H26".parse().unwrap();
    assert_eq!(handle.current().member(&h26).unwrap().status, MemberStatus::Suspended);
    // The registry looks at the new index part, the old one and the member's part, once for all watchers.
    assert_eq!(registry.shelf.asked.load(Ordering::SeqCst), asked + 3, "the node asked for nothing");
    sync.stop().await;

    // What came along is on disk as well: the next start needs no registry.
    let anchor = registry.anchor(&bus);
    drop(registry);
    let (handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    assert_eq!(handle.current().version(), 2);
    sync.stop().await;
}

#[tokio::test]
async fn who_missed_versions_asks_for_what_it_lacks() {
    let (mut bus, place, journal) =
        (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let mut registry = Registry::start(&bus).await;
    let (mut handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();
    registry.close().await;
    bus.set("member/VN/GOV/H49", member("H49", 13).to_bytes());
    suspend_h26(&mut bus, 3);
    registry.show(&bus);
    registry.open().await;
    while handle.current().version() < 3 {
        assert!(handle.changed().await);
    }
    assert!(handle.current().member(&"VN/GOV/H49".parse().unwrap()).is_some());
    assert_eq!(handle.current().head_digest(), bus.assemble().unwrap().head_digest());
    sync.stop().await;
    registry.close().await;
}

#[tokio::test]
async fn a_node_moves_from_heads_that_list_members_to_index_parts() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let (mut handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();
    bus.indexed = true;
    suspend_h26(&mut bus, 2);
    registry.show(&bus);
    assert!(handle.changed().await);
    assert_eq!(handle.current().head_digest(), bus.assemble().unwrap().head_digest());
    assert!(handle.current().raw().part("groups").is_none());
    sync.stop().await;
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_passed_over() {
    let (mut bus, place, journal) =
        (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let mut registry = Registry::start(&bus).await;
    // The system takes the connection, and nobody ever answers.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut anchor = registry.anchor(&bus);
    let dark =
        RegistryAddress { address: hole.local_addr().unwrap().to_string(), ..anchor.registry[0].clone() };
    anchor.registry.insert(0, dark);
    let (mut handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    assert_eq!(handle.current().version(), 1);
    // Also later, when the good one was away for a moment.
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();
    registry.close().await;
    suspend_h26(&mut bus, 2);
    registry.show(&bus);
    registry.open().await;
    while handle.current().version() < 2 {
        assert!(handle.changed().await);
    }
    sync.stop().await;
    registry.close().await;
}

/// A middlebox between nodes and registry that cuts every connection when told to.
struct Middlebox {
    address: SocketAddr,
    cut: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Middlebox {
    async fn before(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = watch::Sender::new(0);
        let cuts = cut.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut inner, _) = listener.accept().await.unwrap();
                let mut cuts = cuts.subscribe();
                tokio::spawn(async move {
                    let mut outer = TcpStream::connect(registry).await.unwrap();
                    tokio::select! {
                        _ = cuts.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut inner, &mut outer) => {}
                    }
                });
            }
        });
        Self { address, cut, task }
    }
}

#[tokio::test]
async fn where_no_stream_lasts_the_node_polls() {
    let (mut bus, place, journal) =
        (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let middle = Middlebox::before(registry.address()).await;
    let mut anchor = registry.anchor(&bus);
    anchor.registry[0].address = middle.address.to_string();
    let (mut handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    let mut status = handle.status_changes();
    for version in 2..8 {
        status.wait_for(|s| s.connected).await.unwrap();
        middle.cut.send_modify(|n| *n += 1);
        status.wait_for(|s| !s.connected).await.unwrap();
        suspend_h26(&mut bus, version);
        registry.show(&bus);
        while handle.current().version() < version {
            assert!(handle.changed().await);
        }
    }
    sync.stop().await;
    middle.task.abort();
}

#[tokio::test]
async fn a_head_that_nobody_signs_again_is_told_and_an_older_signature_is_not_taken() {
    let (mut bus, place, journal) =
        (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let (handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    let mut status = handle.status_changes();
    status.wait_for(|s| s.connected).await.unwrap();
    let issued = handle.current().issued();
    // The same version with an older signature, 11 minutes before the node's clock: a replay.
    bus.head.issued = at("2026-11-21T02:54:00.000Z");
    bus.head.expires = at("2026-11-24T02:54:00.000Z");
    registry.show(&bus);
    let frozen = |s: &truc_directory_sync::SyncStatus| {
        s.last_error.as_ref().is_some_and(|why| why.contains("not signed its directory again"))
    };
    status.wait_for(frozen).await.unwrap();
    assert_eq!(handle.current().issued(), issued);
    sync.stop().await;

    // A node whose newest is that old says so.
    let (place, journal) = (tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let (handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    handle.status_changes().wait_for(frozen).await.unwrap();
    assert_eq!(handle.current().version(), 1, "it goes on with what it has");
    sync.stop().await;
}
