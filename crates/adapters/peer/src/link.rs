//! The connecting side: one connection and one stream to each node, opened when first needed and kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use truc_directory::NodeEntry;
use truc_exchange::ports::{Conversation, CurrentDirectory, LinkError, PastOutcome, PeerLink};
use truc_message::{Peer, Spool};
use truc_model::{Clock, Digest, FaultCode, Fingerprint, MessageId, NodeId, Side};
use truc_wire::peer as wire;
use truc_wire::peer::peer_client::PeerClient;

use crate::bodies::Ticket;
use crate::body_calls::{BodyCalls, FLOWS};
use crate::comparing::Comparing;
use crate::connections::Connections;
use crate::conversation::{End, StreamConversation};
use crate::convert::{BadFrame, fault_from_wire, leaf_from_wire, on_record_from_wire, whole_from_wire};
use crate::heads::Heads;
use crate::identity::{Identity, IdentityError};
use crate::intake::Intake;
use crate::log::{self, LogAnswer, LogQuestion};
use crate::net::{Network, Tcp};
use crate::parts;
use crate::stream::{Arrived, StatusesSeen, StatusesSent};
use crate::tls::{Handshakes, client_config};
use crate::{CONNECTION_WINDOW, EXCHANGE_QUEUE, MESSAGE_LIMIT, STREAM_QUEUE, STREAM_WINDOW};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const OUTCOME_DEADLINE: Duration = Duration::from_secs(10);

/// No connection is used longer: whichever identity either side showed when it was opened, nothing goes over it any more when
/// that certificate is deleted after a renewal.
const OLDEST: Duration = Duration::from_secs(8 * 3600);

/// Reaches other nodes.
pub struct PeerLinks {
    identity: Arc<Identity>,
    network: Arc<dyn Network>,
    tls: TlsConnector,
    handshakes: Arc<Handshakes>,
    clock: Arc<dyn Clock>,
    connections: Connections,
    heads: Heads,
    intake: Intake,
    /// One slot a node; its async lock makes concurrent callers share one attempt to connect.
    slots: Mutex<HashMap<NodeId, Slot>>,
    tasks: TaskTracker,
}

type Slot = Arc<tokio::sync::Mutex<Attempt>>;

/// What the last attempt to connect to a node came to.
#[derive(Default)]
struct Attempt {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, LinkError)>,
}

/// In order, so that the exchanges of a stream that ends hear it in the order in which they began.
type Queues = Arc<Mutex<BTreeMap<u64, mpsc::Sender<Arrived>>>>;

/// One live connection with its shared stream.
struct Connection {
    address: String,
    /// The identity that this node had, and when.
    own: Fingerprint,
    opened: Instant,
    peer: Peer,
    statuses: Vec<Bytes>,
    client: PeerClient<Channel>,
    out: mpsc::Sender<wire::Frame>,
    queues: Queues,
    next: AtomicU64,
    intake: Intake,
    /// One permit for each body beyond memory that flows here over this connection.
    flows: Arc<Semaphore>,
    /// Cancelled once it is cut or has ended.
    over: CancellationToken,
    /// Ends the comparing of heads with the connection.
    _compared: DropGuard,
}

impl PeerLinks {
    /// Links of the node with this TLS identity, judging peers by `directory`; bodies too big for memory go to `spool`.
    ///
    /// # Errors
    /// [`IdentityError`] when TLS cannot be set up with it.
    pub fn new(
        identity: &Arc<Identity>,
        directory: Arc<dyn CurrentDirectory>,
        clock: Arc<dyn Clock>,
        connections: Connections,
        spool: Arc<dyn Spool>,
    ) -> Result<Self, IdentityError> {
        let heads = Heads::new(Arc::clone(&directory), None);
        let handshakes = Handshakes::new(directory, Arc::clone(&clock));
        let tls = TlsConnector::from(Arc::new(client_config(&handshakes, identity)?));
        let intake = Intake::new(BODY_MEMORY, spool);
        let (slots, tasks) = (Mutex::default(), TaskTracker::new());
        let network = Arc::new(Tcp);
        let identity = Arc::clone(identity);
        Ok(Self { identity, network, tls, handshakes, clock, connections, heads, intake, slots, tasks })
    }

