//! What an exchange needs of whoever has this node's records time-stamped (evidence.md §3).

use async_trait::async_trait;
use truc_message::Leaf;
use truc_model::{Fault, NodeId};

/// Knows how far the records of this node are stamped, and hears what other nodes say that they have recorded.
#[async_trait]
pub trait TimeStamps: Send + Sync {
    /// Why new exchanges are not begun: TIME_STAMP_OVERDUE while a record has waited longer than the grace. What is under way
    /// is finished all the same. Answers at once.
    fn overdue(&self) -> Option<Fault>;

    /// Returns when the record at `sequence` is stamped, for services that are declared immediate. Whoever asks waits as
    /// long as it may; dropping the future changes nothing.
    ///
    /// # Errors
    /// TIME_STAMP_OVERDUE when no stamp is to be had.
    async fn stamped(&self, sequence: u64) -> Result<(), Fault>;

    /// `peer` said that its record `leaf` stands against ours at `own` (protocol P5.3): something to hold it to later. Must
    /// not wait.
    fn acknowledged(&self, peer: &NodeId, own: u64, leaf: Leaf);
}

/// Stamps nothing, is never late and remembers nothing: for tests of other things.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTimeStamps;

#[async_trait]
impl TimeStamps for NoTimeStamps {
    fn overdue(&self) -> Option<Fault> {
        None
    }
    async fn stamped(&self, _: u64) -> Result<(), Fault> {
        Ok(())
    }
    fn acknowledged(&self, _: &NodeId, _: u64, _: Leaf) {}
}
