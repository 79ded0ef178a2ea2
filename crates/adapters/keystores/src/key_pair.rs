//! The four kinds of private key, as ring holds them. ring wipes no key on drop; the PKCS#8 bytes around it are wiped by this crate.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use truc_keys::{KeyKind, SignatureAlgorithm};
use zeroize::Zeroizing;

use crate::error::KeyStoreError;

pub(crate) enum KeyPair {
    EcP256(EcdsaKeyPair),
    EcP384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why one signature was not made.
pub(crate) enum SignFailure {
    WrongKind,
    Failed,
}

impl KeyPair {
    /// Loads a PKCS#8 key of any allowed kind; ring refuses RSA outside 2048–4096 bits.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyStoreError> {
        let random = SystemRandom::new();
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random) {
            return Ok(Self::EcP256(key));
        }
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der, &random) {
            return Ok(Self::EcP384(key));
        }
        // OpenSSL writes Ed25519 keys without the public half; "maybe unchecked" takes both forms.
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(key));
        }
        RsaKeyPair::from_pkcs8(der).map(Self::Rsa).map_err(|_| KeyStoreError::UnusableKey)
    }

    /// A fresh key as PKCS#8 DER.
    pub(crate) fn generate(kind: KeyKind) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let random = SystemRandom::new();
        let document = match kind {
            KeyKind::EcP256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random),
            KeyKind::EcP384 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random),
            KeyKind::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
            KeyKind::Rsa => return Err(KeyStoreError::RsaNotGenerated),
        };
        let document = document.map_err(|_| KeyStoreError::Crypto("key generation"))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    pub(crate) const fn kind(&self) -> KeyKind {
        match self {
            Self::EcP256(_) => KeyKind::EcP256,
            Self::EcP384(_) => KeyKind::EcP384,
            Self::Rsa(_) => KeyKind::Rsa,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The content of the SubjectPublicKeyInfo's bit string.
    pub(crate) fn public_key(&self) -> &[u8] {
        match self {
            Self::EcP256(key) | Self::EcP384(key) => key.public_key().as_ref(),
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
        }
    }

    pub(crate) fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignFailure> {
        use SignatureAlgorithm as A;
        let random = SystemRandom::new();
        match (self, algorithm) {
            (Self::EcP256(key), A::EcdsaP256Sha256) | (Self::EcP384(key), A::EcdsaP384Sha384) => {
                key.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| SignFailure::Failed)
            }
            (Self::Ed25519(key), A::Ed25519) => Ok(key.sign(message).as_ref().to_vec()),
            (Self::Rsa(key), A::RsaPkcs1Sha256) => rsa(key, &RSA_PKCS1_SHA256, message),
            (Self::Rsa(key), A::RsaPkcs1Sha384) => rsa(key, &RSA_PKCS1_SHA384, message),
            (Self::Rsa(key), A::RsaPkcs1Sha512) => rsa(key, &RSA_PKCS1_SHA512, message),
            (Self::Rsa(key), A::RsaPssSha256) => rsa(key, &RSA_PSS_SHA256, message),
            // P-384 with SHA-256 too: accepted from others, never made (protocol P2.2).
            _ => Err(SignFailure::WrongKind),
        }
    }
}

fn rsa(key: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, SignFailure> {
    let mut value = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut value).map_err(|_| SignFailure::Failed)?;
    Ok(value)
}
