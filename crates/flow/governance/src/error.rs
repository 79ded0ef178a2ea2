//! Why a decision was not taken or not published.

use truc_directory::{DirectoryError, Usage};
use truc_evidence::StoreError;
use truc_keys::SignerError;
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId};

use crate::ports::PartStoreError;

/// Why a decision was not taken. Nothing changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceError {
    /// The registry holds no instance yet.
    #[error("this registry holds no instance yet; run `truc registry init` first")]
    NotInitialised,
    /// The registry already holds one.
    #[error("this registry already holds instance {0}; a folder holds one instance for good")]
    AlreadyInitialised(String),
    /// Something of another instance.
    #[error("{found} belongs to another instance; this registry keeps {expected}")]
    WrongInstance {
        /// The registry's instance.
        expected: String,
        /// What was given.
        found: String,
    },
    /// It is there already.
    #[error("{0} is already registered; nothing was changed")]
    Duplicate(String),
    /// No such member.
    #[error("{0} is not a member; add it first with `truc registry member add`")]
    UnknownMember(MemberId),
    /// The member is closed.
    #[error("{0} is closed; a closed member cannot be changed or used")]
    MemberClosed(MemberId),
    /// No such subsystem.
    #[error("{0} is not registered; add it first with `truc registry subsystem add`")]
    UnknownSubsystem(SubsystemId),
    /// No such node.
    #[error("{0} is not a registered node; add it first with `truc registry node add`")]
    UnknownNode(NodeId),
    /// No such group.
    #[error("there is no global group {0:?}; create it first")]
    UnknownGroup(String),
    /// No such entry to take away.
    #[error("{0} is not registered; nothing was changed")]
    NotRegistered(String),
    /// No such certificate.
    #[error("certificate {0} is not registered; `truc registry directory show` lists those that are")]
    UnknownCertificate(Fingerprint),
    /// The certificate does not fit.
    #[error("the certificate cannot be used for {usage:?}: {why}")]
    Certificate {
        /// What it was meant for.
        usage: Usage,
        /// What the inspector found.
        why: String,
    },
    /// The certificate names somebody else.
    #[error("the certificate names {named}, not {expected}; ask the CA for one in the right name")]
    CertificateOfAnother {
        /// Whom it should name.
        expected: String,
        /// Whom it names.
        named: String,
    },
    /// Somebody still depends on what was to be closed.
    #[error("node {node} still serves {subsystem}; let another node serve it, then close the member")]
    StillServing {
        /// The member's node.
        node: NodeId,
        /// Another member's subsystem.
        subsystem: SubsystemId,
    },
    /// What the root keys signed does not hold.
    #[error("what the root keys signed is refused: {0}")]
    Endorsement(String),
    /// A value outside the rules.
    #[error("{0}")]
    Invalid(String),
    /// The journal did not take it.
    #[error("the decision was not recorded and so not taken: {0}")]
    Store(#[from] StoreError),
    /// The journal cannot be understood.
    #[error("the registry's journal cannot be replayed: {0}; restore it from a backup and open a new epoch")]
    Journal(String),
}

impl From<DirectoryError> for GovernanceError {
    fn from(error: DirectoryError) -> Self {
        Self::Endorsement(error.to_string())
    }
}

/// Why nothing was published. What was published before still counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing to publish, or the journal refused.
    #[error(transparent)]
    Governance(#[from] GovernanceError),
    /// The publishing key did not sign.
    #[error("the publishing key did not sign the head: {0}")]
    Signer(#[from] SignerError),
    /// The parts could not be kept.
    #[error(transparent)]
    Parts(#[from] PartStoreError),
    /// Nodes would refuse what was about to be published.
    #[error("nodes would refuse this directory, so it is not published: {0}")]
    Refused(#[from] DirectoryError),
    /// The journal lacks decisions that were already published.
    #[error(
        "version {published} was published, but the journal ends at {journal}: it was restored from an old backup; open a new epoch with the root keys"
    )]
    JournalBehind {
        /// Highest version published.
        published: u64,
        /// The journal's.
        journal: u64,
    },
}
