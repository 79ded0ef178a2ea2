//! The hostile node in the middle: to the honest consumer's node it is the provider's, to the honest provider's node it
//! is the consumer's, with the keys of both. It hears each side's message of an exchange to its end, changes it, and
//! plays it on.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use truc_testkit::Bus;
use truc_wire::peer::frame::Kind;
use truc_wire::peer::peer_client::PeerClient;
use truc_wire::peer::peer_server::{Peer, PeerServer};
use truc_wire::peer::{
    BodyChunk, BodyReceived, FetchRequest, Frame, HeadNote, LogProofReply, LogProofRequest, Open,
    OutcomeReply, OutcomeRequest, PeerPart, PeerPartsRequest,
};

use crate::hostile::{Accepted, client_tls, dial, server_tls};
use crate::wire::Tape;
use crate::{CONSUMER, PROVIDER};

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Answer,
}

/// What a change may draw upon: every key of the bus, and an exchange that was recorded before.
pub(crate) struct Scene {
    pub(crate) bus: Arc<Bus>,
    pub(crate) before: Option<(Tape, Tape)>,
    /// The request that the honest consumer sent in this exchange, unchanged.
    pub(crate) asked: Option<Tape>,
}

pub(crate) type OnTape = Box<dyn Fn(&mut Tape, &Scene) + Send + Sync>;
pub(crate) type OnChunks = Box<dyn Fn(&mut Vec<BodyChunk>) + Send + Sync>;
pub(crate) type OnOutcome = Box<dyn Fn(&mut OutcomeReply, &Scene) + Send + Sync>;

/// What the hostile node does, to one exchange.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) request: Option<OnTape>,
    pub(crate) answer: Option<OnTape>,
    pub(crate) fetched: Option<OnChunks>,
    pub(crate) outcome: Option<OnOutcome>,
}

/// Exchange numbers from here on are the relay's own; near enough to the honest ones, which come after (protocol P9.1).
const OWN: u64 = 3000;

#[derive(Default)]
struct Noted {
    plan: Option<Arc<Plan>>,
    /// As they came in, before any change.
    heard: Vec<(Way, u64, Tape)>,
    /// What came by `Send`, by ticket.
    bodies: HashMap<Bytes, Vec<BodyChunk>>,
    /// Exchanges that the provider has ended.
    ended: HashSet<u64>,
    out: Option<mpsc::Sender<Frame>>,
    client: Option<PeerClient<Channel>>,
    barriers: u64,
    played: Vec<Way>,
}

struct Inner {
    bus: Arc<Bus>,
    provider: String,
    noted: Mutex<Noted>,
    changed: Notify,
}

type Back = mpsc::Sender<Result<Frame, Status>>;

pub(crate) struct Relay {
    inner: Arc<Inner>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relay {
    /// Takes the provider's place in the directory.
    pub(crate) async fn between(bus: &Arc<Bus>) -> Self {
        let provider = bus.node(PROVIDER);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Inner {
            bus: Arc::clone(bus),
            provider: provider.entry().address,
            noted: Mutex::default(),
            changed: Notify::new(),
        };
        bus.change(|members| {
            let node = &mut members.get_mut(&provider.id.owner()).unwrap().nodes[0];
            node.address = address;
        });
        let inner = Arc::new(inner);
        let tls = server_tls(&provider.identity, &[&rustls::version::TLS13]);
        let tls = TlsAcceptor::from(Arc::new(tls));
        let incoming = stream::unfold((listener, tls), |(listener, tls)| async move {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let accepted = tls.accept(tcp).await.map(Accepted);
            Some((accepted, (listener, tls)))
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let service = PeerServer::new(Door(Arc::clone(&inner)));
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                served = Server::builder().add_service(service).serve_with_incoming(incoming) => served.unwrap(),
            }
        });
        Self { inner, stop, task }
    }

    /// From now on every exchange goes by this plan.
    pub(crate) fn plan(&self, plan: Option<Plan>) {
        self.inner.noted.lock().unwrap().plan = plan.map(Arc::new);
    }

    /// The messages of one way so far, as they came in.
    pub(crate) fn heard(&self, way: Way) -> Vec<Tape> {
        let noted = self.inner.noted.lock().unwrap();
        noted.heard.iter().filter(|(w, ..)| *w == way).map(|(.., tape)| tape.clone()).collect()
    }

