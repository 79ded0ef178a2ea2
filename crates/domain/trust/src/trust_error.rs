//! Why a message or a peer is not believed, and what is told of it.

use truc_model::{FaultCode, Fingerprint, MemberId, NodeId, SubsystemId};

use crate::certificate::CertificateError;
use crate::chain::PathError;
use crate::cms::CmsError;

/// Why a message or a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The directory is older than its expiry: nobody can be judged by it.
    #[error("the directory has expired; check the link to the registry")]
    DirectoryExpired,
    /// The message is not of the kind expected here.
    #[error("a {0} is not expected here")]
    Kind(&'static str),
    /// Addressed to another node.
    #[error("the message is addressed to {0}, not to this node")]
    NotForUs(NodeId),
    /// Of another instance than this node's.
    #[error("the message is of another instance")]
    Instance,
    /// The named node is not in the directory.
    #[error("node {0} is not in the directory")]
    UnknownNode(NodeId),
    /// The TLS peer's certificate is not registered to the named node.
    #[error("the TLS certificate {certificate} is not registered to node {node}")]
    WrongPeer {
        /// The node that the header names.
        node: NodeId,
        /// What the peer holds.
        certificate: Fingerprint,
    },
    /// The node may not speak for the subsystem.
    #[error("node {node} is not registered to speak for {subsystem}")]
    DoesNotSpeakFor {
        /// The node that the header names.
        node: NodeId,
        /// The subsystem that sends.
        subsystem: SubsystemId,
    },
    /// The sending member is unknown or not active.
    #[error("{0} is not an active member")]
    NotAMember(MemberId),
    /// The signer's certificate is not registered to the sending member.
    #[error("the sign certificate {certificate} is not registered to {member}")]
    NotTheirSeal {
        /// The member that the header names as sender.
        member: MemberId,
        /// The certificate in the signature.
        certificate: Fingerprint,
    },
    /// No approved CA allows this use, or its profile names somebody else.
    #[error("the certificate does not name {0} as its CA's profile prescribes")]
    Profile(String),
    /// No path to an approved CA.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] CmsError),
    /// The signature was made for another moment than the header says.
    #[error("the signing time is not the header's sent")]
    SigningTime,
    /// A certificate is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    StatusIsUnknown,
    /// No status fresh enough, and the own query failed.
    #[error("no fresh status for certificate {0}, and the grace period has passed or never began")]
    StatusUnavailable(Fingerprint),
    /// A status response does not hold.
    #[error("certificate status: {0}")]
    Status(String),
    /// The answer is not the one to our request.
    #[error("the answer does not belong to the request: {0} differs")]
    NotOurAnswer(&'static str),
}

impl TrustError {
    /// The fault that the other end or the caller is told.
    pub const fn fault_code(&self) -> FaultCode {
        match self {
            Self::DirectoryExpired => FaultCode::DirectoryExpired,
            Self::Kind(_) => FaultCode::Malformed,
            Self::StatusUnavailable(_) => FaultCode::StatusUnknown,
            Self::NotOurAnswer(_) => FaultCode::InconsistentResponse,
            _ => FaultCode::Untrusted,
        }
    }
}
