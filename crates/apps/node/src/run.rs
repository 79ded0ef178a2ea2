//! The life of a node: open what it holds, close what a crash left open, open its doors, and shut them again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_admin::{TokenEntry, TokenTable};
use truc_directory::{Anchor, Directory};
use truc_directory_sync::{DirectoryHandle, DirectorySync, PeerOffers, SyncConfig};
use truc_edge::{EdgeConfig, EdgeDirectory, EdgeDoors, EdgePorts};
use truc_evidence::{DecisionLog, EvidenceStore, OpenRequest, Recorder, Role as Half};
use truc_exchange::ports::{CurrentDirectory, ProviderSide};
use truc_exchange::{Consumer, Ground, Provider, Sealing};
use truc_message::Spool;
use truc_model::{Clock, SubsystemId};
use truc_peer::{Connections, Heads, PeerDoor, PeerDoorConfig, PeerLinks};
use truc_provider::{HttpServiceDoor, ProviderConfig};
use truc_stores::{DataFolder, DecisionJournal, DiskSpool, EvidenceJournal, JournalOptions};
use truc_trust::{OwnStatuses, StatusPolicy, Verifier};
use truc_trust_services::{FetchLimits, OcspHttp};
use zeroize::Zeroizing;

use crate::backend::Backend;
use crate::certificates::Reloader;
use crate::config::NodeConfig;
use crate::counted::{Counted, Counts};
use crate::desk::Desk;
use crate::edge_evidence::NodeEvidence;
use crate::edge_tls::EdgeTls;
use crate::enrolment::Renewing;
use crate::error::NodeError;
use crate::health::NodeHealth;
use crate::keyring::{self, NodeKeys};
use crate::peer_heads;
use crate::status_shelf::StatusShelf;
use crate::statuses::{StatusKeeper, Told};
use crate::succession::Successions;

/// Most bytes of bodies in the spool at once; what the disk has free bounds them before.
const SPOOL_LIMIT: u64 = 256 << 30;

/// The first statuses are waited for this long; without them peers ask the responder themselves.
const FIRST_STATUSES: Duration = Duration::from_secs(5);

/// Where a running node can be reached.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Other nodes.
    pub peer: SocketAddr,
    /// Information systems over plain HTTP, unless that is off.
    pub edge: Option<SocketAddr>,
    /// Information systems over HTTPS, if they can.
    pub edge_https: Option<SocketAddr>,
    /// Operators.
    pub admin: SocketAddr,
    /// Health and metrics, where they have a door of their own.
    pub health: Option<SocketAddr>,
}

/// Runs a node until `shutdown`; calls `ready` once every door is open.
///
/// # Errors
/// [`NodeError`] when it cannot start, or a door fails.
pub async fn run(
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(Addresses) + Send,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let held = Held::open(&config, &clock).await?;
    let (handle, sync) = follow_registry(&config, &held, &clock).await?;
    let edge_tls = EdgeTls::open(&config, &clock).await?;
    let node = Node::build(&config, &held, &handle, sync.offers(), edge_tls, &clock)?;
    let shelf = StatusShelf {
        file: config.data_folder.join("directory/statuses.json"),
        ground: Arc::clone(&node.ground),
    };
    shelf.load().await;
    node.statuses.take_kept();
    held.desk.restored().into_iter().for_each(|at| node.ground.recorder.restored(at));
    let open = node.ground.recorder.restore().await.map_err(NodeError::store("evidence"))?;
    let open = node.close_interrupted(open).await;
    let doors = Doors::bind(&config).await?;
    ready(doors.addresses);
    let kept = tokio::spawn(shelf.run(shutdown.clone()));
    let result = node.serve(doors, open, &config, &held, handle, shutdown.clone()).await;
    shutdown.cancel();
    kept.await?;
    sync.stop().await;
    result
}

