//! Messages that passed the five trust checks (protocol P3). Only this crate can make them.

use truc_message::{Header, Received, Signed};
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};

/// A received message of kind `request`.
#[derive(Debug, Clone)]
pub struct Request(Received);

/// A received message of kind `response` or `refusal` that answers a request of ours.
#[derive(Debug, Clone)]
pub struct Answer(Received);

impl Request {
    pub(crate) const fn new(received: Received) -> Self {
        Self(received)
    }
    /// The message as received.
    pub const fn received(&self) -> &Received {
        &self.0
    }
}

impl Answer {
    pub(crate) const fn new(received: Received) -> Self {
        Self(received)
    }
    /// The message as received.
    pub const fn received(&self) -> &Received {
        &self.0
    }
}

/// What was known about trust when the message was judged; it is written into the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustState {
    /// The signer's certificate.
    pub signer: Fingerprint,
    /// `thisUpdate` of the status it was judged by.
    pub status_this_update: Timestamp,
    /// The OCSP responses that were relied on, DER; first the signer's, then the peer node's.
    pub statuses: Vec<bytes::Bytes>,
    /// True when a status past freshness was accepted by grace (P3.5).
    pub status_graced: bool,
    /// The revocation lists that were relied on because no responder answered (ADR 0019).
    pub lists: Vec<ReliedList>,
    /// True when the directory was older than 10 minutes (P6.2).
    pub directory_degraded: bool,
    /// The node that handed the message over.
    pub peer: NodeId,
}

/// A revocation list that stood in for a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReliedList {
    /// The list, DER.
    pub bytes: bytes::Bytes,
    /// Its digest.
    pub digest: Digest,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one will be there at the latest.
    pub next_update: Timestamp,
}

/// A message that passed the five checks of protocol P3 against the directory of that moment. Its constructor is
/// private to this crate, so that nothing unverified can be admitted:
///
/// ```compile_fail
/// # fn skip(request: truc_trust::Request, state: truc_trust::TrustState) {
/// let forged = truc_trust::Verified { message: request, state }; // private fields
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Verified<M> {
    message: M,
    state: TrustState,
}

impl<M> Verified<M> {
    pub(crate) const fn new(message: M, state: TrustState) -> Self {
        Self { message, state }
    }
    /// What was known about trust.
    pub const fn state(&self) -> &TrustState {
        &self.state
    }
}

impl Verified<Request> {
    /// The signed message.
    pub const fn message(&self) -> &Signed {
        self.message.received().message()
    }
    /// The header's fields.
    pub const fn header(&self) -> &Header {
        self.message.received().header()
    }
    /// When its header arrived.
    pub const fn at(&self) -> Timestamp {
        self.message.received().at()
    }
}

impl Verified<Answer> {
    /// The signed message.
    pub const fn message(&self) -> &Signed {
        self.message.received().message()
    }
    /// The header's fields.
    pub const fn header(&self) -> &Header {
        self.message.received().header()
    }
}
