//! The life of a node: open what it holds, close what a crash left open, open its doors, and shut them again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_admin::{TokenEntry, TokenTable};
use truc_directory::{Anchor, Directory};
use truc_directory_sync::{DirectoryHandle, DirectorySync, PeerOffers, SyncConfig, WitnessClient};
use truc_edge::{EdgeConfig, EdgeDirectory, EdgeDoors, EdgePorts};
use truc_evidence::{
    DecisionLog, EvidenceStore, OpenRequest, ProofStore, Recorder, Role as Half, SegmentStore,
};
use truc_exchange::ports::{CurrentDirectory, ProviderSide};
use truc_exchange::{Consumer, Ground, Provider, Sealing};
use truc_keeping::Keeper;
use truc_log::HeadStore;
use truc_message::Spool;
use truc_model::{Clock, SubsystemId};
use truc_peer::{Connections, Heads, PeerDoor, PeerDoorConfig, PeerLinks};
use truc_provider::{HttpServiceDoor, ProviderConfig};
use truc_stamping::Stamper;
use truc_stores::{DataFolder, DecisionJournal, DiskSpool, EvidenceJournal, HeadFolder};
use truc_trust::{OwnStatuses, StatusPolicy, Verifier};
use truc_trust_services::{FetchLimits, OcspHttp};
use zeroize::Zeroizing;

use crate::backend::Backend;
use crate::certificates::Reloader;
use crate::config::NodeConfig;
use crate::counted::{Counted, Counts};
use crate::desk::Desk;
use crate::doors::{Addresses, Doors};
use crate::edge_evidence::NodeEvidence;
use crate::edge_tls::EdgeTls;
use crate::enrolment::Renewing;
use crate::error::NodeError;
use crate::health::NodeHealth;
use crate::keeping::{self, KeepingWatch};
use crate::keyring::{self, NodeKeys};
use crate::log_head::{self, OwnLog};
use crate::peer_heads;
use crate::status_shelf::StatusShelf;
use crate::statuses::{StatusKeeper, Told};
use crate::succession::Successions;
use crate::time_stamping::{LateGround, Parts, Stamps};
use crate::upkeep::{Abandoned, cut_untrusted};
use crate::witness::{self, LogAlarms, Witness};

/// Most bytes of bodies in the spool at once; what the disk has free bounds them before.
const SPOOL_LIMIT: u64 = 256 << 30;

/// The first statuses are waited for this long; without them peers ask the responder themselves.
const FIRST_STATUSES: Duration = Duration::from_secs(5);

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
    node.stamper.look().await.map_err(NodeError::store("evidence"))?;
    let doors = Doors::bind(&config).await?;
    ready(doors.addresses);
    let kept = tokio::spawn(shelf.run(shutdown.clone()));
    // Until the doors are shut: exchanges under way may wait for a stamp, and hear acknowledgements.
    let (stamper, unstamped) = (Arc::clone(&node.stamper), CancellationToken::new());
    let stamping = {
        let stop = unstamped.clone();
        tokio::spawn(async move { stamper.run(stop).await })
    };
    let result = node.serve(doors, open, &config, &held, handle, shutdown.clone()).await;
    shutdown.cancel();
    unstamped.cancel();
    stamping.await?;
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
    /// What is proved of the same records.
    proofs: Arc<dyn ProofStore>,
    counts: Counts,
    desk: Arc<Desk>,
    anchor: Anchor,
    /// The log over the records, and its signer.
    log: Arc<OwnLog>,
    /// Heads of other nodes' logs.
    heads: Arc<dyn HeadStore>,
    /// Who moves segments to the archive and lets bodies expire.
    keeper: Arc<Keeper>,
}

