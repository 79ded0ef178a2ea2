//! Root documents and what a threshold of root keys signs (protocol P6.1).

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{Digest, Timestamp};

use crate::anchor::check_threshold;
use crate::format::{FormatError, PublicKey, V1, base64_text, encode, parse};
use crate::{Anchor, DirectoryError};

/// A document with the signatures of root keys. The signatures are over `payload` exactly as it stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endorsed {
    /// Format version.
    pub v: V1,
    /// The signed bytes: a [`Root`] or a [`crate::TrustServices`].
    #[serde(with = "base64_text")]
    pub payload: Bytes,
    /// Signatures, one per key.
    pub signatures: Vec<Endorsement>,
}

/// One root key's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endorsement {
    /// [`PublicKey::id`] of the signing key.
    pub key: Digest,
    /// The Ed25519 signature.
    #[serde(with = "base64_text")]
    pub signature: Bytes,
}

impl Endorsed {
    /// Reads the envelope; its signatures are not checked yet.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        parse("a document signed by root keys", bytes)
    }

    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Whether at least `threshold` distinct keys of `keys` signed the payload.
    pub fn meets(&self, threshold: u32, keys: &[PublicKey]) -> bool {
        let signed: BTreeSet<&PublicKey> = keys
            .iter()
            .filter(|key| {
                let id = key.id();
                self.signatures.iter().any(|s| s.key == id && key.verify(&self.payload, &s.signature))
            })
            .collect();
        usize::try_from(threshold).is_ok_and(|k| k >= 1 && signed.len() >= k)
    }
}

/// A root version: which keys are root keys from here on, and which keys may publish heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Root {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// 1, 2, 3 … without gaps.
    pub version: u64,
    /// The epoch that heads under this root carry. A restored registry opens a higher one.
    pub epoch: u64,
    /// How many root keys must sign.
    pub threshold: u32,
    /// The root keys.
    pub root_keys: Vec<PublicKey>,
    /// The keys that may sign heads.
    pub publishing_keys: Vec<PublicKey>,
    /// When it was made.
    pub issued: Timestamp,
}

impl Root {
    /// Reads a root payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let root: Self = parse("a root document", bytes)?;
        check_threshold(root.threshold, &root.root_keys)
            .map_err(|why| FormatError::shape("a root document", why))?;
        if root.publishing_keys.is_empty() {
            return Err(FormatError::shape("a root document", "it names no publishing key"));
        }
        Ok(root)
    }

    /// The payload to sign.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}

/// Whether two chains are the same as far as both reach, by what was signed (who signed may differ). Root keys that were replaced because they were lost could otherwise sign another root in the place of the one that replaced them.
pub fn roots_agree(before: &[Bytes], after: &[Bytes]) -> bool {
    let payload = |bytes: &Bytes| Endorsed::parse(bytes).map(|e| e.payload).ok();
    let same = |(a, b): (&Bytes, &Bytes)| a == b || payload(a).is_some_and(|p| Some(p) == payload(b));
    before.iter().zip(after).all(same)
}

/// Follows the chain from the anchor: root 1 is signed by the anchor's threshold and its own, every later one by the
/// threshold before it and its own. Returns the last.
///
/// # Errors
/// [`DirectoryError`] when the chain is empty, has a gap, a wrong instance or epoch, or a signature short.
pub fn verify_root_chain(anchor: &Anchor, chain: &[Bytes]) -> Result<Root, DirectoryError> {
    let mut last: Option<Root> = None;
    for (expected, bytes) in (1u64..).zip(chain) {
        let envelope = Endorsed::parse(bytes)?;
        let root = Root::parse(&envelope.payload)?;
        let (threshold, keys, epoch) = match &last {
            None => (anchor.threshold, &anchor.root_keys, 0),
            Some(before) => (before.threshold, &before.root_keys, before.epoch),
        };
        if !envelope.meets(threshold, keys) || !envelope.meets(root.threshold, &root.root_keys) {
            return Err(DirectoryError::RootSignature { version: expected });
        }
        if root.instance != anchor.instance {
            return Err(DirectoryError::instance(&anchor.instance, &root.instance, "a root document"));
        }
        if root.version != expected || root.epoch < epoch {
            return Err(DirectoryError::RootOrder { expected, found: root.version, epoch: root.epoch });
        }
        last = Some(root);
    }
    let root = last.ok_or(DirectoryError::NoRoot)?;
    if anchor.epoch.is_some_and(|lowest| root.epoch < lowest) {
        return Err(DirectoryError::Epoch { expected: anchor.epoch.unwrap_or_default(), found: root.epoch });
    }
    Ok(root)
}
