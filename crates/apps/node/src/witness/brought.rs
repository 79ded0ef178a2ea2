//! What nodes that connect to this one say that they hold of its log: it may be unable to ask them itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truc_log::Held;
use truc_model::{NodeId, Timestamp};

/// The heads that each node brought last, each signed with this node's own key. In memory alone: they are brought again.
#[derive(Clone, Default)]
pub(crate) struct Brought(Arc<Mutex<BTreeMap<NodeId, Vec<Held>>>>);

impl Brought {
    /// Takes the place of what the node brought before. Heads that this node never signed were left out by the caller.
    pub(super) fn keep(&self, node: &NodeId, heads: Vec<Held>) {
        if !heads.is_empty() {
            self.all().insert(node.clone(), heads);
        }
    }

    /// By node, of those that `counts`; the others are forgotten.
    pub(super) fn of(&self, counts: impl Fn(&NodeId) -> bool) -> Vec<(NodeId, Vec<Held>)> {
        let mut all = self.all();
        all.retain(|node, _| counts(node));
        all.iter().map(|(node, heads)| (node.clone(), heads.clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head as whoever holds it tells of it; the caller has checked its signature.
pub(super) fn held(head: &truc_log::Head, at: Timestamp) -> Held {
    let checkpoint = head.checkpoint();
    Held { at, size: checkpoint.size, root: checkpoint.root, note: head.note().to_string() }
}
