//! One whole node: both halves, and everything they stand on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_directory::{NodeEntry, Usage};
use truc_evidence::{EvidenceStore, IndexKey, OpenRequest, Recorder, Role, StoredRecord};
use truc_exchange::ports::{ConsumerSide as _, Conversation, CurrentDirectory as _, PeerLink, ProviderSide};
use truc_exchange::{
    CallContext, Consumer, Draft, DraftBody, Failed, Ground, Provider, Reply, Seal, Sealing,
};
use truc_message::{
    Body, BodyInfo, CanonicalPath, DirectoryRef, Header, Kind, Parts, Peer, Sealed, Secret, Signed, VERSION,
};
use truc_model::{Clock, MemberId, MessageId, NodeId, Side, SubsystemId};
use truc_peer::{Connections, Identity, PeerLinks};
use truc_policy::{Bodies, BodyClass, Policy, PolicyEvent};
use truc_trust::{Certificate, OwnStatuses, StatusPolicy, Verifier};

use crate::authority::Responder;
use crate::direct_link::Switchboard;
use crate::gated_stamps::GatedStamps;
use crate::gated_store::GatedStore;
use crate::memory_signer::{MemorySigner, TestKey};
use crate::memory_store::MemoryStore;
use crate::registry::InForce;
use crate::services::Services;

/// How this node reaches others.
pub(crate) enum Wire {
    Direct(Arc<Switchboard>),
    Tls(Arc<PeerLinks>),
}

/// The peer door of a node over TLS.
pub(crate) struct OpenDoor {
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

/// A node of a test bus.
pub struct TestNode {
    /// Which node.
    pub id: NodeId,
    /// What both halves stand on.
    pub ground: Arc<Ground>,
    /// The consumer half.
    pub consumer: Arc<Consumer>,
    /// The provider half.
    pub provider: Arc<Provider>,
    /// Its evidence.
    pub store: Arc<dyn EvidenceStore>,
    /// Its evidence when it is kept in memory: its disk can be full.
    pub memory: Option<Arc<MemoryStore>>,
    /// Its evidence's gate: its disk can be slow.
    pub gate: Arc<GatedStore>,
    /// Its time-stamps: they can be late.
    pub stamps: Arc<GatedStamps>,
    /// The directory in force here.
    pub directory: Arc<InForce>,
    /// Its rights and services.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The systems behind it.
    pub services: Arc<Services>,
    /// Its keys.
    pub signer: Arc<MemorySigner>,
    /// The statuses it carries.
    pub own: Arc<OwnStatuses>,
    /// Its auth certificate's key.
    pub auth_key: TestKey,
    /// Its auth certificate.
    pub auth: Certificate,
    /// The seals of the members it hosts.
    pub seals: HashMap<MemberId, Seal>,
    /// Its TLS identity.
    pub identity: Arc<Identity>,
    /// Its open TLS connections, both directions.
    pub connections: Connections,
    /// Its links to other nodes.
    pub link: Arc<dyn PeerLink>,
    pub(crate) hosted: Vec<SubsystemId>,
    pub(crate) keeping: (Bodies, BodyClass),
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) responder: Arc<Responder>,
    pub(crate) wire: Wire,
    pub(crate) door: Mutex<Option<OpenDoor>>,
}

/// What [`Halves::build`] needs; the same after every restart.
pub(crate) struct Halves<'a> {
    pub(crate) id: &'a NodeId,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) directory: &'a Arc<InForce>,
    pub(crate) responder: &'a Arc<Responder>,
    pub(crate) store: Arc<dyn EvidenceStore>,
    pub(crate) stamps: &'a Arc<GatedStamps>,
    pub(crate) signer: &'a Arc<MemorySigner>,
    pub(crate) seals: &'a HashMap<MemberId, Seal>,
    pub(crate) own: &'a Arc<OwnStatuses>,
    pub(crate) policy: &'a Arc<ArcSwap<Policy>>,
    pub(crate) services: &'a Arc<Services>,
    pub(crate) link: &'a Arc<dyn PeerLink>,
    pub(crate) hosted: &'a [SubsystemId],
    pub(crate) keeping: &'a (Bodies, BodyClass),
}

