//! Time-stamps over the scene's records, and its log: what a follower would have stored, with knobs to spoil it.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use der::asn1::{GeneralizedTime, Int, OctetString};
use der::{Decode as _, Encode as _};
use rcgen::{CertificateParams, CustomExtension, KeyUsagePurpose};
use truc_directory::{Der, TimestampAuthority};
use truc_evidence::ers::{Tree, group_hash};
use truc_evidence::{AcknowledgedLeaf, Batch, LaterStatus, Proof, ProofStore, StoreError, StoredRecord};
use truc_keys::SignatureAlgorithm;
use truc_log::{
    Checkpoint, MemoryTree, NoteKey, SignedNote, chain_line, consistency, inclusion, log_origin, root,
};
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};
use truc_trust::{Certificate, cms};
use x509_tsp::{MessageImprint, TspVersion, TstInfo};

use super::{Party, RootKey, Verdict, sent, status};

/// What the time-stamp authority is called in the directory.
pub(crate) const AUTHORITY: &str = "Trục Pilot TSA";

/// What was proved of the records after they were made.
#[derive(Clone)]
pub(crate) struct Stamping {
    /// How long after the sending of the request.
    pub(crate) later: Duration,
    /// Before it instead.
    pub(crate) earlier: Option<Duration>,
    /// Signed by an authority that the directory does not know.
    pub(crate) other_authority: bool,
    /// The directory lists no authority of this name.
    pub(crate) unlisted: bool,
    /// The directory lists the CA above the authority, not its own certificate.
    pub(crate) under_ca: bool,
    /// The token is over another root than the batch's.
    pub(crate) other_root: bool,
    /// The head is signed with the key of another node.
    pub(crate) other_key: bool,
    /// The head is of another node's log.
    pub(crate) other_node: bool,
    /// The log that the head speaks of holds other leaves.
    pub(crate) other_log: bool,
    /// What the CA says of the client's certificate after the token.
    pub(crate) after: Option<Verdict>,
    /// Records before the exchange's in the same batch.
    pub(crate) neighbours: usize,
    /// Only the first so many records of the exchange.
    pub(crate) only: usize,
}

impl Default for Stamping {
    fn default() -> Self {
        Self {
            later: Duration::from_secs(70),
            earlier: None,
            other_authority: false,
            unlisted: false,
            under_ca: false,
            other_root: false,
            other_key: false,
            other_node: false,
            other_log: false,
            after: Some(Verdict::Good),
            neighbours: 5,
            only: usize::MAX,
        }
    }
}

impl Stamping {
    pub(crate) fn gen_time(&self) -> Timestamp {
        self.earlier.map_or(sent().plus(self.later), |earlier| sent().minus(earlier)).whole_second()
    }
}

/// The authority of the directory, the CA above it, and another one.
pub(crate) struct Authorities {
    pub(crate) ca: Party,
    pub(crate) own: Party,
    other: Party,
}

impl Authorities {
    pub(crate) fn new() -> Self {
        let ca = Party::root("Trục Pilot TSA CA");
        let stamper = |name: &str, above: &Party, serial| above.issue(stamping(name), serial);
        let strange = Party::root("Một CA khác");
        Self { own: stamper(AUTHORITY, &ca, 7), other: stamper(AUTHORITY, &strange, 8), ca }
    }

    /// The certificate that the directory lists.
    pub(crate) fn listed(&self, stamping: &Stamping) -> Certificate {
        if stamping.under_ca { self.ca.certificate.clone() } else { self.own.certificate.clone() }
    }

    pub(crate) fn entry(&self, stamping: &Stamping) -> TimestampAuthority {
        TimestampAuthority {
            name: AUTHORITY.into(),
            certificate: Der(Bytes::copy_from_slice(self.listed(stamping).der())),
            url: "http://127.0.0.1:4101/tsa".into(),
        }
    }

    fn token(&self, stamping: &Stamping, imprint: Digest) -> Bytes {
        let party = if stamping.other_authority { &self.other } else { &self.own };
        let imprint = if stamping.other_root { Digest::of(b"another root") } else { imprint };
        let at = stamping.gen_time();
        let since = Duration::from_millis(at.millis().unsigned_abs());
        let info = TstInfo {
            version: TspVersion::V1,
            policy: "1.3.6.1.4.1.99999.1".parse().unwrap(),
            message_imprint: MessageImprint {
                hash_algorithm: sha256(),
                hashed_message: OctetString::new(imprint.as_bytes().as_slice()).unwrap(),
            },
            serial_number: Int::new(&[1, 2, 3]).unwrap(),
            gen_time: GeneralizedTime::from_unix_duration(since).unwrap(),
            accuracy: None,
            ordering: false,
            nonce: None,
            tsa: None,
            extensions: None,
        };
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let content = info.to_der().unwrap();
        let to_sign =
            cms::prepare_encapsulated(cms::TIME_STAMP_INFO, &content, &party.certificate, algorithm, at);
        let to_sign = to_sign.unwrap();
        let value = party.sign(to_sign.bytes());
        to_sign.assemble(&value).unwrap().into()
    }
}

/// AlgorithmIdentifier of SHA-256 without parameters.
fn sha256() -> x509_cert::spki::AlgorithmIdentifierOwned {
    let der = hex::decode("300b0609608648016503040201").unwrap();
    x509_cert::spki::AlgorithmIdentifierOwned::from_der(&der).unwrap()
}

