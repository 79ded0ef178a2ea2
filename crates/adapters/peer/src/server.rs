//! The accepting side: the peer door of a node.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use truc_exchange::ports::{CurrentDirectory, PastOutcome, ProviderSide};
use truc_message::Peer;
use truc_model::{Clock, Digest, Fault, FaultCode};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;
use truc_wire::peer::peer_server::{Peer as PeerRpc, PeerServer};

use crate::bodies::{Bodies, Collector, PROGRESS, Ticket};
use crate::connections::{Connections, Followed};
use crate::conversation::{End, StreamConversation};
use crate::convert::{fault_to_wire, frame, leaf_to_wire, whole_to_wire};
use crate::identity::{Identity, IdentityError};
use crate::link::chunks_of;
use crate::stream::{Arrived, Numbers, StatusesSeen, StatusesSent};
use crate::tls::{Handshakes, server_config};
use crate::{EXCHANGE_QUEUE, MESSAGE_LIMIT, SMALL_BODY, STREAM_QUEUE};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HANDSHAKES_AT_ONCE: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is under way at shutdown gets this long to end.
const DRAIN: Duration = Duration::from_secs(10);
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Bounds of the peer door.
#[derive(Debug, Clone, Copy)]
pub struct PeerDoorConfig {
    /// Exchanges carried out at once; one more is told BUSY.
    pub max_exchanges: usize,
    /// Bytes of big bodies held in memory at once.
    pub max_body_memory: usize,
}

impl Default for PeerDoorConfig {
    fn default() -> Self {
        Self { max_exchanges: 1000, max_body_memory: 256 * 1024 * 1024 }
    }
}

/// Why the peer door does not open.
#[derive(Debug, thiserror::Error)]
pub enum PeerDoorError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The gRPC server failed.
    #[error("the peer door failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// The peer door: accepts nodes, and hands their exchanges to the provider side.
pub struct PeerDoor {
    tls: TlsAcceptor,
    connections: Connections,
    service: Service,
}

#[derive(Clone)]
struct Service {
    provider: Arc<dyn ProviderSide>,
    clock: Arc<dyn Clock>,
    bodies: Arc<Bodies>,
    exchanges: Arc<Semaphore>,
    body_memory: Arc<Semaphore>,
    tasks: TaskTracker,
    readers: TaskTracker,
}

impl PeerDoor {
    /// A door with this TLS identity, judging handshakes by `directory`.
    ///
    /// # Errors
    /// [`PeerDoorError`] when TLS cannot be set up.
    pub fn new(
        identity: &Arc<Identity>,
        directory: Arc<dyn CurrentDirectory>,
        clock: Arc<dyn Clock>,
        provider: Arc<dyn ProviderSide>,
        connections: Connections,
        config: PeerDoorConfig,
    ) -> Result<Self, PeerDoorError> {
        let handshakes = Handshakes::new(directory, Arc::clone(&clock));
        let tls = TlsAcceptor::from(Arc::new(server_config(&handshakes, identity)?));
        let service = Service {
            provider,
            clock,
            bodies: Arc::default(),
            exchanges: Arc::new(Semaphore::new(config.max_exchanges)),
            body_memory: Arc::new(Semaphore::new(config.max_body_memory)),
            tasks: TaskTracker::new(),
            readers: TaskTracker::new(),
        };
        Ok(Self { tls, connections, service })
    }

    /// Serves until `shutdown`, then lets what is under way end for up to 10 s.
    ///
    /// # Errors
    /// [`PeerDoorError::Server`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), PeerDoorError> {
        let (accepted, incoming) = mpsc::channel(64);
        let acceptor = Acceptor { tls: self.tls, connections: self.connections.clone(), accepted };
        let accepting = tokio::spawn(acceptor.run(listener, shutdown.clone()));
        let (tasks, readers) = (self.service.tasks.clone(), self.service.readers.clone());
        let rpc = PeerServer::new(self.service).max_decoding_message_size(MESSAGE_LIMIT);
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_concurrent_streams(Some(256))
            .http2_max_header_list_size(Some(16 * 1024))
            .add_service(rpc)
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), shutdown.clone().cancelled_owned());
        // Shared streams never end by themselves: once what is under way has ended, the connections are cut.
        let connections = self.connections;
        let draining = async {
            shutdown.cancelled().await;
            tasks.close();
            if timeout(DRAIN, tasks.wait()).await.is_err() {
                tracing::warn!("exchanges were still under way when the peer door closed");
            }
            connections.close_all();
        };
        let (served, ()) = tokio::join!(server, draining);
        drop(accepting.await);
        readers.close();
        if timeout(DRAIN, readers.wait()).await.is_err() {
            tracing::warn!("streams were still read when the peer door closed");
        }
        Ok(served?)
    }
}

