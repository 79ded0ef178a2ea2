//! A registry whose desk is the real governance, over real TLS, with a CA that certifies whatever governance asks it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_directory::{
    Anchor, ApprovedAuthority, Der, Profile, PublicKey, RegistryAddress, TrustServices, Usage, V1,
};
use truc_directory_sync::{Publication, RegistryServer, RequestDesk, SubmitRefusal};
use truc_evidence::{Decision, DecisionLog, Decisions, Receipt, StoreError};
use truc_governance::*;
use truc_keys::{KeyKind, KeyLabel, Signer};
use truc_message::Leaf;
use truc_model::{Clock, Digest, Fingerprint, MemberId, NodeId, SystemClock, Timestamp};
use truc_testkit::memory_signer::{MemorySigner, TestKey};
use truc_trust::{Certificate, CertificateRequest};
use zeroize::Zeroizing;

#[derive(Default)]
struct MemoryLog(AtomicU64);

#[async_trait]
impl DecisionLog for MemoryLog {
    async fn append(&self, _: Decision) -> Result<Receipt, StoreError> {
        let sequence = self.0.fetch_add(1, Ordering::SeqCst);
        let chain = Digest::of(&sequence.to_be_bytes());
        Ok(Receipt { sequence, chain, leaf: Leaf { index: sequence, hash: chain } })
    }
    async fn replay(&self) -> Result<Vec<Decision>, StoreError> {
        Ok(vec![])
    }
    async fn end(&self) -> Result<Option<Decisions>, StoreError> {
        Ok(None)
    }
}

#[derive(Default)]
struct MemoryParts {
    parts: Mutex<HashMap<Digest, Bytes>>,
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

/// Whom a certificate names; which CA stands behind it is not what is tested here.
struct Names;

impl CertificateInspector for Names {
    fn inspect(
        &self,
        certificate: &Der,
        usage: Usage,
        _: &[ApprovedAuthority],
        _: Timestamp,
    ) -> Result<CertificateHolder, String> {
        let certificate = Certificate::from_der(certificate.as_bytes()).map_err(|e| e.to_string())?;
        let named = certificate.named(Profile::Truc1, usage).map_err(|e| e.to_string())?;
        Ok(CertificateHolder { member: named.member, node: named.node })
    }

    fn certificate_key(&self, certificate: &Der) -> Result<SubjectKey, String> {
        let certificate = Certificate::from_der(certificate.as_bytes()).map_err(|e| e.to_string())?;
        Ok(SubjectKey { kind: certificate.key_kind(), public_key: certificate.public_key().to_vec() })
    }

    fn request_key(&self, request: &Der, usage: Usage, holder: &str) -> Result<SubjectKey, String> {
        let request = CertificateRequest::from_der(request.as_bytes()).map_err(|e| e.to_string())?;
        let named = request.named(usage).map_err(|e| e.to_string())?;
        let name = named.node.map_or_else(|| named.member.to_string(), |node| node.to_string());
        if name != holder {
            return Err(format!("it names {name}"));
        }
        Ok(SubjectKey { kind: request.key_kind(), public_key: request.public_key().to_vec() })
    }
}

/// The CA.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: Der,
    serial: AtomicU64,
    /// How long its certificates have been valid and will be.
    pub(crate) life: Mutex<(Duration, Duration)>,
    pub(crate) issued: AtomicUsize,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA thử");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = KeyPair::generate().unwrap();
        let certificate = Der::from(params.self_signed(&pair).unwrap().der().to_vec());
        let life = Mutex::new((Duration::from_secs(60), 365 * DAY));
        let (serial, issued) = (AtomicU64::new(1), AtomicUsize::new(0));
        Self { issuer: Issuer::new(params, pair), certificate, serial, life, issued }
    }

    pub(crate) fn issue(&self, request: &Der, usage: Usage, holder: &str) -> Der {
        let request = CertificateRequest::from_der(request.as_bytes()).unwrap();
        let member = match usage {
            Usage::Sign => holder.to_owned(),
            Usage::Auth => holder.parse::<NodeId>().unwrap().owner().to_string(),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, holder);
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), member);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if usage == Usage::Auth {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        let (past, future) = *self.life.lock().unwrap();
        let now = SystemClock.now();
        let date = |at: Timestamp| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.seconds().cast_unsigned())
        };
        (params.not_before, params.not_after) = (date(now.minus(past)), date(now.plus(future)));
        params.serial_number = Some(self.serial.fetch_add(1, Ordering::SeqCst).into());
        let key = rcgen::SubjectPublicKeyInfo::from_der(request.spki_der()).unwrap();
        self.issued.fetch_add(1, Ordering::SeqCst);
        Der::from(params.signed_by(&key, &self.issuer).unwrap().der().to_vec())
    }

    fn approved(&self) -> ApprovedAuthority {
        ApprovedAuthority {
            name: "CA thử".into(),
            certificate: self.certificate.clone(),
            intermediates: vec![],
            usages: vec![Usage::Sign, Usage::Auth],
            profile: Profile::Truc1,
            ocsp: vec![],
            crl: None,
        }
    }
}

