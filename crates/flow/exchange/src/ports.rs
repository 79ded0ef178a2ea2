//! What an exchange needs of the world.

mod time_stamps;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use truc_directory::{Directory, NodeEntry};
use truc_evidence::Recorded;
use truc_message::{Body, BodyStream, Leaf, Opening, Parts, Peer, Secret, Signature};
use truc_model::{Digest, Fault, MessageId, Timestamp};
use truc_policy::{Admitted, ServiceDefinition, SideEffectFree};
use truc_trust::{Request, Verified};

pub use self::time_stamps::{NoTimeStamps, TimeStamps};
use crate::call::{Draft, Failed, Reply};

/// The directory in force; kept by whoever follows the registry.
pub trait CurrentDirectory: Send + Sync {
    /// The newest directory that this node believes; `None` before the first one.
    fn current(&self) -> Option<Arc<Directory>>;
}

/// The consumer side as the edge sees it.
#[async_trait]
pub trait ConsumerSide: Send + Sync {
    /// Carries out one call: the answer is verified and durable in this node's evidence when this returns.
    ///
    /// # Errors
    /// [`Failed`] with the fault that the caller is told.
    async fn call(&self, draft: Draft) -> Result<Reply, Failed>;
}

/// The provider side as the peer door sees it.
#[async_trait]
pub trait ProviderSide: Send + Sync {
    /// Looks at the header frame of a message whose body has not come yet (protocol P4.1, P4.6); `announced` is the body's
    /// length, where it is known. Says how long the body may become. Passing grants nothing.
    ///
    /// # Errors
    /// The unsigned fault to answer with.
    fn early(&self, peer: &Peer, header: &[u8], announced: Option<u64>, at: Timestamp) -> Result<u64, Fault>;

    /// Carries out the exchange that a peer began; ends when the exchange has ended.
    async fn serve(&self, conversation: Box<dyn Conversation>);

    /// What became of a request that `peer` once sent (protocol P4.5).
    ///
    /// # Errors
    /// The unsigned fault to answer with; never tells a stranger whether a request exists.
    async fn outcome(&self, peer: &Peer, id: MessageId, digest: Digest) -> Result<PastOutcome, Fault>;
}

/// The provider's word on a past request.
#[derive(Debug, Clone)]
pub enum PastOutcome {
    /// It was answered: the signed answer, and its leaf.
    Answered(Box<Parts>, Leaf),
    /// It is still being carried out.
    Open,
    /// No such request was ever recorded: it was not carried out.
    Never,
    /// It was answered, and the answer cannot be given again: this is the last word on it, OUTCOME_UNKNOWN. Which answer it
    /// was is told where the node says it: enough for whoever holds that answer.
    Lost(Fault, Option<OnRecord>),
}

/// An answer that a node has on its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnRecord {
    /// The answer's digest (protocol P1.4).
    pub digest: Digest,
    /// The record's leaf.
    pub leaf: Leaf,
}

/// One turn of an exchange between two nodes, in either direction.
#[derive(Debug, Clone)]
pub enum Turn {
    /// A signed message: request, response or refusal; its header arrived (or was sealed) at the time given.
    Message(Box<Parts>, Timestamp),
    /// "What you sent or I said last is durable here": the record's leaf (protocol P4.3).
    Recorded(Leaf),
    /// An unsigned fault of the node; ends the exchange.
    Fault(Fault),
    /// The consumer gave up; ends the exchange.
    Cancel,
}

/// Why a link to another node did not carry a turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection could be made; nothing was sent.
    #[error("no connection to {node}: {reason}")]
    Unreachable {
        /// The node's address.
        node: String,
        /// For the operator.
        reason: String,
    },
    /// The other end is not the node it should be; nothing was sent.
    #[error("the node at {node} is not who it should be: {reason}")]
    WrongPeer {
        /// The node's address.
        node: String,
        /// For the operator.
        reason: String,
    },
    /// The queue to that node is full; nothing was sent.
    #[error("too many exchanges with this node are under way")]
    Busy,
    /// The peer used something that this version does not have.
    #[error("{0}")]
    Unsupported(String),
    /// The peer holds another directory under the number of ours (protocol P6.2); nothing was sent.
    #[error("{0}")]
    Conflict(String),
    /// The connection broke or the peer broke the protocol after something was sent.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// One exchange on the shared stream between two nodes. Dropping it before its end tells the peer `cancel`.
#[async_trait]
pub trait Conversation: Send + Sync {
    /// Who is at the other end.
    fn peer(&self) -> &Peer;
    /// The OCSP responses that the peer presented in the handshake, DER.
    fn handshake_statuses(&self) -> &[Bytes];
    /// Says one turn; waits while the bounded queue is full.
    async fn say(&mut self, turn: Turn) -> Result<(), LinkError>;
    /// Begins a message and sends its body as it comes: the header leaves before the first piece. The message is not said
    /// until [`Conversation::sign`]. `None`: the peer has ended the exchange meanwhile, and what it said is heard next.
    ///
    /// # Errors
    /// [`Interrupted`] says which end the body broke at; the message cannot be signed then.
    async fn begin(&mut self, beginning: Beginning, body: BodyStream) -> Result<Option<Body>, Interrupted>;
    /// Ends a message that [`Conversation::begin`] began.
    async fn sign(&mut self, signature: &Signature) -> Result<(), LinkError>;
    /// Waits until the next turn has begun to arrive; no deadline of its own.
    async fn ready(&mut self) -> Result<(), LinkError>;
    /// Hears the next turn. Once it has begun to arrive, it arrives or fails in a time that its length bounds.
    async fn hear(&mut self) -> Result<Turn, LinkError>;
}

