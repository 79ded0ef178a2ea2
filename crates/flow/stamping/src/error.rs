//! What can go wrong while stamping.

use truc_evidence::StoreError;
use truc_evidence::ers::ErsError;

use crate::ports::HeadUnsigned;

/// Why a batch was not stamped; it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// The journal.
    #[error("the records could not be read, or the proof not be kept: {0}")]
    Store(#[from] StoreError),
    /// The head of the log.
    #[error(transparent)]
    Head(#[from] HeadUnsigned),
    /// The tree over the batch.
    #[error("the tree over the batch: {0}")]
    Tree(#[from] ErsError),
    /// Nobody to ask.
    #[error(
        "there is no time-stamp authority to ask: the directory lists none, or none of those in [time-stamping] authorities"
    )]
    NoAuthority,
    /// Everybody failed; why each did.
    #[error("no time-stamp authority gave a good token: {0}")]
    AllFailed(String),
    /// No random number for the nonce.
    #[error("the system gave no random number for the request")]
    NoRandom,
    /// A task was stopped.
    #[error("the tree was not computed: the program is stopping")]
    Stopped,
}

/// Why a record that was waited for is not stamped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStamped {
    /// No token within the time given.
    #[error("no time-stamp within {} s: {why}", waited.as_secs())]
    TooLate {
        /// How long was waited.
        waited: std::time::Duration,
        /// What the last attempt said.
        why: String,
    },
    /// More wait than there are places.
    #[error("too many exchanges wait for a time-stamp")]
    Busy,
}
