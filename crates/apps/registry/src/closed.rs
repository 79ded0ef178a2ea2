//! The mark on a registry that came from a backup: it stays closed until the root keys open a new epoch (protocol P6.3).

use std::path::Path;

use serde::{Deserialize, Serialize};
use truc_directory::Root;
use truc_model::Timestamp;

use crate::error::RegistryError;

/// Name of the mark in the data folder. It stays there: what was restored when is worth knowing.
const FILE: &str = "restored.json";

/// What `truc registry restore` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Mark {
    /// Format version, 1.
    pub(crate) v: u32,
    /// When it was restored.
    pub(crate) restored: Timestamp,
    /// When the backup was made.
    pub(crate) made: Timestamp,
    /// The epoch in force in the backup.
    pub(crate) epoch: u64,
    /// How many decisions the backup has.
    pub(crate) decisions: u64,
}

impl Mark {
    /// The mark of the folder, if there is one. An unreadable one keeps the registry closed, as an error.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, RegistryError> {
        let path = data.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| RegistryError::file(&path, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(RegistryError::file(&path, e)),
        }
    }

    /// Writes it, over that of an earlier restore.
    pub(crate) fn write(&self, data: &Path) -> Result<(), RegistryError> {
        let path = data.join(FILE);
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| RegistryError::file(&path, e))?;
        std::fs::write(&path, bytes).map_err(|e| RegistryError::file(&path, e))
    }

    /// Whether the registry must stay closed under this root. A root of before the restore does not open it, even when it
    /// names a higher epoch: then that epoch was lost too, and nodes have seen heads of it.
    pub(crate) fn closes(&self, root: &Root) -> bool {
        root.epoch <= self.epoch || root.issued < self.restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_epoch_made_after_the_restore_opens() {
        let at = Timestamp::from_millis;
        let mark = Mark { v: 1, restored: at(5000), made: at(1000), epoch: 2, decisions: 7 };
        let root = |epoch, issued| Root {
            v: truc_directory::V1,
            instance: "VN".into(),
            version: 3,
            epoch,
            threshold: 1,
            root_keys: vec![],
            publishing_keys: vec![],
            issued: at(issued),
        };
        assert!(mark.closes(&root(2, 6000)), "the same epoch");
        assert!(mark.closes(&root(3, 4000)), "an epoch that was lost");
        assert!(!mark.closes(&root(3, 5000)));
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(place.path()).unwrap(), None);
        mark.write(place.path()).unwrap();
        assert_eq!(Mark::read(place.path()).unwrap(), Some(mark));
        std::fs::write(place.path().join(FILE), b"{}").unwrap();
        assert!(Mark::read(place.path()).is_err());
    }
}