/// What the process holds as long as it lives.
struct Held {
    /// The lock on the data folder.
    _folder: DataFolder,
    keys: NodeKeys,
    evidence: Arc<dyn EvidenceStore>,
    counts: Counts,
    desk: Arc<Desk>,
}

impl Held {
    async fn open(config: &NodeConfig, clock: &Arc<dyn Clock>) -> Result<Self, NodeError> {
        let opening = config.clone();
        let opened = spawn_blocking(move || {
            let folder = DataFolder::open(&opening.data_folder)?;
            let keys = keyring::open(&opening)?;
            let record_keys = Arc::clone(&keys.record_keys) as Arc<dyn truc_stores::RecordKeys>;
            let evidence =
                EvidenceJournal::open(folder.path(), Arc::clone(&record_keys), JournalOptions::default())
                    .map_err(NodeError::store("evidence"))?;
            let decisions = DecisionJournal::open(folder.path(), "decisions", record_keys)
                .map_err(NodeError::store("the journal of decisions"))?;
            Ok::<_, NodeError>((folder, keys, evidence, decisions))
        });
        let (folder, keys, evidence, decisions) = opened.await??;
        let decisions: Arc<dyn DecisionLog> = Arc::new(decisions);
        crate::restore::begin(&config.data_folder, decisions.as_ref(), clock.as_ref()).await?;
        let desk = Arc::new(Desk::open(decisions, Arc::clone(clock), hosted(config)).await?);
        let counts = Counts::default();
        let evidence = Arc::new(Counted { store: Arc::new(evidence), counts: counts.clone() });
        Ok(Self { _folder: folder, keys, evidence, counts, desk })
    }
}

fn hosted(config: &NodeConfig) -> Vec<SubsystemId> {
    config.members.iter().flat_map(|member| member.subsystems.iter().cloned()).collect()
}

async fn follow_registry(
    config: &NodeConfig,
    held: &Held,
    clock: &Arc<dyn Clock>,
) -> Result<(DirectoryHandle, DirectorySync), NodeError> {
    let file = config.anchor_file.clone();
    let text = spawn_blocking(move || std::fs::read(&file)).await?;
    let text = text.map_err(|e| NodeError::file(&config.anchor_file, e))?;
    let anchor = Anchor::parse(&text).map_err(|e| NodeError::file(&config.anchor_file, e))?;
    let sync = SyncConfig::new(config.data_folder.join("directory"), anchor);
    Ok(DirectorySync::start(sync, Arc::clone(&held.desk) as _, Arc::clone(clock)).await?)
}

/// The directory in force, as flow and edge ask for it.
struct InForce(DirectoryHandle);

impl CurrentDirectory for InForce {
    fn current(&self) -> Option<Arc<Directory>> {
        Some(self.0.current())
    }
}

impl EdgeDirectory for InForce {
    fn current(&self) -> Option<Arc<Directory>> {
        Some(self.0.current())
    }
}

/// Both halves with everything they stand on.
struct Node {
    ground: Arc<Ground>,
    consumer: Arc<Consumer>,
    provider: Arc<Provider>,
    links: Arc<PeerLinks>,
    /// Where the directory heads of other nodes are compared, for both directions.
    heads: Heads,
    /// Where bodies wait that are too big for memory.
    spool: Arc<dyn Spool>,
    connections: Connections,
    directory: Arc<InForce>,
    statuses: StatusKeeper,
    services: Arc<HttpServiceDoor>,
    reloader: Reloader,
    renewing: Renewing,
    edge_tls: EdgeTls,
    clock: Arc<dyn Clock>,
}

