//! The anchor: the small file by which a node first trusts a registry (protocol P6.1).

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::Fingerprint;

use crate::format::{FormatError, PublicKey, V1, check_address, parse};

/// The instance of `certs-example/`. No bus has this name: the root key of that anchor lies open in the repository.
pub const EXAMPLE_INSTANCE: &str = "EXAMPLE";

/// The anchor of one instance. It reaches a node by hand, so it is all that a node believes without a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Anchor {
    /// Format version.
    pub v: V1,
    /// The instance code, e.g. `VN`.
    pub instance: String,
    /// The lowest epoch to accept; given when a restored registry hands out a new anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many root keys must sign (k of n).
    pub threshold: u32,
    /// The root keys.
    pub root_keys: Vec<PublicKey>,
    /// Where the registry answers.
    pub registry: Vec<RegistryAddress>,
}

/// One address of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RegistryAddress {
    /// `host:port` of the registry's gRPC door.
    pub address: String,
    /// SHA-256 over the DER of the TLS certificate it shows.
    pub tls_certificate: Fingerprint,
}

impl Anchor {
    /// Reads an anchor file.
    ///
    /// # Errors
    /// [`FormatError`] when the file is not an anchor of version 1, the threshold cannot be met, a key is named
    /// twice, or an address is not `host:port`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let anchor: Self = parse("the anchor", bytes)?;
        anchor.check().map_err(|why| FormatError::shape("the anchor", why))?;
        Ok(anchor)
    }

    /// The anchor file's text, indented for people.
    pub fn to_json(&self) -> Bytes {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    }

    fn check(&self) -> Result<(), String> {
        if self.instance.is_empty() {
            return Err("the instance code is empty".into());
        }
        if self.instance == EXAMPLE_INSTANCE {
            return Err("tệp neo ví dụ của certs-example, ai cũng có khoá gốc của nó: không bao giờ được tin cậy / \
                        this is the example anchor of certs-example, whose root key is public: never to be trusted; \
                        take the anchor that your registry's operator gives out"
                .into());
        }
        check_threshold(self.threshold, &self.root_keys)?;
        if self.registry.is_empty() {
            return Err("it names no address of the registry".into());
        }
        self.registry.iter().try_for_each(|r| check_address(&r.address))
    }
}

/// A threshold that can be met by distinct keys.
pub(crate) fn check_threshold(threshold: u32, keys: &[PublicKey]) -> Result<(), String> {
    if keys.iter().collect::<BTreeSet<_>>().len() != keys.len() {
        return Err("a root key is named twice".into());
    }
    match usize::try_from(threshold) {
        Ok(k) if k >= 1 && k <= keys.len() => Ok(()),
        _ => Err(format!("a threshold of {threshold} cannot be met by {} root keys", keys.len())),
    }
}
