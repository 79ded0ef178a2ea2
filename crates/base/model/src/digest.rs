//! SHA-256 digests of things, and fingerprints of certificates.

use std::fmt;
use std::str::FromStr;

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

macro_rules! digest_type {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// SHA-256 over `bytes` (FIPS 180-4).
            pub fn of(bytes: &[u8]) -> Self {
                let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
                let mut out = [0; 32];
                out.copy_from_slice(digest.as_ref());
                Self(out)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Takes exactly 32 bytes; anything else is `None`.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigest;
            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(InvalidDigest);
                }
                let mut out = [0; 32];
                hex::decode_to_slice(text, &mut out).map_err(|_| InvalidDigest)?;
                Ok(Self(out))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// SHA-256 over bytes that come piece by piece (FIPS 180-4).
#[derive(Clone)]
pub struct Digester {
    context: ring::digest::Context,
    length: u64,
}

impl Default for Digester {
    fn default() -> Self {
        Self { context: ring::digest::Context::new(&ring::digest::SHA256), length: 0 }
    }
}

impl Digester {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
        self.length += piece.len() as u64;
    }
    /// Bytes taken so far.
    pub const fn length(&self) -> u64 {
        self.length
    }
    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        let mut out = [0; 32];
        out.copy_from_slice(self.context.finish().as_ref());
        Digest(out)
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digester({} bytes)", self.length)
    }
}

digest_type!(Digest, "A SHA-256 digest; written as 64 lower-case hexadecimal digits.");
digest_type!(
    Fingerprint,
    "SHA-256 over the DER of a certificate; written as 64 lower-case hexadecimal digits."
);
