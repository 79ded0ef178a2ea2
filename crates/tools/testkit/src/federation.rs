//! Describes a bus and starts it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_directory::{MemberEntry, MemberStatus, NodeEntry, SignCertificate, SubsystemEntry, V1};
use truc_evidence::EvidenceStore;
use truc_exchange::Seal;
use truc_exchange::ports::{CurrentDirectory, PeerLink, ProviderSide};
use truc_keys::KeyKind;
use truc_model::{Clock, ManualClock, MemberId, NodeId, ServiceId, SubsystemId, SystemClock, Timestamp};
use truc_peer::{Connections, Identity, PeerDoor, PeerDoorConfig, PeerLinks};
use truc_policy::{
    Bodies, BodyClass, MethodPattern, PathGlob, Policy, PolicyEvent, Right, ServiceDefinition,
};
use truc_stores::{EvidenceJournal, JournalOptions, RecordKey, RecordKeys};
use truc_trust::OwnStatuses;
use zeroize::Zeroizing;

use crate::MemorySpool;
use crate::authority::{Authority, Responder};
use crate::bus::Bus;
use crate::direct_link::Switchboard;
use crate::gated_stamps::GatedStamps;
use crate::gated_store::GatedStore;
use crate::memory_signer::{MemorySigner, TestKey};
use crate::memory_store::MemoryStore;
use crate::node::{Halves, OpenDoor, TestNode, Wire};
use crate::registry::{InForce, Registry, ed25519, public};
use crate::services::Services;

struct MemberSpec {
    id: MemberId,
    node: NodeId,
    subsystems: Vec<SubsystemId>,
    services: Vec<ServiceDefinition>,
}

/// A bus to be: members with their subsystems and services, and who may call what. Every member has a node `ss1` of its
/// own unless it is [hosted](Federation::hosted_by) by another's.
pub struct Federation {
    members: Vec<MemberSpec>,
    rights: Vec<(String, ServiceId)>,
    tls: bool,
    journal: bool,
    system_clock: bool,
    keeping: (Bodies, BodyClass),
    door: PeerDoorConfig,
}

impl Default for Federation {
    fn default() -> Self {
        Self::new()
    }
}

impl Federation {
    /// A bus without members: manual clock, evidence in memory, no sockets.
    pub fn new() -> Self {
        Self {
            members: vec![],
            rights: vec![],
            tls: false,
            journal: false,
            system_clock: false,
            keeping: (Bodies::default(), BodyClass::default()),
            door: PeerDoorConfig::default(),
        }
    }

    fn last(&mut self) -> &mut MemberSpec {
        self.members.last_mut().expect("a member first")
    }