impl Halves<'_> {
    pub(crate) fn build(self) -> (Arc<Ground>, Arc<Consumer>, Arc<Provider>) {
        let index_key = |member: &MemberId| (member.clone(), vec![IndexKey::new("index-1", &[7; 32])]);
        let index_keys = self.seals.keys().map(index_key).collect();
        let source = Arc::clone(self.responder) as _;
        let ground = Arc::new(Ground {
            me: self.id.clone(),
            clock: Arc::clone(self.clock),
            directory: Arc::clone(self.directory) as _,
            verifier: Verifier::new(self.id.clone(), source, StatusPolicy::default()),
            recorder: Recorder::new(self.store, Arc::clone(self.clock), index_keys)
                .keeping(self.keeping.0, self.keeping.1.clone()),
            sealing: Sealing::new(Arc::clone(self.signer) as _, self.seals.clone(), Arc::clone(self.own)),
            time_stamps: Arc::clone(self.stamps) as _,
        });
        let consumer = Consumer::new(Arc::clone(&ground), Arc::clone(self.link), self.hosted.to_vec());
        let services = Arc::clone(self.services) as _;
        let provider = Provider::new(Arc::clone(&ground), Arc::clone(self.policy), services);
        (ground, Arc::new(consumer), Arc::new(provider))
    }
}

