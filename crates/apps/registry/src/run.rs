//! `truc registry run`: one task decides and publishes, one serves nodes, one serves operators.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use truc_directory_sync::{Publication, RegistryServer};
use truc_governance::{Command, PartStore as _, Published};
use truc_model::{Clock, Digest};

use crate::admin::{self, Desk};
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::Shelf;
use crate::office::Office;
use crate::setup::tls_key;
use crate::verbs::Outcome;

/// Commands that may wait.
const QUEUE: usize = 64;

/// A command on its way to the office.
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) actor: String,
    pub(crate) answer: oneshot::Sender<Result<Outcome, RegistryError>>,
}

/// A registry at work.
pub struct Running {
    /// Where nodes connect.
    pub listen: SocketAddr,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), RegistryError>>,
}

impl Running {
    /// Stops it and waits until all is closed.
    ///
    /// # Errors
    /// What a task failed with.
    pub async fn stop(self) -> Result<(), RegistryError> {
        self.stop.cancel();
        self.wait().await
    }

    /// Waits until it ends by itself; when one task ends, all do.
    ///
    /// # Errors
    /// What a task failed with.
    pub async fn wait(mut self) -> Result<(), RegistryError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            self.stop.cancel();
            let ended = ended.unwrap_or_else(|e| Err(RegistryError::Stopped(e.to_string())));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Runs the registry of a configuration file until `stop`; `ready` is told once everything listens.
///
/// # Errors
/// [`RegistryError`].
pub async fn run(
    config: &Path,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(&Running),
    stop: CancellationToken,
) -> Result<(), RegistryError> {
    let running = start(&RegistryConfig::load(config)?, clock).await?;
    ready(&running);
    let ending = running.stop.clone();
    let watcher = tokio::spawn(async move {
        stop.cancelled().await;
        ending.cancel();
    });
    let outcome = running.wait().await;
    watcher.abort();
    outcome
}

/// Opens the folder, publishes and begins to serve; everything listens when this returns.
///
/// # Errors
/// [`RegistryError`].
pub async fn start(config: &RegistryConfig, clock: Arc<dyn Clock>) -> Result<Running, RegistryError> {
    let token = read_token(&config.admin_token_file).await?;
    let mut office = Office::open(config, Arc::clone(&clock)).await?;
    let first = office.publish().await?;
    let (listener, admin_listener) = (bind(config.listen).await?, bind(config.admin_listen).await?);
    let (listen, admin) = (local(&listener)?, local(&admin_listener)?);
    let (places, keys) = (office.places.clone(), Arc::clone(&office.keys));
    let read = tokio::task::spawn_blocking(move || tls_key(&places, &keys)).await;
    let (certificate, key) = read.map_err(|e| RegistryError::Stopped(e.to_string()))??;
    tracing::info!(%listen, %admin, version = first.directory.version(), "registry is serving");

    let (heads, published) = (watch::Sender::new(first.signed_head.clone()), watch::Sender::new(first));
    let window = Arc::new(Window { heads: heads.clone(), parts: Arc::clone(&office.parts) });
    let server =
        RegistryServer::new(CertificateDer::from(certificate), PrivatePkcs8KeyDer::from(key).into(), window)?;
    let (jobs, inbox) = mpsc::channel(QUEUE);
    let desk = Desk::new(token, jobs, published.subscribe(), clock);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (for_office, for_server, for_admin) = (stop.clone(), stop.clone(), stop.clone());
    let every = config.resign_every;
    tasks.spawn(async move {
        let desk = Publishing { office, heads, published };
        desk.work(inbox, every, for_office).await;
        Ok(())
    });
    tasks.spawn(async move { Ok(server.serve(listener, for_server).await?) });
    tasks.spawn(admin::serve(admin_listener, desk, for_admin));
    Ok(Running { listen, admin, stop, tasks })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RegistryError> {
    let failed =
        |e: std::io::Error| RegistryError::Listen { address: address.to_string(), why: e.to_string() };
    TcpListener::bind(address).await.map_err(failed)
}

fn local(listener: &TcpListener) -> Result<SocketAddr, RegistryError> {
    listener.local_addr().map_err(|e| RegistryError::Listen { address: "?".into(), why: e.to_string() })
}

pub(crate) async fn read_token(path: &Path) -> Result<String, RegistryError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|e| RegistryError::file(path, e))?;
    let token = text.trim().to_owned();
    if token.len() < 16 {
        return Err(RegistryError::file(path, "a token has at least 16 characters in one line"));
    }
    Ok(token)
}

/// The office with everyone who waits for what it publishes.
struct Publishing {
    office: Office,
    heads: watch::Sender<Bytes>,
    published: watch::Sender<Published>,
}

impl Publishing {
    async fn work(
        mut self,
        mut inbox: mpsc::Receiver<Job>,
        every: std::time::Duration,
        stop: CancellationToken,
    ) {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    if let Err(error) = self.publish().await {
                        tracing::error!(%error, "the head was not signed again");
                    }
                }
                job = inbox.recv() => match job {
                    None => return,
                    Some(job) => {
                        let outcome = self.decide(job.command, &job.actor).await;
                        if job.answer.send(outcome).is_err() {
                            tracing::debug!("who asked for the decision did not wait for it");
                        }
                    }
                },
            }
        }
    }

    async fn decide(&mut self, command: Command, actor: &str) -> Result<Outcome, RegistryError> {
        let receipt = self.office.execute(command, actor).await?;
        let version = self.publish().await?;
        Ok(Outcome { sequence: receipt.sequence, version })
    }

    async fn publish(&mut self) -> Result<u64, RegistryError> {
        let published = self.office.publish().await?;
        let version = published.directory.version();
        self.heads.send_replace(published.signed_head.clone());
        self.published.send_replace(published);
        Ok(version)
    }
}

/// What nodes see.
struct Window {
    heads: watch::Sender<Bytes>,
    parts: Arc<Shelf>,
}

#[async_trait]
impl Publication for Window {
    fn heads(&self) -> watch::Receiver<Bytes> {
        self.heads.subscribe()
    }
    async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String> {
        self.parts.get(digest).await.map_err(|e| e.to_string())
    }
}
