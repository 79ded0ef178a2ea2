//! Both halves of a node put together over what it holds.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use truc_directory::Directory;
use truc_directory_sync::{DirectoryHandle, PeerOffers, WitnessClient};
use truc_edge::EdgeDirectory;
use truc_evidence::{OpenRequest, Recorder, Role as Half};
use truc_exchange::ports::CurrentDirectory;
use truc_exchange::{Consumer, Ground, Provider, Sealing};
use truc_message::Spool;
use truc_model::Clock;
use truc_peer::{Connections, Heads, PeerLinks};
use truc_provider::{HttpServiceDoor, ProviderConfig};
use truc_stamping::Stamper;
use truc_stores::DiskSpool;
use truc_trust::{OwnStatuses, StatusPolicy, Verifier};
use truc_trust_services::{FetchLimits, OcspHttp};

use super::held::Held;
use super::hosted;
use crate::certificates::Reloader;
use crate::config::NodeConfig;
use crate::enrolment::Renewing;
use crate::error::NodeError;
use crate::peer_heads;
use crate::statuses::{StatusKeeper, Told};
use crate::time_stamping::{LateGround, Parts, Stamps};
use crate::witness::{Brought, LogAlarms, Witness};

/// Most bytes of bodies in the spool at once; what the disk has free bounds them before.
const SPOOL_LIMIT: u64 = 256 << 30;

/// The directory in force, as flow and edge ask for it.
pub(super) struct InForce(DirectoryHandle);

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
pub(super) struct Node {
    pub(super) ground: Arc<Ground>,
    /// Has the records stamped.
    pub(super) stamper: Arc<Stamper>,
    pub(super) consumer: Arc<Consumer>,
    pub(super) provider: Arc<Provider>,
    pub(super) links: Arc<PeerLinks>,
    /// Where the directory heads of other nodes are compared, for both directions.
    pub(super) heads: Heads,
    /// Where the heads of logs are shown and judged.
    pub(super) witness: Arc<Witness>,
    /// Where bodies wait that are too big for memory.
    pub(super) spool: Arc<dyn Spool>,
    pub(super) connections: Connections,
    pub(super) directory: Arc<InForce>,
    pub(super) services: Arc<HttpServiceDoor>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Whoever keeps the node's own certificates and their statuses up to date.
pub(super) struct CertificateUpkeep {
    pub(super) statuses: StatusKeeper,
    pub(super) reloader: Reloader,
    pub(super) renewing: Renewing,
}

impl Node {
    pub(super) fn build(
        config: &NodeConfig,
        held: &Held,
        handle: &DirectoryHandle,
        offers: PeerOffers,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, CertificateUpkeep), NodeError> {
        let directory = Arc::new(InForce(handle.clone()));
        let own = Arc::new(OwnStatuses::default());
        let (ground, stamper) = ground(config, held, &directory, &own, clock);
        let connections = Connections::default();
        let spool: Arc<dyn Spool> =
            Arc::new(DiskSpool::open(&config.data_folder.join("spool"), SPOOL_LIMIT)?);
        let as_current = Arc::clone(&directory) as Arc<dyn CurrentDirectory>;
        let links = PeerLinks::new(
            &held.keys.identity,
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
            brought: Brought::default(),
        });
        let services = Arc::new(HttpServiceDoor::new(&ProviderConfig {
            ca_file: config.provider.ca_file.clone(),
            identity: config.provider.identity.clone(),
            ..ProviderConfig::default()
        })?);
        let policy = Arc::clone(held.desk.policy());
        let certificates = CertificateUpkeep::new(config, held, handle, &ground, own);
        let node = Self {
            consumer: Arc::new(Consumer::new(Arc::clone(&ground), Arc::clone(&links) as _, hosted(config))),
            provider: Arc::new(Provider::new(Arc::clone(&ground), policy, Arc::clone(&services) as _)),
            ground,
            stamper,
            links,
            heads,
            witness,
            spool,
            connections,
            directory,
            services,
            clock: Arc::clone(clock),
        };
        Ok((node, certificates))
    }

    /// Provider requests that a crash left open are closed before any door opens (protocol P4.5); the consumer's are
    /// returned, since closing them needs the peers.
    pub(super) async fn close_interrupted(&self, open: Vec<OpenRequest>) -> Vec<OpenRequest> {
        let (ours, asked): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|request| request.record.local.role == Half::Consumer);
        self.provider.close_open(&asked).await;
        ours
    }
}

/// What both halves stand on, and who has its records stamped: each needs the other.
fn ground(
    config: &NodeConfig,
    held: &Held,
    directory: &Arc<InForce>,
    own: &Arc<OwnStatuses>,
    clock: &Arc<dyn Clock>,
) -> (Arc<Ground>, Arc<Stamper>) {
    let (keys, kept) = (&held.keys, &config.evidence);
    let late = LateGround::default();
    let stamper = Parts {
        config,
        records: Arc::clone(&held.evidence),
        log: Arc::clone(&held.log),
        directory: Arc::clone(directory) as _,
        clock: Arc::clone(clock),
        ground: late.clone(),
    }
    .stamper();
    let source = Arc::new(OcspHttp::new(FetchLimits::default()));
    let policy = StatusPolicy { freshness: config.trust.status_freshness, grace: config.trust.status_grace };
    let seals = keys.certificates.seals.clone();
    let ground = Arc::new(Ground {
        me: config.node.clone(),
        clock: Arc::clone(clock),
        directory: Arc::clone(directory) as _,
        verifier: Verifier::new(config.node.clone(), source, policy),
        recorder: Recorder::new(Arc::clone(&held.evidence), Arc::clone(clock), keys.index_keys.clone())
            .keeping(kept.consumer_bodies, kept.consumer_retention.clone()),
        sealing: Sealing::new(Arc::clone(&keys.store) as _, seals, Arc::clone(own)),
        time_stamps: Arc::new(Stamps { stamper: Arc::clone(&stamper), clock: Arc::clone(clock) }),
    });
    late.is(&ground);
    (ground, stamper)
}

impl CertificateUpkeep {
    fn new(
        config: &NodeConfig,
        held: &Held,
        handle: &DirectoryHandle,
        ground: &Arc<Ground>,
        own: Arc<OwnStatuses>,
    ) -> Self {
        let keys = &held.keys;
        let certificates = Arc::new(ArcSwap::from_pointee(keys.certificates.all()));
        let (replaced, asked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let statuses = StatusKeeper {
            certificates: Arc::clone(&certificates),
            replaced: Arc::clone(&replaced),
            ground: Arc::clone(ground),
            own,
            directory: Arc::clone(&ground.directory),
            identity: Arc::clone(&keys.identity),
            clock: Arc::clone(&ground.clock),
            every: config.trust.status_fetch_interval,
            told: Told::default(),
        };
        let renewing = Renewing {
            config: config.clone(),
            store: Arc::clone(&keys.store),
            ground: Arc::clone(ground),
            directory: handle.clone(),
            certificates: Arc::clone(&certificates),
            look: Arc::clone(&asked),
        };
        let reloader = Reloader {
            asked,
            config: config.clone(),
            store: Arc::clone(&keys.store),
            identity: Arc::clone(&keys.identity),
            ground: Arc::clone(ground),
            certificates,
            replaced,
            current: keys.certificates.clone(),
        };
        Self { statuses, reloader, renewing }
    }
}
