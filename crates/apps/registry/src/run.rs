//! `truc registry run`: one task decides and publishes, one serves nodes, one serves operators.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use truc_directory_sync::{Publication, RegistryServer, RequestDesk, SubmitRefusal};
use truc_governance::{
    Command, Files, GovernanceError, Officer, OfficerRole, PartStore as _, Published, RequestRefusal,
    Standing,
};
use truc_model::{Clock, Digest};
use truc_stores::HeadFolder;

use crate::admin::{self, Desk};
use crate::codes::{self, CodesLoaded};
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::Shelf;
use crate::heads::Witness;
use crate::office::Office;
use crate::setup::tls_key;
use crate::verbs::Outcome;

/// Commands that may wait.
const QUEUE: usize = 64;

/// Work on its way to the office.
pub(crate) enum Job {
    /// An officer's command.
    Decide {
        /// What.
        command: Command,
        /// Who.
        officer: Officer,
        /// What came of it.
        answer: oneshot::Sender<Result<Outcome, RegistryError>>,
    },
    /// An officer's batch of decisions with one publication behind it.
    LoadCodes {
        /// What.
        commands: Vec<Command>,
        /// Who.
        officer: Officer,
        /// What came of it.
        answer: oneshot::Sender<Result<CodesLoaded, RegistryError>>,
    },
    /// A management request of a node.
    Submit {
        /// The envelope.
        document: Bytes,
        /// Where it stands.
        answer: oneshot::Sender<Result<Standing, RegistryError>>,
    },
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
    let tokens = officers(config).await?;
    let mut office = Office::open(config, Arc::clone(&clock)).await?;
    let first = office.publish().await?;
    let (listener, admin_listener) = (bind(config.listen).await?, bind(config.admin_listen).await?);
    let (listen, admin) = (local(&listener)?, local(&admin_listener)?);
    let (places, keys) = (office.places.clone(), Arc::clone(&office.keys));
    let read = tokio::task::spawn_blocking(move || {
        let heads = HeadFolder::open(&places.heads())?;
        Ok::<_, RegistryError>((tls_key(&places, &keys)?, heads))
    });
    let ((certificate, key), heads_of_logs) =
        read.await.map_err(|e| RegistryError::Stopped(e.to_string()))??;
    tracing::info!(%listen, %admin, version = first.directory.version(), "registry is serving");

