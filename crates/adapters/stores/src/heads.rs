//! Heads of other logs as files: one a log, replaced whole and durably at each change.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use truc_log::{HeadStore, HeadStoreError, LogView, NewHead, Noted, log_of, take_in};
use truc_model::{Digest, NodeId};

use crate::files::{make_folder, sync_folder};

/// Longest file that is read: far more than 400 days and 16 alarms of the longest heads.
const FILE_LIMIT: u64 = 8 << 20;

/// The heads in one folder, `heads/` of a data folder. A file is named by the SHA-256 of its log's origin, since ids may be longer than file
/// names, and holds one [`LogView`] as JSON.
#[derive(Debug, Clone)]
pub struct HeadFolder {
    folder: Arc<PathBuf>,
    /// Who changes a file holds it from reading to renaming.
    logs: Arc<Mutex<BTreeSet<String>>>,
}

impl HeadFolder {
    /// Opens the folder, made when there is none, and reads what logs it holds. Blocks.
    ///
    /// # Errors
    /// [`HeadStoreError::Failed`] with the file that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, HeadStoreError> {
        make_folder(folder).map_err(|e| HeadStoreError::Failed(e.to_string()))?;
        let mut logs = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, e))? {
            let path = entry.map_err(|e| failed(folder, e))?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => drop(logs.insert(load(&path)?.log)),
                // Left by a crash before it was renamed: it never counted.
                Some("tmp") => std::fs::remove_file(&path).map_err(|e| failed(&path, e))?,
                _ => {}
            }
        }
        Ok(Self { folder: Arc::new(folder.to_owned()), logs: Arc::new(Mutex::new(logs)) })
    }

    fn logs(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, log: &str) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(log.as_bytes())))
    }

    fn held(&self, logs: &BTreeSet<String>, log: &str) -> Result<Option<LogView>, HeadStoreError> {
        if !logs.contains(log) {
            return Ok(None);
        }
        let path = self.path(log);
        let view = load(&path)?;
        if view.log == log { Ok(Some(view)) } else { Err(failed(&path, "it holds another log")) }
    }

    fn take(&self, new: &NewHead) -> Result<Noted, HeadStoreError> {
        let mut logs = self.logs();
        let log = &new.head.checkpoint().origin;
        let (noted, changed) = take_in(self.held(&logs, log)?, new, |node| of(&logs, Some(node)).len())?;
        if let Some(view) = changed {
            save(&self.path(log), &view)?;
            logs.insert(view.log);
        }
        Ok(noted)
    }
}

fn of(logs: &BTreeSet<String>, node: Option<&NodeId>) -> Vec<String> {
    let is_of = |log: &&String| node.is_none_or(|node| log_of(log).is_some_and(|(id, _)| id == *node));
    logs.iter().filter(is_of).cloned().collect()
}

fn failed(path: &Path, why: impl std::fmt::Display) -> HeadStoreError {
    HeadStoreError::Failed(format!("{}: {why}", path.display()))
}

fn load(path: &Path) -> Result<LogView, HeadStoreError> {
    let length = std::fs::metadata(path).map_err(|e| failed(path, e))?.len();
    if length > FILE_LIMIT {
        return Err(failed(path, "longer than the heads of any log"));
    }
    let bytes = crate::files::read_plain(path).map_err(|e| failed(path, e))?;
    let view: LogView = serde_json::from_slice(&bytes).map_err(|e| failed(path, e))?;
    if view.v == 1 { Ok(view) } else { Err(failed(path, format!("of format {}", view.v))) }
}

fn save(path: &Path, view: &LogView) -> Result<(), HeadStoreError> {
    let bytes = serde_json::to_vec(view).map_err(|e| failed(path, e))?;
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    written.map_err(|e| failed(path, e))?;
    path.parent().map_or(Ok(()), sync_folder).map_err(|e| HeadStoreError::Failed(e.to_string()))
}

async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HeadStoreError> + Send + 'static,
) -> Result<T, HeadStoreError> {
    spawn_blocking(work).await.map_err(|e| HeadStoreError::Failed(e.to_string()))?
}

#[async_trait]
impl HeadStore for HeadFolder {
    async fn note(&self, new: NewHead) -> Result<Noted, HeadStoreError> {
        let own = self.clone();
        apart(move || own.take(&new)).await
    }

    async fn view(&self, log: &str) -> Result<Option<LogView>, HeadStoreError> {
        let (own, log) = (self.clone(), log.to_owned());
        apart(move || own.held(&own.logs(), &log)).await
    }

    async fn logs(&self, node: Option<&NodeId>) -> Result<Vec<String>, HeadStoreError> {
        Ok(of(&self.logs(), node))
    }
}

#[cfg(test)]
mod tests {
    use truc_keys::{KeyInfo, KeyKind, KeyLabel, SignatureAlgorithm, Signer, SignerError};

    use super::*;

    /// One Ed25519 key.
    struct OneKey(ring::signature::Ed25519KeyPair);

    #[async_trait]
    impl Signer for OneKey {
        fn keys(&self) -> Vec<KeyInfo> {
            use ring::signature::KeyPair as _;
            let public_key = self.0.public_key().as_ref().to_vec();
            vec![KeyInfo { label: KeyLabel::new("log").unwrap(), kind: KeyKind::Ed25519, public_key }]
        }
        async fn sign(
            &self,
            _: &KeyLabel,
            _: SignatureAlgorithm,
            message: bytes::Bytes,
        ) -> Result<Vec<u8>, SignerError> {
            Ok(self.0.sign(&message).as_ref().to_vec())
        }
    }

    #[tokio::test]
    async fn keeps_the_contract_and_what_it_holds() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("heads");
        let signer = OneKey(ring::signature::Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap());
        truc_log::contract::head_store(&HeadFolder::open(&folder).unwrap(), &signer).await.unwrap();
        std::fs::write(folder.join("torn.tmp"), b"{\"v\":1").unwrap();
        truc_log::contract::head_store_reopened(&HeadFolder::open(&folder).unwrap()).await.unwrap();
        assert!(!folder.join("torn.tmp").exists());
        let other = HeadFolder::open(&place.path().join("others")).unwrap();
        truc_log::contract::head_store_chains(&other, &signer).await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_and_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("00.json");
        std::fs::write(&path, b"{\"v\":1}").unwrap();
        let told = HeadFolder::open(place.path()).unwrap_err().to_string();
        assert!(told.contains("00.json"), "{told}");
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"v\":1}");
    }
}
