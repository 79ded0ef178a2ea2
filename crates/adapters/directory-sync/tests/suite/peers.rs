//! Heads that other nodes show (protocol P6.2).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use truc_directory::{Directory, Freshness};
use truc_directory_sync::{DirectoryHandle, DirectorySync, PeerParts, SyncStatus};
use truc_model::{Digest, NodeId};

use crate::bus::{Bus, Key, at, member};
use crate::registry::{Journal, Registry, node};

/// What other nodes have, whoever is asked.
struct Others {
    parts: Mutex<HashMap<Digest, Bytes>>,
    asked: AtomicUsize,
    /// An answer takes one.
    answers: Semaphore,
}

impl Others {
    fn new() -> Arc<Self> {
        let answers = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { parts: Mutex::default(), asked: AtomicUsize::new(0), answers })
    }

    fn take(&self, bus: &Bus) {
        self.parts.lock().unwrap().extend(bus.store());
    }
}

#[async_trait]
impl PeerParts for Others {
    async fn parts(&self, _: &NodeId, wanted: &[Digest]) -> Result<HashMap<Digest, Bytes>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        let parts = self.parts.lock().unwrap();
        Ok(wanted.iter().filter_map(|digest| Some((*digest, parts.get(digest)?.clone()))).collect())
    }
}

/// A node that has version 5, and other nodes that have what `bus` holds.
struct Ground {
    bus: Bus,
    registry: Registry,
    /// Takes the connections of a registry that is away, and never answers.
    hole: Option<TcpListener>,
    place: TempDir,
    journal: Arc<Journal>,
    handle: DirectoryHandle,
    sync: DirectorySync,
    others: Arc<Others>,
}