impl Node {
    fn build(
        config: &NodeConfig,
        held: &Held,
        handle: &DirectoryHandle,
        offers: PeerOffers,
        edge_tls: EdgeTls,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, NodeError> {
        let directory = Arc::new(InForce(handle.clone()));
        let source = Arc::new(OcspHttp::new(FetchLimits::default()));
        let own = Arc::new(OwnStatuses::default());
        let policy =
            StatusPolicy { freshness: config.trust.status_freshness, grace: config.trust.status_grace };
        let keys = &held.keys;
        let recorder = Recorder::new(Arc::clone(&held.evidence), Arc::clone(clock), keys.index_keys.clone());
        let ground = Arc::new(Ground {
            me: config.node.clone(),
            clock: Arc::clone(clock),
            directory: Arc::clone(&directory) as _,
            verifier: Verifier::new(config.node.clone(), source, policy),
            recorder,
            sealing: Sealing::new(
                Arc::clone(&keys.store) as _,
                keys.certificates.seals.clone(),
                Arc::clone(&own),
            ),
        });
        let connections = Connections::default();
        let as_current = Arc::clone(&directory) as Arc<dyn CurrentDirectory>;
        let spool: Arc<dyn Spool> =
            Arc::new(DiskSpool::open(&config.data_folder.join("spool"), SPOOL_LIMIT)?);
        let links = PeerLinks::new(
            &keys.identity,
            Arc::clone(&as_current),
            Arc::clone(clock),
            connections.clone(),
            Arc::clone(&spool),
        )?;
        let (links, heads) = peer_heads::comparing(links, as_current, handle, offers);
        let services = Arc::new(HttpServiceDoor::new(&ProviderConfig {
            ca_file: config.provider.ca_file.clone(),
            identity: config.provider.identity.clone(),
            ..ProviderConfig::default()
        })?);
        let consumer = Consumer::new(Arc::clone(&ground), Arc::clone(&links) as _, hosted(config));
        let provider =
            Provider::new(Arc::clone(&ground), Arc::clone(held.desk.policy()), Arc::clone(&services) as _);
        let certificates = Arc::new(ArcSwap::from_pointee(keys.certificates.all()));
        let replaced = Arc::new(Notify::new());
        let statuses = StatusKeeper {
            certificates: Arc::clone(&certificates),
            replaced: Arc::clone(&replaced),
            ground: Arc::clone(&ground),
            own,
            directory: Arc::clone(&directory) as _,
            identity: Arc::clone(&keys.identity),
            clock: Arc::clone(clock),
            every: config.trust.status_fetch_interval,
            told: Told::default(),
        };
        let asked = Arc::new(Notify::new());
        let renewing = Renewing {
            config: config.clone(),
            store: Arc::clone(&keys.store),
            ground: Arc::clone(&ground),
            directory: handle.clone(),
            certificates: Arc::clone(&certificates),
            look: Arc::clone(&asked),
        };
        let reloader = Reloader {
            asked,
            config: config.clone(),
            store: Arc::clone(&keys.store),
            identity: Arc::clone(&keys.identity),
            ground: Arc::clone(&ground),
            certificates,
            replaced,
            current: keys.certificates.clone(),
        };
        Ok(Self {
            ground,
            consumer: Arc::new(consumer),
            provider: Arc::new(provider),
            links,
            heads,
            spool,
            connections,
            directory,
            statuses,
            services,
            reloader,
            renewing,
            edge_tls,
            clock: Arc::clone(clock),
        })
    }

    /// Provider requests that a crash left open are closed before any door opens (protocol P4.5); the consumer's are
    /// returned, since closing them needs the peers.
    async fn close_interrupted(&self, open: Vec<OpenRequest>) -> Vec<OpenRequest> {
        let (ours, asked): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|request| request.record.local.role == Half::Consumer);
        self.provider.close_open(&asked).await;
        ours
    }

