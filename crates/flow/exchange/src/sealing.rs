//! Seals and signs what this node sends: header bytes once, one digest pass, one signature (protocol P2).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};
use truc_message::{Sealed, Signature, Signed};
use truc_model::{Fault, FaultCode, Fingerprint, MemberId, Side, Timestamp};
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

    /// Puts renewed certificates in place, with those of their statuses that are here; messages sealed from now on use them.
    pub fn replace(&self, seals: HashMap<MemberId, Seal>, statuses: &HashMap<Fingerprint, Bytes>) {
        // Before the seals: nobody signs with one whose status is still to come in.
        for certificate in seals.values().map(|seal| seal.certificate.fingerprint()) {
            if let Some(status) = statuses.get(&certificate) {
                self.statuses.renew_seal(certificate, status.clone());
            }
        }
        self.seals.store(Arc::new(seals));
    }

    /// Whether `member` has its seal here.
    pub fn hosts(&self, member: &MemberId) -> bool {
        self.seals.load().contains_key(member)
    }

    /// The seal of `member` as it is now, with the statuses that go with it. Whoever carries statuses takes them from the pen
    /// that signs: seals may be replaced while a message is under way.
    ///
    /// # Errors
    /// SIGNING_FAILED of `side`.
    pub fn pen(&self, member: &MemberId, side: Side) -> Result<Pen<'_>, Fault> {
        let seal = self.seals.load().get(member).cloned();
        let seal =
            seal.ok_or_else(|| signing_failed(side, format!("this node holds no seal of {member}")))?;
        Ok(Pen { sealing: self, seal, side })
    }

    /// The OCSP responses to carry with a message that `member` seals now: its sign certificate's, then the node's.
    pub fn statuses(&self, member: &MemberId, now: Timestamp) -> Vec<Bytes> {
        self.pen(member, Side::ClientProxy).map(|pen| pen.statuses(now)).unwrap_or_default()
    }

    /// Signs one message for `member`.
    ///
    /// # Errors
    /// SIGNING_FAILED of `side`.
    pub async fn sign(&self, member: &MemberId, sealed: Sealed, side: Side) -> Result<Signed, Fault> {
        self.pen(member, side)?.sign(sealed).await
    }
}

fn signing_failed(side: Side, detail: String) -> Fault {
    Fault::at(side, FaultCode::SigningFailed, detail)
}

/// One member's seal, for one message.
pub struct Pen<'a> {
    sealing: &'a Sealing,
    seal: Seal,
    side: Side,
}

impl Pen<'_> {
    /// The OCSP responses to carry with what it signs `now`: its certificate's, then the node's.
    pub fn statuses(&self, now: Timestamp) -> Vec<Bytes> {
        self.sealing.statuses.carried(&self.seal.certificate.fingerprint(), now)
    }

    /// Signs one message.
    ///
    /// # Errors
    /// SIGNING_FAILED.
    pub async fn sign(&self, sealed: Sealed) -> Result<Signed, Fault> {
        let (seal, sent) = (&self.seal, sealed.header().sent);
        let to_sign = cms::prepare(sealed.manifest(), &seal.certificate, seal.algorithm, sent)
            .and_then(|prepared| prepared.with_intermediates(&seal.intermediates))
            .map_err(|e| signing_failed(self.side, e.to_string()))?;
        let attributes = Bytes::copy_from_slice(to_sign.bytes());
        let signing = self.sealing.signer.sign(&seal.key, seal.algorithm, attributes);
        let value = signing.await.map_err(|e| signing_failed(self.side, e.to_string()))?;
        let cms = to_sign.assemble(&value).map_err(|e| signing_failed(self.side, e.to_string()))?;
        Ok(Signed { sealed, signature: Signature::Single(cms.into()) })
    }
}
