//! Heads between nodes (protocol P6.2): what another node shows goes to whoever follows the registry, and parts come back.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory_sync::{DirectoryHandle, PeerOffers, PeerParts};
use truc_exchange::ports::CurrentDirectory;
use truc_model::{Digest, NodeId};
use truc_peer::{HeadWitness, Heads, PeerLinks};

/// The links, comparing heads in one place with the peer door: that place comes with them.
pub(crate) fn comparing(
    links: PeerLinks,
    directory: Arc<dyn CurrentDirectory>,
    handle: &DirectoryHandle,
    offers: PeerOffers,
) -> (Arc<PeerLinks>, Heads) {
    let parts = Arc::new(LinkedParts { links: OnceLock::new(), directory: handle.clone() });
    let witness = Witness { offers, parts: Arc::clone(&parts) };
    let heads = Heads::new(directory, Some(Arc::new(witness)));
    let links = Arc::new(links.comparing(heads.clone()));
    parts.links.get_or_init(|| Arc::downgrade(&links));
    (links, heads)
}

/// Hands newer heads to the follower.
struct Witness {
    offers: PeerOffers,
    parts: Arc<LinkedParts>,
}

impl HeadWitness for Witness {
    fn newer(&self, from: &NodeId, signed_head: Bytes) {
        if !self.offers.offer(from.clone(), signed_head, Arc::clone(&self.parts) as _) {
            tracing::debug!(node = %from, "a newer head is dropped: too many wait");
        }
    }
}

/// Parts over this node's own connections.
struct LinkedParts {
    /// Weak: the links hold the heads, and these their witness.
    links: OnceLock<Weak<PeerLinks>>,
    directory: DirectoryHandle,
}

#[async_trait]
impl PeerParts for LinkedParts {
    async fn parts(&self, node: &NodeId, wanted: &[Digest]) -> Result<HashMap<Digest, Bytes>, String> {
        let links = self.links.get().and_then(Weak::upgrade).ok_or("this node is stopping")?;
        let directory = self.directory.current();
        let entry = directory.node(node).ok_or("the node is no longer in the directory")?;
        links.parts(entry, wanted).await.map_err(|error| error.to_string())
    }
}
