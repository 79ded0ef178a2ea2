//! Keeps a node's directory current: watches the registry, goes on without it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;
use truc_directory::{Anchor, Directory, PART_LIMIT_BYTES, PartRef, RegistryAddress};
use truc_model::{Clock, Digest};
use truc_wire::registry::registry_client::RegistryClient;
use truc_wire::registry::{HeadUpdate, PartsRequest, WatchRequest};

use crate::connect::{connect, sentence};
use crate::folder::{DirectoryFolder, FolderError};
use crate::handle::{DirectoryHandle, Publisher};
use crate::update::{Desk, HighestSeen, Refused, Source};

/// Longest message taken from the registry: a head of 100,000 parts, or a part with its envelope.
const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;
/// Parts asked for at once.
const BATCH: usize = 256;
/// Most bytes fetched for one version.
const FETCH_LIMIT: u64 = 1024 * 1024 * 1024;

/// How to keep current.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// The folder `directory/`.
    pub folder: PathBuf,
    /// What the node believes without a signature.
    pub anchor: Anchor,
    /// How long a first start, without a cache, waits for the registry.
    pub first_deadline: Duration,
    /// Wait before the first new attempt; doubles up to `max_backoff`.
    pub min_backoff: Duration,
    /// Longest wait between attempts.
    pub max_backoff: Duration,
    /// A stream this long without a head is given up and opened again: the registry signs every 60 s, so this is also
    /// the polling fallback.
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
        let desk = Desk { anchor: config.anchor.clone(), folder, highest, clock };
        let cached = match desk.cached().await {
            Ok(cached) => cached,
            Err(refused) => {
                tracing::error!(%refused, "the directory on disk is not used");
                None
            }
        };
        let mut follower = Follower { config, desk, next: 0 };
        let first = match cached {
            Some(directory) => directory,
            None => follower.first().await?,
        };
        tracing::info!(epoch = first.epoch(), version = first.version(), "directory in force");
        let (publisher, handle) = Publisher::new(Arc::new(first));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(follower.follow(publisher)).await;
        });
        Ok((handle, Self { stop, task }))
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
    next: usize,
}

impl Follower {
    /// The addresses in turn.
    fn address(&mut self) -> Option<RegistryAddress> {
        let registry = &self.config.anchor.registry;
        let address = registry.get(self.next % registry.len().max(1)).cloned();
        self.next = self.next.wrapping_add(1);
        address
    }

    /// The first directory of a node without a cache.
    async fn first(&mut self) -> Result<Directory, SyncError> {
        let deadline = Instant::now() + self.config.first_deadline;
        let mut why = String::from("no attempt was made");
        let mut backoff = self.config.min_backoff;
        while Instant::now() < deadline {
            match timeout(deadline - Instant::now(), self.first_attempt()).await {
                Ok(Ok(directory)) => return Ok(directory),
                Ok(Err(refused)) => why = refused,
                Err(_) => break,
            }
            sleep(backoff.min(deadline.saturating_duration_since(Instant::now()))).await;
            backoff = (backoff * 2).min(self.config.max_backoff);
        }
        let registry =
            self.config.anchor.registry.iter().map(|r| r.address.as_str()).collect::<Vec<_>>().join(", ");
        Err(SyncError::None { seconds: self.config.first_deadline.as_secs(), why, registry })
    }

    async fn first_attempt(&mut self) -> Result<Directory, String> {
        let (remote, mut stream) = self.open(0, 0).await?;
        let update = self.next_head(&mut stream, self.config.answer).await?;
        let considered = self.desk.consider(&update, None, &remote).await.map_err(|r| r.to_string())?;
        considered.ok_or_else(|| "the registry offered nothing".to_owned())
    }