impl Ground {
    async fn connected() -> Self {
        let (mut bus, place, journal) =
            (Bus::indexed(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
        bus.head.version = 5;
        let registry = Registry::start(&bus).await;
        let (handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
        handle.status_changes().wait_for(|s| s.connected).await.unwrap();
        let others = Others::new();
        Self { bus, registry, hole: None, place, journal, handle, sync, others }
    }

    /// The registry's address swallows everything.
    async fn alone() -> Self {
        let mut ground = Self::connected().await;
        ground.registry.close().await;
        ground.hole = Some(TcpListener::bind(ground.registry.address()).await.unwrap());
        ground.told(|s| !s.connected).await;
        ground
    }

    async fn told(&self, what: impl FnMut(&SyncStatus) -> bool) -> SyncStatus {
        self.handle.status_changes().wait_for(what).await.unwrap().clone()
    }

    fn offer(&self, from: &str) -> bool {
        let head = self.bus.signed().to_bytes();
        self.sync.offers().offer(from.parse().unwrap(), head, self.others.clone())
    }

    async fn in_force(&mut self, what: impl Fn(&Directory) -> bool) {
        while !what(&self.handle.current()) {
            assert!(self.handle.changed().await);
        }
    }
}

fn change(bus: &mut Bus, version: u64) {
    let mut entry = member("H26", 12);
    entry.nodes[0].suspended = true;
    entry.name_en = format!("as of {version}");
    bus.head.version = version;
    bus.set("member/VN/GOV/H26", entry.to_bytes());
}

const PEER: &str = "VN/GOV/G01/ss1";
const OTHER: &str = "VN/GOV/G01/ss2";

fn refused(s: &SyncStatus, why: &str) -> bool {
    s.last_error.as_ref().is_some_and(|e| e.contains("shows a head that is refused") && e.contains(why))
}

#[tokio::test]
async fn without_the_registry_a_change_comes_from_another_node_and_is_kept() {
    let mut ground = Ground::alone().await;
    change(&mut ground.bus, 9);
    ground.others.take(&ground.bus);
    assert!(ground.offer(PEER));
    ground.in_force(|d| d.version() == 9).await;
    let now = ground.handle.current();
    assert!(now.node(&"VN/GOV/H26/ss1".parse().unwrap()).unwrap().suspended);
    assert_eq!(*ground.journal.0.lock().unwrap(), Some(now.head_ref()));
    assert_eq!(ground.others.asked.load(Ordering::SeqCst), 2, "the index part, then the member's");

    // Signed again, it stays fresh, and nothing is asked for.
    ground.bus.head.issued = at("2026-11-21T03:14:00.000Z");
    ground.bus.head.expires = at("2026-11-24T03:14:00.000Z");
    assert!(ground.offer(PEER));
    let issued = ground.bus.head.issued;
    ground.in_force(|d| d.issued() == issued).await;
    assert_eq!(ground.handle.current().freshness(at("2026-11-21T03:20:00.000Z")), Freshness::Fresh);
    assert_eq!(ground.others.asked.load(Ordering::SeqCst), 2);
    ground.sync.stop().await;

    // It is on disk.
    let anchor = ground.registry.anchor(&ground.bus);
    let (handle, sync) = node(ground.place.path(), anchor, &ground.journal).await.unwrap();
    assert_eq!((handle.current().version(), handle.current().issued()), (9, issued));
    sync.stop().await;
}

#[tokio::test]
async fn forged_older_and_contradicting_heads_are_refused_and_told() {
    let mut ground = Ground::alone().await;
    let before = ground.handle.current();
    change(&mut ground.bus, 4);
    ground.others.take(&ground.bus);
    assert!(ground.offer(PEER));
    let status = ground.told(|s| refused(s, "older")).await;
    assert_eq!(status.alarm, None, "another node may be behind");

    change(&mut ground.bus, 5);
    ground.others.take(&ground.bus);
    assert!(ground.offer(PEER));
    let status = ground.told(|s| s.alarm.is_some()).await;
    assert!(refused(&status, "two different directories") && status.alarm.unwrap().contains(PEER));

    change(&mut ground.bus, 6);
    ground.others.take(&ground.bus);
    let publishing = std::mem::replace(&mut ground.bus.publishing, Key::new(66));
    assert!(ground.offer(OTHER));
    ground.told(|s| refused(s, "publishing key")).await;
    assert_eq!(ground.others.asked.load(Ordering::SeqCst), 0, "nothing is fetched for any of them");
    assert_eq!(ground.handle.current().head_digest(), before.head_digest());

    // Those two are not listened to for now; a third is.
    ground.bus.publishing = publishing;
    assert!(ground.offer(PEER) && ground.offer(OTHER));
    change(&mut ground.bus, 7);
    ground.others.take(&ground.bus);
    assert!(ground.offer("VN/GOV/H26/ss1"));
    assert!(ground.handle.changed().await);
    assert_eq!(ground.handle.current().version(), 7, "not 6");
    ground.sync.stop().await;
}

#[tokio::test]
async fn parts_that_are_not_what_the_head_lists_are_refused() {
    let mut ground = Ground::alone().await;
    change(&mut ground.bus, 6);
    assert!(ground.offer(PEER));
    ground.told(|s| refused(s, "not to be had")).await;
    for part in ground.bus.store().into_keys() {
        ground.others.parts.lock().unwrap().insert(part, Bytes::from_static(b"something else"));
    }
    assert!(ground.offer(OTHER));
    ground.told(|s| refused(s, "not what the head lists")).await;
    assert_eq!(ground.handle.current().version(), 5);
    ground.sync.stop().await;
}

#[tokio::test]
async fn a_flood_of_heads_is_dropped() {
    let mut ground = Ground::alone().await;
    ground.others.answers.forget_permits(Semaphore::MAX_PERMITS);
    change(&mut ground.bus, 6);
    ground.others.take(&ground.bus);
    let taken = (0..1000).filter(|_| ground.offer(PEER)).count();
    assert!((8..=9).contains(&taken), "{taken}");
    assert!(!ground.sync.offers().offer(
        PEER.parse().unwrap(),
        Bytes::from(vec![b' '; 300 * 1024]),
        ground.others.clone()
    ));
    ground.others.answers.add_permits(100);
    ground.in_force(|d| d.version() == 6).await;
    ground.sync.stop().await;
}

#[tokio::test]
async fn a_registry_that_is_behind_another_node_has_not_gone_back() {
    let mut ground = Ground::connected().await;
    let before = ground.bus.head.clone();
    change(&mut ground.bus, 6);
    ground.registry.stock(&ground.bus);
    assert!(ground.offer(PEER));
    ground.in_force(|d| d.version() == 6).await;
    assert_eq!(ground.others.asked.load(Ordering::SeqCst), 0, "the registry is asked first");

    // Signed again before the change, and slow on its way.
    let after = std::mem::replace(&mut ground.bus.head, before);
    ground.bus.head.issued = at("2026-11-21T03:01:00.000Z");
    ground.registry.show(&ground.bus);
    ground.bus.head = after;
    ground.bus.head.issued = at("2026-11-21T03:02:00.000Z");
    ground.registry.show(&ground.bus);
    let issued = ground.bus.head.issued;
    ground.in_force(|d| d.issued() == issued).await;
    assert_eq!(ground.handle.status().alarm, None);

    // To say less than it has said is another matter.
    change(&mut ground.bus, 5);
    ground.registry.show(&ground.bus);
    let alarm = ground.told(|s| s.alarm.is_some()).await.alarm.unwrap();
    assert!(alarm.contains("older"), "{alarm}");
    ground.sync.stop().await;
    ground.registry.close().await;
}
