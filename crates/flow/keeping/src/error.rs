//! Why something was not kept, moved or forgotten.

use std::mem::{Discriminant, discriminant};

use truc_evidence::{ArchiveError, StoreError};
use truc_model::MessageId;

/// What an operator can do about it is in the sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepingError {
    /// The journal or its disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A tombstone was not signed.
    #[error("the tombstone could not be signed: {0}")]
    Note(String),
    /// What was planned before a restart cannot be read.
    #[error(
        "the plan of the expiry of {0} is not one that this node made; look at the folder bodies/{0}, and remove its file expiring"
    )]
    Plan(String),
    /// An expiry was planned whose time has not come.
    #[error(
        "bodies/{0} holds the plan of an expiry whose time has not come by the classes and the clock of now: nothing is destroyed and nothing is signed; remove its file expiring if the bodies are to be kept"
    )]
    Early(String),
    /// A month's key is gone, and this node did not begin its expiry.
    #[error(
        "the key of bodies/{0} is gone, and this node did not make it expire: somebody else destroyed it, and no tombstone is signed for it; put the key back from a backup"
    )]
    KeyLost(String),
    /// A held body is gone, and this node did not make it expire.
    #[error(
        "the key of bodies/{0} is gone and the held body of record {1} was not copied before: somebody else destroyed it, and no tombstone is signed for it; \
         put key and segments back from a backup"
    )]
    HeldLost(String, u64),
    /// Bodies lie in an archive that is not configured any more.
    #[error(
        "the bodies of {0} lie in an archive, and none is configured: put [evidence.archive] back until they have expired"
    )]
    NoArchive(String),
    /// Requests that are not in this evidence.
    #[error("not in this node's evidence: {}", list(.0))]
    UnknownRequests(Vec<MessageId>),
    /// A hold that is not in force.
    #[error("no hold of the case {0:?} is in force")]
    NoSuchCase(String),
    /// A case or reason that says nothing.
    #[error("{0}")]
    Invalid(String),
}

/// Which of its parts is in trouble, whatever the words.
pub(crate) type Trouble = (Discriminant<KeepingError>, Option<Discriminant<ArchiveError>>);

impl KeepingError {
    pub(crate) fn what(&self) -> Trouble {
        let archive = match self {
            Self::Archive(error) => Some(discriminant(error)),
            _ => None,
        };
        (discriminant(self), archive)
    }
}

fn list(ids: &[MessageId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
