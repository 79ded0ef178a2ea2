//! What every seed shares: the authority, certificates, statuses and the directory of the simulated bus.
//!
//! ECDSA signatures are random, and their encodings differ by a byte or two in length. Where lengths move a boundary between
//! segments, a rerun would differ; so everything signed here once is taken at its longest, and [`EvenSigner`] signs until the
//! length is the usual one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::{
    Directory, MemberEntry, MemberStatus, NodeEntry, PublicKey, SignCertificate, SubsystemEntry, V1,
};
use truc_exchange::Seal;
use truc_keys::{KeyInfo, KeyKind, KeyLabel, SignatureAlgorithm, Signer, SignerError};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};
use truc_policy::{MethodPattern, PathGlob, Policy, PolicyEvent, Right, ServiceDefinition};
use truc_testkit::authority::Authority;
use truc_testkit::memory_signer::{MemorySigner, TestKey};
use truc_testkit::registry::Registry;
use truc_trust::ocsp::Verdict;
use truc_trust::{Certificate, StatusSource, StatusSourceError};

/// When every simulation begins.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_795_230_000_000)
}

/// The nodes, in the order of their addresses: two that provide, two that consume.
pub(crate) const NODES: [&str; 4] = ["VN/GOV/G01/ss1", "VN/GOV/G01/ss2", "VN/GOV/H26/ss1", "VN/GOV/H27/ss1"];

/// How many of [`NODES`] provide; the others consume.
pub(crate) const PROVIDERS: usize = 2;

/// The subsystems that a node serves: the first two share one.
const SERVED: [&[&str]; 4] = [
    &["VN/GOV/G01/csdl-dancu", "VN/GOV/G01/rieng"],
    &["VN/GOV/G01/csdl-dancu", "VN/GOV/G01/kho"],
    &["VN/GOV/H26/mot-cua"],
    &["VN/GOV/H27/mot-cua"],
];

/// The services: one behind both providing nodes, one behind each.
pub(crate) const SERVICES: [&str; 3] =
    ["VN/GOV/G01/csdl-dancu/tra-cuu", "VN/GOV/G01/rieng/ghi-nhan", "VN/GOV/G01/kho/luu-tru"];

/// The address of the node with this index; the simulation gives them out in this order.
pub(crate) fn address(index: usize) -> String {
    format!("192.168.0.{}:5500", index + 1)
}

/// The subsystem that calls from the node with this index.
pub(crate) fn client(index: usize) -> &'static str {
    SERVED[index][0]
}

/// A node's own papers.
pub(crate) struct NodePapers {
    pub(crate) id: NodeId,
    pub(crate) hosted: Vec<SubsystemId>,
    pub(crate) policy: Policy,
    pub(crate) signer: Arc<EvenSigner>,
    pub(crate) seals: HashMap<MemberId, Seal>,
    pub(crate) auth: Certificate,
    pub(crate) auth_key: Vec<u8>,
}

/// Everything that is made once.
pub(crate) struct Papers {
    pub(crate) nodes: Vec<NodePapers>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) statuses: Statuses,
}

/// The papers of this process.
pub(crate) fn papers() -> &'static Papers {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    PAPERS.get_or_init(Papers::issue)
}

/// The longest of many tries: the same length every time.
fn longest<T>(make: impl Fn() -> T, length: impl Fn(&T) -> usize) -> T {
    (0..48).map(|_| make()).max_by_key(length).unwrap()
}

impl Papers {
    fn issue() -> Self {
        let authority = longest(|| Authority::new("CA mô phỏng"), |ca| ca.certificate().der().len());
        let nodes: Vec<NodePapers> =
            (0..NODES.len()).map(|index| NodePapers::issue(index, &authority)).collect();
        let certificates = nodes
            .iter()
            .flat_map(|node| [&node.auth].into_iter().chain(node.seals.values().map(|s| &s.certificate)));
        let issued = start().minus(std::time::Duration::from_secs(120));
        let statuses = certificates
            .map(|certificate| {
                let status = longest(|| authority.status(certificate, Verdict::Good, issued), Bytes::len);
                (certificate.fingerprint(), status)
            })
            .collect();
        let registry = Registry::new(vec![authority.approved("CA mô phỏng")], members(&nodes));
        Self { directory: registry.publish(issued), statuses: Statuses(statuses), nodes }
    }
}