/// Accepts TCP, shakes hands with a deadline, and gives what came through to the gRPC server.
struct Acceptor {
    tls: TlsAcceptor,
    connections: Connections,
    accepted: mpsc::Sender<Result<Link, io::Error>>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let handshakes = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, from)) => {
                    let shake = self.shake_hands(tcp, from);
                    handshakes.spawn(async move {
                        shake.await;
                        drop(slot);
                    });
                }
                // Out of file handles, mostly: give those in use time to close.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        handshakes.close();
        handshakes.wait().await;
    }

    fn shake_hands(&self, tcp: TcpStream, from: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let (tls, connections, accepted) =
            (self.tls.clone(), self.connections.clone(), self.accepted.clone());
        async move {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%from, %error, "no TCP_NODELAY");
            }
            let stream = match timeout(HANDSHAKE_DEADLINE, tls.accept(tcp)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::info!(%from, %error, "handshake refused");
                    return;
                }
                Err(_) => {
                    tracing::info!(%from, "handshake not done within 10 s");
                    return;
                }
            };
            let chain: Vec<Bytes> = stream
                .get_ref()
                .1
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| Bytes::copy_from_slice(certificate))
                .collect();
            let Some((leaf, rest)) = chain.split_first() else { return };
            let peer = Peer::new(leaf.clone(), rest.to_vec());
            let stream = connections.follow(stream, peer.fingerprint());
            drop(accepted.send(Ok(Link { stream, peer })).await);
        }
    }
}

/// An accepted connection with the peer that the handshake proved.
struct Link {
    stream: Followed<tokio_rustls::server::TlsStream<TcpStream>>,
    peer: Peer,
}

impl Connected for Link {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl tokio::io::AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A big body with the room that it takes in memory.
struct HeldBody {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| Status::internal("the connection has no peer"))
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PeerRpc for Service {
    type ExchangeStream = Replies<wire::Frame>;
    type FetchStream = Replies<wire::BodyChunk>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let peer = peer_of(&request)?;
        let (out, frames) = mpsc::channel(STREAM_QUEUE);
        let reader = StreamReader {
            service: self.clone(),
            peer,
            out,
            queues: Queues::default(),
            numbers: Numbers::default(),
        };
        // Ends with the stream, which ends with the connection.
        self.readers.spawn(reader.run(request.into_inner()));
        let mut sent = StatusesSent::default();
        Ok(Response::new(Box::pin(ReceiverStream::new(frames).map(move |frame| Ok(sent.thin(frame))))))
    }

    async fn send(
        &self,
        request: Request<Streaming<wire::BodyChunk>>,
    ) -> Result<Response<wire::BodyReceived>, Status> {
        let peer = peer_of(&request)?;
        let mut chunks = request.into_inner();
        let late = |_| Status::deadline_exceeded("the body stopped coming");
        let first = timeout(PROGRESS, chunks.message()).await.map_err(late)??;
        let first = first.ok_or_else(|| Status::invalid_argument("no chunk came"))?;
        let ticket: Ticket = first
            .ticket
            .as_ref()
            .try_into()
            .map_err(|_| Status::invalid_argument("a ticket has 32 bytes"))?;
        let claimed = self.bodies.claim(ticket, peer.fingerprint()).await;
        let (length, deliver) = claimed.ok_or_else(|| Status::not_found("nobody waits for this body"))?;
        let permits =
            u32::try_from(length).map_err(|_| Status::resource_exhausted("the body is too large"))?;
        let room: OwnedSemaphorePermit = Arc::clone(&self.body_memory)
            .try_acquire_many_owned(permits)
            .map_err(|_| Status::resource_exhausted("too many big bodies are under way"))?;
        let mut collector = Collector::new(length);
        let mut next = Some(first);
        while let Some(chunk) = next {
            if !collector.push(&chunk.bytes) {
                return Err(Status::invalid_argument("the body is longer than announced"));
            }
            next = timeout(PROGRESS, chunks.message()).await.map_err(late)??;
        }
        let body = collector
            .whole()
            .ok_or_else(|| Status::invalid_argument("the body is shorter than announced"))?;
        // The room is taken for as long as anybody holds the body.
        drop(deliver.send(Bytes::from_owner(HeldBody { body, _room: room })));
        Ok(Response::new(wire::BodyReceived { length }))
    }

    async fn fetch(
        &self,
        request: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let peer = peer_of(&request)?;
        let ticket: Ticket = request
            .into_inner()
            .ticket
            .as_ref()
            .try_into()
            .map_err(|_| Status::invalid_argument("a ticket has 32 bytes"))?;
        let body = self.bodies.fetch(ticket, peer.fingerprint());
        let body = body.ok_or_else(|| Status::not_found("no body under this ticket for this peer"))?;
        Ok(Response::new(Box::pin(stream::iter(chunks_of(ticket, body).into_iter().map(Ok)))))
    }