impl Held {
    async fn open(config: &NodeConfig, clock: &Arc<dyn Clock>) -> Result<Self, NodeError> {
        let opening = config.clone();
        let runtime = Handle::current();
        let opened = spawn_blocking(move || {
            let folder = DataFolder::open(&opening.data_folder)?;
            let keys = keyring::open(&opening)?;
            let record_keys = Arc::clone(&keys.record_keys) as Arc<dyn truc_stores::RecordKeys>;
            let archive = keeping::archive(&opening)?;
            let options = keeping::options(&opening.evidence.keeping, archive.as_ref(), Some(runtime));
            let evidence = EvidenceJournal::open(folder.path(), Arc::clone(&record_keys), options)
                .map_err(NodeError::store("evidence"))?;
            let decisions = DecisionJournal::open(folder.path(), "decisions", record_keys)
                .map_err(NodeError::store("the journal of decisions"))?;
            let heads = HeadFolder::open(&folder.part("heads"))?;
            let file = &opening.anchor_file;
            let anchor = std::fs::read(file).map_err(|e| NodeError::file(file, e))?;
            let anchor = Anchor::parse(&anchor).map_err(|e| NodeError::file(file, e))?;
            Ok::<_, NodeError>((folder, keys, Arc::new(evidence), decisions, heads, anchor, archive))
        });
        let (folder, keys, evidence, decisions, heads, anchor, archive) = opened.await??;
        let decisions: Arc<dyn DecisionLog> = Arc::new(decisions);
        crate::restore::begin(&config.data_folder, decisions.as_ref(), clock.as_ref()).await?;
        let desk = Arc::new(Desk::open(decisions, Arc::clone(clock), hosted(config)).await?);
        let counts = Counts::default();
        let proofs = Arc::clone(&evidence) as Arc<dyn ProofStore>;
        let segments = Arc::clone(&evidence) as Arc<dyn SegmentStore>;
        let evidence = Arc::new(Counted { store: evidence, counts: counts.clone() });
        let log = Arc::new(log_head::own_log(config, &keys, &desk, &anchor, Arc::clone(&proofs)).await?);
        let heads = Arc::new(heads);
        let keeper = keeping::Parts {
            settings: &config.evidence.keeping,
            archive,
            segments,
            evidence: Arc::clone(&evidence) as _,
            proofs: Arc::clone(&proofs),
            log: Arc::clone(&log),
            clock: Arc::clone(clock),
        }
        .keeper();
        Ok(Self { _folder: folder, keys, evidence, proofs, counts, desk, anchor, log, heads, keeper })
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
    let sync = SyncConfig::new(config.data_folder.join("directory"), held.anchor.clone());
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
    /// Has the records stamped.
    stamper: Arc<Stamper>,
    consumer: Arc<Consumer>,
    provider: Arc<Provider>,
    links: Arc<PeerLinks>,
    /// Where the directory heads of other nodes are compared, for both directions.
    heads: Heads,
    /// Where the heads of logs are shown and judged.
    witness: Arc<Witness>,
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
        let kept = &config.evidence;
        let recorder = Recorder::new(Arc::clone(&held.evidence), Arc::clone(clock), keys.index_keys.clone())
            .keeping(kept.consumer_bodies, kept.consumer_retention.clone());
        let late = LateGround::default();
        let parts = Parts {
            config,
            records: Arc::clone(&held.evidence),
            log: Arc::clone(&held.log),
            directory: Arc::clone(&directory) as _,
            clock: Arc::clone(clock),
            ground: late.clone(),
        };
        let stamper = parts.stamper();
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
            time_stamps: Arc::new(Stamps { stamper: Arc::clone(&stamper), clock: Arc::clone(clock) }),
        });
        late.is(&ground);
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
        let witness = Arc::new(Witness {
            own: Arc::clone(&held.log),
            heads: Arc::clone(&held.heads),
            links: Arc::clone(&links),
            registry: WitnessClient::new(&held.anchor),
            ground: Arc::clone(&ground),
            alarms: LogAlarms::default(),
        });
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
            stamper,
            consumer: Arc::new(consumer),
            provider: Arc::new(provider),
            links,
            heads,
            witness,
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
        tasks.spawn(Arc::clone(&held.keeper).run(shutdown.clone()));
        let keeping_watch = KeepingWatch::of(Arc::clone(&held.keeper));
        let alarm = config.evidence.keeping.alarm_free;
        tasks.spawn(keeping_watch.clone().run(config.data_folder.clone(), alarm, shutdown.clone()));
        let health = Arc::new(NodeHealth {
            ground: Arc::clone(&self.ground),
            directory: handle.clone(),
            certificates: own_certificates,
            connections: self.connections.clone(),
            heads: self.heads.clone(),
            log_alarms: self.witness.alarms.clone(),
            keeping: keeping_watch.clone(),
            stamper: Arc::clone(&self.stamper),
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
            proofs: Arc::clone(&held.proofs),
            person_hashes: Arc::clone(&held.keys.person_hashes),
            services: self.services,
            health,
            witness: Arc::clone(&self.witness),
            keeper: Arc::clone(&held.keeper),
        };
        tasks.spawn(Arc::clone(&self.witness).run(witness::EVERY, shutdown.clone()));
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
                proofs: Arc::clone(&held.proofs),
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
        .comparing(self.heads)
        .with_log(self.witness as _);
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