impl NodePapers {
    fn issue(index: usize, authority: &Authority) -> Self {
        let id: NodeId = NODES[index].parse().unwrap();
        let member = id.owner();
        let (auth_key, seal_key) = (TestKey::generate(KeyKind::EcP256), TestKey::generate(KeyKind::EcP256));
        let length = |certificate: &Certificate| certificate.der().len();
        let auth = longest(|| authority.auth(&id, &auth_key), length);
        let certificate = longest(|| authority.seal(&member, &seal_key), length);
        let mut signer = MemorySigner::default();
        let key = signer.add("sign", &seal_key);
        let algorithm = seal_key.kind().default_algorithm();
        let seal = Seal { key, certificate, intermediates: vec![], algorithm };
        let hosted: Vec<SubsystemId> = SERVED[index].iter().map(|id| id.parse().unwrap()).collect();
        Self {
            policy: policy(&hosted),
            signer: Arc::new(EvenSigner(signer)),
            seals: HashMap::from([(member, seal)]),
            auth,
            auth_key: auth_key.pkcs8(),
            hosted,
            id,
        }
    }
}

fn policy(hosted: &[SubsystemId]) -> Policy {
    let mut events = Vec::new();
    for service in SERVICES {
        let id: truc_model::ServiceId = service.parse().unwrap();
        if !hosted.contains(&id.subsystem()) {
            continue;
        }
        let url = "http://service.invalid".parse().unwrap();
        let definition = ServiceDefinition { max_body: 64 << 20, ..ServiceDefinition::rest(id.clone(), url) };
        events.push(PolicyEvent::ServiceAdded(definition));
        for consumer in PROVIDERS..NODES.len() {
            let subject = client(consumer).parse().unwrap();
            let right = Right::new(subject, id.clone(), MethodPattern::Any, PathGlob::every());
            events.push(PolicyEvent::RightGranted(right));
        }
    }
    Policy::replay(hosted.to_vec(), &events).unwrap()
}

fn members(nodes: &[NodePapers]) -> Vec<MemberEntry> {
    let log_key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let log_key = PublicKey::from_slice(log_key.public_key().as_ref()).unwrap();
    let mut members: BTreeMap<MemberId, MemberEntry> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let owner = node.id.owner();
        let entry = members.entry(owner.clone()).or_insert_with(|| MemberEntry {
            v: V1,
            name_vi: format!("Cơ quan {}", owner.code()),
            name_en: format!("Agency {}", owner.code()),
            valid_from: Timestamp::from_millis(1_577_836_800_000),
            valid_to: None,
            status: MemberStatus::Active,
            succession: None,
            subsystems: vec![],
            sign_certificates: vec![],
            nodes: vec![],
            id: owner,
        });
        for subsystem in &node.hosted {
            if entry.subsystems.iter().all(|known| known.code != subsystem.code()) {
                entry.subsystems.push(SubsystemEntry {
                    code: subsystem.code().into(),
                    name: subsystem.code().into(),
                    disabled: false,
                });
            }
        }
        let seals = node.seals.values().map(|seal| seal.certificate.fingerprint());
        entry.sign_certificates.extend(seals.map(|fingerprint| SignCertificate { fingerprint, der: None }));
        entry.nodes.push(NodeEntry {
            id: node.id.clone(),
            address: address(index),
            auth_certificates: vec![node.auth.fingerprint()],
            log_key,
            versions: vec![1],
            serves: node.hosted.clone(),
            suspended: false,
            maintenance: None,
        });
    }
    members.into_values().collect()
}

/// The statuses of all certificates, as their responder would give them.
pub(crate) struct Statuses(HashMap<Fingerprint, Bytes>);

impl Statuses {
    pub(crate) fn of(&self, certificate: &Certificate) -> Bytes {
        self.0.get(&certificate.fingerprint()).cloned().unwrap_or_default()
    }
}

/// The responder is not part of the simulated network: it always answers.
pub(crate) struct Responder;

#[async_trait]
impl StatusSource for Responder {
    async fn ocsp(
        &self,
        _url: &str,
        certificate: &Certificate,
        _issuer: &Certificate,
    ) -> Result<Bytes, StatusSourceError> {
        Ok(papers().statuses.of(certificate))
    }
}

/// Signs as [`MemorySigner`], with signatures that all have the same length.
pub(crate) struct EvenSigner(MemorySigner);

/// Octets of an ECDSA value over P-256 in DER, half of the time.
const USUAL: usize = 71;

#[async_trait]
impl Signer for EvenSigner {
    fn keys(&self) -> Vec<KeyInfo> {
        self.0.keys()
    }

    async fn sign(
        &self,
        label: &KeyLabel,
        algorithm: SignatureAlgorithm,
        message: Bytes,
    ) -> Result<Vec<u8>, SignerError> {
        loop {
            let value = self.0.sign(label, algorithm, message.clone()).await?;
            if value.len() == USUAL {
                return Ok(value);
            }
        }
    }
}
