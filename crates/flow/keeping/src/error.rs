//! Why something was not kept, moved or forgotten.

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
        "the plan of the expiry of {0} cannot be read; look at the folder bodies/{0} and its file expiring"
    )]
    Plan(String),
    /// An expiry was planned whose time has not come.
    #[error(
        "bodies/{0} holds the plan of an expiry whose time has not come by the classes and the clock of now: nothing is destroyed; remove its file expiring if the bodies are to be kept"
    )]
    Early(String),
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

fn list(ids: &[MessageId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
