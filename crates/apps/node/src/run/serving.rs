//! The doors of a node that is put together, and the tasks behind them.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_admin::{TokenEntry, TokenTable};
use truc_directory_sync::DirectoryHandle;
use truc_edge::{EdgeConfig, EdgeDoors, EdgePorts};
use truc_evidence::OpenRequest;
use truc_exchange::ports::ProviderSide;
use truc_peer::{PeerDoor, PeerDoorConfig};
use zeroize::Zeroizing;

use super::held::Held;
use super::hosted;
use super::node::{CertificateUpkeep, Node};
use crate::backend::Backend;
use crate::config::NodeConfig;
use crate::doors::Doors;
use crate::edge_evidence::NodeEvidence;
use crate::edge_tls::EdgeTls;
use crate::error::NodeError;
use crate::health::NodeHealth;
use crate::keeping::KeepingWatch;
use crate::succession::Successions;
use crate::upkeep::{Abandoned, cut_untrusted};
use crate::witness;

/// The first statuses are waited for this long; without them peers ask the responder themselves.
const FIRST_STATUSES: Duration = Duration::from_secs(5);

/// A node that is put together, and what its doors are opened with.
pub(super) struct Serving<'a> {
    pub(super) node: Node,
    pub(super) held: &'a Held,
    pub(super) config: &'a NodeConfig,
    pub(super) directory: DirectoryHandle,
    pub(super) shutdown: CancellationToken,
}

