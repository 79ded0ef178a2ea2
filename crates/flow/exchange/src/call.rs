//! What the edge asks of the consumer side, and what it gets back.

use truc_message::{Body, BodyStream, CanonicalPath, CanonicalQuery};
use truc_model::{Fault, MessageId, NodeId, ServiceId, SubsystemId};

/// The words around a call (protocol P10.1): who asks, why, on whose behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallContext {
    /// The officer (`X-Road-UserId`).
    pub user_id: Option<String>,
    /// The officer's agency (`Truc-Agency`).
    pub agency: Option<String>,
    /// Purpose of use (`Truc-Purpose`).
    pub purpose: Option<String>,
    /// Legal basis (`Truc-Legal-Basis`).
    pub legal_basis: Option<String>,
    /// Reference to the citizen's consent (`Truc-Consent`).
    pub consent: Option<String>,
    /// On whose behalf (`X-Road-Represented-Party`).
    pub represented_party: Option<String>,
    /// Case or document number (`X-Road-Issue`).
    pub issue: Option<String>,
    /// The caller's own id (`X-Road-Id`), verbatim.
    pub client_message_id: Option<String>,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// W3C `traceparent`.
    pub trace: Option<String>,
    /// The node that must serve the call (`X-Road-Security-Server`).
    pub target: Option<NodeId>,
}

/// The body of a call.
pub enum DraftBody {
    /// Whole, of at most [`truc_message::WHOLE_BODY`] bytes.
    Whole(Body),
    /// Longer, and still coming from the caller.
    Coming {
        /// Its length, when the caller announced it.
        announced: Option<u64>,
        /// The pieces; an error ends them.
        pieces: BodyStream,
    },
}

impl From<Body> for DraftBody {
    fn from(body: Body) -> Self {
        Self::Whole(body)
    }
}

impl DraftBody {
    /// The length, where it is known.
    pub const fn announced(&self) -> Option<u64> {
        match self {
            Self::Whole(body) => Some(body.len()),
            Self::Coming { announced, .. } => *announced,
        }
    }
}

/// Shows lengths only: a body may hold personal data.
impl std::fmt::Debug for DraftBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(body) => write!(f, "Whole({body:?})"),
            Self::Coming { announced, .. } => write!(f, "Coming({announced:?} bytes)"),
        }
    }
}

/// A call as the edge understood it: parsed, limited, canonical; nothing decided yet.
#[derive(Debug)]
pub struct Draft {
    /// The calling subsystem (`X-Road-Client`).
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// HTTP method, upper case.
    pub method: String,
    /// The path after the service, canonical.
    pub path: CanonicalPath,
    /// The query, when there was a `?`.
    pub query: Option<CanonicalQuery>,
    /// The header fields that travel on: names in lower case, the caller's order, without those that X-Road removes and
    /// without the ones that [`CallContext`] and `media_type` carry. Secrets are still in clear; the consumer hides them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body's media type, verbatim.
    pub media_type: Option<String>,
    /// The body.
    pub body: DraftBody,
    /// The words around the call.
    pub context: CallContext,
}

/// What came back for a call: the service's own answer, verified and recorded.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The exchange's id (`X-Road-Request-Id`).
    pub request: MessageId,
    /// HTTP status of the service.
    pub status: u16,
    /// Header fields in order; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body's media type, verbatim.
    pub media_type: Option<String>,
    /// The body, readable.
    pub body: Body,
}

/// A call that ended in a fault of the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Failed {
    /// The exchange's id, once there was one.
    pub request: Option<MessageId>,
    /// The fault.
    pub fault: Fault,
}
