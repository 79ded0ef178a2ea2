//! Random secrets for data at rest, in the same files as keys.

use std::fmt;
use std::path::Path;

use truc_keys::KeyLabel;
use zeroize::Zeroizing;

use crate::envelope::Content;
use crate::error::KeyStoreError;
use crate::files;
use crate::passphrase::Passphrase;
use crate::unlock::{Unlock, format_error};

/// 32-byte secrets: the evidence encryption key of a member, the key of the search index's hashes (protocol P5.1).
pub struct SecretStore {
    unlock: Unlock,
    dir: std::path::PathBuf,
}

impl SecretStore {
    /// Names the folder and the passphrase; nothing is read yet. May be the folder of a [`crate::FileKeyStore`] with the same passphrase.
    pub fn new(dir: &Path, passphrase: &Passphrase) -> Self {
        Self { unlock: Unlock::new(dir, passphrase), dir: dir.to_owned() }
    }

    /// The secret of this name; made at random and written durably the first time. Blocks on disk and, once, on key derivation.
    ///
    /// # Errors
    /// The passphrase is not the store's, the file was changed, or the disk refuses.
    pub fn secret(&self, label: &KeyLabel) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        let path = self.dir.join(format!("{label}.secret"));
        if !path.exists() {
            let fresh = files::random::<32>()?;
            // False means that another process was faster: its secret is the one that counts.
            self.unlock.create(&path, label, Content::Secret, &[], fresh.as_ref())?;
        }
        let opened = self.unlock.open(&path)?;
        let (envelope, plaintext) =
            opened.ok_or_else(|| KeyStoreError::io(&path, std::io::ErrorKind::NotFound.into()))?;
        let secret: Option<[u8; 32]> = plaintext.as_slice().try_into().ok();
        match secret {
            Some(secret) if envelope.kind == Content::Secret => Ok(Zeroizing::new(secret)),
            _ => Err(format_error(&path, "it does not hold a secret".into())),
        }
    }
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}