    /// A member, `VN/GOV/G01`, with its own node.
    #[must_use]
    pub fn member(mut self, id: &str) -> Self {
        let id: MemberId = id.parse().unwrap();
        let node = id.node("ss1").unwrap();
        self.members.push(MemberSpec { id, node, subsystems: vec![], services: vec![] });
        self
    }
    /// The last member has no node of its own; this one serves it.
    #[must_use]
    pub fn hosted_by(mut self, node: &str) -> Self {
        self.last().node = node.parse().unwrap();
        self
    }
    /// A subsystem of the last member.
    #[must_use]
    pub fn subsystem(mut self, code: &str) -> Self {
        let id = self.last().id.subsystem(code).unwrap();
        self.last().subsystems.push(id);
        self
    }
    /// A service of the last subsystem.
    #[must_use]
    pub fn service(mut self, code: &str) -> Self {
        let id = self.last().subsystems.last().expect("a subsystem first").service(code).unwrap();
        let url = "http://service.invalid".parse().unwrap();
        self.last().services.push(ServiceDefinition::rest(id, url));
        self
    }
    /// Changes the last service's definition.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ServiceDefinition)) -> Self {
        change(self.last().services.last_mut().expect("a service first"));
        self
    }
    /// `subject` may call every path of `service`.
    #[must_use]
    pub fn right(mut self, subject: &str, service: &str) -> Self {
        self.rights.push((subject.to_owned(), service.parse().unwrap()));
        self
    }
    /// Nodes talk over loopback TLS.
    #[must_use]
    pub const fn over_tls(mut self) -> Self {
        self.tls = true;
        self
    }
    /// Evidence lies on disk, in the real journal.
    #[must_use]
    pub const fn on_disk(mut self) -> Self {
        self.journal = true;
        self
    }
    /// Nodes read the machine's clock.
    #[must_use]
    pub const fn in_real_time(mut self) -> Self {
        self.system_clock = true;
        self
    }
    /// What every node keeps of bodies as consumer.
    #[must_use]
    pub fn consumers_keep(mut self, bodies: Bodies, class: &str) -> Self {
        self.keeping = (bodies, class.parse().unwrap());
        self
    }
    /// Bounds of every peer door.
    #[must_use]
    pub const fn doors(mut self, config: PeerDoorConfig) -> Self {
        self.door = config;
        self
    }

    /// Issues, registers, publishes and opens everything.
    pub async fn start(self) -> Bus {
        let start: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
        let manual = (!self.system_clock).then(|| Arc::new(ManualClock::new(start)));
        let clock: Arc<dyn Clock> = match &manual {
            Some(manual) => Arc::clone(manual) as _,
            None => Arc::new(SystemClock),
        };
        let authority = Arc::new(Authority::new("CA thử nghiệm"));
        let responder = Arc::new(Responder::new(Arc::clone(&authority), Arc::clone(&clock)));
        let folder = self.journal.then(|| tempfile::tempdir().unwrap());
        let mut papers: BTreeMap<NodeId, Papers> = BTreeMap::new();
        for member in &self.members {
            if !papers.contains_key(&member.node) {
                papers.insert(member.node.clone(), Papers::of(&member.node, &authority, self.tls).await);
            }
        }
        for member in &self.members {
            papers.get_mut(&member.node).unwrap().host(member, &authority);
        }
        let entries = self.members.iter().map(|member| entry_of(member, &self.members, &papers)).collect();
        let registry = Registry::new(vec![authority.approved("CA thử nghiệm")], entries);
        let world = World {
            clock: Arc::clone(&clock),
            responder: Arc::clone(&responder),
            board: Arc::default(),
            keeping: self.keeping.clone(),
            door: self.door,
        };
        let mut nodes = BTreeMap::new();
        for (id, papers) in papers {
            let folder = folder.as_ref().map(|f| f.path().join(id.as_str().replace('/', "-")));
            let policy = self.policy_of(&papers.hosted);
            let node = world.node(id.clone(), papers, policy, folder.as_deref());
            nodes.insert(id, node);
        }
        let board = Arc::clone(&world.board);
        let bus = Bus { clock, manual, authority, responder, registry, board, nodes, _folder: folder };
        bus.publish();
        bus.nodes.values().for_each(TestNode::renew_statuses);
        bus
    }

    fn policy_of(&self, hosted: &[SubsystemId]) -> Policy {
        let services = self.members.iter().flat_map(|m| &m.services).cloned().map(PolicyEvent::ServiceAdded);
        let rights = self.rights.iter().map(|(subject, service)| {
            let subject = subject.parse().unwrap();
            PolicyEvent::RightGranted(Right::new(
                subject,
                service.clone(),
                MethodPattern::Any,
                PathGlob::every(),
            ))
        });
        let ours = |event: &PolicyEvent| match event {
            PolicyEvent::ServiceAdded(definition) => hosted.contains(&definition.id.subsystem()),
            PolicyEvent::RightGranted(right) => hosted.contains(&right.service().subsystem()),
            _ => false,
        };
        let events: Vec<PolicyEvent> = services.chain(rights).filter(ours).collect();
        Policy::replay(hosted.to_vec(), &events).unwrap()
    }
}

/// A node's keys, certificates and socket, before it lives.
struct Papers {
    signer: MemorySigner,
    seals: HashMap<MemberId, Seal>,
    auth_key: TestKey,
    auth: truc_trust::Certificate,
    hosted: Vec<SubsystemId>,
    listener: Option<TcpListener>,
    address: String,
}

impl Papers {
    async fn of(node: &NodeId, authority: &Authority, tls: bool) -> Self {
        let listener = match tls {
            true => Some(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()),
            false => None,
        };
        let address = listener.as_ref().map_or_else(
            || "127.0.0.1:5500".to_owned(),
            |listener| listener.local_addr().unwrap().to_string(),
        );
        let auth_key = TestKey::generate(KeyKind::EcP256);
        let auth = authority.auth(node, &auth_key);
        let (signer, seals) = (MemorySigner::default(), HashMap::new());
        Self { signer, seals, auth_key, auth, hosted: vec![], listener, address }
    }

    fn host(&mut self, member: &MemberSpec, authority: &Authority) {
        let key = TestKey::generate(KeyKind::EcP256);
        let label = self.signer.add(&format!("sign-{}", member.id.as_str().replace('/', "-")), &key);
        let certificate = authority.seal(&member.id, &key);
        let algorithm = key.kind().default_algorithm();
        self.seals
            .insert(member.id.clone(), Seal { key: label, certificate, intermediates: vec![], algorithm });
        self.hosted.extend(member.subsystems.iter().cloned());
    }
}

fn entry_of(member: &MemberSpec, all: &[MemberSpec], papers: &BTreeMap<NodeId, Papers>) -> MemberEntry {
    let seal = papers.get(&member.node).and_then(|p| p.seals.get(&member.id)).unwrap();
    let own: Vec<NodeEntry> = papers
        .iter()
        .filter(|(node, _)| node.owner() == member.id)
        .map(|(node, papers)| NodeEntry {
            id: node.clone(),
            address: papers.address.clone(),
            auth_certificates: vec![papers.auth.fingerprint()],
            log_key: public(&ed25519(9)),
            versions: vec![1],
            serves: all.iter().filter(|m| m.node == *node).flat_map(|m| m.subsystems.clone()).collect(),
            suspended: false,
            maintenance: None,
        })
        .collect();
    MemberEntry {
        v: V1,
        name_vi: format!("Cơ quan {}", member.id.code()),
        name_en: format!("Agency {}", member.id.code()),
        valid_from: Timestamp::from_millis(1_577_836_800_000),
        valid_to: None,
        status: MemberStatus::Active,
        succession: None,
        subsystems: member
            .subsystems
            .iter()
            .map(|s| SubsystemEntry { code: s.code().to_owned(), name: s.code().to_owned(), disabled: false })
            .collect(),
        sign_certificates: vec![SignCertificate { fingerprint: seal.certificate.fingerprint(), der: None }],
        nodes: own,
        id: member.id.clone(),
    }
}

