//! A message as it came in: well-formed, and nothing more is known about it.

use bytes::Bytes;
use truc_model::{Fingerprint, Timestamp};

use crate::body::Body;
use crate::header::{Header, MalformedHeader};
use crate::sealed::{Sealed, Signed};
use crate::secrets::Secret;

/// The signature of a message (protocol P2.3). Version 1 of the wire carries a choice; *batch* is added later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// A detached CAdES-B over the manifest, DER.
    Single(Bytes),
}

impl Signature {
    /// The CMS bytes.
    pub const fn cms(&self) -> &Bytes {
        match self {
            Self::Single(cms) => cms,
        }
    }
}

/// Who is at the other end of the TLS connection, as the handshake proved it. Possession only: whether the
/// certificate counts is judged with the message (protocol P3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    certificate: Bytes,
    intermediates: Vec<Bytes>,
    fingerprint: Fingerprint,
}

impl Peer {
    /// The DER certificate that the peer proved possession of, and the rest of what it sent.
    pub fn new(certificate: Bytes, intermediates: Vec<Bytes>) -> Self {
        let fingerprint = Fingerprint::of(&certificate);
        Self { certificate, intermediates, fingerprint }
    }
    /// The certificate, DER.
    pub const fn certificate(&self) -> &Bytes {
        &self.certificate
    }
    /// The certificates sent with it, DER.
    pub fn intermediates(&self) -> &[Bytes] {
        &self.intermediates
    }
    /// The certificate's fingerprint.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Why parts are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedMessage {
    /// The header is not one.
    #[error(transparent)]
    Header(#[from] MalformedHeader),
    /// The body is longer or shorter than the header says.
    #[error("the header announces a body of {announced} bytes, {received} came")]
    BodyLength {
        /// From the header.
        announced: u64,
        /// As received.
        received: u64,
    },
    /// There is no signature, or an empty one.
    #[error("the message carries no signature")]
    Unsigned,
}

/// What came over the wire for one message.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Exact header bytes.
    pub header: Bytes,
    /// The body.
    pub body: Body,
    /// Secrets beside the header.
    pub secrets: Vec<Secret>,
    /// The signature.
    pub signature: Signature,
    /// Certificate statuses carried with it: OCSP responses, DER (protocol P3.5).
    pub statuses: Vec<Bytes>,
}

/// A well-formed message with the peer that handed it over. The first link of the chain
/// `Received → Verified → Admitted → Recorded`; only `truc_trust` makes the second from it.
#[derive(Debug, Clone)]
pub struct Received {
    message: Signed,
    statuses: Vec<Bytes>,
    peer: Peer,
    at: Timestamp,
}

impl Received {
    /// Checks the form of what came in from `peer`; its header arrived `at`.
    ///
    /// # Errors
    /// [`MalformedMessage`] says which part is off.
    pub fn parse(parts: Parts, peer: Peer, at: Timestamp) -> Result<Self, MalformedMessage> {
        if parts.signature.cms().is_empty() {
            return Err(MalformedMessage::Unsigned);
        }
        let sealed = Sealed::open(parts.header, parts.body, parts.secrets)?;
        let message = Signed { sealed, signature: parts.signature };
        Ok(Self { message, statuses: parts.statuses, peer, at })
    }
    /// The message.
    pub const fn message(&self) -> &Signed {
        &self.message
    }
    /// The header's fields.
    pub const fn header(&self) -> &Header {
        self.message.sealed.header()
    }
    /// The statuses carried with it.
    pub fn statuses(&self) -> &[Bytes] {
        &self.statuses
    }
    /// Who handed it over.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }
    /// When its header arrived.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}
