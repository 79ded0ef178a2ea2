//! The registry's folder: what lies where, and the adapters over it.
//!
//! ```text
//! FORMAT lock journal/ …   the data folder (truc-stores)      directory/     parts and heads ever published
//! heads/                   of nodes' logs
//! keys/                    publishing and TLS key, encrypted  passphrase     of keys/, mode 0600
//! root/                    root key and its passphrase: take this folder offline after `init`
//! anchor.json              for nodes                          tls.der        the certificate that the anchor pins
//! registry.toml            configuration                      admin-token    mode 0600
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use truc_directory_sync::{DirectoryFolder, FolderError};
use truc_evidence::DecisionLog;
use truc_governance::{PartStore, PartStoreError};
use truc_keys::KeyLabel;
use truc_keystores::{FileKeyStore, Passphrase, SecretStore};
use truc_model::{Digest, MemberId};
use truc_stores::{DataFolder, DecisionJournal, RecordKey, RecordKeys};

use crate::error::RegistryError;

/// Kind of the data folder, as its FORMAT file says it.
const KIND: &str = "registry";

/// Names inside a registry's folder.
#[derive(Debug, Clone)]
pub(crate) struct Places(pub(crate) PathBuf);

impl Places {
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }
    pub(crate) fn directory(&self) -> PathBuf {
        self.0.join("directory")
    }
    /// Heads of nodes' logs.
    pub(crate) fn heads(&self) -> PathBuf {
        self.0.join("heads")
    }
    pub(crate) fn anchor(&self) -> PathBuf {
        self.0.join("anchor.json")
    }
    /// The anchor of an instance that its root keys have not opened yet.
    pub(crate) fn pending_anchor(&self) -> PathBuf {
        self.0.join("anchor.pending.json")
    }
    pub(crate) fn tls_certificate(&self) -> PathBuf {
        self.0.join("tls.der")
    }
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("registry.toml")
    }
}

pub(crate) fn label(text: &str) -> Result<KeyLabel, RegistryError> {
    Ok(KeyLabel::new(text)?)
}

/// The folder, open and locked, with its keys and its journal.
pub(crate) struct Opened {
    pub(crate) places: Places,
    pub(crate) keys: Arc<FileKeyStore>,
    pub(crate) log: Arc<dyn DecisionLog>,
    pub(crate) parts: Arc<Shelf>,
    pub(crate) passphrase: Passphrase,
    pub(crate) folder: DataFolder,
}

/// Opens folder, keys and journal; blocks on disk and key derivation.
pub(crate) fn open(data: &Path, passphrase: &Passphrase) -> Result<Opened, RegistryError> {
    let places = Places(data.to_owned());
    let folder = DataFolder::open_as(data, KIND)?;
    let keys = Arc::new(FileKeyStore::open(&places.keys(), passphrase)?);
    let secret = SecretStore::new(&places.keys(), passphrase).secret(&label("journal")?)?;
    let key = RecordKey::new("registry-1", secret);
    let log: Arc<dyn DecisionLog> =
        Arc::new(DecisionJournal::open(data, "decisions", Arc::new(OneKey(key)))?);
    let parts = Arc::new(Shelf(DirectoryFolder::open(&places.directory())?));
    Ok(Opened { places, keys, log, parts, passphrase: passphrase.clone(), folder })
}

/// Every decision with the chain computed anew; takes no lock.
pub(crate) fn audit(
    data: &Path,
    passphrase: &Passphrase,
) -> Result<Vec<truc_stores::Audited>, RegistryError> {
    let places = Places(data.to_owned());
    let secret = SecretStore::new(&places.keys(), passphrase).secret(&label("journal")?)?;
    Ok(DecisionJournal::audit(data, "decisions", &OneKey(RecordKey::new("registry-1", secret)))?)
}

/// Makes the folder; refuses one that holds a registry.
pub(crate) fn create(data: &Path) -> Result<(Places, DataFolder), RegistryError> {
    let places = Places(data.to_owned());
    if places.anchor().exists() {
        return Err(RegistryError::Exists(data.to_owned()));
    }
    Ok((places, DataFolder::open_as(data, KIND)?))
}

/// The registry's journal has one key: everything in it is the registry's own.
struct OneKey(RecordKey);

impl RecordKeys for OneKey {
    fn record_key(&self, _owner: &MemberId) -> Option<RecordKey> {
        None
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        (id == self.0.id()).then(|| self.0.clone())
    }
    fn node_key(&self) -> RecordKey {
        self.0.clone()
    }
}

/// Parts and heads in the folder `directory/`.
pub(crate) struct Shelf(pub(crate) DirectoryFolder);

impl Shelf {
    async fn off_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DirectoryFolder) -> Result<T, FolderError> + Send + 'static,
    ) -> Result<T, PartStoreError> {
        let folder = self.0.clone();
        let done = spawn_blocking(move || work(&folder).map_err(|e| e.to_string())).await;
        done.map_err(|e| PartStoreError::Failed(e.to_string()))?.map_err(PartStoreError::Failed)
    }
}

#[async_trait]
impl PartStore for Shelf {
    async fn put(&self, bytes: Bytes) -> Result<Digest, PartStoreError> {
        self.off_runtime(move |folder| folder.put(&bytes)).await
    }
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, PartStoreError> {
        let digest = *digest;
        self.off_runtime(move |folder| folder.get(&digest)).await
    }
    async fn set_head(&self, signed_head: Bytes) -> Result<(), PartStoreError> {
        self.off_runtime(move |folder| folder.set_head(&signed_head)).await
    }
    async fn head(&self) -> Result<Option<Bytes>, PartStoreError> {
        self.off_runtime(DirectoryFolder::head).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_keeps_the_contract_of_a_part_store() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Shelf(DirectoryFolder::open(place.path()).unwrap());
        truc_governance::contract::part_store(&shelf).await.unwrap();
    }
}
