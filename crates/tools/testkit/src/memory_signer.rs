//! Keys in memory: the [`Signer`] of tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use truc_keys::{KeyInfo, KeyKind, KeyLabel, SignatureAlgorithm, Signer, SignerError};

/// A fresh key pair, for certificates, TLS and [`MemorySigner`].
pub struct TestKey {
    kind: KeyKind,
    pair: KeyPair,
}

impl TestKey {
    /// A new key: P-256, P-384 or Ed25519.
    pub fn generate(kind: KeyKind) -> Self {
        let algorithm = match kind {
            KeyKind::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa => panic!("RSA keys are not made here"),
        };
        Self { kind, pair: KeyPair::generate_for(algorithm).unwrap() }
    }
    /// What kind of key it is.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }
    /// The private key as PKCS#8.
    pub fn pkcs8(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }
    pub(crate) const fn pair(&self) -> &KeyPair {
        &self.pair
    }
    pub(crate) fn into_pair(self) -> KeyPair {
        self.pair
    }
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

struct Held {
    info: KeyInfo,
    pair: Pair,
}

/// Signs with keys held in memory.
#[derive(Default)]
pub struct MemorySigner {
    keys: BTreeMap<KeyLabel, Held>,
    down: AtomicBool,
}

impl MemorySigner {
    /// Takes a key under `label`; the label as the store knows it.
    pub fn add(&mut self, label: &str, key: &TestKey) -> KeyLabel {
        let label = KeyLabel::new(label).unwrap();
        let (pkcs8, random) = (key.pkcs8(), SystemRandom::new());
        let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).unwrap();
        let pair = match key.kind() {
            KeyKind::EcP256 => Pair::Ec(ec(&ECDSA_P256_SHA256_ASN1_SIGNING)),
            KeyKind::EcP384 => Pair::Ec(ec(&ECDSA_P384_SHA384_ASN1_SIGNING)),
            _ => Pair::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).unwrap()),
        };
        let public_key = match &pair {
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        };
        let info = KeyInfo { label: label.clone(), kind: key.kind(), public_key };
        self.keys.insert(label.clone(), Held { info, pair });
        label
    }

    /// From now on (or no longer) the token does not answer.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

#[async_trait]
impl Signer for MemorySigner {
    fn keys(&self) -> Vec<KeyInfo> {
        self.keys.values().map(|held| held.info.clone()).collect()
    }

    async fn sign(
        &self,
        label: &KeyLabel,
        algorithm: SignatureAlgorithm,
        message: Bytes,
    ) -> Result<Vec<u8>, SignerError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(SignerError::Unavailable("switched off by the test".into()));
        }
        let held = self.keys.get(label).ok_or_else(|| SignerError::UnknownKey(label.clone()))?;
        if algorithm != held.info.kind.default_algorithm() {
            return Err(SignerError::WrongKind { label: label.clone(), algorithm });
        }
        match &held.pair {
            Pair::Ec(pair) => {
                let value = pair.sign(&SystemRandom::new(), &message);
                value.map(|v| v.as_ref().to_vec()).map_err(|e| SignerError::Unavailable(e.to_string()))
            }
            Pair::Ed(pair) => Ok(pair.sign(&message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let mut signer = MemorySigner::default();
        for (label, kind) in [("c", KeyKind::EcP256), ("a", KeyKind::EcP384), ("b", KeyKind::Ed25519)] {
            signer.add(label, &TestKey::generate(kind));
        }
        truc_keys::contract::signer(&signer).await.unwrap();
    }
}