    /// The same links over another network than the machine's.
    #[must_use]
    pub fn over(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// The same links comparing directory heads there; both directions of a node's connections compare in one place.
    #[must_use]
    pub fn comparing(mut self, heads: Heads) -> Self {
        self.heads = heads;
        self
    }

    /// Parts of the directory from `node`, by digest: for a head that it has shown, when the registry is away. Those that it
    /// has not are left out; what comes has its digest.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn parts(
        &self,
        node: &NodeEntry,
        digests: &[Digest],
    ) -> Result<HashMap<Digest, Bytes>, LinkError> {
        let connection = self.connection(node).await?;
        let mut found = HashMap::new();
        for some in digests.chunks(parts::AT_ONCE) {
            let wanted: HashSet<Digest> = some.iter().copied().collect();
            let digests = some.iter().map(|digest| Bytes::copy_from_slice(digest.as_bytes())).collect();
            let mut client = connection.client.clone();
            let asking = client.parts(wire::PeerPartsRequest { digests });
            let asked = timeout(OUTCOME_DEADLINE, asking).await;
            let asked = asked.map_err(|_| LinkError::Broken("no parts within 10 s".into()))?;
            let incoming = asked.map_err(|s| LinkError::Broken(status_text(&s)))?.into_inner();
            found.extend(parts::collect(incoming, &wanted).await?);
        }
        Ok(found)
    }

    /// Asks `node` about its log (protocol P5.3), and shows it this node's head.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn log_proof(&self, node: &NodeEntry, question: &LogQuestion) -> Result<LogAnswer, LinkError> {
        let connection = self.connection(node).await?;
        log::ask(connection.client.clone(), question).await
    }

    /// The nodes to which a connection is open, in order.
    pub fn connected(&self) -> Vec<NodeId> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |slot: &Slot| {
            // Who connects at this moment has no connection yet.
            let slot = slot.try_lock().ok();
            slot.is_some_and(|slot| slot.connection.as_ref().is_some_and(|c| !c.over.is_cancelled()))
        };
        let mut nodes: Vec<_> =
            slots.iter().filter(|(_, slot)| open(slot)).map(|(id, _)| id.clone()).collect();
        nodes.sort();
        nodes
    }

    /// Ends every connection and waits for the tasks that read them.
    pub async fn close(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.connections.close_all();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn connection(&self, node: &NodeEntry) -> Result<Arc<Connection>, LinkError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(node.id.clone()).or_default())
        };
        let asked = Instant::now();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.as_ref()
            && connection.is_usable_for(node)
            && connection.own == self.identity.fingerprint()
            && self.heads.conflict_with(&connection.peer.fingerprint()).is_none()
        {
            return Ok(Arc::clone(connection));
        }
        // Whoever waited while an attempt failed shares its failure: else many callers of a dead node would wait for one
        // attempt after the other, and never get to try the next node.
        if let Some((failed, error)) = &slot.failed
            && *failed >= asked
        {
            return Err(error.clone());
        }
        let unreachable = |reason: String| LinkError::Unreachable { node: node.address.clone(), reason };
        let connecting = timeout(CONNECT_DEADLINE, self.connect(node)).await;
        let connected = connecting.unwrap_or_else(|_| Err(unreachable("no connection within 10 s".into())));
        *slot = match &connected {
            Ok(_) => Attempt::default(),
            Err(error) => Attempt { connection: None, failed: Some((Instant::now(), error.clone())) },
        };
        let connection = Arc::new(connected?);
        slot.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn connect(&self, node: &NodeEntry) -> Result<Connection, LinkError> {
        let unreachable = |reason: String| LinkError::Unreachable { node: node.address.clone(), reason };
        let own = self.identity.fingerprint();
        let (channel, peer, over) = self.channel(node).await?;
        let statuses = self.handshakes.stapled(&peer.fingerprint()).into_iter().collect();
        let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let (out, frames) = mpsc::channel(STREAM_QUEUE);
        let mut sent = StatusesSent::default();
        let outgoing = ReceiverStream::new(frames).map(move |frame| sent.thin(frame));
        let comparing = Comparing { heads: self.heads.clone(), client: client.clone(), peer: peer.clone() };
        let (incoming, compared) = tokio::join!(client.exchange(outgoing), comparing.compare(None));
        let theirs =
            compared.map_err(|conflict| LinkError::Conflict(conflict.fault(Side::ClientProxy).detail))?;
        let incoming = incoming.map_err(|s| unreachable(status_text(&s)))?.into_inner();
        let queues = Queues::default();
        let ended = CancellationToken::new();
        let reading = read_stream(incoming, Arc::clone(&queues), Arc::clone(&self.clock));
        let read = ended.clone().drop_guard();
        self.tasks.spawn(async move {
            reading.await;
            drop(read);
        });
        self.tasks.spawn(ended.clone().run_until_cancelled_owned(comparing.go_on(theirs)));
        tracing::info!(node = %node.id, address = %node.address, "connected");
        let next = AtomicU64::new(1);
        Ok(Connection {
            address: node.address.clone(),
            own,
            opened: Instant::now(),
            peer,
            statuses,
            client,
            out,
            queues,
            next,
            intake: self.intake.clone(),
            flows: Arc::new(Semaphore::new(FLOWS)),
            over,
            _compared: ended.drop_guard(),
        })
    }

    /// TCP and TLS first, so that who the peer is is known before HTTP/2 begins; the channel has this one connection and
    /// never makes another by itself.
    async fn channel(&self, node: &NodeEntry) -> Result<(Channel, Peer, CancellationToken), LinkError> {
        let unreachable = |reason: String| LinkError::Unreachable { node: node.address.clone(), reason };
        let tcp = self.network.connect(&node.address).await.map_err(|e| unreachable(e.to_string()))?;
        // Names play no part between nodes; TLS wants one for its handshake all the same.
        let name = ServerName::try_from("node.invalid").map_err(|e| unreachable(e.to_string()))?;
        let tls = self.tls.connect(name, tcp).await.map_err(|e| handshake_failed(node, &e))?;
        let chain: Vec<Bytes> = tls
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|c| Bytes::copy_from_slice(c))
            .collect();
        let Some((leaf, rest)) = chain.split_first() else {
            return Err(unreachable("the node showed no certificate".into()));
        };
        let peer = Peer::new(leaf.clone(), rest.to_vec());
        let stream = self.connections.follow(tls, peer.fingerprint(), true).ok_or(LinkError::Busy)?;
        let over = stream.over();
        let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
        let connector = service_fn(move |_| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { stream.ok_or_else(|| std::io::Error::other("the connection has ended")) }
        });
        // `http` because TLS is done already; the name is never looked up.
        let channel = Endpoint::from_static("http://node.invalid")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|e| unreachable(e.to_string()))?;
        Ok((channel, peer, over))
    }
}

