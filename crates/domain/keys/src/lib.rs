//! Keys and what they may do: algorithms, key names, and the [`Signer`] port.
//!
//! This crate must not hold a private key, touch a file or know a token's driver: that is what adapters behind
//! [`Signer`] are for (`truc-keystores`).

mod algorithm;
pub mod contract;
mod signer;

pub use algorithm::{KeyKind, SignatureAlgorithm};
pub use signer::{KeyInfo, KeyLabel, Signer, SignerError};
