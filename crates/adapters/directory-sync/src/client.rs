//! Keeps a node's directory current: watches the registry, goes on without it.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use truc_directory::{Anchor, Directory, RegistryAddress, Rollback};
use truc_model::Clock;
use truc_wire::registry::registry_client::RegistryClient;
use truc_wire::registry::{HeadUpdate, WatchRequest};

use crate::backoff::Backoff;
use crate::connect::{CONNECT, connect, sentence};
use crate::folder::{DirectoryFolder, FolderError};
use crate::handle::{DirectoryHandle, Publisher};
use crate::litter::Litter;
use crate::peers::{self, PeerOffer, PeerOffers, PeerQueue, RegistryThenPeer};
use crate::remote::{Remote, own, silent};
use crate::update::{Desk, HighestSeen, Judged, Offer, Refused};

/// Longest message taken from the registry: a head of 100,000 parts, or a part with its envelope.
const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;

/// How to keep current.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// The folder `directory/`.
    pub folder: PathBuf,
    /// What the node believes without a signature.
    pub anchor: Anchor,
    /// How long a first start, without a cache, waits for the registry.
    pub first_deadline: Duration,
    /// How long an address may take to connect, TLS included; after that the next one has its turn.
    pub connect: Duration,
    /// Wait before all addresses are tried anew; doubles up to `max_backoff`, cut by chance to between half and the whole.
    pub min_backoff: Duration,
    /// Longest wait between attempts. Where no stream stays open for this long (a middlebox cuts it, or holds back what
    /// flows in it), the node in effect polls: it opens one as often as this, which brings the head in force at once.
    pub max_backoff: Duration,
    /// A stream this long without a head is given up and opened again; the registry signs every 60 s.
    pub silence: Duration,
    /// Limit for one answer of the registry.
    pub answer: Duration,
}

impl SyncConfig {
    /// The usual times.
    pub fn new(folder: PathBuf, anchor: Anchor) -> Self {
        Self {
            folder,
            anchor,
            first_deadline: Duration::from_secs(30),
            connect: CONNECT,
            min_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            silence: Duration::from_secs(150),
            answer: Duration::from_secs(30),
        }
    }
}

/// Why a node could not start with a directory.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The cache folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Neither the cache nor the registry gave a directory that can be believed.
    #[error(
        "no directory: the cache has none that counts and the registry did not give one within {seconds} s ({why}); check the anchor and that the registry at {registry} runs"
    )]
    None {
        /// How long it was tried.
        seconds: u64,
        /// The last refusal.
        why: String,
        /// Where it was tried.
        registry: String,
    },
}

/// The running task; stop it with [`DirectorySync::stop`].
#[derive(Debug)]
pub struct DirectorySync {
    stop: CancellationToken,
    task: JoinHandle<()>,
    offers: PeerOffers,
}

impl DirectorySync {
    /// Loads the cache, or waits for the registry when there is none, and keeps current from then on.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn start(
        config: SyncConfig,
        highest: Arc<dyn HighestSeen>,
        clock: Arc<dyn Clock>,
    ) -> Result<(DirectoryHandle, Self), SyncError> {
        let folder = DirectoryFolder::open(&config.folder)?;
        folder.set_anchor(&config.anchor)?;
        let litter = Litter::default();
        let desk = Desk { anchor: config.anchor.clone(), folder: folder.clone(), highest, clock, litter };
        let cached = match desk.cached().await {
            Ok(cached) => cached,
            Err(refused) => {
                tracing::error!(%refused, "the directory on disk is not used");
                None
            }
        };
        let (offers, peers) = peers::queue();
        let mut follower = Follower { config, desk, at: 0, peers };
        let first = Arc::new(match cached {
            Some(directory) => directory,
            None => follower.first().await?,
        });
        let in_force = Arc::clone(&first);
        let found = spawn_blocking(move || Litter::found(&folder, Some(&in_force))).await;
        match found {
            Ok(found) => follower.desk.litter = found?,
            Err(error) => tracing::error!(%error, "the folder of the directory was not looked through"),
        }
        tracing::info!(epoch = first.epoch(), version = first.version(), "directory in force");
        let (publisher, handle) = Publisher::new(first);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(Box::pin(follower.follow(publisher))).await;
        });
        Ok((handle, Self { stop, task, offers }))
    }

    /// Where heads that other nodes show are handed in.
    pub fn offers(&self) -> PeerOffers {
        self.offers.clone()
    }

    /// Ends the task and waits for it.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the directory task did not end well");
        }
    }
}

struct Follower {
    config: SyncConfig,
    desk: Desk,
    /// Which address has its turn: the one that serves well keeps it, one that does not loses it.
    at: usize,
    peers: PeerQueue,
}

/// What came next.
enum Came {
    Registry(Offer),
    Peer(PeerOffer, Result<Option<Box<Judged>>, Refused>),
}

