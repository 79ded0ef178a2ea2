//! The secret that opens a store.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::KeyStoreError;
use crate::files;

const LIMIT: u64 = 1024;

/// Whether a secret file of this mode can be read by others than its owner.
///
/// A service manager's credentials (systemd's `LoadCredential=`) lie in a folder that nobody else can enter, `$CREDENTIALS_DIRECTORY`; they
/// are opened to the service by an access control list, which shows as a group's right to read, so that does not count there.
pub fn exposed(path: &Path, mode: u32) -> bool {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| !folder.is_empty() && path.parent() == Some(Path::new(&folder)));
    mode & if credential { 0o037 } else { 0o077 } != 0
}

/// The passphrase of a store; wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes a passphrase that is in memory already.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// Reads a file holding one line. One trailing newline (`\n` or `\r\n`) does not count.
    ///
    /// # Errors
    /// The file is missing, can be read by group or others ([`KeyStoreError::PassphraseExposed`]), or is not one line of text.
    pub fn from_file(path: &Path) -> Result<Self, KeyStoreError> {
        let io = |e| KeyStoreError::io(path, e);
        let file = std::fs::File::open(path).map_err(io)?;
        if exposed(path, file.metadata().map_err(io)?.permissions().mode()) {
            return Err(KeyStoreError::PassphraseExposed(path.to_owned()));
        }
        // Sized beforehand: growing would leave copies of the passphrase behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT as usize + 64));
        file.take(LIMIT + 3).read_to_end(&mut bytes).map_err(io)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        let line = !bytes.is_empty() && bytes.len() as u64 <= LIMIT && !bytes.contains(&b'\n');
        if !line || std::str::from_utf8(&bytes).is_err() {
            return Err(KeyStoreError::BadPassphrase(path.to_owned()));
        }
        Ok(Self(bytes))
    }

    /// Reads the file, or, when there is none, makes one (mode 0600) with a random passphrase of 256 bits.
    ///
    /// # Errors
    /// As [`Passphrase::from_file`], or the file cannot be written.
    pub fn from_file_or_create(path: &Path) -> Result<Self, KeyStoreError> {
        if !path.exists() {
            let mut text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*files::random::<32>()?));
            text.push('\n');
            // Someone else may have been faster; then theirs is read.
            files::create(path, text.as_bytes())?;
        }
        Self::from_file(path)
    }

    /// A key made from it with Argon2id (version 0x13, RFC 9106) for something that is no key store, such as a backup. Blocks.
    ///
    /// # Errors
    /// [`KeyStoreError::Crypto`] for parameters outside RFC 9106, or without the memory.
    pub fn stretch(
        &self,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: &[u8; 16],
    ) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        let failed = |_| KeyStoreError::Crypto("key derivation");
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&self.0, salt, key.as_mut())
            .map_err(failed)?;
        Ok(key)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
