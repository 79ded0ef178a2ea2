//! How documents of the directory are written and read: strict JSON with a version.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use truc_model::{Digest, Fingerprint};

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not JSON of the expected shape.
    #[error("{what} cannot be read: {why}")]
    Shape {
        /// Which document, e.g. `the anchor`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A version this software does not know; it is refused, not guessed.
    #[error("{what} has format version {found}; this version of truc knows 1 only, so upgrade it")]
    Version {
        /// Which document.
        what: &'static str,
        /// The version found.
        found: u64,
    },
}

impl FormatError {
    pub(crate) fn shape(what: &'static str, why: impl fmt::Display) -> Self {
        Self::Shape { what, why: why.to_string() }
    }
}

/// Reads one document: its version and its fields strictly.
///
/// # Errors
/// [`FormatError`]; `what` names the document in its sentence. A document of another version is told as that, whatever
/// else is wrong with it.
pub fn parse<'de, T: Deserialize<'de>>(what: &'static str, bytes: &'de [u8]) -> Result<T, FormatError> {
    #[derive(Deserialize)]
    struct Probe {
        v: u64,
    }
    serde_json::from_slice(bytes).map_err(|why| match serde_json::from_slice(bytes) {
        Ok(Probe { v }) if v != 1 => FormatError::Version { what, found: v },
        _ => FormatError::shape(what, why),
    })
}

/// Writes one document in its only form: compact JSON, fields in the order of the type.
pub fn encode<T: Serialize>(document: &T) -> Bytes {
    // Our documents have string keys and no failing Serialize, the two ways in which this could fail.
    Bytes::from(serde_json::to_vec(document).unwrap_or_default())
}

/// The format version 1, the only one there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if u64::deserialize(d)? == 1 {
            Ok(Self)
        } else {
            Err(D::Error::custom("only format version 1 is known"))
        }
    }
}

/// An Ed25519 public key (RFC 8032); written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Takes exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key's name in signatures: SHA-256 over its 32 bytes.
    pub fn id(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// Whether `signature` over `message` was made with this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // Same spelling rules as a digest: 64 lower-case hexadecimal digits.
        Ok(Self(Digest::deserialize(d)?.0))
    }
}

/// DER bytes, e.g. of a certificate; written in base64 (RFC 4648 section 4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Der(pub Bytes);

impl Der {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 over the bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

impl From<Vec<u8>> for Der {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({} bytes, {})", self.0.len(), self.fingerprint())
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        base64_text::serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        base64_text::deserialize(d).map(Self)
    }
}

/// Bytes as base64 text, for `#[serde(with)]`.
pub(crate) mod base64_text {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Bytes::from)
            .map_err(|_| D::Error::custom("not base64 (RFC 4648)"))
    }
}

/// Checks an address `host:port` as the directory writes it: a name, an IPv4 address or a bracketed IPv6 address,
/// and a port from 1.
///
/// # Errors
/// The sentence says what an address looks like.
pub fn check_address(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.[]:".contains(c);
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = !host.contains([':', '[', ']']);
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bracketed = inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        !host.is_empty()
            && host.len() <= 253
            && host.chars().all(allowed)
            && (plain || bracketed)
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|p| p != 0)
    });
    if good { Ok(()) } else { Err(format!("{text:?} is not an address like ss1.hanoi.gov.vn:5500")) }
}

#[cfg(test)]
mod tests {
    use super::check_address;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in
            ["ss1.hanoi.gov.vn:5500", "10.0.0.1:1", "[::1]:5500", "[2001:db8::1]:443", "[::ffff:10.0.0.1]:80"]
        {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "x",
            "x:0",
            ":80",
            "x:y",
            "x:+80",
            "::1:80",
            "[]:80",
            "[x]:80",
            "[1:2]:80",
            "[:]::1]:8",
            "[::1]]:8",
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
