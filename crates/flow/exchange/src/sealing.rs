//! Seals and signs what this node sends: header bytes once, one digest pass, one signature (protocol P2).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};
use truc_message::{Body, Header, Sealed, Secret, Signature, Signed};
use truc_model::{Fault, FaultCode, Fingerprint, MemberId, Side};
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
    seals: HashMap<MemberId, Seal>,
    auth_certificate: Fingerprint,
    statuses: Arc<OwnStatuses>,
}

impl Sealing {
    /// `auth_certificate` is the node's TLS identity, whose status travels with every message too.
    pub fn new(
        signer: Arc<dyn Signer>,
        seals: HashMap<MemberId, Seal>,
        auth_certificate: Fingerprint,
        statuses: Arc<OwnStatuses>,
    ) -> Self {
        Self { signer, seals, auth_certificate, statuses }
    }

    /// Whether `member` has its seal here.
    pub fn hosts(&self, member: &MemberId) -> bool {
        self.seals.contains_key(member)
    }

    /// The OCSP responses to carry with a message sealed by `member`: its sign certificate's, then the node's.
    pub fn statuses(&self, member: &MemberId) -> Vec<Bytes> {
        let sign = self.seals.get(member).map(|seal| seal.certificate.fingerprint());
        let wanted: Vec<Fingerprint> = sign.into_iter().chain([self.auth_certificate]).collect();
        self.statuses.carried(&wanted)
    }

    /// Seals and signs one message for `member`.
    ///
    /// # Errors
    /// SIGNING_FAILED of `side`; MALFORMED when the header's fields break protocol P1.2.
    pub async fn sign(
        &self,
        member: &MemberId,
        header: Header,
        body: Body,
        secrets: Vec<Secret>,
        side: Side,
    ) -> Result<Signed, Fault> {
        let failed = |detail: String| Fault::at(side, FaultCode::SigningFailed, detail);
        let seal =
            self.seals.get(member).ok_or_else(|| failed(format!("this node holds no seal of {member}")))?;
        let sent = header.sent;
        let sealed = Sealed::seal(header, body, secrets)
            .map_err(|e| Fault::at(Side::Client, FaultCode::Malformed, e.to_string()))?;
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
