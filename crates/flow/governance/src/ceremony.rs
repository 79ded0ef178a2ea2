//! What the offline root keys do: sign roots and trust-service lists that were drafted here.
//!
//! Two steps, so that the keys can stay on another machine: a [`Draft`] is made here, carried to the keys, signed there and
//! carried back, where it becomes a [`crate::Command`]. A pilot whose root key is at hand does both at once with [`endorse`].

mod draft;

use bytes::Bytes;
use truc_directory::{
    ApprovedAuthority, Endorsed, Endorsement, PublicKey, Root, TimestampAuthority, TrustServices, V1,
};
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer, SignerError};
use truc_model::Timestamp;

use crate::GovernanceError;

pub use draft::{Draft, Needed, shortfall};

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

/// The draft by which an instance is opened whose root keys are elsewhere.
pub fn draft_first_root(root: &Root) -> Draft {
    let trust = TrustServices { version: 1, ..TrustServices::empty(&root.instance) };
    Draft {
        v: V1,
        instance: root.instance.clone(),
        current: None,
        root: Some(unsigned(root.to_bytes())),
        trust: Some(unsigned(trust.to_bytes())),
    }
}

/// The draft of a changed trust-service list.
///
/// # Errors
/// As [`draft_trust_services`].
pub fn draft_trust_change(
    root: &Root,
    current: &TrustServices,
    change: TrustChange,
) -> Result<Draft, GovernanceError> {
    let next = draft_trust_services(current, change)?;
    Ok(Draft {
        v: V1,
        instance: root.instance.clone(),
        current: Some(root.clone()),
        root: None,
        trust: Some(unsigned(next.to_bytes())),
    })
}

/// What a new root version is to change; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootChange {
    /// The publishing keys from here on, the one that signs last.
    pub publishing_keys: Option<Vec<PublicKey>>,
    /// The threshold and the root keys from here on.
    pub root_keys: Option<(u32, Vec<PublicKey>)>,
    /// Opens a new epoch.
    pub new_epoch: Option<NewEpoch>,
}

/// A new epoch: the registry lost decisions that nodes have seen (protocol P6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEpoch {
    /// Epoch of the highest head that any node reports.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
    /// How many decisions the registry still has.
    pub decisions: u64,
}

/// The draft of the next root version.
///
/// The trust-service list comes along, under a higher number, when the root keys change and when an epoch is opened: each lost
/// decision may have raised its number by one, and nodes never go back behind a number they have seen.
///
/// # Errors
/// [`GovernanceError::Invalid`] when nothing changes, or when nodes report an epoch that this registry has not come to: then roots were lost
/// too, and are to be installed again first.
pub fn draft_root(
    current: &Root,
    trust: &TrustServices,
    change: RootChange,
    issued: Timestamp,
) -> Result<Draft, GovernanceError> {
    let mut next = Root { version: current.version.saturating_add(1), issued, ..current.clone() };
    if let Some(keys) = change.publishing_keys {
        next.publishing_keys = keys;
    }
    if let Some((threshold, keys)) = change.root_keys {
        (next.threshold, next.root_keys) = (threshold, keys);
    }
    let mut lost = None;
    if let Some(new) = change.new_epoch {
        if new.epoch > current.epoch {
            return Err(GovernanceError::Invalid(format!(
                "nodes report epoch {}, this registry knows of epoch {}: root versions were lost with it; install their files again first",
                new.epoch, current.epoch
            )));
        }
        next.epoch = current.epoch.saturating_add(1);
        lost = Some(if new.epoch == current.epoch { new.version.saturating_sub(new.decisions) } else { 0 });
    }
    let other_keys = (next.threshold, &next.root_keys) != (current.threshold, &current.root_keys);
    if !other_keys && next.epoch == current.epoch && next.publishing_keys == current.publishing_keys {
        return Err(GovernanceError::Invalid("the new root would be the same as the one in force".into()));
    }
    let trust = (other_keys || lost.is_some()).then(|| {
        let version = trust.version.saturating_add(1).saturating_add(lost.unwrap_or_default());
        unsigned(TrustServices { version, ..trust.clone() }.to_bytes())
    });
    let root = Some(unsigned(next.to_bytes()));
    let draft = Draft { v: V1, instance: next.instance, current: Some(current.clone()), root, trust };
    // What cannot be read back (a threshold that cannot be met, a key named twice) is refused here, not after the ceremony.
    Draft::parse(&draft.to_json()?)
}

fn unsigned(payload: Bytes) -> Endorsed {
    Endorsed { v: V1, payload, signatures: vec![] }
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