/// What leaves of a message ahead of its body.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Exact header bytes.
    pub header: Bytes,
    /// Secrets beside the header.
    pub secrets: Vec<Secret>,
    /// Certificate statuses carried with it.
    pub statuses: Vec<Bytes>,
    /// The body's length, where it is known.
    pub announced: Option<u64>,
}

impl Beginning {
    /// What leaves of `opening` first, with the statuses that vouch for its sender.
    pub fn of(opening: &Opening, statuses: Vec<Bytes>) -> Self {
        Self {
            header: opening.header_bytes().clone(),
            secrets: opening.secrets().to_vec(),
            statuses,
            announced: opening.announced(),
        }
    }
}

/// Why a body that was being sent as it came did not become whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// Where it comes from: the rest will not come.
    #[error("{0}")]
    Source(Fault),
    /// Where it goes.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Reaches other nodes.
#[async_trait]
pub trait PeerLink: Send + Sync {
    /// Begins an exchange with `node`, over the one stream that is kept open to it.
    ///
    /// # Errors
    /// [`LinkError`]; nothing was sent.
    async fn open(&self, node: &NodeEntry) -> Result<Box<dyn Conversation>, LinkError>;

    /// Asks `node` what became of a request of ours (protocol P4.5); says too who answered.
    ///
    /// # Errors
    /// [`LinkError`], or the node's fault as [`LinkError::Broken`].
    async fn outcome(
        &self,
        node: &NodeEntry,
        id: MessageId,
        digest: Digest,
    ) -> Result<(PastOutcome, Peer), LinkError>;
}

/// What a service answered.
#[derive(Debug)]
pub struct ServiceAnswer {
    /// HTTP status, 200–599, passed on as it is.
    pub status: u16,
    /// Header fields in order, names in lower case, without those that X-Road removes and without content-type.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The content-type, verbatim.
    pub media_type: Option<String>,
    /// The body.
    pub body: AnswerBody,
}

/// The body of a service's answer.
pub enum AnswerBody {
    /// Whole, of at most [`truc_message::WHOLE_BODY`] bytes.
    Whole(Bytes),
    /// Longer, and still coming.
    Coming {
        /// Its length, when the service announced it.
        announced: Option<u64>,
        /// The pieces; an error ends them.
        pieces: BoxStream<'static, Result<Bytes, ServiceFailure>>,
    },
}

impl<T: Into<Bytes>> From<T> for AnswerBody {
    fn from(bytes: T) -> Self {
        Self::Whole(bytes.into())
    }
}

impl AnswerBody {
    /// The bytes, when they are here whole.
    pub const fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Coming { .. } => None,
        }
    }
}

/// Shows lengths only: a body may hold personal data.
impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Coming { announced, .. } => write!(f, "Coming({announced:?} bytes)"),
        }
    }
}

/// Why a service gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFailure {
    /// No connection: the request was not carried out.
    #[error("the service cannot be reached: {0}")]
    Unreachable(String),
    /// No whole answer within the service's timeout: it may have acted.
    #[error("the service did not answer within {0} ms")]
    Timeout(u128),
    /// The connection broke or the answer is not HTTP: it may have acted.
    #[error("the service's answer broke off: {0}")]
    Broken(String),
    /// The answer is larger than permitted: it has acted.
    #[error("the service's answer is larger than {0} bytes")]
    TooLarge(u64),
    /// The service's description is missing or not what it should be (getOpenAPI only).
    #[error("the service's description cannot be given: {0}")]
    Description(String),
}

/// The door to the information systems behind this node.
///
/// It takes only a request that was verified, admitted and recorded, in that order; nothing else can be handed in:
///
/// ```compile_fail
/// # use truc_exchange::ports::ServiceDoor;
/// # async fn skip(door: &dyn ServiceDoor, verified: truc_trust::Verified<truc_trust::Request>) {
/// door.call(&verified).await; // neither admitted nor recorded
/// # }
/// ```
#[async_trait]
pub trait ServiceDoor: Send + Sync {
    /// Calls the service that the request was admitted to, once; never retries, follows no redirect.
    ///
    /// # Errors
    /// [`ServiceFailure`] says whether it may have acted.
    async fn call(
        &self,
        request: &Recorded<Admitted<Verified<Request>>>,
    ) -> Result<ServiceAnswer, ServiceFailure>;

    /// Calls, as [`ServiceDoor::call`] does, a service that is declared free of side effects, before the records are durable
    /// (protocol P4.3). Its answer leaves the node only after them.
    ///
    /// # Errors
    /// [`ServiceFailure`].
    async fn look(
        &self,
        request: &SideEffectFree<Verified<Request>>,
    ) -> Result<ServiceAnswer, ServiceFailure>;

    /// Fetches the service's OpenAPI description for `getOpenAPI`, its server addresses hidden (X-Road pr-mrest §5).
    ///
    /// # Errors
    /// [`ServiceFailure`].
    async fn description(&self, service: &ServiceDefinition) -> Result<ServiceAnswer, ServiceFailure>;
}
