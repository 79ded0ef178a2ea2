//! Why a key store could not be opened or extended.

use std::path::PathBuf;

use truc_keys::{KeyLabel, SignerError};

/// Why a key store could not be opened or extended; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The passphrase file can be read by other users.
    #[error("{0} can be read by other users: run chmod 600 {0}")]
    PassphraseExposed(PathBuf),
    /// A passphrase is one non-empty line of text of at most 1024 bytes.
    #[error("{0} does not hold a passphrase: write one line of UTF-8 text of 1 to 1024 bytes into it")]
    BadPassphrase(PathBuf),
    /// The passphrase is wrong, or the file was changed after it was written; the two cannot be told apart.
    #[error(
        "{0} does not open: the passphrase is wrong, or the file was changed since it was written; restore it from a backup"
    )]
    NotOpened(PathBuf),
    /// The file is no key file of a version this program knows.
    #[error(
        "{path} is not a key file this program can read ({reason}); use the program version that wrote it, or restore it from a backup"
    )]
    Format {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of this name is there already; keys are never overwritten.
    #[error(
        "a key named {0} exists already in this store: choose another label, or move the old file away first"
    )]
    Exists(KeyLabel),
    /// The label is not allowed.
    #[error(transparent)]
    Label(#[from] SignerError),
    /// RSA keys are made elsewhere.
    #[error(
        "RSA keys cannot be generated here: make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 | openssl pkcs8 -topk8 -nocrypt -outform DER` and import it"
    )]
    RsaNotGenerated,
    /// The imported key is of no kind Trục uses.
    #[error(
        "this is not a private key Trục can use: PKCS#8 DER of P-256, P-384, Ed25519 or RSA with 2048 to 4096 bits is needed, unencrypted"
    )]
    UnusableKey,
    /// Random numbers, key derivation or encryption failed; never seen in practice.
    #[error(
        "the cryptographic library failed ({0}): check memory limits and the operating system's random source"
    )]
    Crypto(&'static str),
}

impl KeyStoreError {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
