use std::sync::Arc;

use truc_evidence::{Acknowledged, AcknowledgedLeaf, EvidenceStore, Proof, ProofStore};
use truc_log::{Checkpoint, Held, MemoryTree, inclusion, root};
use truc_model::{Digest, MessageId, NodeId, Timestamp};
use truc_testkit::memory_store::MemoryStore;
use truc_testkit::{Bus, Federation, draft};

use super::Brought;
use super::audit::{held_under, owed};

const CLIENT: &str = "VN/GOV/H26/mot-cua";
const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";
const CONSUMER: &str = "VN/GOV/H26/ss1";
const PROVIDER: &str = "VN/GOV/G01/ss1";

/// Three exchanges, and what the provider's follower then keeps of the consumer's `recorded` frames.
async fn exchanges() -> (Bus, Vec<MessageId>) {
    let bus = Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .right(CLIENT, SERVICE)
        .start()
        .await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().request);
    }
    let provider = bus.node(PROVIDER);
    let heard = provider.stamps.heard().into_iter().map(|(_, own, leaf)| AcknowledgedLeaf { own, leaf });
    let peer = consumer();
    let kept = Proof::Acknowledged(Acknowledged { peer, leaves: heard.collect() });
    provider.memory.as_ref().unwrap().prove(kept).await.unwrap();
    (bus, requests)
}

fn consumer() -> NodeId {
    CONSUMER.parse().unwrap()
}

fn memory(bus: &Bus, node: &str) -> Arc<MemoryStore> {
    Arc::clone(bus.node(node).memory.as_ref().unwrap())
}

/// The leaves of a node's log.
async fn leaves(store: &MemoryStore) -> Vec<Digest> {
    let mut leaves = Vec::new();
    for sequence in 0..store.log_size().await.unwrap() {
        leaves.push(store.read(sequence).await.unwrap().leaf().hash);
    }
    leaves
}

/// A provider has nothing of a consumer that is signed, but every `recorded` frame of its requests: what is no longer in the
/// consumer's log is found by them, and the first exchange is named.
#[tokio::test]
async fn a_consumers_log_is_audited_by_what_it_acknowledged() {
    let (bus, requests) = exchanges().await;
    let store = memory(&bus, PROVIDER);
    let (all, next) = owed(store.as_ref(), store.as_ref(), &consumer(), 0).await.unwrap();
    assert_eq!(next, None);
    assert_eq!(all.iter().map(|owed| owed.exchange).collect::<Vec<_>>(), requests);
    assert_eq!(
        all.iter().map(|owed| (owed.record, owed.leaf.index)).collect::<Vec<_>>(),
        [(0, 0), (2, 2), (4, 4)]
    );
    let (later, _) = owed(store.as_ref(), store.as_ref(), &consumer(), 3).await.unwrap();
    assert_eq!(later.iter().map(|owed| owed.exchange).collect::<Vec<_>>(), requests[2..]);
    let (other, _) = owed(store.as_ref(), store.as_ref(), &PROVIDER.parse().unwrap(), 0).await.unwrap();
    assert!(other.is_empty(), "what another node acknowledged is not this one's");

    let honest = leaves(memory(&bus, CONSUMER).as_ref()).await;
    let mut removed = honest.clone();
    removed.remove(2);
    let mut rewritten = honest.clone();
    rewritten[2] = Digest::of(b"another request");
    let mut swapped = honest.clone();
    swapped.swap(0, 2);
    let cut = honest[..2].to_vec();
    for (what, log, first) in [
        ("as it was", honest, None),
        ("removed", removed, Some(1)),
        ("rewritten", rewritten, Some(1)),
        ("in another order", swapped, Some(0)),
        ("cut off", cut, Some(1)),
    ] {
        let size = log.len() as u64;
        let tree: MemoryTree = log.into_iter().collect();
        let head = Checkpoint {
            origin: "NODE:VN/GOV/H26/ss1".into(),
            size,
            root: root(&tree, size).unwrap(),
            extensions: vec![],
        };
        let paths: Vec<_> = all.iter().map(|owed| inclusion(&tree, owed.leaf.index, size).unwrap()).collect();
        let (held, missing) = held_under(&head, &all, &paths);
        let found = missing.as_ref().map(|missing| (missing.exchange, missing.record, missing.index));
        let expected = first.map(|n: usize| (requests[n], all[n].record, all[n].leaf.index));
        assert_eq!(found, expected, "{what}: {missing:?}");
        assert_eq!(held, first.unwrap_or(all.len()) as u64, "{what}");
    }
}

#[test]
fn what_a_node_brought_last_is_told_while_it_is_in_the_directory() {
    let brought = Brought::default();
    let (known, gone): (NodeId, NodeId) = (consumer(), "VN/GOV/H26/ss2".parse().unwrap());
    let held = |size| {
        let at = Timestamp::from_millis(0);
        vec![Held { at, size, root: Digest([1; 32]), note: String::new() }]
    };
    brought.keep(&known, held(1));
    brought.keep(&gone, held(1));
    brought.keep(&known, held(2));
    brought.keep(&known, vec![]);
    assert_eq!(brought.of(|node| *node == known), [(known, held(2))]);
    assert_eq!(brought.of(|_| true).len(), 1, "nothing is kept of a node that has left");
}