/// How one connection ended.
struct Ended {
    why: String,
    /// Since when it had been serving well; none when it never did.
    served_since: Option<Instant>,
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self { why, served_since: None }
    }
}

impl Follower {
    fn address(&self) -> Option<&RegistryAddress> {
        let registry = &self.config.anchor.registry;
        registry.get(self.at % registry.len().max(1))
    }

    /// The next address has its turn. Whether all have had theirs.
    fn pass_on(&mut self) -> bool {
        self.at = (self.at + 1) % self.config.anchor.registry.len().max(1);
        self.at == 0
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.config.min_backoff, self.config.max_backoff)
    }

    /// The first directory of a node without a cache.
    async fn first(&mut self) -> Result<Directory, SyncError> {
        let deadline = Instant::now() + self.config.first_deadline;
        let mut why = String::from("no attempt was made");
        let mut backoff = self.backoff();
        while Instant::now() < deadline {
            match timeout(deadline - Instant::now(), self.first_attempt()).await {
                Ok(Ok(directory)) => return Ok(directory),
                Ok(Err(refused)) => why = refused,
                Err(_) => break,
            }
            if self.pass_on() {
                sleep(backoff.wait().min(deadline.saturating_duration_since(Instant::now()))).await;
            }
        }
        let registry =
            self.config.anchor.registry.iter().map(|r| r.address.as_str()).collect::<Vec<_>>().join(", ");
        Err(SyncError::None { seconds: self.config.first_deadline.as_secs(), why, registry })
    }

    async fn first_attempt(&mut self) -> Result<Directory, String> {
        let (remote, mut stream) = self.open(0, 0).await?;
        let offer = next_head(&mut stream, self.config.answer, Instant::now()).await?;
        let considered = self.desk.consider(offer, None, &remote).await.map_err(|r| r.to_string())?;
        considered.ok_or_else(|| "the registry offered nothing".to_owned())
    }

    /// Follows until dropped.
    async fn follow(mut self, publisher: Publisher) {
        let mut backoff = self.backoff();
        loop {
            let Ended { why, served_since } = self.watch(&publisher).await;
            tracing::warn!(why, "the registry is away; going on with the directory in force");
            publisher.status(|s| {
                s.connected = false;
                s.last_error = Some(why);
            });
            // A stream that does not last is no reason to ask again at once: that is polling, and has its pace.
            if served_since.is_some_and(|since| since.elapsed() >= self.config.max_backoff) {
                backoff.reset();
            }
            let all_had_their_turn = served_since.is_some() || self.pass_on();
            if all_had_their_turn {
                self.rest(backoff.wait(), &publisher).await;
            }
        }
    }

    /// Waits for the registry's next turn; other nodes are heard meanwhile.
    async fn rest(&mut self, wait: Duration, publisher: &Publisher) {
        let over = Instant::now() + wait;
        loop {
            let offer = tokio::select! {
                () = sleep_until(over) => return,
                offer = self.peers.next() => offer,
            };
            let current = publisher.current();
            let judged = self.judge(&offer, &current, None).await;
            self.peer_said(&offer, judged, &current, publisher).await;
        }
    }

    /// One connection's life.
    async fn watch(&mut self, publisher: &Publisher) -> Ended {
        let current = publisher.current();
        // What this stream is known to know. A peer may bring more: then the stream is behind, and has not gone back.
        let mut told = (current.epoch(), current.version());
        let (remote, mut stream) = match self.open(told.0, told.1).await {
            Ok(opened) => opened,
            Err(why) => return why.into(),
        };
        let mut limit = self.config.answer;
        let mut last = Instant::now();
        let mut served_since = None;
        loop {
            let current = publisher.current();
            let offer = match self.next(&mut stream, limit, last, &current, &remote).await {
                Ok(Came::Registry(offer)) => offer,
                Ok(Came::Peer(offer, judged)) => {
                    self.peer_said(&offer, judged, &current, publisher).await;
                    continue;
                }
                Err(why) => return Ended { why, served_since },
            };
            (limit, last) = (self.config.silence, Instant::now());
            let taken = match self.desk.judge(offer, Some(&current), &remote).await {
                Ok(judged) => self.take(judged, &current, publisher).await,
                Err(refused) => Err(refused),
            };
            match taken {
                Ok(()) => told = (publisher.current().epoch(), publisher.current().version()),
                Err(Refused::Rollback(Rollback::Lower { candidate_epoch, candidate, .. }))
                    if (candidate_epoch, candidate) >= told =>
                {
                    told = (candidate_epoch, candidate);
                    tracing::info!("the registry's stream is behind what another node brought");
                }
                Err(Refused::Rollback(rollback)) => {
                    tracing::error!(%rollback, "DIRECTORY ALARM: the registry's offer is refused");
                    publisher.status(|s| s.alarm = Some(rollback.to_string()));
                    return rollback.to_string().into();
                }
                Err(refused) => {
                    tracing::error!(%refused, "the registry's directory is refused");
                    return refused.to_string().into();
                }
            }
            served_since.get_or_insert_with(Instant::now);
            publisher.status(|s| {
                s.connected = true;
                s.last_error = None;
            });
        }
    }

    /// The registry's word goes first, also while a peer's is judged: a slow peer keeps nothing away. What a peer had to
    /// say it shows again.
    async fn next(
        &mut self,
        stream: &mut Streaming<HeadUpdate>,
        limit: Duration,
        since: Instant,
        current: &Directory,
        remote: &Remote,
    ) -> Result<Came, String> {
        let mut registry = pin!(next_head(stream, limit, since));
        let offer = tokio::select! {
            biased;
            head = &mut registry => return head.map(Came::Registry),
            offer = self.peers.next() => offer,
        };
        tokio::select! {
            biased;
            head = &mut registry => head.map(Came::Registry),
            judged = self.judge(&offer, current, Some(remote)) => Ok(Came::Peer(offer, judged)),
        }
    }

    /// Judges a peer's head as one of the registry's. Changes nothing, and ends.
    async fn judge(
        &self,
        offer: &PeerOffer,
        current: &Directory,
        registry: Option<&Remote>,
    ) -> Result<Option<Box<Judged>>, Refused> {
        let limit = self.config.answer;
        let source = RegistryThenPeer { registry, registry_limit: limit / 3, offer };
        let head = Offer { signed_head: offer.signed_head.clone(), parts: vec![] };
        let judged = timeout(limit, self.desk.judge(head, Some(current), &source)).await;
        judged.unwrap_or_else(|_| Err(Refused::Fetch(format!("nothing within {} s", limit.as_secs()))))
    }

    async fn peer_said(
        &mut self,
        offer: &PeerOffer,
        judged: Result<Option<Box<Judged>>, Refused>,
        current: &Directory,
        publisher: &Publisher,
    ) {
        let node = &offer.node;
        let taken = match judged {
            Ok(judged) => {
                if judged.is_some() {
                    tracing::info!(%node, "another node shows a newer directory");
                }
                self.take(judged, current, publisher).await
            }
            Err(refused) => Err(refused),
        };
        let Err(refused) = taken else { return };
        let told = format!("node {node} shows a head that is refused: {refused}");
        match refused {
            // It was newer when it was shown, or is as new as any there is.
            Refused::Frozen(_) => return,
            Refused::Rollback(Rollback::Lower { .. }) => tracing::warn!("{told}"),
            Refused::Rollback(_) => {
                tracing::error!("DIRECTORY ALARM: {told}");
                publisher.status(|s| s.alarm = Some(told.clone()));
                self.peers.mute(node);
            }
            _ => {
                tracing::error!("{told}");
                self.peers.mute(node);
            }
        }
        publisher.status(|s| s.last_error = Some(told));
    }

    /// Keeps what was judged good and puts it in force.
    async fn take(
        &mut self,
        judged: Option<Box<Judged>>,
        current: &Directory,
        publisher: &Publisher,
    ) -> Result<(), Refused> {
        let Some(judged) = judged else { return Ok(()) };
        let directory = self.desk.keep(judged).await?;
        if directory.version() != current.version() {
            let (epoch, version) = (directory.epoch(), directory.version());
            tracing::info!(epoch, version, "directory in force");
        }
        publisher.publish(Arc::new(directory));
        Ok(())
    }

    async fn open(&self, epoch: u64, version: u64) -> Result<(Remote, Streaming<HeadUpdate>), String> {
        let address = self.address().ok_or("the anchor names no registry")?;
        let channel =
            connect(address, self.config.connect).await.map_err(|e| format!("{}: {e}", address.address))?;
        let client = RegistryClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let answer = timeout(self.config.answer, client.clone().watch(WatchRequest { epoch, version })).await;
        let stream = answer.map_err(|_| silent(self.config.answer))?.map_err(|e| sentence(&e))?.into_inner();
        Ok((Remote { client, answer: self.config.answer }, stream))
    }
}

/// The stream's next head, at the latest `limit` after `since`.
async fn next_head(
    stream: &mut Streaming<HeadUpdate>,
    limit: Duration,
    since: Instant,
) -> Result<Offer, String> {
    match timeout_at(since + limit, stream.message()).await {
        Err(_) => Err(silent(limit)),
        Ok(Err(status)) => Err(sentence(&status)),
        Ok(Ok(None)) => Err("the registry ended the stream".to_owned()),
        Ok(Ok(Some(update))) => Ok(offer(update)),
    }
}

fn offer(update: HeadUpdate) -> Offer {
    let HeadUpdate { signed_head, parts } = update;
    Offer { signed_head, parts: parts.iter().map(|part| own(&part.content)).collect() }
}

#[cfg(test)]
mod tests;
