//! A registry in memory: log, parts, keys, clock, and certificates that name their holder in plain text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::{ApprovedAuthority, Der, Endorsed, Profile, PublicKey, TrustServices, Usage};
use truc_evidence::{Decision, DecisionLog, Decisions, Receipt, StoreError};
use truc_governance::*;
use truc_keys::{KeyInfo, KeyKind, KeyLabel, SignatureAlgorithm, Signer, SignerError};
use truc_message::Leaf;
use truc_model::{Clock, Digest, ManualClock, Timestamp};

#[derive(Default)]
pub(crate) struct MemoryLog {
    pub(crate) decisions: Mutex<Vec<Decision>>,
    pub(crate) full: Mutex<bool>,
}

#[async_trait]
impl DecisionLog for MemoryLog {
    async fn append(&self, decision: Decision) -> Result<Receipt, StoreError> {
        if *self.full.lock().unwrap() {
            return Err(StoreError::Full);
        }
        let mut decisions = self.decisions.lock().unwrap();
        decisions.push(decision);
        let sequence = decisions.len() as u64 - 1;
        let chain = Digest::of(&sequence.to_be_bytes());
        Ok(Receipt { sequence, chain, leaf: Leaf { index: sequence, hash: chain } })
    }
    async fn replay(&self) -> Result<Vec<Decision>, StoreError> {
        // Through JSON, as a journal would.
        let text = serde_json::to_string(&*self.decisions.lock().unwrap()).unwrap();
        Ok(serde_json::from_str(&text).unwrap())
    }
    async fn end(&self) -> Result<Option<Decisions>, StoreError> {
        Ok(None)
    }
}

#[derive(Default)]
pub(crate) struct MemoryParts {
    parts: Mutex<BTreeMap<Digest, Bytes>>,
    head: Mutex<Option<Bytes>>,
}

#[async_trait]
impl PartStore for MemoryParts {
    async fn put(&self, bytes: Bytes) -> Result<Digest, PartStoreError> {
        let digest = Digest::of(&bytes);
        self.parts.lock().unwrap().insert(digest, bytes);
        Ok(digest)
    }
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, PartStoreError> {
        Ok(self.parts.lock().unwrap().get(digest).cloned())
    }
    async fn set_head(&self, signed_head: Bytes) -> Result<(), PartStoreError> {
        *self.head.lock().unwrap() = Some(signed_head);
        Ok(())
    }
    async fn head(&self) -> Result<Option<Bytes>, PartStoreError> {
        Ok(self.head.lock().unwrap().clone())
    }
}

/// Keys from seeds: label `k7` is the key of seed 7.
pub(crate) struct SeedKeys(pub(crate) Vec<u8>);

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::from_slice(pair(seed).public_key().as_ref()).unwrap()
}

pub(crate) fn label(seed: u8) -> KeyLabel {
    KeyLabel::new(&format!("k{seed}")).unwrap()
}

#[async_trait]
impl Signer for SeedKeys {
    fn keys(&self) -> Vec<KeyInfo> {
        let info =
            |s: &u8| KeyInfo { label: label(*s), kind: KeyKind::Ed25519, public_key: public(*s).0.to_vec() };
        self.0.iter().map(info).collect()
    }
    async fn sign(
        &self,
        key: &KeyLabel,
        _: SignatureAlgorithm,
        message: Bytes,
    ) -> Result<Vec<u8>, SignerError> {
        let seed = self.0.iter().find(|s| label(**s) == *key).ok_or(SignerError::UnknownKey(key.clone()))?;
        Ok(pair(*seed).sign(&message).as_ref().to_vec())
    }
}

/// `VN/GOV/H26` or `VN/GOV/H26/ss1` as the certificate's bytes, with `#n` to tell several apart.
struct PlainText;

impl CertificateInspector for PlainText {
    fn inspect(
        &self,
        certificate: &Der,
        _usage: Usage,
        authorities: &[ApprovedAuthority],
        _at: Timestamp,
    ) -> Result<CertificateHolder, String> {
        if authorities.is_empty() {
            return Err("no approved CA issued it".into());
        }
        let text = std::str::from_utf8(certificate.as_bytes()).unwrap().split('#').next().unwrap();
        match text.parse::<truc_model::NodeId>() {
            Ok(node) => Ok(CertificateHolder { member: node.owner(), node: Some(node) }),
            Err(_) => Ok(CertificateHolder {
                member: text.parse().map_err(|_| "names nobody".to_owned())?,
                node: None,
            }),
        }
    }

    fn certificate_key(&self, certificate: &Der) -> Result<SubjectKey, String> {
        let text = std::str::from_utf8(certificate.as_bytes()).map_err(|e| e.to_string())?;
        if text.starts_with("csr:") { Err("a request is no certificate".into()) } else { Ok(key_in(text)) }
    }