    async fn outcome(
        &self,
        request: Request<wire::OutcomeRequest>,
    ) -> Result<Response<wire::OutcomeReply>, Status> {
        let peer = peer_of(&request)?;
        let asked = request.into_inner();
        let id = asked.id.parse().map_err(|_| Status::invalid_argument("id is not a message id"))?;
        let digest = Digest::from_slice(&asked.digest)
            .ok_or_else(|| Status::invalid_argument("a digest has 32 bytes"))?;
        let kind = match self.provider.outcome(&peer, id, digest).await {
            Ok(past) => self.past_to_wire(past, &peer)?,
            Err(fault) => wire::outcome_reply::Kind::Fault(fault_to_wire(&fault)),
        };
        Ok(Response::new(wire::OutcomeReply { kind: Some(kind) }))
    }
}

impl Service {
    fn past_to_wire(&self, past: PastOutcome, peer: &Peer) -> Result<wire::outcome_reply::Kind, Status> {
        use wire::outcome_reply::Kind as Past;
        match past {
            PastOutcome::Open => Ok(Past::Open(true)),
            PastOutcome::Never => Ok(Past::Never(true)),
            PastOutcome::Answered(parts, leaf) => {
                let mut message = whole_to_wire(&parts);
                let mut ticket = None;
                if parts.body.len() > SMALL_BODY {
                    message.body = Bytes::new();
                    let offer = self.bodies.offer(peer.fingerprint(), parts.body.bytes().clone());
                    let offer = offer
                        .ok_or_else(|| Status::resource_exhausted("too many big bodies are held ready"))?;
                    ticket = Some(Bytes::copy_from_slice(&offer));
                }
                let recorded = Some(leaf_to_wire(leaf));
                Ok(Past::Answered(wire::Answered { message: Some(message), recorded, ticket }))
            }
        }
    }
}

type Queues = Arc<Mutex<HashMap<u64, mpsc::Sender<Arrived>>>>;

/// Reads one shared stream without a pause.
struct StreamReader {
    service: Service,
    peer: Peer,
    out: mpsc::Sender<wire::Frame>,
    queues: Queues,
    numbers: Numbers,
}

impl StreamReader {
    async fn run(mut self, mut incoming: Streaming<wire::Frame>) {
        let mut seen = StatusesSeen::default();
        loop {
            let mut frame = match incoming.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(code = ?status.code(), "a peer's stream has ended");
                    break;
                }
            };
            seen.fill(&mut frame);
            if let Some(kind) = frame.kind {
                let arrived = Arrived { kind, at: self.service.clock.now() };
                self.dispatch(frame.exchange, arrived);
            }
        }
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn dispatch(&mut self, exchange: u64, arrived: Arrived) {
        if matches!(arrived.kind, Kind::Open(_)) && self.numbers.begins(exchange) {
            self.begin(exchange, arrived);
            return;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Frames of an exchange that has ended are dropped; one that overfills its queue is given up.
        if queues.get(&exchange).is_some_and(|queue| queue.try_send(arrived).is_err()) {
            queues.remove(&exchange);
        }
    }

    fn begin(&self, exchange: u64, open: Arrived) {
        let Ok(permit) = Arc::clone(&self.service.exchanges).try_acquire_owned() else {
            return self.tell_busy(exchange);
        };
        if self.service.tasks.is_closed() {
            return self.tell_busy(exchange);
        }
        let (queue, frames) = mpsc::channel(EXCHANGE_QUEUE);
        drop(queue.try_send(open));
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(exchange, queue);
        let queues = Arc::clone(&self.queues);
        let forget = Box::new(move || {
            queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&exchange);
        });
        let provider = Arc::clone(&self.service.provider);
        let end = End::Provider(Arc::clone(&self.service.bodies), Arc::clone(&provider));
        let (peer, out) = (self.peer.clone(), self.out.clone());
        let conversation = StreamConversation::new(exchange, peer, Vec::new(), frames, out, end, forget);
        self.service.tasks.spawn(async move {
            provider.serve(Box::new(conversation)).await;
            drop(permit);
        });
    }

    fn tell_busy(&self, exchange: u64) {
        let fault = Fault::provider(FaultCode::Busy, "this node carries out as many exchanges as it may")
            .with_retry_after(BUSY_RETRY);
        // A peer that does not even read its faults gets none.
        drop(self.out.try_send(frame(exchange, Kind::Fault(fault_to_wire(&fault)))));
    }
}
