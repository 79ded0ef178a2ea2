//! Heads between nodes (protocol P6.2): compared on connecting, a newer one handed on, two truths refused at both ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_directory::{Directory, SignedHead};
use truc_exchange::ports::{CurrentDirectory, LinkError, PeerLink as _, ProviderSide};
use truc_model::{Digest, FaultCode, NodeId};
use truc_peer::{Connections, HeadWitness, Heads, PeerDoor, PeerDoorConfig, PeerLinks};
use truc_testkit::registry::{InForce, Registry};
use truc_testkit::{Bus, MemorySpool, TestNode, draft};

use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus};

/// What a follower of the registry would be given.
#[derive(Default)]
struct Shown(Mutex<Vec<(NodeId, Bytes)>>);

impl HeadWitness for Shown {
    fn newer(&self, from: &NodeId, signed_head: Bytes) {
        self.0.lock().unwrap().push((from.clone(), signed_head));
    }
}

impl Shown {
    fn versions(&self) -> Vec<(NodeId, u64)> {
        let version = |head: &Bytes| SignedHead::parse(head).unwrap().unverified().unwrap().version;
        self.0.lock().unwrap().iter().map(|(node, head)| (node.clone(), version(head))).collect()
    }
}

/// One node's comparing, with a directory of its own choice.
struct End {
    directory: Arc<InForce>,
    shown: Arc<Shown>,
    heads: Heads,
}

impl End {
    fn new(directory: Arc<Directory>) -> Self {
        let in_force = Arc::new(InForce::default());
        in_force.set(directory);
        let shown = Arc::new(Shown::default());
        let witness = Arc::clone(&shown) as Arc<dyn HeadWitness>;
        let heads = Heads::new(Arc::clone(&in_force) as _, Some(witness));
        Self { directory: in_force, shown, heads }
    }

    fn links(&self, bus: &Bus, node: &TestNode) -> PeerLinks {
        let current = Arc::clone(&self.directory) as Arc<dyn CurrentDirectory>;
        let (clock, spool) = (Arc::clone(&bus.clock), MemorySpool::for_tests());
        let links = PeerLinks::new(&node.identity, current, clock, Connections::default(), spool);
        links.unwrap().comparing(self.heads.clone())
    }

