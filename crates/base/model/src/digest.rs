//! SHA-256 digests of things, and fingerprints of certificates.

use std::fmt;
use std::str::FromStr;

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

// Written out here because a directory's head has hundreds of them, and every node reads and writes them at every change.

/// Both digits of every byte.
const DIGITS: [[u8; 2]; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    table
};

/// The value of every digit; 255 for what is none.
const VALUES: [u8; 256] = {
    let mut table = [255; 256];
    let mut value = 0;
    while value < 16 {
        table[DIGITS[value][1] as usize] = value as u8;
        value += 1;
    }
    table
};

fn digits(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&DIGITS[usize::from(*byte)]);
    }
    out
}

fn bytes(text: &str) -> Result<[u8; 32], InvalidDigest> {
    let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| InvalidDigest)?;
    let (mut out, mut all) = ([0; 32], 0);
    for (byte, pair) in out.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    if all > 15 { Err(InvalidDigest) } else { Ok(out) }
}

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
                f.write_str(std::str::from_utf8(&digits(&self.0)).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigest;
            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                bytes(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(std::str::from_utf8(&digits(&self.0)).unwrap_or_default())
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
