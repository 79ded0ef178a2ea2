//! The registry's folder at work: decisions and publishing, whether it serves nodes or not.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use truc_evidence::Receipt;
use truc_governance::{Command, Governance, Published, Publisher, State};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Clock;
use truc_stores::DataFolder;

use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::{self, Places, Shelf};
use crate::inspector::CaInspector;

/// Label of the publishing key.
pub(crate) const PUBLISHING: &str = "publishing";

/// An open registry. The folder is locked while this lives, so there is one at a time.
pub struct Office {
    governance: Governance,
    publisher: Publisher,
    pub(crate) places: Places,
    pub(crate) keys: Arc<FileKeyStore>,
    pub(crate) parts: Arc<Shelf>,
    // Declared last: the lock is given back when everything else is closed.
    _folder: DataFolder,
}

impl Office {
    /// Opens the folder that `config` names.
    ///
    /// # Errors
    /// [`RegistryError`], e.g. when a registry is running on it or there is none.
    pub async fn open(config: &RegistryConfig, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        let (data, passphrase) = (config.data.clone(), config.passphrase_file.clone());
        if !data.join("FORMAT").exists() {
            return Err(RegistryError::NoRegistry(data));
        }
        let opened = spawn_blocking(move || files::open(&data, &Passphrase::from_file(&passphrase)?));
        let opened = opened.await.map_err(|e| RegistryError::Stopped(e.to_string()))??;
        Self::over(opened, clock).await
    }

    pub(crate) async fn over(opened: files::Opened, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        let files::Opened { places, keys, log, parts, folder } = opened;
        let governance = Governance::open(log, Arc::new(CaInspector), Arc::clone(&clock)).await?;
        let publisher =
            Publisher::open(keys.clone(), files::label(PUBLISHING)?, parts.clone(), clock).await?;
        Ok(Self { governance, publisher, places, keys, parts, _folder: folder })
    }

    /// Takes one decision. It is durable when this returns; publish afterwards.
    ///
    /// # Errors
    /// [`RegistryError::Refused`].
    pub async fn execute(&mut self, command: Command, actor: &str) -> Result<Receipt, RegistryError> {
        Ok(self.governance.execute(command, actor).await?)
    }

    /// Publishes what was decided, or signs the same version again.
    ///
    /// # Errors
    /// [`RegistryError::Publish`].
    pub async fn publish(&mut self) -> Result<Published, RegistryError> {
        Ok(self.publisher.publish(&mut self.governance).await?)
    }

    /// What was decided so far.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] while the instance is not opened.
    pub fn state(&self) -> Result<&State, RegistryError> {
        Ok(self.governance.state()?)
    }
}