    /// Waits until so many messages of one way have been passed on.
    pub(crate) async fn passed(&self, way: Way, count: usize) {
        loop {
            let changed = self.inner.changed.notified();
            let played = self.inner.noted.lock().unwrap().played.iter().filter(|w| **w == way).count();
            if played >= count {
                return;
            }
            changed.await;
        }
    }

    /// The provider's node has read everything that was passed on to it: it answers in order what is no header at all.
    pub(crate) async fn barrier(&self) {
        let (out, number) = {
            let mut noted = self.inner.noted.lock().unwrap();
            noted.barriers += 1;
            (noted.out.clone().unwrap(), OWN + noted.barriers)
        };
        let open = Open { header: Bytes::from_static(b"{}"), ..Open::default() };
        out.send(Frame { exchange: number, kind: Some(Kind::Open(open)) }).await.unwrap();
        self.inner.ended(number).await;
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl Inner {
    fn scene(&self, exchange: u64) -> Scene {
        let noted = self.noted.lock().unwrap();
        let before = |way: Way| {
            let found = noted.heard.iter().find(|(w, number, _)| *w == way && *number < exchange);
            found.map(|(.., tape)| tape.clone())
        };
        let asked = noted.heard.iter().rfind(|(way, number, _)| *way == Way::Request && *number <= exchange);
        Scene {
            bus: Arc::clone(&self.bus),
            before: before(Way::Request).zip(before(Way::Answer)),
            asked: asked.map(|(.., tape)| tape.clone()),
        }
    }

    async fn client(&self) -> PeerClient<Channel> {
        let kept = self.noted.lock().unwrap().client.clone();
        if let Some(client) = kept {
            return client;
        }
        let identity = &self.bus.node(CONSUMER).identity;
        let config = client_tls(Some(identity), &[&rustls::version::TLS13], b"h2");
        let client = dial(config, &self.provider).await.unwrap();
        self.noted.lock().unwrap().client = Some(client.clone());
        client
    }

    async fn ended(&self, number: u64) {
        loop {
            let changed = self.changed.notified();
            if self.noted.lock().unwrap().ended.contains(&number) {
                return;
            }
            changed.await;
        }
    }

    /// Reads the honest consumer's frames; a message is whole with its `recorded`.
    async fn outward(self: Arc<Self>, mut incoming: Streaming<Frame>, out: mpsc::Sender<Frame>) {
        let mut begun: HashMap<u64, Tape> = HashMap::new();
        while let Ok(Some(frame)) = incoming.message().await {
            let number = frame.exchange;
            if matches!(frame.kind, Some(Kind::Cancel(_))) {
                drop(out.send(frame).await);
                continue;
            }
            let whole = matches!(frame.kind, Some(Kind::Recorded(_)));
            begun.entry(number).or_default().frames.push(frame);
            if !whole {
                continue;
            }
            let mut tape = begun.remove(&number).unwrap();
            if let Some(ticket) = tape.ticket() {
                tape.chunks = self.noted.lock().unwrap().bodies.remove(&ticket).unwrap();
            }
            self.note(Way::Request, number, &tape);
            let plan = self.noted.lock().unwrap().plan.clone();
            if let Some(change) = plan.as_ref().and_then(|plan| plan.request.as_ref()) {
                change(&mut tape, &self.scene(number));
            }
            self.play_out(&tape, number, &out).await;
            self.count(Way::Request);
        }
    }

    async fn play_out(&self, tape: &Tape, number: u64, out: &mpsc::Sender<Frame>) {
        let mut chunks = Some(tape.chunks.clone()).filter(|chunks| !chunks.is_empty());
        for frame in &tape.frames {
            let announced = matches!(frame.kind, Some(Kind::Ticket(_)));
            drop(out.send(frame.clone()).await);
            if announced && let Some(chunks) = chunks.take() {
                let mut client = self.client().await;
                tokio::select! {
                    _ = client.send(stream::iter(chunks)) => {}
                    () = self.ended(number) => {}
                }
            }
        }
    }

    /// Reads the honest provider's frames; a message is whole with its `recorded`, and a fault by itself.
    async fn backward(self: Arc<Self>, mut incoming: Streaming<Frame>, back: Back) {
        let mut begun: HashMap<u64, Tape> = HashMap::new();
        while let Ok(Some(frame)) = incoming.message().await {
            let number = frame.exchange;
            let whole = matches!(frame.kind, Some(Kind::Recorded(_) | Kind::Fault(_)));
            begun.entry(number).or_default().frames.push(frame);
            if !whole {
                continue;
            }
            let mut tape = begun.remove(&number).unwrap();
            if number < OWN {
                self.note(Way::Answer, number, &tape);
                let plan = self.noted.lock().unwrap().plan.clone();
                if let Some(change) = plan.as_ref().and_then(|plan| plan.answer.as_ref()) {
                    change(&mut tape, &self.scene(number));
                }
                for frame in &tape.frames {
                    drop(back.send(Ok(frame.clone())).await);
                }
                if tape.cut {
                    drop(back.send(Err(Status::unavailable("cut"))).await);
                }
            }
            self.noted.lock().unwrap().ended.insert(number);
            if number < OWN {
                self.count(Way::Answer);
            }
            self.changed.notify_waiters();
        }
    }

    fn note(&self, way: Way, number: u64, tape: &Tape) {
        self.noted.lock().unwrap().heard.push((way, number, tape.clone()));
    }

    fn count(&self, way: Way) {
        self.noted.lock().unwrap().played.push(way);
        self.changed.notify_waiters();
    }
}

/// The side of the relay that honest consumers connect to.
struct Door(Arc<Inner>);

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for Door {
    type ExchangeStream = Replies<Frame>;
    type FetchStream = Replies<BodyChunk>;
    type PartsStream = Replies<PeerPart>;

    async fn exchange(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let inner = &self.0;
        // A connection has one stream: a second one from the consumer needs a connection of its own.
        inner.noted.lock().unwrap().client = None;
        let mut client = inner.client().await;
        let (out, frames) = mpsc::channel(1024);
        let incoming = client.exchange(ReceiverStream::new(frames)).await?.into_inner();
        inner.noted.lock().unwrap().out = Some(out.clone());
        let (back, replies) = mpsc::channel(1024);
        tokio::spawn(Arc::clone(inner).outward(request.into_inner(), out));
        tokio::spawn(Arc::clone(inner).backward(incoming, back));
        Ok(Response::new(ReceiverStream::new(replies).boxed()))
    }

    async fn send(&self, request: Request<Streaming<BodyChunk>>) -> Result<Response<BodyReceived>, Status> {
        let mut chunks = request.into_inner();
        let mut body = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            body.push(chunk);
        }
        let length = body.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        self.0.noted.lock().unwrap().bodies.insert(body[0].ticket.clone(), body);
        Ok(Response::new(BodyReceived { length }))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let inner = &self.0;
        let incoming = inner.client().await.fetch(request.into_inner()).await?.into_inner();
        let chunks: Vec<Result<BodyChunk, Status>> = incoming.collect().await;
        let mut chunks: Vec<BodyChunk> = chunks.into_iter().collect::<Result<_, _>>()?;
        let plan = inner.noted.lock().unwrap().plan.clone();
        if let Some(change) = plan.as_ref().and_then(|plan| plan.fetched.as_ref()) {
            change(&mut chunks);
        }
        Ok(Response::new(stream::iter(chunks.into_iter().map(Ok)).boxed()))
    }

    async fn log_proof(&self, request: Request<LogProofRequest>) -> Result<Response<LogProofReply>, Status> {
        self.0.client().await.log_proof(request.into_inner()).await
    }

    async fn outcome(&self, request: Request<OutcomeRequest>) -> Result<Response<OutcomeReply>, Status> {
        let inner = &self.0;
        let mut reply = inner.client().await.outcome(request.into_inner()).await?.into_inner();
        let plan = inner.noted.lock().unwrap().plan.clone();
        if let Some(change) = plan.as_ref().and_then(|plan| plan.outcome.as_ref()) {
            change(&mut reply, &inner.scene(u64::MAX));
        }
        Ok(Response::new(reply))
    }

    /// As a node that has no directory to show.
    async fn heads(&self, _request: Request<HeadNote>) -> Result<Response<HeadNote>, Status> {
        Ok(Response::new(HeadNote::default()))
    }

    async fn parts(
        &self,
        _request: Request<PeerPartsRequest>,
    ) -> Result<Response<Self::PartsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}
