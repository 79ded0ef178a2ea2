//! The accepting side: the peer door of a node.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use truc_exchange::ports::{CurrentDirectory, PastOutcome, ProviderSide};
use truc_message::{Body, Peer, Spool};
use truc_model::{Clock, Digest, Fingerprint, Side};
use truc_wire::peer as wire;
use truc_wire::peer::peer_server::{Peer as PeerRpc, PeerServer};

use crate::acceptor::{Acceptor, Connection};
use crate::bodies::{Bodies, BrokeOff, Offer, Ticket};
use crate::body_calls::chunks_of;
use crate::connections::Connections;
use crate::convert::{fault_to_wire, leaf_to_wire, on_record_to_wire, whole_to_wire};
use crate::heads::{Heads, Heard};
use crate::identity::{Identity, IdentityError};
use crate::intake::{Intake, NotTaken, PROGRESS};
use crate::log::{self, LogBook};
use crate::net::Listener;
use crate::parts;
use crate::reader::StreamReader;
use crate::shares::Shares;
use crate::stream::StatusesSent;
use crate::tls::{Handshakes, server_config};
use crate::{CONNECTION_WINDOW, MAX_STREAMS, MESSAGE_LIMIT, SMALL_BODY, STREAM_QUEUE, STREAM_WINDOW};

const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is under way at shutdown gets this long to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Bounds of the peer door.
#[derive(Debug, Clone, Copy)]
pub struct PeerDoorConfig {
    /// Exchanges carried out at once; one more is told BUSY. One peer certificate has at most half of them.
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
pub(crate) struct Service {
    directory: Arc<dyn CurrentDirectory>,
    pub(crate) provider: Arc<dyn ProviderSide>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) heads: Heads,
    log: Option<Arc<dyn LogBook>>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) places: Shares,
    intake: Intake,
    pub(crate) tasks: TaskTracker,
    readers: TaskTracker,
}

impl PeerDoor {
    /// A door with this TLS identity, judging handshakes by `directory`; bodies too big for memory go to `spool`.
    ///
    /// # Errors
    /// [`PeerDoorError`] when TLS cannot be set up.
    pub fn new(
        identity: &Arc<Identity>,
        directory: Arc<dyn CurrentDirectory>,
        clock: Arc<dyn Clock>,
        provider: Arc<dyn ProviderSide>,
        connections: Connections,
        spool: Arc<dyn Spool>,
        config: PeerDoorConfig,
    ) -> Result<Self, PeerDoorError> {
        let handshakes = Handshakes::new(Arc::clone(&directory), Arc::clone(&clock));
        let tls = TlsAcceptor::from(Arc::new(server_config(&handshakes, identity)?));
        let service = Service {
            heads: Heads::new(Arc::clone(&directory), None),
            log: None,
            directory,
            provider,
            clock,
            bodies: Arc::default(),
            places: Shares::new(config.max_exchanges),
            intake: Intake::new(config.max_body_memory, spool),
            tasks: TaskTracker::new(),
            readers: TaskTracker::new(),
        };
        Ok(Self { tls, connections, service })
    }

    /// The same door comparing directory heads there; both directions of a node's connections compare in one place.
    #[must_use]
    pub fn comparing(mut self, heads: Heads) -> Self {
        self.service.heads = heads;
        self
    }

    /// The same door answering questions about this node's log from there.
    #[must_use]
    pub fn with_log(mut self, book: Arc<dyn LogBook>) -> Self {
        self.service.log = Some(book);
        self
    }

