//! What both sides of a node stand on: who it is, its directory, its judgement, its records, its seals.

use std::sync::Arc;

use truc_directory::Directory;
use truc_evidence::Recorder;
use truc_model::{Clock, Fault, FaultCode, NodeId, Side};
use truc_trust::Verifier;

use crate::ports::{CurrentDirectory, TimeStamps};
use crate::sealing::Sealing;

/// Shared by [`crate::Consumer`] and [`crate::Provider`].
pub struct Ground {
    /// This node.
    pub me: NodeId,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// The directory in force.
    pub directory: Arc<dyn CurrentDirectory>,
    /// The five trust checks.
    pub verifier: Verifier,
    /// Evidence.
    pub recorder: Recorder,
    /// Signing.
    pub sealing: Sealing,
    /// How far the evidence is time-stamped.
    pub time_stamps: Arc<dyn TimeStamps>,
}

impl Ground {
    /// The directory in force, as a fault of `side` when there is none.
    pub(crate) fn directory(&self, side: Side) -> Result<Arc<Directory>, Fault> {
        self.directory.current().ok_or_else(|| {
            let detail = "this node has no directory yet: check its anchor and the link to the registry";
            Fault::at(side, FaultCode::DirectoryExpired, detail)
        })
    }
}