    let (heads, published) = (watch::Sender::new(first.signed_head.clone()), watch::Sender::new(first));
    let window = Arc::new(Window { heads: heads.clone(), parts: Arc::clone(&office.parts) });
    let (jobs, inbox) = mpsc::channel(QUEUE);
    let counter = Counter(jobs.clone());
    let witness = Witness {
        heads: Arc::new(heads_of_logs),
        published: published.subscribe(),
        clock: Arc::clone(&clock),
    };
    let server =
        RegistryServer::new(CertificateDer::from(certificate), PrivatePkcs8KeyDer::from(key).into(), window)?
            .with_requests(Arc::new(counter))
            .with_witness(Arc::new(witness));
    let files = watch::Sender::new(office.state()?.files().clone());
    let desk = Desk {
        officers: tokens.into(),
        jobs,
        published: published.subscribe(),
        files: files.subscribe(),
        config: Arc::new(config.clone()),
        clock,
        auditing: Arc::new(Semaphore::new(1)),
    };
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (for_office, for_server, for_admin) = (stop.clone(), stop.clone(), stop.clone());
    let every = config.resign_every;
    tasks.spawn(async move {
        let desk = Publishing { office, heads, published, files };
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

/// The digest of each officer's token. The token of the configuration's own file is an administrator's.
async fn officers(config: &RegistryConfig) -> Result<Vec<(Digest, Officer)>, RegistryError> {
    let digest = |token: String| Digest::of(token.as_bytes());
    let admin = Officer { name: "admin".to_owned(), role: OfficerRole::Administrator };
    let mut found = vec![(digest(read_token(&config.admin_token_file).await?), admin)];
    for officer in &config.officers {
        let token = digest(read_token(&officer.token_file).await?);
        if found.iter().any(|(known, _)| *known == token) {
            return Err(RegistryError::file(&officer.token_file, "another officer has the same token"));
        }
        found.push((token, Officer { name: officer.name.clone(), role: officer.role }));
    }
    Ok(found)
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
    files: watch::Sender<Files>,
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
                    Some(job) => self.carry_out(job).await,
                },
            }
        }
    }

    async fn carry_out(&mut self, job: Job) {
        let waited = match job {
            Job::Decide { command, officer, answer } => {
                answer.send(self.decide(command, &officer).await).is_ok()
            }
            Job::LoadCodes { commands, officer, answer } => {
                let loaded = codes::decide_all(&mut self.office, commands, &officer).await;
                let version = self.publish().await;
                answer.send(version.map(|version| CodesLoaded { version, ..loaded })).is_ok()
            }
            // Who left sends the same again; meanwhile others are served.
            Job::Submit { answer, .. } if answer.is_closed() => false,
            Job::Submit { document, answer } => answer.send(self.submit(document).await).is_ok(),
        };
        if !waited {
            tracing::debug!("who asked for the decision did not wait for it");
        }
    }

    async fn decide(&mut self, command: Command, officer: &Officer) -> Result<Outcome, RegistryError> {
        let receipt = self.office.execute_as(command, officer).await?;
        let version = self.publish().await?;
        Ok(Outcome { sequence: receipt.sequence, version })
    }

    async fn submit(&mut self, document: Bytes) -> Result<Standing, RegistryError> {
        let (standing, decided) = self.office.submit(document).await?;
        if decided {
            self.publish().await?;
        }
        Ok(standing)
    }

    async fn publish(&mut self) -> Result<u64, RegistryError> {
        let published = self.office.publish().await?;
        let version = published.directory.version();
        self.files.send_replace(self.office.state()?.files().clone());
        self.heads.send_replace(published.signed_head.clone());
        self.published.send_replace(published);
        Ok(version)
    }
}

/// Limit for one request; an approval's certificates may have to be issued.
const DECISION: Duration = Duration::from_secs(60);

/// Where nodes hand in their requests.
struct Counter(mpsc::Sender<Job>);

#[async_trait]
impl RequestDesk for Counter {
    async fn submit(&self, document: Bytes) -> Result<Bytes, SubmitRefusal> {
        let (answer, standing) = oneshot::channel();
        // Half of the queue is the officers': whatever comes through the door, they can decide.
        if self.0.capacity() <= QUEUE / 2 || self.0.try_send(Job::Submit { document, answer }).is_err() {
            return Err(SubmitRefusal::Busy("sổ đăng ký đang bận / the registry is busy; try again".into()));
        }
        match timeout(DECISION, standing).await {
            Ok(Ok(Ok(standing))) => {
                let text = serde_json::to_vec(&standing);
                text.map(Bytes::from).map_err(|e| SubmitRefusal::Unavailable(e.to_string()))
            }
            Ok(Ok(Err(RegistryError::Refused(refused)))) if !is_ours(&refused) => {
                if let GovernanceError::Request(RequestRefusal::InvitationUsed { id, number }) = &refused {
                    // The MAC held, so two have the code: one of them stole it.
                    tracing::error!(invitation = %id, request = number, "ALARM: a used invitation was used again; call the node's operator before approving");
                }
                Err(SubmitRefusal::Refused(refused.to_string()))
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(%error, "a request was not taken in");
                Err(SubmitRefusal::Unavailable(
                    "sổ đăng ký chưa xử lý được / the registry cannot decide now; try again later".into(),
                ))
            }
            _ => Err(SubmitRefusal::Unavailable(
                "sổ đăng ký chưa trả lời / the registry has not answered; send the request again".into(),
            )),
        }
    }
}

/// Whether the registry itself is to blame.
const fn is_ours(refused: &GovernanceError) -> bool {
    matches!(
        refused,
        GovernanceError::Store(_) | GovernanceError::Journal(_) | GovernanceError::NotInitialised
    )
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
