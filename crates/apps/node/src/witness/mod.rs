//! This node as a witness (protocol P5.3, `docs/evidence.md` §2.3): it shows its newest head to the registry and to the nodes it is
//! connected to, and checks theirs against what it holds.

mod alarms;
mod audit;
mod book;
mod brought;
mod others;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use truc_directory::Directory;
use truc_directory_sync::{WitnessClient, WitnessRefusal};
use truc_exchange::Ground;
use truc_exchange::ports::LinkError;
use truc_log::{Checkpoint, Head, HeadStore, HeadStoreError, Presentation};
use truc_model::{Digest, NodeId};
use truc_peer::PeerLinks;

pub(crate) use self::alarms::LogAlarms;
pub(crate) use self::brought::Brought;
use crate::log_head::{LogError, OldHead, OwnLog};

/// How often heads are shown.
pub(crate) const EVERY: Duration = Duration::from_secs(600);
/// After a failure, and to see whom the node is connected to anew.
const LOOK: Duration = Duration::from_secs(30);
/// Nodes that are asked at once.
const AT_ONCE: usize = 8;
/// A restored node waits so long to hear from the registry where its old log stood.
const OLD_LOG: Duration = Duration::from_secs(10);

/// Why a head was not shown or judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    /// This node's own log.
    #[error(transparent)]
    Own(#[from] LogError),
    /// What is held of others.
    #[error(transparent)]
    Heads(#[from] HeadStoreError),
    /// The other node is not reached, or says something else than it should.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The registry.
    #[error("the registry: {0}")]
    Registry(#[from] WitnessRefusal),
    /// No such node, or no directory yet.
    #[error("{0} is not in the directory")]
    Unknown(NodeId),
    /// Only the node itself can prove what its log holds.
    #[error(
        "node {node} cannot be reached from here ({why}), and only it can prove what its log holds: open a way to its address for this node and audit it again, at any later time; until then compare single exchanges: have its operator send `truc evidence export ID`, and check with `truc verify` that the record lies under a head of its log"
    )]
    Away {
        /// The node.
        node: NodeId,
        /// What failed.
        why: LinkError,
    },
    /// What a node says is no head of its log.
    #[error("the node {0} shows no head of its log: {1}")]
    NoHead(NodeId, String),
}

/// Shows and judges heads.
pub(crate) struct Witness {
    pub(crate) own: Arc<OwnLog>,
    pub(crate) heads: Arc<dyn HeadStore>,
    pub(crate) links: Arc<PeerLinks>,
    pub(crate) registry: WitnessClient,
    pub(crate) ground: Arc<Ground>,
    pub(crate) alarms: LogAlarms,
    pub(crate) brought: Brought,
}

