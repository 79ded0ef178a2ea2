//! Exchanges between nodes without sockets: a [`PeerLink`] within one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use truc_directory::NodeEntry;
use truc_exchange::ports::{
    Beginning, Conversation, Interrupted, LinkError, PastOutcome, PeerLink, ProviderSide, Turn,
};
use truc_message::{Body, BodyStream, Parts, Peer, Signature};
use truc_model::{Clock, Digest, Digester, Fault, FaultCode, MessageId, NodeId, Timestamp};
use truc_trust::OwnStatuses;

/// Turns waiting for one exchange, as on a shared stream.
const QUEUE: usize = 16;

/// Which way a turn goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the consumer's node.
    Out,
    /// From the provider's node.
    Back,
}

/// What a tap does with a turn.
pub enum Tapped {
    /// Hands it (or another one) on.
    Pass(Turn),
    /// It is lost; the connection lives.
    Lose,
    /// It is lost, and the connection with it.
    Break,
}

type Tap = Arc<dyn Fn(Way, Turn) -> Tapped + Send + Sync>;

struct Seat {
    provider: Arc<dyn ProviderSide>,
    peer: Peer,
    statuses: Arc<OwnStatuses>,
    clock: Arc<dyn Clock>,
    tasks: JoinSet<()>,
}

/// Joins the nodes of one process; a tap may change, lose or cut what passes.
#[derive(Default)]
pub struct Switchboard {
    seats: Mutex<HashMap<NodeId, Seat>>,
    tap: Mutex<Option<Tap>>,
    cut: Mutex<CancellationToken>,
}

impl Switchboard {
    fn seats(&self) -> MutexGuard<'_, HashMap<NodeId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a node (again); what it was carrying out before is aborted, as when a process is killed.
    pub fn seat(
        &self,
        node: NodeId,
        provider: Arc<dyn ProviderSide>,
        peer: Peer,
        statuses: Arc<OwnStatuses>,
        clock: Arc<dyn Clock>,
    ) {
        self.seats().insert(node, Seat { provider, peer, statuses, clock, tasks: JoinSet::new() });
    }

    /// The node is gone, as when its process is killed.
    pub fn unseat(&self, node: &NodeId) {
        self.seats().remove(node);
    }

    /// Looks at every turn from now on.
    pub fn tap(&self, tap: impl Fn(Way, Turn) -> Tapped + Send + Sync + 'static) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tap));
    }

    /// Cuts every connection, whatever is passing; new ones can be made at once.
    pub fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
    }

    /// Looks no longer.
    pub fn untap(&self) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tapped(&self, way: Way, turn: Turn) -> Tapped {
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match tap {
            Some(tap) => tap(way, turn),
            None => Tapped::Pass(turn),
        }
    }

    /// The links of the node that shows itself as `me`.
    pub fn link(self: &Arc<Self>, me: Peer, clock: Arc<dyn Clock>) -> DirectLink {
        DirectLink { board: Arc::clone(self), me, clock }
    }
}

/// One node's links over a [`Switchboard`].
pub struct DirectLink {
    board: Arc<Switchboard>,
    me: Peer,
    clock: Arc<dyn Clock>,
}

fn unreachable(node: &NodeEntry) -> LinkError {
    LinkError::Unreachable { node: node.address.clone(), reason: "nobody is seated there".into() }
}

#[async_trait]
impl PeerLink for DirectLink {
    async fn open(&self, node: &NodeEntry) -> Result<Box<dyn Conversation>, LinkError> {
        let mut seats = self.board.seats();
        let seat = seats.get_mut(&node.id).ok_or_else(|| unreachable(node))?;
        let (out, heard_there) = mpsc::channel(QUEUE);
        let (back, heard_here) = mpsc::channel(QUEUE);
        let cut = self.board.cut.lock().unwrap_or_else(PoisonError::into_inner).child_token();
        let end = |way, peer, me, statuses, say, hear, clock| DirectConversation {
            board: Arc::clone(&self.board),
            way,
            peer,
            me,
            statuses,
            say,
            hear,
            arrived: None,
            begun: None,
            cut: cut.clone(),
            clock,
            provider: Arc::clone(&seat.provider),
            cancels: false,
        };
        let (me, peer) = (self.me.clone(), seat.peer.clone());
        let statuses = seat.statuses.carried(&seat.peer.fingerprint(), self.clock.now());
        let clock = Arc::clone(&seat.clock);
        let there = end(Way::Back, me.clone(), peer.clone(), vec![], back, heard_there, clock);
        let here = end(Way::Out, peer, me, statuses, out, heard_here, Arc::clone(&self.clock));
        let provider = Arc::clone(&seat.provider);
        seat.tasks.spawn(async move { provider.serve(Box::new(there)).await });
        Ok(Box::new(here))
    }

    async fn outcome(
        &self,
        node: &NodeEntry,
        id: MessageId,
        digest: Digest,
    ) -> Result<(PastOutcome, Peer), LinkError> {
        let (provider, peer) = {
            let seats = self.board.seats();
            let seat = seats.get(&node.id).ok_or_else(|| unreachable(node))?;
            (Arc::clone(&seat.provider), seat.peer.clone())
        };
        let past = provider.outcome(&self.me, id, digest).await;
        Ok((past.map_err(|fault| LinkError::Broken(fault.to_string()))?, peer))
    }
}