pub(crate) struct Desk {
    pub(crate) office: AsyncMutex<(Governance, Publisher)>,
    pub(crate) ca: Ca,
    heads: watch::Sender<Bytes>,
    parts: Arc<MemoryParts>,
    /// The next answers are lost on the way.
    pub(crate) lose: AtomicUsize,
    /// Certificates are swapped between their holders.
    pub(crate) tamper: AtomicBool,
    /// There is no CA here that issues by itself.
    pub(crate) external: AtomicBool,
}

impl Desk {
    fn issue(&self, wanted: &[WantedCertificate]) -> Vec<GrantedCertificate> {
        if self.external.load(Ordering::SeqCst) {
            return vec![];
        }
        let one = |wanted: &WantedCertificate| GrantedCertificate {
            holder: wanted.holder.clone(),
            usage: wanted.usage,
            certificate: self.ca.issue(&wanted.request, wanted.usage, &wanted.holder),
            intermediates: vec![],
        };
        wanted.iter().map(one).collect()
    }

    async fn execute(
        &self,
        office: &mut (Governance, Publisher),
        command: Command,
        actor: &str,
    ) -> Result<(), GovernanceError> {
        office.0.execute(command, actor).await?;
        let published = office.1.publish(&mut office.0).await.unwrap();
        self.heads.send_replace(published.signed_head);
        Ok(())
    }

    pub(crate) async fn run(&self, command: Command) -> Result<(), GovernanceError> {
        let mut office = self.office.lock().await;
        self.execute(&mut office, command, "registrar").await
    }

    pub(crate) async fn approve(&self, number: u64) -> Result<(), GovernanceError> {
        let mut office = self.office.lock().await;
        let issued = self.issue(&office.0.wanted(number)?);
        let level = Some(SecurityLevel { level: 3, decision: "12/QĐ-UBND 01/11/2026".into() });
        let command = Command::Approve { number, why: String::new(), level, issued };
        self.execute(&mut office, command, "registrar").await
    }

    /// What is read of the registry's state.
    pub(crate) async fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(self.office.lock().await.0.state().unwrap())
    }

    pub(crate) async fn requests(&self) -> Vec<(u64, RequestState, String)> {
        let all = |state: &State| {
            state.files().requests().map(|f| (f.number, f.state, f.request.ask.kind().to_owned())).collect()
        };
        self.read(all).await
    }
}

#[async_trait]
impl RequestDesk for Desk {
    async fn submit(&self, document: Bytes) -> Result<Bytes, SubmitRefusal> {
        let refused = |e: GovernanceError| SubmitRefusal::Refused(e.to_string());
        let mut office = self.office.lock().await;
        if office.0.standing(&document).map_err(refused)?.is_none() {
            let examined = office.0.examine(&document).map_err(refused)?;
            let at_once = !examined.request.ask.needs_approval();
            let issued = if at_once { self.issue(&examined.wanted) } else { vec![] };
            let command = Command::Submit { document: document.clone(), issued };
            self.execute(&mut office, command, "node").await.map_err(refused)?;
        }
        let standing = office.0.standing(&document).map_err(refused)?;
        if self.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(SubmitRefusal::Unavailable("the answer is lost".into()));
        }
        let mut standing = standing.unwrap();
        if self.tamper.load(Ordering::SeqCst) && standing.certificates.len() > 1 {
            let first = standing.certificates[0].certificate.clone();
            standing.certificates[1].certificate = first;
        }
        Ok(serde_json::to_vec(&standing).unwrap().into())
    }
}

#[async_trait]
impl Publication for Desk {
    fn heads(&self) -> watch::Receiver<Bytes> {
        self.heads.subscribe()
    }
    async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String> {
        Ok(self.parts.parts.lock().unwrap().get(digest).cloned())
    }
}