    /// Follows until dropped.
    async fn follow(mut self, publisher: Publisher) {
        let mut backoff = self.config.min_backoff;
        loop {
            let mut accepted = false;
            let why = self.watch(&publisher, &mut accepted).await;
            tracing::warn!(why, "the registry is away; going on with the directory in force");
            publisher.status(|s| {
                s.connected = false;
                s.last_error = Some(why);
            });
            if accepted {
                backoff = self.config.min_backoff;
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(self.config.max_backoff);
        }
    }

    /// One connection's life; ends with the reason why it ended. `accepted` tells whether it brought anything good.
    async fn watch(&mut self, publisher: &Publisher, accepted: &mut bool) -> String {
        let current = publisher.current();
        let (remote, mut stream) = match self.open(current.epoch(), current.version()).await {
            Ok(opened) => opened,
            Err(why) => return why,
        };
        let mut limit = self.config.answer;
        loop {
            let offered = match self.next_head(&mut stream, limit).await {
                Ok(offered) => offered,
                Err(why) => return why,
            };
            limit = self.config.silence;
            let current = publisher.current();
            match self.desk.consider(&offered, Some(&current), &remote).await {
                Ok(Some(directory)) => {
                    if directory.version() != current.version() {
                        tracing::info!(
                            epoch = directory.epoch(),
                            version = directory.version(),
                            "directory in force"
                        );
                    }
                    publisher.publish(Arc::new(directory));
                }
                Ok(None) => {}
                Err(Refused::Rollback(rollback)) => {
                    tracing::error!(%rollback, "DIRECTORY ALARM: the registry's offer is refused");
                    publisher.status(|s| s.alarm = Some(rollback.to_string()));
                    return rollback.to_string();
                }
                Err(refused) => {
                    tracing::error!(%refused, "the registry's directory is refused");
                    return refused.to_string();
                }
            }
            *accepted = true;
            publisher.status(|s| {
                s.connected = true;
                s.last_error = None;
            });
        }
    }

    async fn open(&mut self, epoch: u64, version: u64) -> Result<(Remote, Streaming<HeadUpdate>), String> {
        let address = self.address().ok_or("the anchor names no registry")?;
        let channel = connect(&address).await.map_err(|e| format!("{}: {e}", address.address))?;
        let client = RegistryClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let answer = timeout(self.config.answer, client.clone().watch(WatchRequest { epoch, version })).await;
        let stream = answer.map_err(|_| silent(self.config.answer))?.map_err(|e| sentence(&e))?.into_inner();
        Ok((Remote { client, answer: self.config.answer }, stream))
    }

    async fn next_head(&self, stream: &mut Streaming<HeadUpdate>, limit: Duration) -> Result<Bytes, String> {
        match timeout(limit, stream.message()).await {
            Err(_) => Err(silent(limit)),
            Ok(Err(status)) => Err(sentence(&status)),
            Ok(Ok(None)) => Err("the registry ended the stream".to_owned()),
            Ok(Ok(Some(update))) => Ok(update.signed_head),
        }
    }
}

fn silent(limit: Duration) -> String {
    format!("the registry was silent for {} s", limit.as_secs())
}

/// The registry as a source of parts.
struct Remote {
    client: RegistryClient<Channel>,
    answer: Duration,
}

#[async_trait]
impl Source for Remote {
    async fn fetch(&self, wanted: &[PartRef]) -> Result<HashMap<Digest, Bytes>, String> {
        if wanted.iter().map(|p| p.size).sum::<u64>() > FETCH_LIMIT
            || wanted.iter().any(|p| p.size > PART_LIMIT_BYTES)
        {
            return Err("the head lists more than a node takes".to_owned());
        }
        let mut got = HashMap::with_capacity(wanted.len());
        for batch in wanted.chunks(BATCH) {
            self.batch(batch, &mut got).await?;
        }
        Ok(got)
    }
}

impl Remote {
    async fn batch(&self, batch: &[PartRef], got: &mut HashMap<Digest, Bytes>) -> Result<(), String> {
        let digests = batch.iter().map(|p| Bytes::copy_from_slice(p.digest.as_bytes())).collect();
        let mut client = self.client.clone();
        let answer = timeout(self.answer, client.parts(PartsRequest { digests })).await;
        let mut stream = answer.map_err(|_| silent(self.answer))?.map_err(|e| sentence(&e))?.into_inner();
        for expected in batch {
            let message = timeout(self.answer, stream.message()).await.map_err(|_| silent(self.answer))?;
            let part =
                message.map_err(|e| sentence(&e))?.ok_or("the registry sent fewer parts than asked for")?;
            if part.content.len() as u64 != expected.size || Digest::of(&part.content) != expected.digest {
                return Err(format!("part {} is not what the head lists", expected.name));
            }
            got.insert(expected.digest, part.content);
        }
        Ok(())
    }
}
