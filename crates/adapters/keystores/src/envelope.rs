//! The file format: one JSON object, whose every field except the ciphertext is bound by the cipher as associated data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use truc_keys::{KeyKind, KeyLabel};
use zeroize::Zeroizing;

use crate::error::KeyStoreError;
use crate::files;

/// The only version there is.
pub(crate) const VERSION: u32 = 1;

/// What the ciphertext holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Content {
    EcP256,
    EcP384,
    Rsa,
    Ed25519,
    /// 32 random bytes, no key pair.
    Secret,
}

impl From<KeyKind> for Content {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcP256 => Self::EcP256,
            KeyKind::EcP384 => Self::EcP384,
            KeyKind::Rsa => Self::Rsa,
            KeyKind::Ed25519 => Self::Ed25519,
        }
    }
}

/// How the passphrase becomes a key (RFC 9106).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kdf {
    pub(crate) name: KdfName,
    /// Memory in KiB.
    pub(crate) m: u32,
    /// Passes.
    pub(crate) t: u32,
    /// Lanes.
    pub(crate) p: u32,
    /// 16 bytes, base64.
    pub(crate) salt: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KdfName {
    #[serde(rename = "argon2id")]
    Argon2id,
}

impl Kdf {
    /// OWASP's parameters for Argon2id (19 MiB, 2 passes, 1 lane), with a salt of this store's own.
    pub(crate) fn fresh() -> Result<Self, KeyStoreError> {
        let salt = STANDARD.encode(*files::random::<16>()?);
        Ok(Self { name: KdfName::Argon2id, m: 19_456, t: 2, p: 1, salt })
    }

    /// The salt, when every parameter is within what this program accepts: nothing weaker than it writes itself,
    /// nothing that would let a file eat the machine.
    pub(crate) fn checked_salt(&self) -> Result<[u8; 16], String> {
        if !(19_456..=1_048_576).contains(&self.m)
            || !(2..=16).contains(&self.t)
            || !(1..=8).contains(&self.p)
        {
            return Err("its kdf parameters are outside the accepted range".into());
        }
        decode(&self.salt)?.try_into().map_err(|_| "its salt is not 16 bytes".into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cipher {
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Envelope {
    v: u32,
    pub(crate) label: KeyLabel,
    pub(crate) kind: Content,
    pub(crate) kdf: Kdf,
    cipher: Cipher,
    nonce: String,
    /// Base64 of the content of the SubjectPublicKeyInfo's bit string; empty for a secret.
    public_key: String,
    ciphertext: String,
}

/// Read first, so that a file of a later version is named as such and not as malformed.
#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

impl Envelope {
    /// Reads a file's bytes; the sentence says what is wrong with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let version: VersionOnly = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if version.v != VERSION {
            return Err(format!("its version is {}, this program knows {VERSION}", version.v));
        }
        let envelope: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        envelope.kdf.checked_salt()?;
        envelope.nonce_bytes()?;
        decode(&envelope.public_key)?;
        decode(&envelope.ciphertext)?;
        Ok(envelope)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, KeyStoreError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|_| KeyStoreError::Crypto("encoding"))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Encrypts `plaintext` under a fresh nonce.
    pub(crate) fn seal(
        key: &[u8; 32],
        kdf: Kdf,
        label: &KeyLabel,
        kind: Content,
        public_key: &[u8],
        plaintext: &[u8],
    ) -> Result<Self, KeyStoreError> {
        let nonce = *files::random::<NONCE_LEN>()?;
        let mut envelope = Self {
            v: VERSION,
            label: label.clone(),
            kind,
            kdf,
            cipher: Cipher::Aes256Gcm,
            nonce: STANDARD.encode(nonce),
            public_key: STANDARD.encode(public_key),
            ciphertext: String::new(),
        };
        // Room for the tag beforehand: growing would leave a copy of the plaintext behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        buffer.extend_from_slice(plaintext);
        let aad = Aad::from(envelope.associated_data().ok_or(KeyStoreError::Crypto("encoding"))?);
        cipher_key(key)
            .and_then(|k| {
                k.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *buffer).ok()
            })
            .ok_or(KeyStoreError::Crypto("encryption"))?;
        envelope.ciphertext = STANDARD.encode(&*buffer);
        Ok(envelope)
    }

    /// Decrypts; `None` when the key is wrong or any field was changed.
    pub(crate) fn open(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = Nonce::assume_unique_for_key(self.nonce_bytes().ok()?);
        let mut buffer = Zeroizing::new(decode(&self.ciphertext).ok()?);
        let aad = Aad::from(self.associated_data()?);
        let length = cipher_key(key)?.open_in_place(nonce, aad, &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        decode(&self.public_key).unwrap_or_default()
    }

    /// The file without its ciphertext, as this program writes it compactly: field order is the struct's.
    fn associated_data(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&Self { ciphertext: String::new(), ..self.clone() }).ok()
    }

    fn nonce_bytes(&self) -> Result<[u8; NONCE_LEN], String> {
        decode(&self.nonce)?.try_into().map_err(|_| "its nonce is not 12 bytes".into())
    }
}

fn cipher_key(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| "a field is not base64".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parser_survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn what_is_sealed_opens_and_reads_back(key: [u8; 32], plain in prop::collection::vec(any::<u8>(), 0..300), public: [u8; 8]) {
            let label = KeyLabel::new("auth").unwrap();
            let sealed = Envelope::seal(&key, Kdf::fresh().unwrap(), &label, Content::Rsa, &public, &plain).unwrap();
            let read = Envelope::parse(&sealed.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(&read, &sealed);
            let opened = read.open(&key).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            prop_assert_eq!(read.public_key(), public);
        }

        #[test]
        fn a_changed_file_never_opens(position: prop::sample::Index, bit in 0u8..8) {
            let key = [7; 32];
            let label = KeyLabel::new("auth").unwrap();
            let sealed = Envelope::seal(&key, Kdf::fresh().unwrap(), &label, Content::EcP256, b"public", b"private").unwrap();
            let mut bytes = sealed.to_bytes().unwrap();
            let at = position.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let opened = Envelope::parse(&bytes).ok().and_then(|envelope| envelope.open(&key));
            prop_assert!(opened.is_none(), "byte {at} bit {bit}");
        }
    }
}