    async fn door(&self, bus: &Bus, node: &TestNode) -> Door {
        let door = PeerDoor::new(
            &node.identity,
            Arc::clone(&self.directory) as _,
            Arc::clone(&bus.clock),
            Arc::clone(&node.provider) as Arc<dyn ProviderSide>,
            Connections::default(),
            MemorySpool::for_tests(),
            PeerDoorConfig::default(),
        );
        let door = door.unwrap().comparing(self.heads.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut entry = node.entry();
        entry.address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serving = tokio::spawn(async move { door.serve(listener, stopped).await.unwrap() });
        Door { entry, stop, serving }
    }
}

struct Door {
    entry: truc_directory::NodeEntry,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Door {
    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

fn in_force(bus: &Bus) -> Arc<Directory> {
    CurrentDirectory::current(bus.node(CONSUMER).directory.as_ref()).unwrap()
}

/// The same keys, another history: its versions contradict those of the bus.
fn other_truth(bus: &Bus) -> Registry {
    let real = in_force(bus);
    let members = real.members().cloned().map(|mut member| {
        member.name_en.push_str(" (another truth)");
        member
    });
    Registry::new(real.authorities().to_vec(), members.collect())
}

/// Publishes until the version is the given one.
fn published(registry: &Registry, bus: &Bus, version: u64) -> Arc<Directory> {
    loop {
        let directory = registry.publish(bus.clock.now());
        if directory.version() == version {
            return directory;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_head_is_handed_on_whichever_end_has_it() {
    let bus = bus().await;
    let old = in_force(&bus);
    bus.publish();
    let new = in_force(&bus);
    for (ours, theirs) in [(&old, &new), (&new, &old)] {
        let (here, there) = (End::new(Arc::clone(ours)), End::new(Arc::clone(theirs)));
        let door = there.door(&bus, bus.node(PROVIDER)).await;
        let links = here.links(&bus, bus.node(CONSUMER));
        drop(links.open(&door.entry).await.unwrap());
        let (behind, ahead) =
            if ours.version() < theirs.version() { (&here, PROVIDER) } else { (&there, CONSUMER) };
        let expected = vec![(ahead.parse().unwrap(), new.version())];
        assert_eq!(behind.shown.versions(), expected);
        let other = if std::ptr::eq(behind, &here) { &there } else { &here };
        assert!(other.shown.versions().is_empty());
        assert!(here.heads.conflicts().is_empty() && there.heads.conflicts().is_empty());
        links.close().await;
        door.close().await;
    }
    bus.close().await;
}

/// The same version, signed again later: that is what keeps a node fresh that does not reach the registry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_was_signed_again_is_handed_on() {
    let bus = bus().await;
    let (one, again) = (other_truth(&bus), other_truth(&bus));
    let old = one.publish(bus.clock.now());
    let fresh = again.publish(bus.clock.now().plus(Duration::from_secs(120)));
    assert_eq!(old.head_ref(), fresh.head_ref());
    let (here, there) = (End::new(old), End::new(Arc::clone(&fresh)));
    let door = there.door(&bus, bus.node(PROVIDER)).await;
    let links = here.links(&bus, bus.node(CONSUMER));
    drop(links.open(&door.entry).await.unwrap());
    assert_eq!(here.shown.0.lock().unwrap()[0].1, fresh.raw().signed_head());
    assert!(there.shown.versions().is_empty());
    links.close().await;
    door.close().await;
    bus.close().await;
}

/// Of the version in force at both, or of the one before it at either: an alarm at both ends, and no exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_version_with_two_digests_is_refused_at_both_ends() {
    let bus = bus().await;
    bus.publish();
    bus.publish();
    let ours = in_force(&bus);
    let other = other_truth(&bus);
    for version in [ours.version() - 1, ours.version(), ours.version() + 1] {
        let (here, there) = (End::new(Arc::clone(&ours)), End::new(published(&other, &bus, version)));
        let door = there.door(&bus, bus.node(PROVIDER)).await;
        let links = here.links(&bus, bus.node(CONSUMER));
        for _ in 0..2 {
            let refused = links.open(&door.entry).await.map(drop);
            assert!(matches!(refused, Err(LinkError::Conflict(_))), "{version}: {refused:?}");
        }
        let (seen_here, seen_there) = (here.heads.conflicts(), there.heads.conflicts());
        assert_eq!((seen_here.len(), seen_there.len()), (1, 1), "{version}");
        assert_eq!(seen_here[0].node, bus.node(PROVIDER).id);
        assert_eq!((seen_here[0].ours, seen_here[0].version), (seen_there[0].theirs, seen_there[0].version));
        assert!(seen_here[0].signed || version < ours.version(), "the key is the registry's own");
        // The other end comes back to the truth: they talk again.
        there.directory.set(Arc::clone(&ours));
        drop(links.open(&door.entry).await.unwrap());
        assert!(here.heads.conflicts().is_empty() && there.heads.conflicts().is_empty(), "{version}");
        links.close().await;
        door.close().await;
    }
    bus.close().await;
}

/// A consumer's node that does not compare gets the fault on its first frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_in_conflict_is_told_so_on_every_exchange() {
    let bus = bus().await;
    let ours = in_force(&bus);
    let other = published(&other_truth(&bus), &bus, ours.version());
    let there = End::new(other);
    let door = there.door(&bus, bus.node(PROVIDER)).await;
    let talks = End::new(Arc::clone(&ours)).links(&bus, bus.node(CONSUMER));
    assert!(matches!(talks.open(&door.entry).await.map(drop), Err(LinkError::Conflict(_))));
    // As a node with no directory to compare: it hears nothing that it could judge.
    let silent = PeerLinks::new(
        &bus.node(CONSUMER).identity,
        Arc::clone(&bus.node(CONSUMER).directory) as _,
        Arc::clone(&bus.clock),
        Connections::default(),
        MemorySpool::for_tests(),
    );
    let silent = silent.unwrap().comparing(Heads::new(Arc::new(InForce::default()), None));
    let note = silent.open(&door.entry).await.map(drop);
    assert!(note.is_ok(), "{note:?}");
    assert_eq!(there.heads.conflicts().len(), 1, "saying nothing does not clear it");
    let mut c = silent.open(&door.entry).await.unwrap();
    let (node, id) = (bus.node(CONSUMER), "VN/GOV/H26".parse().unwrap());
    let header = node.header(&draft(CLIENT, SERVICE), &bus.node(PROVIDER).id);
    let signed = node.sign(&id, header, truc_message::Body::empty(), vec![]).await;
    let message = truc_exchange::ports::Turn::Message(Box::new(node.parts(&id, &signed)), bus.clock.now());
    c.say(message).await.unwrap();
    match c.hear().await.unwrap() {
        truc_exchange::ports::Turn::Fault(fault) => assert_eq!(fault.code, FaultCode::DirectoryConflict),
        other => panic!("{other:?}"),
    }
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
    talks.close().await;
    silent.close().await;
    door.close().await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_come_from_a_peer_by_their_digests() {
    let bus = bus().await;
    let directory = in_force(&bus);
    let mut wanted: Vec<Digest> = directory.head().parts.iter().map(|part| part.digest).collect();
    let listed = wanted.len();
    wanted.push(Digest([7; 32]));
    let links = bus.node(CONSUMER).links();
    let parts = links.parts(&bus.node(PROVIDER).entry(), &wanted).await.unwrap();
    assert_eq!(parts.len(), listed, "what the other node has not is left out");
    assert!(parts.iter().all(|(digest, bytes)| Digest::of(bytes) == *digest));
    // A node that does not count gets none.
    bus.change(|members| {
        members.get_mut(&"VN/GOV/H26".parse().unwrap()).unwrap().nodes[0].suspended = true;
    });
    assert!(links.parts(&bus.node(PROVIDER).entry(), &wanted).await.is_err());
    bus.close().await;
}