/// A GET by `client` of `service` with an officer and a purpose, ready to be changed.
pub fn draft(client: &str, service: &str) -> Draft {
    Draft {
        client: client.parse().unwrap(),
        service: service.parse().unwrap(),
        method: "GET".into(),
        path: CanonicalPath::parse("/cong-dan").unwrap(),
        query: None,
        headers: Vec::new(),
        media_type: None,
        body: DraftBody::Whole(Body::empty()),
        context: CallContext {
            user_id: Some("cb-0123".into()),
            purpose: Some("1.004194".into()),
            ..CallContext::default()
        },
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

impl TestNode {
    /// Carries a call out, as the edge would.
    ///
    /// # Errors
    /// As [`truc_exchange::ports::ConsumerSide::call`].
    pub async fn call(&self, draft: Draft) -> Result<Reply, Failed> {
        self.consumer.call(draft).await
    }

    /// Fetches the statuses that this node carries with its messages and staples to its handshakes.
    pub fn renew_statuses(&self) {
        for seal in self.seals.values() {
            self.own.renew_seal(seal.certificate.fingerprint(), self.responder.answer(&seal.certificate));
        }
        let status = self.responder.answer(&self.auth);
        self.identity.staple(&self.auth.fingerprint(), &status);
        self.own.renew_auth(status);
    }

    /// How this node shows itself in a handshake.
    pub fn peer(&self) -> Peer {
        Peer::new(Bytes::copy_from_slice(self.auth.der()), vec![])
    }

    /// Its entry in the directory in force here.
    pub fn entry(&self) -> NodeEntry {
        self.directory.current().unwrap().node(&self.id).unwrap().clone()
    }

    /// Its links when it speaks TLS.
    pub fn links(&self) -> &Arc<PeerLinks> {
        match &self.wire {
            Wire::Tls(links) => links,
            Wire::Direct(_) => panic!("this bus has no TLS"),
        }
    }

    /// Decides something about services and rights.
    pub fn decide(&self, event: &PolicyEvent) {
        self.policy.store(Arc::new(self.policy.load().apply(event).unwrap()));
    }

    /// The records of one exchange.
    pub async fn records(&self, request: MessageId) -> Vec<StoredRecord> {
        self.store.exchange(request).await.unwrap()
    }

    /// The header that the consumer side would seal for a call to a service at the node `to`.
    pub fn header(&self, draft: &Draft, to: &NodeId) -> Header {
        let now = self.clock.now();
        let directory = self.directory.current().unwrap();
        Header {
            v: VERSION,
            kind: Kind::Request,
            id: MessageId::new(now, random()),
            instance: directory.instance().to_owned(),
            client: draft.client.clone(),
            service: draft.service.clone(),
            from: self.id.clone(),
            to: to.clone(),
            directory: DirectoryRef { epoch: directory.epoch(), version: directory.version() },
            sent: now,
            expires: now.plus(Duration::from_secs(60)),
            method: Some(draft.method.clone()),
            path: Some(draft.path.as_str().to_owned()),
            query: None,
            headers: Vec::new(),
            user_id: draft.context.user_id.clone(),
            agency: None,
            purpose: draft.context.purpose.clone(),
            legal_basis: None,
            consent: None,
            represented_party: None,
            issue: None,
            client_message_id: None,
            idempotency_key: None,
            trace: None,
            body: Some(BodyInfo { media_type: None, length: draft.body.announced() }),
            status: None,
            in_reply_to: None,
            leaf: None,
        }
    }

    /// Signs whatever header a test made up, for `member`, which this node hosts.
    pub async fn sign(&self, member: &MemberId, header: Header, body: Body, secrets: Vec<Secret>) -> Signed {
        let sealed = Sealed::seal(header, body, secrets).unwrap();
        self.ground.sealing.sign(member, sealed, Side::ClientProxy).await.unwrap()
    }

    /// The message as it goes over the wire, with the statuses that this node carries for `member`.
    pub fn parts(&self, member: &MemberId, message: &Signed) -> Parts {
        Parts {
            header: message.sealed.header_bytes().clone(),
            body: message.sealed.body().clone(),
            secrets: message.sealed.secrets().to_vec(),
            signature: message.signature.clone(),
            statuses: self.ground.sealing.statuses(member, self.ground.clock.now()),
        }
    }

    /// Begins an exchange by hand.
    pub async fn open(&self, with: &Self) -> Box<dyn Conversation> {
        self.link.open(&with.entry()).await.unwrap()
    }

    /// The process is killed and started again over the same evidence: claims are restored and what it was asked to carry
    /// out is closed. Returns its own open requests, which [`Consumer::close_open`] closes.
    pub async fn restart(&mut self) -> Vec<OpenRequest> {
        let Wire::Direct(board) = &self.wire else { panic!("only nodes without sockets restart here") };
        board.unseat(&self.id);
        let (ground, consumer, provider) = Halves {
            id: &self.id,
            clock: &self.clock,
            directory: &self.directory,
            responder: &self.responder,
            store: Arc::clone(&self.gate) as _,
            stamps: &self.stamps,
            signer: &self.signer,
            seals: &self.seals,
            own: &self.own,
            policy: &self.policy,
            services: &self.services,
            link: &self.link,
            hosted: &self.hosted,
            keeping: &self.keeping,
        }
        .build();
        (self.ground, self.consumer, self.provider) = (ground, consumer, provider);
        let open = self.ground.recorder.restore().await.unwrap();
        let (ours, theirs): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|request| request.record.local.role == Role::Consumer);
        self.provider.close_open(&theirs).await;
        let provider = Arc::clone(&self.provider) as Arc<dyn ProviderSide>;
        board.seat(self.id.clone(), provider, self.peer(), Arc::clone(&self.own), Arc::clone(&self.clock));
        ours
    }

    /// Closes the node's doors and links.
    pub async fn close(&self) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(door) = door {
            door.stop.cancel();
            door.task.await.unwrap();
        }
        if let Wire::Tls(links) = &self.wire {
            links.close().await;
        }
    }

    /// Every certificate of this node with its use.
    pub fn certificates(&self) -> Vec<(Certificate, Usage)> {
        let seals = self.seals.values().map(|seal| (seal.certificate.clone(), Usage::Sign));
        seals.chain([(self.auth.clone(), Usage::Auth)]).collect()
    }
}
