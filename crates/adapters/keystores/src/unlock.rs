//! From passphrase to file keys: one Argon2id derivation per set of parameters, not per file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use truc_keys::KeyLabel;
use zeroize::Zeroizing;

use crate::envelope::{Content, Envelope, Kdf, VERSION};
use crate::error::KeyStoreError;
use crate::files;
use crate::passphrase::Passphrase;

/// `store.json`: the parameters new files of this store share.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreFile {
    v: u32,
    kdf: Kdf,
}

type FileKey = Zeroizing<[u8; 32]>;

/// A file and what its ciphertext held.
pub(crate) type Opened = (Envelope, Zeroizing<Vec<u8>>);

/// A folder and the passphrase that opens its files.
pub(crate) struct Unlock {
    dir: PathBuf,
    passphrase: Passphrase,
    derived: Mutex<Vec<(Kdf, FileKey)>>,
}

impl Unlock {
    pub(crate) fn new(dir: &Path, passphrase: &Passphrase) -> Self {
        Self { dir: dir.to_owned(), passphrase: passphrase.clone(), derived: Mutex::default() }
    }

    /// Opens one file and checks that it is the one its name says.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<Opened>, KeyStoreError> {
        let Some(bytes) = files::read(path)? else { return Ok(None) };
        let envelope = Envelope::parse(&bytes).map_err(|reason| format_error(path, reason))?;
        if path.file_stem().and_then(|s| s.to_str()) != Some(envelope.label.as_str()) {
            return Err(format_error(
                path,
                format!("it holds the key {}: the file was renamed", envelope.label),
            ));
        }
        let key = self.key(&envelope.kdf)?;
        let plaintext = envelope.open(&key).ok_or_else(|| KeyStoreError::NotOpened(path.to_owned()))?;
        Ok(Some((envelope, plaintext)))
    }

    /// Writes a new file; false when one of this name exists.
    pub(crate) fn create(
        &self,
        path: &Path,
        label: &KeyLabel,
        kind: Content,
        public_key: &[u8],
        plaintext: &[u8],
    ) -> Result<bool, KeyStoreError> {
        files::make_folder(&self.dir)?;
        let kdf = self.store_kdf()?;
        self.refuse_second_passphrase(&kdf)?;
        let key = self.key(&kdf)?;
        let envelope = Envelope::seal(&key, kdf, label, kind, public_key, plaintext)?;
        files::create(path, &envelope.to_bytes()?)
    }

    /// All files of a store open with one passphrase: a new file under another one would make the store unopenable.
    fn refuse_second_passphrase(&self, kdf: &Kdf) -> Result<(), KeyStoreError> {
        if self.derived.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(k, _)| k == kdf) {
            return Ok(());
        }
        for extension in ["key", "secret"] {
            if let Some(first) = files::list(&self.dir, extension)?.first() {
                self.open(first)?;
            }
        }
        Ok(())
    }

    fn store_kdf(&self) -> Result<Kdf, KeyStoreError> {
        let path = self.dir.join("store.json");
        if !path.exists() {
            let file = StoreFile { v: VERSION, kdf: Kdf::fresh()? };
            let bytes = serde_json::to_vec_pretty(&file).map_err(|_| KeyStoreError::Crypto("encoding"))?;
            // Someone else may have been faster; then theirs is read.
            files::create(&path, &bytes)?;
        }
        let bytes = files::read(&path)?.unwrap_or_default();
        let file: StoreFile =
            serde_json::from_slice(&bytes).map_err(|e| format_error(&path, e.to_string()))?;
        if file.v != VERSION {
            return Err(format_error(&path, format!("its version is {}", file.v)));
        }
        file.kdf.checked_salt().map_err(|reason| format_error(&path, reason))?;
        Ok(file.kdf)
    }

    fn key(&self, kdf: &Kdf) -> Result<FileKey, KeyStoreError> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = derived.iter().find(|(k, _)| k == kdf) {
            return Ok(key.clone());
        }
        let salt = kdf.checked_salt().map_err(|reason| format_error(&self.dir, reason))?;
        let key = self.passphrase.stretch(kdf.m, kdf.t, kdf.p, &salt)?;
        derived.push((kdf.clone(), key.clone()));
        Ok(key)
    }
}

pub(crate) fn format_error(path: &Path, reason: String) -> KeyStoreError {
    KeyStoreError::Format { path: path.to_owned(), reason }
}
