//! Signatures of a request.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_directory::Der;
use truc_keys::SignatureAlgorithm;

use super::base64_bytes;

/// Keeps a request's signature from ever being read as one over something else.
const DOMAIN: &[u8] = b"truc-management-1\0";

/// The text that every signature and MAC of a request is over.
pub fn signed_text(request: &[u8]) -> Bytes {
    Bytes::from([DOMAIN, request].concat())
}

/// As what a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigningRole {
    /// A registered TLS identity of the node.
    Node,
    /// A registered seal of a member.
    Member,
    /// The key of a certificate request in this request.
    NewKey,
    /// The log key in this request.
    LogKey,
}

/// One key's signature over [`signed_text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestSignature {
    /// As what it signs.
    pub role: SigningRole,
    /// Whose key it is: a node's or a member's id.
    pub holder: String,
    /// How.
    pub algorithm: SignatureAlgorithm,
    /// With [`SigningRole::Node`] and [`SigningRole::Member`]: the registered certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Der>,
    /// The value; ECDSA in DER.
    #[serde(with = "base64_bytes")]
    pub signature: Bytes,
}