    fn request_key(&self, request: &Der, _: Usage, holder: &str) -> Result<SubjectKey, String> {
        let text = std::str::from_utf8(request.as_bytes()).map_err(|e| e.to_string())?;
        let text = text.strip_prefix("csr:").ok_or("it is no certificate request")?;
        if text.split('#').next() == Some(holder) {
            Ok(key_in(text))
        } else {
            Err(format!("it names {text}"))
        }
    }
}

/// The key that a text carries: `…#7` the key of seed 7, without a number the text itself.
fn key_in(text: &str) -> SubjectKey {
    let number = text.split_once('#').and_then(|(_, n)| n.parse::<u8>().ok());
    let public_key = number.map_or_else(|| text.as_bytes().to_vec(), |seed| public(seed).0.to_vec());
    SubjectKey { kind: KeyKind::Ed25519, public_key }
}

pub(crate) fn sign(seed: u8, text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(pair(seed).sign(text).as_ref())
}

pub(crate) fn certificate(text: &str) -> Der {
    Der::from(text.as_bytes().to_vec())
}

pub(crate) struct Office {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) parts: Arc<MemoryParts>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) governance: Governance,
    pub(crate) publisher: Publisher,
}

pub(crate) const ROOT: u8 = 1;
pub(crate) const PUBLISHING: u8 = 2;

pub(crate) async fn signed_by(seeds: &[u8], payload: Bytes) -> Endorsed {
    let keys = SeedKeys(seeds.to_vec());
    let with: Vec<(&dyn Signer, KeyLabel)> =
        seeds.iter().map(|s| (&keys as &dyn Signer, label(*s))).collect();
    endorse(payload, &with).await.unwrap()
}

pub(crate) fn authority() -> ApprovedAuthority {
    ApprovedAuthority {
        name: "Pilot CA".into(),
        certificate: certificate("the pilot CA"),
        intermediates: vec![],
        usages: vec![Usage::Sign, Usage::Auth],
        profile: Profile::Truc1,
        ocsp: vec![],
        crl: None,
    }
}

impl Office {
    pub(crate) async fn empty() -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-21T03:00:00.000Z".parse().unwrap()));
        Self::over(Arc::default(), Arc::default(), clock).await
    }

    pub(crate) async fn over(log: Arc<MemoryLog>, parts: Arc<MemoryParts>, clock: Arc<ManualClock>) -> Self {
        let shared: Arc<dyn Clock> = clock.clone();
        let governance = Governance::open(log.clone(), Arc::new(PlainText), shared.clone()).await.unwrap();
        let governance = governance.with_rules(Rules::default());
        let keys = Arc::new(SeedKeys(vec![PUBLISHING]));
        let publisher = Publisher::open(keys, label(PUBLISHING), parts.clone(), shared).await.unwrap();
        Self { log, parts, clock, governance, publisher }
    }

    /// The same folder after a restart.
    pub(crate) async fn reopened(self) -> Self {
        Self::over(self.log, self.parts, self.clock).await
    }

    pub(crate) async fn initialised() -> Self {
        let mut office = Self::empty().await;
        let now = office.clock.now();
        let root = first_root("VN", 1, vec![public(ROOT)], vec![public(PUBLISHING)], now);
        let trust = draft_trust_services(&TrustServices::empty("VN"), TrustChange::AddAuthority(authority()))
            .unwrap();
        let (root, trust) =
            (signed_by(&[ROOT], root.to_bytes()).await, signed_by(&[ROOT], trust.to_bytes()).await);
        office.run(Command::Initialise { root, trust }).await.unwrap();
        office
    }

    /// Two members, each with one subsystem, one node and its certificates.
    pub(crate) async fn furnished() -> Self {
        let mut office = Self::initialised().await;
        for code in ["G01", "H26"] {
            office.admit(code).await;
        }
        office
    }

    pub(crate) async fn admit(&mut self, code: &str) {
        let id: truc_model::MemberId = format!("VN/GOV/{code}").parse().unwrap();
        let (node, subsystem) = (id.node("ss1").unwrap(), id.subsystem("he-thong").unwrap());
        for command in [
            Command::AddMember { id: id.clone(), name_vi: format!("Cơ quan {code}"), name_en: code.into() },
            Command::AddSubsystem { id: subsystem.clone(), name: "Hệ thống".into() },
            Command::RegisterNode(NewNode {
                id: node.clone(),
                address: "127.0.0.1:5500".into(),
                log_key: public(9),
                versions: vec![1],
                serves: vec![subsystem],
            }),
            Command::RegisterAuthCertificate { certificate: certificate(node.as_str()), node },
            Command::RegisterSignCertificate { certificate: certificate(id.as_str()), member: id },
        ] {
            self.run(command).await.unwrap();
        }
    }

    pub(crate) async fn run(&mut self, command: Command) -> Result<Receipt, GovernanceError> {
        self.governance.execute(command, "test").await
    }

    pub(crate) async fn publish(&mut self) -> Published {
        self.publisher.publish(&mut self.governance).await.unwrap()
    }
}