/// Only what TLS itself says is about who the peer is; a connection that breaks in the middle of a handshake says nothing.
fn handshake_failed(node: &NodeEntry, error: &std::io::Error) -> LinkError {
    let (node, reason) = (node.address.clone(), error.to_string());
    match error.get_ref() {
        Some(cause) if cause.is::<rustls::Error>() => LinkError::WrongPeer { node, reason },
        _ => LinkError::Unreachable { node, reason },
    }
}

impl Connection {
    fn is_usable_for(&self, node: &NodeEntry) -> bool {
        !self.over.is_cancelled()
            && !self.out.is_closed()
            && self.opened.elapsed() < OLDEST
            && self.address == node.address
            && node.auth_certificates.contains(&self.peer.fingerprint())
            && !self.queues.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&ENDED)
    }
}

/// Put into a stream's queues when its reader has ended; exchanges are numbered from 1.
const ENDED: u64 = 0;

/// Reads the shared stream without a pause: every frame goes to its exchange's queue, and an exchange that does not keep
/// up is given up rather than waited for.
async fn read_stream(mut incoming: tonic::Streaming<wire::Frame>, queues: Queues, clock: Arc<dyn Clock>) {
    let mut seen = StatusesSeen::default();
    loop {
        let mut frame = match incoming.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(status) => {
                tracing::info!(reason = %status_text(&status), "the stream to a node has ended");
                break;
            }
        };
        seen.fill(&mut frame);
        let Some(kind) = frame.kind else { continue };
        let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = Arrived { kind, at: clock.now() };
        if queues.get(&frame.exchange).is_some_and(|queue| queue.try_send(arrived).is_err()) {
            queues.remove(&frame.exchange);
        }
    }
    let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
    queues.clear();
    queues.insert(ENDED, mpsc::channel(1).0);
}