    async fn serve(
        self,
        doors: Doors,
        open: Vec<OpenRequest>,
        config: &NodeConfig,
        held: &Held,
        handle: DirectoryHandle,
        shutdown: CancellationToken,
    ) -> Result<(), NodeError> {
        if timeout(FIRST_STATUSES, self.statuses.renew()).await.is_err() {
            tracing::warn!("own certificate statuses are not to be had yet");
        }
        let mut tasks = JoinSet::new();
        let own_certificates = Arc::clone(&self.statuses.certificates);
        tasks.spawn(self.statuses.run(shutdown.clone()));
        tasks.spawn(self.reloader.run(shutdown.clone()));
        tasks.spawn(self.renewing.run(shutdown.clone()));
        let health = Arc::new(NodeHealth {
            ground: Arc::clone(&self.ground),
            directory: handle.clone(),
            certificates: own_certificates,
            connections: self.connections.clone(),
            heads: self.heads.clone(),
            counts: held.counts.clone(),
            data_folder: config.data_folder.clone(),
        });
        if let Some(door) = doors.health {
            tasks.spawn(truc_admin::health::serve_health(door, Arc::clone(&health) as _, shutdown.clone()));
        }
        let successions = Successions {
            desk: Arc::clone(&held.desk),
            directory: handle.clone(),
            clock: Arc::clone(&self.clock),
            policy: config.policy.succession,
        };
        tasks.spawn(successions.run(shutdown.clone()));
        tasks.spawn(cut_untrusted(handle, self.connections.clone(), shutdown.clone()));
        let backend = Backend {
            node: config.node.clone(),
            hosted: hosted(config),
            started: self.clock.now(),
            clock: Arc::clone(&self.clock),
            directory: Arc::clone(&self.directory) as _,
            desk: Arc::clone(&held.desk),
            evidence: Arc::clone(&held.evidence),
            services: self.services,
            health,
        };
        tasks.spawn(truc_admin::serve(doors.admin, Arc::new(backend), tokens(config)?, shutdown.clone()));
        let edge = EdgeConfig { body_limit: config.edge.max_body, ..EdgeConfig::default() };
        let tls = doors.edge_https.zip(self.edge_tls.identity());
        let ports = EdgePorts {
            consumer: Arc::clone(&self.consumer) as _,
            directory: Arc::clone(&self.directory) as _,
            evidence: Arc::new(NodeEvidence {
                instance: config.node.instance().to_owned(),
                anchor_file: config.anchor_file.clone(),
                hosted: hosted(config),
                directory: Arc::clone(&self.directory) as _,
                evidence: Arc::clone(&held.evidence),
            }),
            connections: self.edge_tls.connections(),
            clock: Arc::clone(&self.clock),
        };
        tasks.spawn(self.edge_tls.run(shutdown.clone()));
        let serving = truc_edge::serve(EdgeDoors { plain: doors.edge, tls }, ports, edge, shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "TLS of the edge cannot be set up");
            }
        });
        let door = PeerDoor::new(
            &held.keys.identity,
            Arc::clone(&self.directory) as _,
            Arc::clone(&self.clock),
            Arc::clone(&self.provider) as Arc<dyn ProviderSide>,
            self.connections.clone(),
            Arc::clone(&self.spool),
            PeerDoorConfig { max_exchanges: config.peer.max_exchanges, ..PeerDoorConfig::default() },
        )?
        .comparing(self.heads);
        tracing::info!(node = %self.ground.me, peer = %doors.addresses.peer, edge = ?doors.addresses.edge,
            edge_https = ?doors.addresses.edge_https, admin = %doors.addresses.admin, health = ?doors.addresses.health, "ready");
        let abandoned = Abandoned {
            ground: Arc::clone(&self.ground),
            consumer: Arc::clone(&self.consumer),
            provider: Arc::clone(&self.provider),
        };
        tasks.spawn(abandoned.run(open, shutdown.clone()));
        let stopping = shutdown.clone();
        tasks.spawn(async move {
            stopping.cancelled().await;
            tracing::info!("stopping");
        });
        let served = door.serve(doors.peer, shutdown.clone()).await;
        // However the peer door ended, the other doors close with it.
        shutdown.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        self.links.close().await;
        tracing::info!("stopped");
        Ok(served?)
    }
}