impl Serving<'_> {
    /// Serves until told to shut down. What a crash left `open` at the consumer's half is closed meanwhile.
    pub(super) async fn run(
        self,
        doors: Doors,
        certificates: CertificateUpkeep,
        edge_tls: EdgeTls,
        open: Vec<OpenRequest>,
    ) -> Result<(), NodeError> {
        if timeout(FIRST_STATUSES, certificates.statuses.renew()).await.is_err() {
            tracing::warn!("own certificate statuses are not to be had yet");
        }
        let mut tasks = JoinSet::new();
        let health = self.look_after(&mut tasks, certificates);
        if let Some(door) = doors.health {
            let stop = self.shutdown.clone();
            tasks.spawn(truc_admin::health::serve_health(door, Arc::clone(&health) as _, stop));
        }
        tasks.spawn(truc_admin::serve(
            doors.admin,
            Arc::new(self.backend(health)),
            tokens(self.config)?,
            self.shutdown.clone(),
        ));
        self.open_edge(&mut tasks, (doors.edge, doors.edge_https), edge_tls);
        let door = self.peer_door()?;
        let at = doors.addresses;
        tracing::info!(node = %self.node.ground.me, peer = %at.peer, edge = ?at.edge, edge_https = ?at.edge_https,
            admin = %at.admin, health = ?at.health, "ready");
        let abandoned = Abandoned {
            ground: Arc::clone(&self.node.ground),
            consumer: Arc::clone(&self.node.consumer),
            provider: Arc::clone(&self.node.provider),
        };
        tasks.spawn(abandoned.run(open, self.shutdown.clone()));
        let stopping = self.shutdown.clone();
        tasks.spawn(async move {
            stopping.cancelled().await;
            tracing::info!("stopping");
        });
        let served = door.serve(doors.peer, self.shutdown.clone()).await;
        // However the peer door ended, the other doors close with it.
        self.shutdown.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        self.node.links.close().await;
        tracing::info!("stopped");
        Ok(served?)
    }

    /// Begins what a node does without being asked; how that goes is its health.
    fn look_after(&self, tasks: &mut JoinSet<()>, certificates: CertificateUpkeep) -> Arc<NodeHealth> {
        let (node, held, stop) = (&self.node, self.held, || self.shutdown.clone());
        let CertificateUpkeep { statuses, reloader, renewing } = certificates;
        let own_certificates = Arc::clone(&statuses.certificates);
        tasks.spawn(statuses.run(stop()));
        tasks.spawn(reloader.run(stop()));
        tasks.spawn(renewing.run(stop()));
        tasks.spawn(Arc::clone(&held.keeper).run(stop()));
        let consumer = self.config.evidence.consumer_retention.clone();
        let keeping = KeepingWatch::of(Arc::clone(&held.keeper), Arc::clone(held.desk.policy()), consumer);
        let alarm = self.config.evidence.keeping.alarm_free;
        tasks.spawn(keeping.clone().run(self.config.data_folder.clone(), alarm, stop()));
        let successions = Successions {
            desk: Arc::clone(&held.desk),
            directory: self.directory.clone(),
            clock: Arc::clone(&node.clock),
            policy: self.config.policy.succession,
        };
        tasks.spawn(successions.run(stop()));
        tasks.spawn(cut_untrusted(self.directory.clone(), node.connections.clone(), stop()));
        tasks.spawn(Arc::clone(&node.witness).run(witness::EVERY, stop()));
        Arc::new(NodeHealth {
            ground: Arc::clone(&node.ground),
            directory: self.directory.clone(),
            certificates: own_certificates,
            connections: node.connections.clone(),
            heads: node.heads.clone(),
            log_alarms: node.witness.alarms.clone(),
            keeping,
            stamper: Arc::clone(&node.stamper),
            counts: held.counts.clone(),
            data_folder: self.config.data_folder.clone(),
        })
    }

    /// What the operators' door answers from.
    fn backend(&self, health: Arc<NodeHealth>) -> Backend {
        let (node, held) = (&self.node, self.held);
        Backend {
            node: self.config.node.clone(),
            hosted: hosted(self.config),
            started: node.clock.now(),
            clock: Arc::clone(&node.clock),
            directory: Arc::clone(&node.directory) as _,
            desk: Arc::clone(&held.desk),
            evidence: Arc::clone(&held.evidence),
            proofs: Arc::clone(&held.proofs),
            person_hashes: Arc::clone(&held.keys.person_hashes),
            services: Arc::clone(&node.services),
            health,
            witness: Arc::clone(&node.witness),
            keeper: Arc::clone(&held.keeper),
        }
    }

    /// The door of the information systems, over HTTP and HTTPS.
    fn open_edge(
        &self,
        tasks: &mut JoinSet<()>,
        (plain, https): (Option<TcpListener>, Option<TcpListener>),
        edge_tls: EdgeTls,
    ) {
        let (node, held, config) = (&self.node, self.held, self.config);
        let ports = EdgePorts {
            consumer: Arc::clone(&node.consumer) as _,
            directory: Arc::clone(&node.directory) as _,
            evidence: Arc::new(NodeEvidence {
                instance: config.node.instance().to_owned(),
                anchor_file: config.anchor_file.clone(),
                hosted: hosted(config),
                directory: Arc::clone(&node.directory) as _,
                evidence: Arc::clone(&held.evidence),
                proofs: Arc::clone(&held.proofs),
            }),
            connections: edge_tls.connections(),
            clock: Arc::clone(&node.clock),
        };
        let settings = EdgeConfig { body_limit: config.edge.max_body, ..EdgeConfig::default() };
        let doors = EdgeDoors { plain, tls: https.zip(edge_tls.identity()) };
        tasks.spawn(edge_tls.run(self.shutdown.clone()));
        let serving = truc_edge::serve(doors, ports, settings, self.shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "TLS of the edge cannot be set up");
            }
        });
    }

    /// The door of the other nodes.
    fn peer_door(&self) -> Result<PeerDoor, NodeError> {
        let node = &self.node;
        let settings =
            PeerDoorConfig { max_exchanges: self.config.peer.max_exchanges, ..PeerDoorConfig::default() };
        let door = PeerDoor::new(
            &self.held.keys.identity,
            Arc::clone(&node.directory) as _,
            Arc::clone(&node.clock),
            Arc::clone(&node.provider) as Arc<dyn ProviderSide>,
            node.connections.clone(),
            Arc::clone(&node.spool),
            settings,
        )?;
        Ok(door.comparing(node.heads.clone()).with_log(Arc::clone(&node.witness) as _))
    }
}

/// Who may come to the operators' door.
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
