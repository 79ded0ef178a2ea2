//! Seals and signs what this node sends: header bytes once, one digest pass, one signature (protocol P2).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};
use truc_message::{Sealed, Signature, Signed};
use truc_model::{Fault, FaultCode, MemberId, Side};
use truc_trust::{Certificate, OwnStatuses, cms};

/// The seal of one hosted member.
#[derive(Debug, Clone)]
pub struct Seal {
    /// The key's name in the key store.
    pub key: KeyLabel,
    /// The sign certificate.
    pub certificate: Certificate,
    /// CA certificates between it and the approved one.
    pub intermediates: Vec<Certificate>,
    /// What the key signs with.
    pub algorithm: SignatureAlgorithm,
}

/// Signs for the members that this node hosts, and carries the statuses that go with it.
pub struct Sealing {
    signer: Arc<dyn Signer>,
    seals: ArcSwap<HashMap<MemberId, Seal>>,
    statuses: Arc<OwnStatuses>,
}

impl Sealing {
    /// One seal for each hosted member.
    pub fn new(signer: Arc<dyn Signer>, seals: HashMap<MemberId, Seal>, statuses: Arc<OwnStatuses>) -> Self {
        Self { signer, seals: ArcSwap::from_pointee(seals), statuses }
    }

    /// Puts renewed certificates in place; messages sealed from now on use them.
    pub fn replace(&self, seals: HashMap<MemberId, Seal>) {
        self.seals.store(Arc::new(seals));
    }

    /// Whether `member` has its seal here.
    pub fn hosts(&self, member: &MemberId) -> bool {
        self.seals.load().contains_key(member)
    }

    /// The OCSP responses to carry with a message sealed by `member`: its sign certificate's, then the node's.
    pub fn statuses(&self, member: &MemberId) -> Vec<Bytes> {
        let seals = self.seals.load();
        seals
            .get(member)
            .map(|seal| self.statuses.carried(&seal.certificate.fingerprint()))
            .unwrap_or_default()
    }

    /// Signs one message for `member`.
    ///
    /// # Errors
    /// SIGNING_FAILED of `side`.
    pub async fn sign(&self, member: &MemberId, sealed: Sealed, side: Side) -> Result<Signed, Fault> {
        let failed = |detail: String| Fault::at(side, FaultCode::SigningFailed, detail);
        let seals = self.seals.load_full();
        let seal = seals.get(member).ok_or_else(|| failed(format!("this node holds no seal of {member}")))?;
        let sent = sealed.header().sent;
        let to_sign = cms::prepare(sealed.manifest(), &seal.certificate, seal.algorithm, sent)
            .and_then(|prepared| prepared.with_intermediates(&seal.intermediates))
            .map_err(|e| failed(e.to_string()))?;
        let attributes = Bytes::copy_from_slice(to_sign.bytes());
        let value = self
            .signer
            .sign(&seal.key, seal.algorithm, attributes)
            .await
            .map_err(|e| failed(e.to_string()))?;
        let cms = to_sign.assemble(&value).map_err(|e| failed(e.to_string()))?;
        Ok(Signed { sealed, signature: Signature::Single(cms.into()) })
    }
}
