//! Private keys and at-rest secrets kept in encrypted files, behind the [`truc_keys::Signer`] port.
//!
//! A store is one folder: `store.json` holds the key-derivation parameters (one Argon2id derivation opens every file),
//! `<label>.key` one encrypted PKCS#8 key, `<label>.secret` one encrypted 32-byte secret. The format of a file is described at the
//! golden file in `tests/golden`.
//!
//! This crate must not write a private key or a passphrase anywhere in the clear, log one, or decide what is signed.

mod envelope;
mod error;
mod file_key_store;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod key_pair;
mod passphrase;
mod secret_store;
mod unlock;

pub use error::KeyStoreError;
pub use file_key_store::FileKeyStore;
pub use passphrase::{Passphrase, exposed};
pub use secret_store::SecretStore;