    /// Serves until `shutdown`, then lets what is under way end for up to 10 s.
    ///
    /// # Errors
    /// [`PeerDoorError::Server`].
    pub async fn serve(
        self,
        listener: impl Listener + 'static,
        shutdown: CancellationToken,
    ) -> Result<(), PeerDoorError> {
        let (accepted, incoming) = mpsc::channel(64);
        let acceptor = Acceptor {
            tls: self.tls,
            connections: self.connections.clone(),
            directory: Arc::clone(&self.service.directory),
            accepted,
        };
        let accepting = tokio::spawn(acceptor.run(listener, shutdown.clone()));
        let (tasks, readers) = (self.service.tasks.clone(), self.service.readers.clone());
        let rpc = PeerServer::new(self.service).max_decoding_message_size(MESSAGE_LIMIT);
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(Some(MAX_STREAMS))
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

fn connection_of<T>(request: &Request<T>) -> Result<Connection, Status> {
    let connection = request.extensions().get::<Connection>().cloned();
    connection.ok_or_else(|| Status::internal("the connection has no peer"))
}

fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    connection_of(request).map(|connection| connection.peer)
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PeerRpc for Service {
    type ExchangeStream = Replies<wire::Frame>;
    type FetchStream = Replies<wire::BodyChunk>;
    type PartsStream = Replies<wire::PeerPart>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let Connection { peer, streaming, .. } = connection_of(&request)?;
        if streaming.swap(true, Ordering::SeqCst) {
            return Err(Status::resource_exhausted("a connection has one shared stream"));
        }
        let (out, frames) = mpsc::channel(STREAM_QUEUE);
        let reader = StreamReader::new(self.clone(), peer, out);
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
        let directory = self.directory.current();
        if directory.is_none_or(|now| now.node_of_auth_certificate(&peer.fingerprint()).is_none()) {
            return Err(Status::not_found("nobody waits for a body of a certificate that no node has"));
        }
        let mut chunks = request.into_inner();
        let late = |_| Status::deadline_exceeded("the body stopped coming");
        let first = timeout(PROGRESS, chunks.message()).await.map_err(late)??;
        let first = first.ok_or_else(|| Status::invalid_argument("no chunk came"))?;
        let ticket: Ticket = first
            .ticket
            .as_ref()
            .try_into()
            .map_err(|_| Status::invalid_argument("a ticket has 32 bytes"))?;
        let wanted = self.bodies.claim(ticket, peer.fingerprint()).await;
        let wanted = wanted.ok_or_else(|| Status::not_found("nobody waits for this body"))?;
        let _gone_already = wanted.begun.send(());
        let mut deliver = wanted.deliver;
        let taking = self.take_in(peer.fingerprint(), wanted.announced, wanted.limit, first.bytes, chunks);
        let taken = tokio::select! {
            taken = taking => taken?,
            () = deliver.closed() => return Err(Status::cancelled("nobody waits for this body any more")),
        };
        let reply = match &taken {
            Ok(body) => Ok(Response::new(wire::BodyReceived { length: body.len() })),
            Err(not_taken) => Err(Status::resource_exhausted(not_taken.to_string())),
        };
        drop(deliver.send(taken));
        reply
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
        let chunks: Self::FetchStream = match body {
            None => return Err(Status::not_found("no body under this ticket for this peer")),
            Some(Offer::Whole(body)) => Box::pin(stream::iter(chunks_of(ticket, body).into_iter().map(Ok))),
            Some(Offer::Flowing(pieces)) => Box::pin(ReceiverStream::new(pieces).flat_map(move |piece| {
                let chunks = match piece {
                    Ok(piece) => chunks_of(ticket, piece).into_iter().map(Ok).collect(),
                    Err(BrokeOff) => vec![Err(Status::aborted("the body broke off at its source"))],
                };
                stream::iter(chunks)
            })),
        };
        Ok(Response::new(chunks))
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
        let told = match self.heads.conflict_with(&peer.fingerprint()) {
            Some(conflict) => Err(conflict.fault(Side::ServerProxy)),
            None => self.provider.outcome(&peer, id, digest).await,
        };
        let on_record = match &told {
            Ok(PastOutcome::Lost(_, named)) => named.map(on_record_to_wire),
            _ => None,
        };
        let kind = match told {
            Ok(past) => self.past_to_wire(past, &peer)?,
            Err(fault) => wire::outcome_reply::Kind::Fault(fault_to_wire(&fault)),
        };
        Ok(Response::new(wire::OutcomeReply { kind: Some(kind), on_record }))
    }

    async fn heads(&self, request: Request<wire::HeadNote>) -> Result<Response<wire::HeadNote>, Status> {
        let peer = peer_of(&request)?;
        match self.heads.hear(&peer, request.get_ref()) {
            Heard::Agree(theirs) => Ok(Response::new(self.heads.note(theirs.as_ref()))),
            // The other end sees for itself.
            Heard::Conflict(_) => Ok(Response::new(self.heads.note(None))),
            Heard::Malformed => {
                Err(Status::invalid_argument("the head is not the one that the note speaks of"))
            }
        }
    }

    async fn parts(
        &self,
        request: Request<wire::PeerPartsRequest>,
    ) -> Result<Response<Self::PartsStream>, Status> {
        let peer = peer_of(&request)?;
        let directory = self.directory.current();
        let directory = directory.filter(|now| now.node_of_auth_certificate(&peer.fingerprint()).is_some());
        let directory = directory.ok_or_else(|| Status::not_found("parts are for nodes"))?;
        let wanted = parts::wanted(request.get_ref())?;
        // Held until the last piece has left, so that nobody has many of these under way.
        let place = self.places.take(peer.fingerprint(), 1);
        let place = place.ok_or_else(|| Status::resource_exhausted("this node has no place for it now"))?;
        let pieces = parts::found(&directory, &wanted).into_iter().flat_map(parts::pieces);
        let pieces = pieces.map(move |piece| {
            let _held = &place;
            Ok(piece)
        });
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    async fn log_proof(
        &self,
        request: Request<wire::LogProofRequest>,
    ) -> Result<Response<wire::LogProofReply>, Status> {
        let peer = peer_of(&request)?;
        let book = self.log.as_ref().ok_or_else(|| Status::unimplemented("this node shows no log"))?;
        let place = self.places.take(peer.fingerprint(), 1);
        let _place = place.ok_or_else(|| Status::resource_exhausted("this node has no place for it now"))?;
        log::answer(book.as_ref(), &peer, request.get_ref()).await.map(Response::new)
    }
}

impl Service {
    /// Takes a body in as it comes. An error of the outer kind is the stream's own.
    async fn take_in(
        &self,
        peer: Fingerprint,
        announced: Option<u64>,
        limit: u64,
        first: Bytes,
        mut chunks: Streaming<wire::BodyChunk>,
    ) -> Result<Result<Body, NotTaken>, Status> {
        let mut taking = match self.intake.begin(peer, announced, limit).await {
            Ok(taking) => taking,
            Err(not_taken) => return Ok(Err(not_taken)),
        };
        let mut next = Some(first);
        while let Some(bytes) = next {
            if let Err(not_taken) = taking.push(bytes).await {
                return Ok(Err(not_taken));
            }
            next = match timeout_at(taking.patience(), chunks.message()).await {
                Ok(chunk) => chunk?.map(|chunk| chunk.bytes),
                Err(_) => return Ok(Err(NotTaken::Late)),
            };
        }
        Ok(taking.whole().await)
    }

    fn past_to_wire(&self, past: PastOutcome, peer: &Peer) -> Result<wire::outcome_reply::Kind, Status> {
        use wire::outcome_reply::Kind as Past;
        match past {
            PastOutcome::Open => Ok(Past::Open(true)),
            PastOutcome::Never => Ok(Past::Never(true)),
            PastOutcome::Lost(fault, _) => Ok(Past::Fault(fault_to_wire(&fault))),
            PastOutcome::Answered(parts, leaf) => {
                let mut message = whole_to_wire(&parts);
                let mut ticket = None;
                if parts.body.len() > SMALL_BODY as u64 {
                    message.body = Bytes::new();
                    let body = parts.body.bytes().cloned();
                    let offer = body.and_then(|body| self.bodies.offer(peer.fingerprint(), body));
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
