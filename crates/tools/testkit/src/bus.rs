//! A running bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use truc_directory::MemberEntry;
use truc_model::{Clock, ManualClock, MemberId, NodeId};

use crate::authority::{Authority, Responder};
use crate::direct_link::Switchboard;
use crate::node::TestNode;
use crate::registry::Registry;

/// The nodes of a test bus with what they share.
pub struct Bus {
    /// The time that every node reads.
    pub clock: Arc<dyn Clock>,
    /// The same, when the test owns it.
    pub manual: Option<Arc<ManualClock>>,
    /// The CA of every certificate.
    pub authority: Arc<Authority>,
    /// Its OCSP responder.
    pub responder: Arc<Responder>,
    /// The registry.
    pub registry: Registry,
    /// What joins the nodes when they have no sockets.
    pub board: Arc<Switchboard>,
    pub(crate) nodes: BTreeMap<NodeId, TestNode>,
    /// Evidence on disk lies in here.
    pub(crate) _folder: Option<tempfile::TempDir>,
}

impl Bus {
    /// The node with this id.
    pub fn node(&self, id: &str) -> &TestNode {
        self.nodes.get(&id.parse::<NodeId>().unwrap()).unwrap()
    }

    /// The node with this id, to be restarted.
    pub fn node_mut(&mut self, id: &str) -> &mut TestNode {
        self.nodes.get_mut(&id.parse::<NodeId>().unwrap()).unwrap()
    }

    /// Moves every clock on; only on a bus with a manual clock.
    pub fn advance(&self, by: Duration) {
        self.manual.as_ref().unwrap().advance(by);
    }

    /// Publishes the directory, issued now, to every node.
    pub fn publish(&self) {
        let directory = self.registry.publish(self.clock.now());
        for node in self.nodes.values() {
            node.directory.set(Arc::clone(&directory));
        }
    }

    /// Changes members and publishes.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<MemberId, MemberEntry>)) {
        self.registry.change(change);
        self.publish();
    }

    /// Closes every node.
    pub async fn close(&self) {
        for node in self.nodes.values() {
            node.close().await;
        }
    }
}