impl Witness {
    /// Shows the head to the registry and to every node that is connected, at once and then every `every`, until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        if let Err(error) = self.alarms.load(self.heads.as_ref()).await {
            tracing::error!(%error, "what is held of other logs cannot be read");
        }
        let mut ticks = interval(LOOK.min(every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut registry, mut peers) = (None, BTreeMap::new());
        let due = |shown: Option<&Instant>| shown.is_none_or(|shown: &Instant| shown.elapsed() >= every);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let turn = async {
                if due(registry.as_ref()) && self.tell_registry().await {
                    registry = Some(Instant::now());
                }
                let connected = self.links.connected();
                peers.retain(|node, _| connected.contains(node));
                let wanted = connected.into_iter().filter(|node| due(peers.get(node)));
                for node in self.tell(wanted.collect()).await {
                    peers.insert(node, Instant::now());
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = turn => {}
            }
        }
    }

    /// Shows the head to the registry and every connected node now.
    pub(crate) async fn show_all(&self) {
        self.tell_registry().await;
        self.tell(self.links.connected()).await;
    }

    async fn tell_registry(&self) -> bool {
        let shown = self.show_registry().await;
        if let Err(error) = &shown {
            tracing::warn!(%error, "the head of this node's log was not shown to the registry; it is tried again");
        }
        shown.is_ok()
    }

    /// Those that were reached.
    async fn tell(&self, nodes: Vec<NodeId>) -> Vec<NodeId> {
        let exchanged = stream::iter(nodes).map(|node| async move {
            let outcome = self.exchange(&node).await;
            if let Err(error) = &outcome {
                tracing::info!(%node, %error, "no heads were exchanged with the node; it is tried again");
            }
            outcome.ok().map(|()| node)
        });
        exchanged.buffer_unordered(AT_ONCE).filter_map(|node| async { node }).collect().await
    }

    /// Shows the newest head to the registry, with the proof that it continues the one it holds.
    async fn show_registry(&self) -> Result<(), WitnessError> {
        let head = self.own.newest().await?;
        let (note, size) = (head.note().to_string(), head.checkpoint().size);
        let mut known = self.alarms.confirmed().map_or(0, |(size, _)| size);
        // The registry says at which size the proof must begin; twice only when somebody else shows heads of this log.
        for _ in 0..3 {
            let now = self.ground.clock.now();
            let presented = Presentation {
                head: Digest::of(note.as_bytes()),
                at: now,
                known,
                proof: self.own.consistency(known, size).await?,
            };
            let presented = self.own.signer().note(presented.to_string()).await;
            let presented = presented.map_err(|e| LogError::Head(e.into()))?.to_string();
            let answer = self.registry.witness(Bytes::from(note.clone()), Bytes::from(presented)).await?;
            let held = String::from_utf8_lossy(&answer.held).into_owned();
            let held = self.check_own(&held, "the registry").await?;
            if answer.alarm {
                let key = self.own.key().name();
                self.alarms.raise(key, "the registry holds a head of this node's log that this log does not continue: its journal was changed or lost records; keep it as it is, and run `truc evidence fsck` with `--heads`".into());
                return Ok(());
            }
            match held {
                Some(held) if held == size => {
                    self.alarms.confirm(size, now);
                    return Ok(());
                }
                Some(held) => known = held,
                None => break,
            }
        }
        let why = "it does not confirm the head that it was shown".to_owned();
        Err(WitnessRefusal::Unavailable(why).into())
    }

    /// Compares a head of this node's own log that `witness` holds with the log. Returns its size; nothing where it is of another log.
    pub(super) async fn check_own(&self, note: &str, witness: &str) -> Result<Option<u64>, WitnessError> {
        let Ok(held) = Head::verify(note, self.own.key()) else {
            return Ok(None);
        };
        let (held, proofs) = (held.checkpoint(), self.own.proofs());
        let size = proofs.log_size().await.map_err(LogError::from)?;
        let what = if held.size > size {
            Some(format!("{witness} holds a head of {} records, and this node has {size}", held.size))
        } else {
            let root = proofs.root(held.size).await.map_err(LogError::from)?;
            let what = || format!("{witness} holds another root of the first {} records", held.size);
            if root != held.root { Some(what()) } else { self.other_chain(held, witness).await }
        };
        if let Some(what) = what {
            let what = format!(
                "this node's journal was changed or lost records: {what}; keep it as it is, and run `truc evidence fsck` with `--heads`"
            );
            self.alarms.raise(self.own.key().name(), what);
        }
        Ok(Some(held.size))
    }

    /// What lies beside the records is not as `held` says. What the archive does not hand out now is not compared.
    async fn other_chain(&self, held: &Checkpoint, witness: &str) -> Option<String> {
        let (said, here) = (held.chain()?, self.own.proofs().chain(held.size).await.ok()??);
        (said != here).then(|| format!("{witness} holds another hash chain after {} records", held.size))
    }

    fn directory(&self) -> Option<Arc<Directory>> {
        self.ground.directory.current()
    }
}

/// Where the log of `node` stood before it was restored, as the registry knows: the newest head signed with the key of `signed_by`.
pub(crate) async fn old_head(
    registry: &WitnessClient,
    node: &NodeId,
    new_log: &str,
    public_key: &[u8],
) -> Option<OldHead> {
    let told = match timeout(OLD_LOG, registry.witnessed(node)).await {
        Ok(Ok(views)) => views,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the registry does not say where the log stood before this node was restored");
            return None;
        }
        Err(_) => return None,
    };
    let new_log = truc_log::log_origin(node, Some(new_log));
    let views = told.iter().filter_map(|view| serde_json::from_slice::<truc_log::LogView>(view).ok());
    let believed = views.filter(|view| {
        let key = truc_log::NoteKey::new(&view.log, public_key);
        view.log != new_log && key.is_ok_and(|key| Head::verify(&view.newest.note, &key).is_ok())
    });
    let newest = believed.max_by_key(|view| view.newest.at)?.newest;
    Some(OldHead { size: newest.size, root: newest.root })
}
