//! Heads that other nodes show (protocol P6.2): handed in here, judged by the follower as if the registry had offered them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use truc_directory::PartRef;
use truc_model::{Digest, NodeId};

use crate::remote::{Remote, checked, within};
use crate::update::Source;

/// Offers that wait; more are dropped. A node shows a head again as long as it is newer.
const WAITING: usize = 8;
/// A signed head longer than this is not taken from a peer.
const HEAD_LIMIT: usize = 256 * 1024;
/// Most bytes fetched from a peer for one head: what changed within the 72 hours that a head lives.
const FETCH_LIMIT: u64 = 64 * 1024 * 1024;
/// A node whose head was refused is not listened to for so long: it costs checking, and perhaps fetching.
const MUTED: Duration = Duration::from_secs(60);
/// Most nodes remembered as refused.
const MUTED_NODES: usize = 1024;

/// Parts of the directory from another node.
#[async_trait]
pub trait PeerParts: Send + Sync {
    /// The parts with these digests that `node` has; nothing of them is believed. May be dropped at any await.
    ///
    /// # Errors
    /// A sentence for the operator.
    async fn parts(&self, node: &NodeId, wanted: &[Digest]) -> Result<HashMap<Digest, Bytes>, String>;
}

/// Where heads of other nodes are handed in; cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerOffers {
    queue: mpsc::Sender<PeerOffer>,
}

impl PeerOffers {
    /// Hands in a signed head that `node` shows; what it lists is had from the registry, or else from `parts`. Never blocks:
    /// `false` when the head is too long or too many wait, and it is dropped.
    pub fn offer(&self, node: NodeId, signed_head: Bytes, parts: Arc<dyn PeerParts>) -> bool {
        signed_head.len() <= HEAD_LIMIT && self.queue.try_send(PeerOffer { node, signed_head, parts }).is_ok()
    }
}

/// A head with whom it is from. Nothing of it is believed yet.
pub(crate) struct PeerOffer {
    pub(crate) node: NodeId,
    pub(crate) signed_head: Bytes,
    parts: Arc<dyn PeerParts>,
}

/// The follower's end.
pub(crate) struct PeerQueue {
    offers: mpsc::Receiver<PeerOffer>,
    muted: HashMap<NodeId, Instant>,
}

pub(crate) fn queue() -> (PeerOffers, PeerQueue) {
    let (queue, offers) = mpsc::channel(WAITING);
    (PeerOffers { queue }, PeerQueue { offers, muted: HashMap::new() })
}

impl PeerQueue {
    /// The next offer of a node that is listened to; none ever when nobody can hand one in. Loses none when dropped.
    pub(crate) async fn next(&mut self) -> PeerOffer {
        loop {
            let Some(offer) = self.offers.recv().await else { return std::future::pending().await };
            if self.muted.get(&offer.node).is_none_or(|until| *until <= Instant::now()) {
                return offer;
            }
        }
    }

    /// Does not listen to the node for a while.
    pub(crate) fn mute(&mut self, node: &NodeId) {
        let now = Instant::now();
        self.muted.retain(|_, until| *until > now);
        if self.muted.len() < MUTED_NODES {
            self.muted.insert(node.clone(), now + MUTED);
        }
    }
}

/// The registry as long as it is there, else the peer that showed the head.
pub(crate) struct RegistryThenPeer<'a> {
    pub(crate) registry: Option<&'a Remote>,
    /// How long the registry has before the peer is asked.
    pub(crate) registry_limit: Duration,
    pub(crate) offer: &'a PeerOffer,
}

#[async_trait]
impl Source for RegistryThenPeer<'_> {
    async fn fetch(&self, wanted: &[PartRef]) -> Result<HashMap<Digest, Bytes>, String> {
        within(wanted, FETCH_LIMIT)?;
        if let Some(registry) = self.registry
            && let Ok(Ok(parts)) = timeout(self.registry_limit, registry.fetch(wanted)).await
        {
            return Ok(parts);
        }
        let digests: Vec<Digest> = wanted.iter().map(|part| part.digest).collect();
        let found = self.offer.parts.parts(&self.offer.node, &digests).await?;
        let part = |part: &PartRef| {
            let content = found.get(&part.digest);
            let content = content.ok_or_else(|| format!("part {} is not to be had from it", part.name))?;
            Ok((part.digest, checked(part, content)?))
        };
        wanted.iter().map(part).collect()
    }
}
