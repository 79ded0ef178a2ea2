//! The port behind which private keys live.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{KeyKind, SignatureAlgorithm};

/// The name of a key within one node, e.g. `sign-VN-GOV-H26` or `auth`; 1–100 characters of `A-Za-z0-9.-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyLabel(String);

impl KeyLabel {
    /// Takes a label that is safe as a file name.
    ///
    /// # Errors
    /// The sentence says what a label looks like.
    pub fn new(text: &str) -> Result<Self, SignerError> {
        let good = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            && !text.starts_with('.');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(SignerError::BadLabel(text.chars().take(120).collect()))
        }
    }
    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyLabel {
    type Error = SignerError;
    fn try_from(text: String) -> Result<Self, SignerError> {
        Self::new(&text)
    }
}

impl From<KeyLabel> for String {
    fn from(label: KeyLabel) -> Self {
        label.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as its store shows it: never the private part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key's name.
    pub label: KeyLabel,
    /// What kind of key it is.
    pub kind: KeyKind,
    /// The content of the SubjectPublicKeyInfo's bit string (EC point, PKCS#1 RSAPublicKey, or 32 Ed25519 bytes).
    pub public_key: Vec<u8>,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// A label outside the rules.
    #[error("key label {0:?}: 1 to 100 characters of A-Z a-z 0-9 - . are allowed")]
    BadLabel(String),
    /// No such key in this store.
    #[error("no key named {0} in this key store")]
    UnknownKey(KeyLabel),
    /// The key exists but is not of the kind the algorithm needs.
    #[error("key {label} cannot sign with {algorithm:?}")]
    WrongKind {
        /// The key asked for.
        label: KeyLabel,
        /// The algorithm asked for.
        algorithm: SignatureAlgorithm,
    },
    /// More signatures are waiting than the store's queue holds.
    #[error("the signing queue is full")]
    Busy,
    /// The token is locked, gone or broken; the text is for the operator.
    #[error("the key store does not answer: {0}")]
    Unavailable(String),
}

/// Signs with keys that never leave their store. Adapters sign on a thread of their own, with a bounded queue;
/// dropping the future abandons the result, not the thread.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The keys of this store, in label order.
    fn keys(&self) -> Vec<KeyInfo>;

    /// Signs `message` (the store hashes it as the algorithm says). ECDSA values are DER-encoded.
    ///
    /// # Errors
    /// [`SignerError`]; nothing was signed.
    async fn sign(
        &self,
        label: &KeyLabel,
        algorithm: SignatureAlgorithm,
        message: Bytes,
    ) -> Result<Vec<u8>, SignerError>;

    /// The key named `label`, if this store has it.
    fn key(&self, label: &KeyLabel) -> Option<KeyInfo> {
        self.keys().into_iter().find(|info| &info.label == label)
    }
}
