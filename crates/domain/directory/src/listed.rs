//! One member in a snapshot, with what look-ups need beside its entry.

use std::sync::Arc;

use bytes::Bytes;
use truc_model::Digest;

use crate::{MemberEntry, NodeEntry, SubsystemEntry};

/// A member's entry and the exact part it was read from.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) entry: MemberEntry,
    /// Its nodes once more, for sharing with the look-up tables.
    pub(crate) nodes: Vec<Arc<NodeEntry>>,
    pub(crate) digest: Digest,
    pub(crate) raw: Bytes,
    /// Positions of `entry.subsystems` in the order of their codes.
    order: Box<[u32]>,
}

impl Listed {
    /// Nodes that did not change are shared with `before`.
    pub(crate) fn new(entry: MemberEntry, digest: Digest, raw: Bytes, before: Option<&Self>) -> Self {
        let same = |node: &NodeEntry| {
            before.and_then(|b| b.nodes.iter().find(|old| old.as_ref() == node)).map(Arc::clone)
        };
        let nodes = entry.nodes.iter().map(|n| same(n).unwrap_or_else(|| Arc::new(n.clone()))).collect();
        let mut order: Vec<u32> = (0u32..).take(entry.subsystems.len()).collect();
        order.sort_by_key(|at| entry.subsystems.get(*at as usize).map(|s| s.code.as_str()));
        Self { nodes, digest, raw, order: order.into(), entry }
    }

    pub(crate) fn subsystem(&self, code: &str) -> Option<&SubsystemEntry> {
        let at = |place: &u32| self.entry.subsystems.get(*place as usize);
        let found = self.order.binary_search_by(|p| at(p).map(|s| s.code.as_str()).cmp(&Some(code))).ok()?;
        self.order.get(found).and_then(at)
    }

    /// Those nodes that `other` does not share.
    pub(crate) fn nodes_not_in<'a>(
        &'a self,
        other: Option<&'a Self>,
    ) -> impl Iterator<Item = &'a Arc<NodeEntry>> {
        let shared = move |node: &Arc<NodeEntry>| {
            other.is_some_and(|o| o.nodes.iter().any(|theirs| Arc::ptr_eq(theirs, node)))
        };
        self.nodes.iter().filter(move |node| !shared(node))
    }
}
