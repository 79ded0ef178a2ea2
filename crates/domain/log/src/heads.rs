//! The port behind which a witness keeps the heads of other logs.

use async_trait::async_trait;
use truc_model::NodeId;

use crate::checkpoint::log_of;
use crate::view::{LogView, NewHead, Noted};

/// The most logs of one node that are held: its first, and one for each time it was restored.
pub const LOGS_OF_A_NODE: usize = 64;

/// Why nothing was kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadStoreError {
    /// The node begins one log after the other.
    #[error("{LOGS_OF_A_NODE} logs of {0} are held: no node was restored so often")]
    TooMany(NodeId),
    /// The head names no log of a node.
    #[error("{0:?} is not the name of a node's log")]
    Origin(String),
    /// The disk refused, or holds what was not written there; the text says which file.
    #[error("the heads of other logs cannot be kept or read: {0}")]
    Failed(String),
}

/// What a store does with a new head, given what it holds of that log, and the origins it holds by node: what became of it, and the view to
/// keep where that has changed.
///
/// # Errors
/// [`HeadStoreError::Origin`], [`HeadStoreError::TooMany`].
pub fn take_in(
    held: Option<LogView>,
    new: &NewHead,
    logs_of: impl FnOnce(&NodeId) -> usize,
) -> Result<(Noted, Option<LogView>), HeadStoreError> {
    let origin = &new.head.checkpoint().origin;
    let Some((node, _)) = log_of(origin) else {
        return Err(HeadStoreError::Origin(origin.chars().take(200).collect()));
    };
    match held {
        Some(mut view) => {
            let (noted, changed) = view.note(new);
            Ok((noted, changed.then_some(view)))
        }
        None if logs_of(&node) >= LOGS_OF_A_NODE => Err(HeadStoreError::TooMany(node)),
        None => Ok((Noted::Kept, Some(LogView::begin(new)))),
    }
}

/// Keeps what is held of logs, for ever.
#[async_trait]
pub trait HeadStore: Send + Sync {
    /// Takes a new head in as [`LogView::note`] judges it, alone for its log at that moment; durable when this returns. The head's
    /// signature was checked before.
    ///
    /// # Errors
    /// [`HeadStoreError`]; then nothing has changed.
    async fn note(&self, new: NewHead) -> Result<Noted, HeadStoreError>;

    /// What is held of the log of this origin.
    ///
    /// # Errors
    /// [`HeadStoreError`].
    async fn view(&self, log: &str) -> Result<Option<LogView>, HeadStoreError>;

    /// The origins of the logs held of a node, or of all, in order.
    ///
    /// # Errors
    /// [`HeadStoreError`].
    async fn logs(&self, node: Option<&NodeId>) -> Result<Vec<String>, HeadStoreError>;
}
