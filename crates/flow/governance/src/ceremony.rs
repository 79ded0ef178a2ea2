//! What the offline root keys do: sign roots and trust-service lists that were drafted here.
//!
//! Two steps, so that the keys can stay on another machine: draft → payload bytes; endorse → bytes with signatures;
//! the result comes back as a [`crate::Command`].

use bytes::Bytes;
use truc_directory::{
    ApprovedAuthority, Endorsed, Endorsement, PublicKey, Root, TimestampAuthority, TrustServices, V1,
};
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer, SignerError};
use truc_model::Timestamp;

use crate::GovernanceError;

/// A change to the list of trust services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustChange {
    /// Approves a CA.
    AddAuthority(ApprovedAuthority),
    /// Approves a TSA.
    AddTimestampAuthority(TimestampAuthority),
    /// Withdraws the CA or TSA of this name.
    Remove(String),
}

/// The list after `change`, for the root keys to sign.
///
/// # Errors
/// [`GovernanceError::Duplicate`] or [`GovernanceError::NotRegistered`].
pub fn draft_trust_services(
    current: &TrustServices,
    change: TrustChange,
) -> Result<TrustServices, GovernanceError> {
    let mut next = current.clone();
    next.version = current.version.saturating_add(1);
    let name = match &change {
        TrustChange::AddAuthority(a) => a.name.clone(),
        TrustChange::AddTimestampAuthority(t) => t.name.clone(),
        TrustChange::Remove(name) => name.clone(),
    };
    let known = current.authorities.iter().any(|a| a.name == name)
        || current.timestamp_authorities.iter().any(|t| t.name == name);
    match change {
        TrustChange::Remove(_) if known => {
            next.authorities.retain(|a| a.name != name);
            next.timestamp_authorities.retain(|t| t.name != name);
        }
        TrustChange::Remove(_) => return Err(GovernanceError::NotRegistered(name)),
        _ if known => return Err(GovernanceError::Duplicate(name)),
        TrustChange::AddAuthority(authority) => next.authorities.push(authority),
        TrustChange::AddTimestampAuthority(authority) => next.timestamp_authorities.push(authority),
    }
    Ok(next)
}

/// The first root of an instance.
pub fn first_root(
    instance: &str,
    threshold: u32,
    root_keys: Vec<PublicKey>,
    publishing_keys: Vec<PublicKey>,
    issued: Timestamp,
) -> Root {
    Root {
        v: V1,
        instance: instance.to_owned(),
        version: 1,
        epoch: 1,
        threshold,
        root_keys,
        publishing_keys,
        issued,
    }
}

/// Signs `payload` with root keys.
///
/// # Errors
/// [`SignerError`] when a key is not there, is no Ed25519 key or does not answer.
pub async fn endorse(payload: Bytes, keys: &[(&dyn Signer, KeyLabel)]) -> Result<Endorsed, SignerError> {
    let mut signatures = Vec::with_capacity(keys.len());
    for (signer, label) in keys {
        let key = public_key(*signer, label)?;
        let signature = signer.sign(label, SignatureAlgorithm::Ed25519, payload.clone()).await?;
        signatures.push(Endorsement { key: key.id(), signature: Bytes::from(signature) });
    }
    Ok(Endorsed { v: V1, payload, signatures })
}

/// The Ed25519 key behind a label.
pub(crate) fn public_key(signer: &dyn Signer, label: &KeyLabel) -> Result<PublicKey, SignerError> {
    let info = signer.key(label).ok_or_else(|| SignerError::UnknownKey(label.clone()))?;
    PublicKey::from_slice(&info.public_key)
        .ok_or(SignerError::WrongKind { label: label.clone(), algorithm: SignatureAlgorithm::Ed25519 })
}