/// What goes from one end to the other.
enum Passed {
    Turn(Turn),
    /// A message whose header came and was looked at before its body, then.
    Flowed(Turn, Timestamp),
    /// The body of a message was refused while it came.
    Refused(Fault),
}

struct DirectConversation {
    board: Arc<Switchboard>,
    way: Way,
    peer: Peer,
    /// As the other end sees this one.
    me: Peer,
    statuses: Vec<Bytes>,
    say: mpsc::Sender<Passed>,
    hear: mpsc::Receiver<Passed>,
    /// Has arrived, and is heard next.
    arrived: Option<Passed>,
    /// A message that was begun and is not signed yet.
    begun: Option<(Beginning, Body, Timestamp)>,
    cut: CancellationToken,
    clock: Arc<dyn Clock>,
    /// Looks at the header frames of requests.
    provider: Arc<dyn ProviderSide>,
    /// Dropping it now must tell the other end.
    cancels: bool,
}

fn broken() -> LinkError {
    LinkError::Broken("the connection was cut".into())
}

#[async_trait]
impl Conversation for DirectConversation {
    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn handshake_statuses(&self) -> &[Bytes] {
        &self.statuses
    }

    async fn say(&mut self, turn: Turn) -> Result<(), LinkError> {
        self.say_as(turn, Passed::Turn).await
    }

    async fn begin(
        &mut self,
        beginning: Beginning,
        mut body: BodyStream,
    ) -> Result<Option<Body>, Interrupted> {
        self.cancels = self.way == Way::Out;
        let at = self.clock.now();
        let limit = match self.way {
            Way::Out => self.provider.early(&self.me, &beginning.header, beginning.announced, at),
            Way::Back => Ok(u64::MAX),
        };
        let limit = match limit {
            Ok(limit) => limit,
            Err(fault) => {
                self.pass(Passed::Refused(fault)).await?;
                return Ok(None);
            }
        };
        let (mut bytes, mut digester) = (BytesMut::new(), Digester::default());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(Interrupted::Source)?;
            digester.update(&piece);
            bytes.extend_from_slice(&piece);
            if digester.length() > limit {
                let fault = Fault::provider(FaultCode::TooLarge, "the body became too long");
                self.pass(Passed::Refused(fault)).await?;
                return Ok(None);
            }
            // Others get their turn, and the connection can be cut in the middle.
            tokio::task::yield_now().await;
            if self.cut.is_cancelled() {
                return Err(broken().into());
            }
        }
        self.begun = Some((beginning, Body::new(bytes.freeze()), at));
        Ok(Some(Body::gone(digester)))
    }

    async fn sign(&mut self, signature: &Signature) -> Result<(), LinkError> {
        let (beginning, body, at) = self.begun.take().ok_or_else(broken)?;
        let Beginning { header, secrets, statuses, .. } = beginning;
        let parts = Parts { header, body, secrets, signature: signature.clone(), statuses };
        self.say_as(Turn::Message(Box::new(parts), at), |turn| Passed::Flowed(turn, at)).await
    }

    async fn ready(&mut self) -> Result<(), LinkError> {
        if self.arrived.is_none() {
            self.arrived = Some(tokio::select! {
                biased;
                passed = self.hear.recv() => passed.ok_or_else(broken)?,
                () = self.cut.cancelled() => return Err(broken()),
            });
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Turn, LinkError> {
        self.ready().await?;
        let turn = match self.arrived.take().ok_or_else(broken)? {
            Passed::Turn(turn) => turn,
            Passed::Flowed(Turn::Message(parts, _), at) => return Ok(Turn::Message(parts, at)),
            Passed::Flowed(turn, _) => turn,
            Passed::Refused(fault) => Turn::Fault(fault),
        };
        let at = self.clock.now();
        match turn {
            Turn::Message(parts, _) => {
                let length = Some(parts.body.len());
                if self.way == Way::Back
                    && let Err(fault) = self.provider.early(&self.peer, &parts.header, length, at)
                {
                    return Ok(Turn::Fault(fault));
                }
                Ok(Turn::Message(parts, at))
            }
            last => {
                self.cancels = false;
                Ok(last)
            }
        }
    }
}

impl DirectConversation {
    async fn say_as(&mut self, turn: Turn, pass: impl FnOnce(Turn) -> Passed) -> Result<(), LinkError> {
        if self.cut.is_cancelled() {
            return Err(broken());
        }
        self.cancels = self.way == Way::Out && !matches!(turn, Turn::Fault(_) | Turn::Cancel);
        match self.board.tapped(self.way, turn) {
            Tapped::Pass(turn) => self.pass(pass(turn)).await,
            Tapped::Lose => Ok(()),
            Tapped::Break => {
                self.cut.cancel();
                Err(broken())
            }
        }
    }

    async fn pass(&self, passed: Passed) -> Result<(), LinkError> {
        self.say.send(passed).await.map_err(|_| broken())
    }
}

impl Drop for DirectConversation {
    fn drop(&mut self) {
        if self.cancels {
            drop(self.say.try_send(Passed::Turn(Turn::Cancel)));
        }
    }
}
