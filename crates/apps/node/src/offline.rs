//! The evidence of a stopped node, read from its folder.

use std::sync::Arc;

use truc_evidence::EvidenceStore;
use truc_stores::{DataFolder, EvidenceJournal, JournalOptions};
pub use truc_stores::{FsckReport, Problem};

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::keyring::open_keyring;

/// A stopped node's evidence. The folder stays locked while this lives, so the node cannot start meanwhile.
pub struct OfflineEvidence {
    journal: EvidenceJournal,
    // Declared last: the lock is given back when the journal is closed.
    _folder: DataFolder,
}

impl OfflineEvidence {
    /// Opens the folder. Blocks on disk and key derivation.
    ///
    /// # Errors
    /// [`NodeError`]: there is no data folder, a node runs on it, or keys and journal do not open.
    pub fn open(config: &NodeConfig) -> Result<Self, NodeError> {
        must_be_there(config)?;
        let folder = DataFolder::open(&config.data_folder)?;
        let keys = Arc::new(open_keyring(config)?);
        let journal = EvidenceJournal::open(folder.path(), keys, JournalOptions::default());
        Ok(Self { journal: journal.map_err(NodeError::store("evidence"))?, _folder: folder })
    }

    /// What was recorded.
    pub fn store(&self) -> &dyn EvidenceStore {
        &self.journal
    }
}

/// Checks every journal of a stopped node byte by byte and changes nothing. Blocks on disk and key derivation.
///
/// # Errors
/// [`NodeError`] when a node runs on the folder or it cannot be read at all; what is wrong inside is in the report.
pub fn fsck(config: &NodeConfig) -> Result<FsckReport, NodeError> {
    must_be_there(config)?;
    let keys = open_keyring(config)?;
    truc_stores::fsck(&config.data_folder, Some(&keys)).map_err(NodeError::store("the journals"))
}

/// Opening would make a folder where there is none: right for a node that starts, wrong for one that is to be read.
fn must_be_there(config: &NodeConfig) -> Result<(), NodeError> {
    if config.data_folder.join("FORMAT").exists() {
        return Ok(());
    }
    Err(NodeError::file(
        &config.data_folder,
        "is not a node's data folder; give the node's configuration with --config",
    ))
}

#[cfg(test)]
mod tests {
    use truc_evidence::Query;

    use super::*;
    use crate::init::{InitOptions, init};

    #[tokio::test]
    async fn a_stopped_node_is_read_and_a_missing_one_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("node");
        let node = "VN/GOV/H26/ss1".parse().unwrap();
        let options = InitOptions {
            folder,
            node,
            members: vec![],
            anchor: None,
            anchor_sha256: None,
            peer_listen: None,
            edge_listen: None,
            admin_listen: None,
        };
        let mut config = init(&options).unwrap().config;
        {
            let evidence = OfflineEvidence::open(&config).unwrap();
            assert_eq!(evidence.store().list(Query::default()).await.unwrap(), []);
            let message = OfflineEvidence::open(&config).err().unwrap().to_string();
            assert!(message.contains("in use"), "{message}");
            assert!(fsck(&config).is_err(), "nor is it checked while it is in use");
        }
        assert_eq!(fsck(&config).unwrap().problems, []);
        config.data_folder = dir.path().join("elsewhere");
        assert!(OfflineEvidence::open(&config).is_err() && !config.data_folder.exists());
    }
}