pub(crate) struct Registry {
    pub(crate) desk: Arc<Desk>,
    pub(crate) anchor: Anchor,
    pub(crate) folder: tempfile::TempDir,
    running: (CancellationToken, JoinHandle<()>),
}

impl Registry {
    /// A registry with the member VN/GOV/H49.
    pub(crate) async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut signer = MemorySigner::default();
        let [root, publishing] =
            ["root", "publishing"].map(|label| signer.add(label, &TestKey::generate(KeyKind::Ed25519)));
        let public =
            |label: &KeyLabel| PublicKey::from_slice(&signer.key(label).unwrap().public_key).unwrap();
        let ca = Ca::new();
        let first = first_root("VN", 1, vec![public(&root)], vec![public(&publishing)], clock.now());
        let trust =
            draft_trust_services(&TrustServices::empty("VN"), TrustChange::AddAuthority(ca.approved()))
                .unwrap();
        let root_key = public(&root);
        let by: [(&dyn Signer, KeyLabel); 1] = [(&signer, root)];
        let root = endorse(first.to_bytes(), &by).await.unwrap();
        let trust = endorse(trust.to_bytes(), &by).await.unwrap();
        let parts = Arc::new(MemoryParts::default());
        let mut governance =
            Governance::open(Arc::new(MemoryLog::default()), Arc::new(Names), Arc::clone(&clock))
                .await
                .unwrap();
        governance.execute(Command::Initialise { root, trust }, "init").await.unwrap();
        let publisher = Publisher::open(Arc::new(signer), publishing, parts.clone(), clock).await.unwrap();
        let desk = Arc::new(Desk {
            office: AsyncMutex::new((governance, publisher)),
            ca,
            heads: watch::Sender::new(Bytes::new()),
            parts,
            lose: AtomicUsize::new(0),
            tamper: AtomicBool::new(false),
            external: AtomicBool::new(false),
        });
        let id: MemberId = "VN/GOV/H49".parse().unwrap();
        let member =
            Command::AddMember {
                id, name_vi: "UBND tỉnh Quảng Ninh".into(), name_en: "Quang Ninh".into()
            };
        desk.run(member).await.unwrap();

        let pair = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["registry".into()]).unwrap().self_signed(&pair).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let der: CertificateDer<'static> = certificate.der().clone();
        let tls_certificate = Fingerprint::of(&der);
        let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
        let server = RegistryServer::new(der, key.into(), desk.clone()).unwrap().with_requests(desk.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { server.serve(listener, stopped).await.unwrap() });
        // The first address answers nobody: nodes go on to the next.
        let dead = free().await;
        let registry =
            [dead, address].map(|a| RegistryAddress { address: a.to_string(), tls_certificate }).to_vec();
        let anchor = Anchor {
            v: V1,
            instance: "VN".into(),
            epoch: None,
            threshold: 1,
            root_keys: vec![root_key],
            registry,
        };
        Self { desk, anchor, folder: tempfile::tempdir().unwrap(), running: (stop, task) }
    }

    pub(crate) async fn close(self) {
        self.running.0.cancel();
        self.running.1.await.unwrap();
    }

    /// The anchor as a file.
    pub(crate) fn anchor_file(&self, anchor: &Anchor) -> (PathBuf, Digest) {
        let (file, text) = (self.folder.path().join("anchor.json"), anchor.to_json());
        std::fs::write(&file, &text).unwrap();
        (file, Digest::of(&text))
    }

    /// An invitation of VN/GOV/H49/ss1.
    pub(crate) async fn invite(&self, n: u8) -> InvitationCode {
        let code = code(n);
        let expires = SystemClock.now().plus(Duration::from_secs(3600));
        let (id, key, node) = (code.id().clone(), code.key(), "VN/GOV/H49/ss1".parse().unwrap());
        self.desk.run(Command::Invite { id, key, node, expires, level: None }).await.unwrap();
        code
    }
}

pub(crate) fn code(n: u8) -> InvitationCode {
    InvitationCode::new(&Zeroizing::new([n; 25]))
}

async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The first certificate of a PEM file.
pub(crate) fn leaf(file: &Path) -> Certificate {
    Certificate::all_from_pem(&std::fs::read(file).unwrap()).unwrap().remove(0)
}