/// The record keys of a node's journal; fixed, since a test keeps no secrets.
struct Keys(Vec<MemberId>);

impl RecordKeys for Keys {
    fn record_key(&self, owner: &MemberId) -> Option<RecordKey> {
        self.by_id(owner.as_str())
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        let known = id == "node" || self.0.iter().any(|member| member.as_str() == id);
        known.then(|| RecordKey::new(id, Zeroizing::new([5; 32])))
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node", Zeroizing::new([5; 32]))
    }
}

/// What every node is built upon.
struct World {
    clock: Arc<dyn Clock>,
    responder: Arc<Responder>,
    board: Arc<Switchboard>,
    keeping: (Bodies, BodyClass),
    door: PeerDoorConfig,
}

impl World {
    fn node(&self, id: NodeId, papers: Papers, policy: Policy, folder: Option<&Path>) -> TestNode {
        let directory = Arc::new(InForce::default());
        let memory = folder.is_none().then(|| Arc::new(MemoryStore::default()));
        let store: Arc<dyn EvidenceStore> = match (folder, &memory) {
            (Some(folder), _) => {
                std::fs::create_dir_all(folder).unwrap();
                let keys = Arc::new(Keys(papers.seals.keys().cloned().collect()));
                Arc::new(EvidenceJournal::open(folder, keys, JournalOptions::default()).unwrap())
            }
            (None, Some(memory)) => Arc::clone(memory) as _,
            (None, None) => unreachable!("one of the two is there"),
        };
        let gate = Arc::new(GatedStore::new(store));
        let stamps = Arc::new(GatedStamps::default());
        let own = Arc::new(OwnStatuses::default());
        let chain = [Bytes::copy_from_slice(papers.auth.der())];
        let identity = Arc::new(Identity::new(&chain, &papers.auth_key.pkcs8()).unwrap());
        let connections = Connections::default();
        let current = Arc::clone(&directory) as Arc<dyn CurrentDirectory>;
        let peer = truc_message::Peer::new(chain[0].clone(), vec![]);
        let (wire, link) = if papers.listener.is_some() {
            let clock = Arc::clone(&self.clock);
            let links = PeerLinks::new(
                &identity,
                Arc::clone(&current),
                clock,
                connections.clone(),
                MemorySpool::for_tests(),
            );
            let links = Arc::new(links.unwrap());
            (Wire::Tls(Arc::clone(&links)), links as Arc<dyn PeerLink>)
        } else {
            let link = self.board.link(peer.clone(), Arc::clone(&self.clock));
            (Wire::Direct(Arc::clone(&self.board)), Arc::new(link) as _)
        };
        let (signer, services) = (Arc::new(papers.signer), Arc::new(Services::default()));
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let (ground, consumer, provider) = Halves {
            id: &id,
            clock: &self.clock,
            directory: &directory,
            responder: &self.responder,
            store: Arc::clone(&gate) as _,
            stamps: &stamps,
            signer: &signer,
            seals: &papers.seals,
            own: &own,
            policy: &policy,
            services: &services,
            link: &link,
            hosted: &papers.hosted,
            keeping: &self.keeping,
        }
        .build();
        let side = Arc::clone(&provider) as Arc<dyn ProviderSide>;
        let door = match papers.listener {
            Some(listener) => {
                let clock = Arc::clone(&self.clock);
                let door = PeerDoor::new(
                    &identity,
                    current,
                    clock,
                    side,
                    connections.clone(),
                    MemorySpool::for_tests(),
                    self.door,
                )
                .unwrap();
                let stop = CancellationToken::new();
                let stopped = stop.clone();
                let task = tokio::spawn(async move { door.serve(listener, stopped).await.unwrap() });
                Some(OpenDoor { stop, task })
            }
            None => {
                self.board.seat(id.clone(), side, peer, Arc::clone(&own), Arc::clone(&self.clock));
                None
            }
        };
        TestNode {
            id,
            ground,
            consumer,
            provider,
            store: Arc::clone(&gate) as _,
            memory,
            gate,
            stamps,
            directory,
            policy,
            services,
            signer,
            own,
            auth_key: papers.auth_key,
            auth: papers.auth,
            seals: papers.seals,
            identity,
            connections,
            link,
            hosted: papers.hosted,
            keeping: self.keeping.clone(),
            clock: Arc::clone(&self.clock),
            responder: Arc::clone(&self.responder),
            wire,
            door: Mutex::new(door),
        }
    }
}