/// Closes exchanges that nobody carries out any more: a crash left them open, or a record failed or took too long.
struct Abandoned {
    ground: Arc<Ground>,
    consumer: Arc<Consumer>,
    provider: Arc<Provider>,
}

/// How often open exchanges are looked for, and how old one must be: older than any call lives.
const ABANDONED_EVERY: Duration = Duration::from_secs(60);
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

impl Abandoned {
    /// First those of the last run, then, ever again, those of this one: one after the other, so that none is closed twice.
    async fn run(self, left_open: Vec<OpenRequest>, stop: CancellationToken) {
        let closing = async {
            self.consumer.close_open(left_open).await;
            loop {
                tokio::time::sleep(ABANDONED_EVERY).await;
                self.close().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = closing => {}
        }
    }

    async fn close(&self) {
        let before = self.ground.clock.now().minus(ABANDONED_AFTER);
        match self.ground.recorder.abandoned(before).await {
            Ok(open) => {
                let (ours, theirs): (Vec<_>, Vec<_>) =
                    open.into_iter().partition(|request| request.record.local.role == Half::Consumer);
                self.provider.close_open(&theirs).await;
                self.consumer.close_open(ours).await;
            }
            Err(error) => tracing::error!(%error, "open exchanges cannot be looked for"),
        }
    }
}

/// Connections are looked through this often even when the registry is away.
const CUT_EVERY: Duration = Duration::from_secs(60);

/// Cuts connections whose certificate is not registered, whenever the directory changes (protocol P3).
async fn cut_untrusted(mut handle: DirectoryHandle, connections: Connections, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            more = handle.changed() => if !more { return },
            () = tokio::time::sleep(CUT_EVERY) => {}
        }
        let directory = handle.current();
        connections.close_untrusted(|certificate| directory.node_of_auth_certificate(certificate).is_some());
    }
}

fn tokens(config: &NodeConfig) -> Result<TokenTable, NodeError> {
    let mut entries = Vec::new();
    for token in &config.admin.tokens {
        let text =
            std::fs::read_to_string(&token.token_file).map_err(|e| NodeError::file(&token.token_file, e))?;
        let secret = Zeroizing::new(text);
        entries.push(TokenEntry {
            name: token.name.clone(),
            role: token.role,
            member: token.member.clone(),
            token: Zeroizing::new(secret.trim().to_owned()),
        });
    }
    Ok(TokenTable::new(entries)?)
}

/// The listening sockets, bound before anything is served.
struct Doors {
    peer: TcpListener,
    edge: Option<TcpListener>,
    edge_https: Option<TcpListener>,
    admin: TcpListener,
    health: Option<TcpListener>,
    addresses: Addresses,
}

impl Doors {
    async fn bind(config: &NodeConfig) -> Result<Self, NodeError> {
        let (peer, peer_address) = bind("the peer door", config.peer.listen).await?;
        let (edge, edge_address) = bind_if("the edge", config.edge.listen).await?;
        let https = config.edge.https.as_ref().map(|https| https.listen);
        let (edge_https, https_address) = bind_if("the edge's HTTPS", https).await?;
        let (admin, admin_address) = bind("the admin API", config.admin.listen).await?;
        let (health, health_address) = bind_if("health and metrics", config.health.listen).await?;
        let addresses = Addresses {
            peer: peer_address,
            edge: edge_address,
            edge_https: https_address,
            admin: admin_address,
            health: health_address,
        };
        Ok(Self { peer, edge, edge_https, admin, health, addresses })
    }
}

async fn bind_if(
    door: &'static str,
    address: Option<SocketAddr>,
) -> Result<(Option<TcpListener>, Option<SocketAddr>), NodeError> {
    let Some(address) = address else { return Ok((None, None)) };
    let (listener, bound) = bind(door, address).await?;
    Ok((Some(listener), Some(bound)))
}

async fn bind(door: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |e: std::io::Error| NodeError::Listen { door, address, reason: e.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