pub(crate) fn status_text(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

impl Connection {
    fn body_calls(&self) -> BodyCalls {
        BodyCalls {
            client: self.client.clone(),
            intake: self.intake.clone(),
            peer: self.peer.fingerprint(),
            flows: Arc::clone(&self.flows),
        }
    }

    fn begin(&self) -> StreamConversation {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (queue, frames) = mpsc::channel(EXCHANGE_QUEUE);
        {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            // On an ended stream the queue's sender is dropped here, and the conversation hears that at once.
            if !queues.contains_key(&ENDED) {
                queues.insert(number, queue);
            }
        }
        let queues = Arc::clone(&self.queues);
        let forget = Box::new(move || {
            queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
        let end = End::Consumer(Box::new(self.body_calls()));
        let (peer, statuses, out) = (self.peer.clone(), self.statuses.clone(), self.out.clone());
        StreamConversation::new(number, peer, statuses, frames, out, end, forget)
    }
}

#[async_trait]
impl PeerLink for PeerLinks {
    async fn open(&self, node: &NodeEntry) -> Result<Box<dyn Conversation>, LinkError> {
        Ok(Box::new(self.connection(node).await?.begin()))
    }

    async fn outcome(
        &self,
        node: &NodeEntry,
        id: MessageId,
        digest: Digest,
    ) -> Result<(PastOutcome, Peer), LinkError> {
        let connection = self.connection(node).await?;
        let request =
            wire::OutcomeRequest { id: id.to_string(), digest: Bytes::copy_from_slice(digest.as_bytes()) };
        let mut client = connection.client.clone();
        let reply = timeout(OUTCOME_DEADLINE, client.outcome(request)).await;
        let reply = reply.map_err(|_| LinkError::Broken("no word on the outcome within 10 s".into()))?;
        let reply = reply.map_err(|s| LinkError::Broken(status_text(&s)))?.into_inner();
        Ok((past_from_wire(reply, &connection).await?, connection.peer.clone()))
    }
}

async fn past_from_wire(
    reply: wire::OutcomeReply,
    connection: &Connection,
) -> Result<PastOutcome, LinkError> {
    use wire::outcome_reply::Kind as Past;
    let bad = |error: BadFrame| LinkError::Broken(error.to_string());
    match reply.kind.ok_or_else(|| bad(BadFrame::Empty))? {
        Past::Open(_) => Ok(PastOutcome::Open),
        Past::Never(_) => Ok(PastOutcome::Never),
        Past::Fault(fault) => match fault_from_wire(fault) {
            lost if lost.code == FaultCode::OutcomeUnknown => {
                let named = reply.on_record.as_ref().map(on_record_from_wire).transpose().map_err(bad)?;
                Ok(PastOutcome::Lost(lost, named))
            }
            fault => Err(LinkError::Broken(fault.to_string())),
        },
        Past::Answered(answered) => {
            let leaf = leaf_from_wire(&answered.recorded.unwrap_or_default()).map_err(bad)?;
            let mut message = answered.message.ok_or_else(|| bad(BadFrame::Empty))?;
            if let Some(ticket) = answered.ticket.as_ref().filter(|t| !t.is_empty()) {
                let ticket: Ticket = ticket.as_ref().try_into().map_err(|_| bad(BadFrame::Digest))?;
                let length = message.open.as_ref().map_or(0, |open| open.body_length);
                let body = connection.body_calls().fetch(ticket, Some(length)).await?;
                let open = message.open.take().ok_or_else(|| bad(BadFrame::Empty))?;
                let signature = crate::convert::signature_from_wire(message.signature).map_err(bad)?;
                let parts = crate::convert::parts_from_wire(open, body, signature).map_err(bad)?;
                return Ok(PastOutcome::Answered(Box::new(parts), leaf));
            }
            Ok(PastOutcome::Answered(Box::new(whole_from_wire(message).map_err(bad)?), leaf))
        }
    }
}

/// Bytes of fetched bodies held in memory at once.
const BODY_MEMORY: usize = 256 * 1024 * 1024;