/// Extended key usage timeStamping, alone and critical (RFC 3161 §2.3); rcgen does not mark it so.
fn stamping(name: &str) -> CertificateParams {
    let mut params = Party::params(name, None);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usage = hex::decode("300a06082b06010505070308").unwrap();
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    params
}

/// The proofs over one scene.
#[derive(Default)]
pub(crate) struct MemoryProofs {
    leaves: MemoryTree,
    groups: Vec<Option<Digest>>,
    batch: Option<Batch>,
    statuses: Mutex<Vec<LaterStatus>>,
}

/// Whose records, and by whom they are stamped.
pub(crate) struct Stamped<'a> {
    pub(crate) records: &'a [StoredRecord],
    pub(crate) node: &'a NodeId,
    pub(crate) authorities: &'a Authorities,
    pub(crate) issuer: &'a Party,
    pub(crate) client: &'a Party,
}

impl MemoryProofs {
    /// Leaves of exchanges that are nobody's business, as they lie before the scene's records in the log.
    pub(crate) fn neighbour(number: usize) -> Digest {
        Digest::of(format!("neighbour {number}").as_bytes())
    }

    pub(crate) fn new(stamping: &Stamping, of: &Stamped<'_>) -> Self {
        let strange: Vec<Digest> = (0..stamping.neighbours).map(Self::neighbour).collect();
        let count = of.records.len().min(stamping.only);
        let records = of.records.iter().take(count);
        let own = records
            .clone()
            .map(|r| if stamping.other_log { Digest::of(b"not this leaf") } else { r.leaf().hash });
        let leaves: MemoryTree = strange.iter().copied().chain(own).collect();
        let group = |r: &StoredRecord| {
            r.kind.message_kind().map(|_| group_hash(r.manifest_digest, Digest::of(&r.cms), &r.statuses))
        };
        let groups: Vec<Option<Digest>> =
            strange.iter().map(|d| Some(*d)).chain(records.map(group)).collect();
        let next = groups.len() as u64;
        let node: NodeId =
            if stamping.other_node { "VN/GOV/H99/ss1".parse().unwrap() } else { of.node.clone() };
        let key = RootKey::new(if stamping.other_key { 4 } else { 3 });
        let origin = log_origin(&node, None);
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: next,
            root: root(&leaves, next).unwrap(),
            extensions: vec![chain_line(Digest::of(b"everything that lies before the last record"))],
        };
        let text = checkpoint.to_string();
        let signature = key.sign(text.as_bytes()).to_vec();
        let note = NoteKey::new(&origin, &key.public().0).unwrap();
        let head = SignedNote::assemble(text, &note, signature).unwrap().to_string();
        let tree = groups.iter().flatten().copied().chain([Digest::of(head.as_bytes())]).collect();
        let imprint = Tree::new(tree).unwrap().root();
        let batch = Batch {
            first: 0,
            next,
            head,
            authority: AUTHORITY.into(),
            gen_time: stamping.gen_time(),
            token: of.authorities.token(stamping, imprint),
        };
        let later = stamping.after.map(|verdict| {
            let this_update = stamping.gen_time().plus(Duration::from_secs(600));
            LaterStatus {
                certificate: of.client.certificate.fingerprint(),
                this_update,
                response: status(of.issuer, of.client, verdict, this_update),
            }
        });
        Self { leaves, groups, batch: Some(batch), statuses: Mutex::new(later.into_iter().collect()) }
    }
}

#[async_trait]
impl ProofStore for MemoryProofs {
    async fn prove(&self, _proof: Proof) -> Result<(), StoreError> {
        Err(StoreError::Full)
    }
    async fn log_size(&self) -> Result<u64, StoreError> {
        Ok(self.leaves.size())
    }
    async fn root(&self, size: u64) -> Result<Digest, StoreError> {
        root(&self.leaves, size).map_err(|_| StoreError::NotFound)
    }
    async fn chain(&self, _: u64) -> Result<Option<Digest>, StoreError> {
        Ok(None)
    }
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        inclusion(&self.leaves, index, size).map_err(|_| StoreError::NotFound)
    }
    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, StoreError> {
        consistency(&self.leaves, from, to).map_err(|_| StoreError::NotFound)
    }
    async fn groups(&self, first: u64, next: u64) -> Result<Vec<Option<Digest>>, StoreError> {
        let range = usize::try_from(first).unwrap()..usize::try_from(next).unwrap();
        Ok(self.groups.get(range).ok_or(StoreError::NotFound)?.to_vec())
    }
    async fn batch_of(&self, sequence: u64) -> Result<Option<Batch>, StoreError> {
        Ok(self.batch.clone().filter(|batch| (batch.first..batch.next).contains(&sequence)))
    }
    async fn last_batch(&self) -> Result<Option<Batch>, StoreError> {
        Ok(self.batch.clone())
    }
    async fn status_after(
        &self,
        certificate: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<LaterStatus>, StoreError> {
        let statuses = self.statuses.lock().unwrap();
        Ok(statuses.iter().find(|s| s.certificate == certificate && s.this_update >= since).cloned())
    }
    async fn acknowledged(
        &self,
        _peer: &NodeId,
        _from: u64,
        _limit: usize,
    ) -> Result<Vec<AcknowledgedLeaf>, StoreError> {
        Ok(vec![])
    }
    async fn marks(&self) -> Result<Vec<Proof>, StoreError> {
        Ok(vec![])
    }
}
