//! A registry from `init` to a node that follows it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod code_lists;
mod codes;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use truc_directory::{Anchor, ApprovedAuthority, Der, HeadRef, Profile, PublicKey, Usage};
use truc_directory_sync::{DirectorySync, HighestSeen, SyncConfig};
use truc_governance::TrustChange;
use truc_model::{Clock, Fingerprint, MemberId, SystemClock};
use truc_registry::*;

mod ceremony;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// A certificate in PEM and its fingerprint.
    fn issue(&self, member: &str, common_name: &str, usage: Usage) -> (String, Fingerprint) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), member);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if usage == Usage::Auth {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), Fingerprint::of(certificate.der()))
    }

    fn approved(&self) -> ApprovedAuthority {
        ApprovedAuthority {
            name: "Test CA".into(),
            certificate: Der::from(self.der.clone()),
            intermediates: vec![],
            usages: vec![Usage::Sign, Usage::Auth],
            profile: Profile::Truc1,
            ocsp: vec![],
            crl: None,
        }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn new_registry(folder: &Path) -> Initialised {
    let any = "127.0.0.1:0".parse().unwrap();
    let options = InitOptions {
        folder: folder.to_owned(),
        instance: "VN".into(),
        listen: any,
        public_address: "127.0.0.1:4001".into(),
        admin_listen: any,
    };
    init(options, clock()).await.unwrap()
}

/// Everything a member needs, through a door.
async fn provision(door: &mut Door, ca: &Ca, code: &str) -> Fingerprint {
    let member = format!("VN/GOV/{code}");
    let (node, subsystem) = (format!("{member}/ss1"), format!("{member}/he-thong"));
    let names = (format!("Cơ quan {code}"), format!("Agency {code}"));
    door.apply(AddMember { id: member.clone(), name_vi: names.0, name_en: names.1 }).await.unwrap();
    door.apply(AddSubsystem { id: subsystem.clone(), name: "Hệ thống".into() }).await.unwrap();
    let (address, log_key) = ("127.0.0.1:5500".to_owned(), PublicKey([7; 32]));
    door.apply(RegisterNode { id: node.clone(), address, log_key, serves: vec![subsystem] }).await.unwrap();
    let (pem, _) = ca.issue(&member, &node, Usage::Auth);
    door.apply(RegisterCertificate { usage: Usage::Auth, holder: node, pem }).await.unwrap();
    let (pem, seal) = ca.issue(&member, "Seal", Usage::Sign);
    door.apply(RegisterCertificate { usage: Usage::Sign, holder: member, pem }).await.unwrap();
    seal
}

#[derive(Default)]
struct Journal(Mutex<Option<HeadRef>>);

#[async_trait]
impl HighestSeen for Journal {
    async fn highest(&self) -> Result<Option<HeadRef>, String> {
        Ok(*self.0.lock().unwrap())
    }
    async fn record(&self, head: HeadRef) -> Result<(), String> {
        *self.0.lock().unwrap() = Some(head);
        Ok(())
    }
}

#[tokio::test]
async fn members_provisioned_before_the_start_and_while_running_reach_a_node() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let ca = Ca::new();
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    assert!(matches!(door, Door::Folder(_)));
    door.change_trust(&made.root, TrustChange::AddAuthority(ca.approved())).await.unwrap();
    let seal = provision(&mut door, &ca, "H26").await;
    drop(door);

    let config = RegistryConfig::load(&made.config).unwrap();
    let running = start(&config, clock()).await.unwrap();
    let mut anchor = Anchor::parse(&std::fs::read(&made.anchor).unwrap()).unwrap();
    anchor.registry[0].address = running.listen.to_string();
    let sync = SyncConfig::new(place.path().join("node"), anchor);
    let (mut handle, task) = DirectorySync::start(sync, Arc::new(Journal::default()), clock()).await.unwrap();
    let h26: MemberId = "VN/GOV/H26".parse().unwrap();
    assert!(handle.current().has_sign_certificate(&h26, &seal));

    let token = std::fs::read_to_string(&config.admin_token_file).unwrap().trim().to_owned();
    let mut door = Door::Api { address: running.admin, token };
    provision(&mut door, &ca, "G01").await;
    let outcome = door.apply(RevokeCertificate { fingerprint: seal }).await.unwrap();
    while handle.current().version() < outcome.version {
        assert!(handle.changed().await);
    }
    assert!(!handle.current().has_sign_certificate(&h26, &seal), "a revocation reaches the node");
    assert!(handle.current().member(&"VN/GOV/G01".parse().unwrap()).is_some());
    let shown = door.directory().await.unwrap();
    assert_eq!(shown["members"].as_array().unwrap().len(), 2);
    let issue = ca.issue("VN/GOV/G01", "x", Usage::Sign).0;
    let wrong = RegisterCertificate { usage: Usage::Sign, holder: "VN/GOV/H26".into(), pem: issue };
    assert!(door.apply(wrong).await.unwrap_err().to_string().contains("names VN/GOV/G01"));
    let twice = AddMember { id: "VN/GOV/G01".into(), name_vi: "a".into(), name_en: "b".into() };
    assert!(door.apply(twice).await.unwrap_err().to_string().contains("already registered"));

    task.stop().await;
    running.stop().await.unwrap();
    // What was decided is there again.
    let again = start(&config, clock()).await.unwrap();
    again.stop().await.unwrap();
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    assert_eq!(door.directory().await.unwrap()["head"]["version"], outcome.version);
}

#[tokio::test]
async fn the_api_wants_its_token() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let running = start(&RegistryConfig::load(&made.config).unwrap(), clock()).await.unwrap();
    let mut door = Door::Api { address: running.admin, token: "guessed-by-somebody".into() };
    let error = door.directory().await.unwrap_err().to_string();
    assert!(error.contains("admin-token"), "{error}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_an_unapproved_ca_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let (ca, other) = (Ca::new(), Ca::new());
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    door.change_trust(&made.root, TrustChange::AddAuthority(ca.approved())).await.unwrap();
    let id = "VN/GOV/H26".to_owned();
    door.apply(AddMember { id: id.clone(), name_vi: "Hà Nội".into(), name_en: "Hanoi".into() })
        .await
        .unwrap();
    let (pem, _) = other.issue(&id, "Seal", Usage::Sign);
    let error = door.apply(RegisterCertificate { usage: Usage::Sign, holder: id, pem }).await.unwrap_err();
    assert!(error.to_string().contains("cannot be used for Sign"), "{error}");
}

#[tokio::test]
async fn a_folder_holds_one_registry_and_one_process() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let made = new_registry(&folder).await;
    let options = InitOptions {
        folder: folder.clone(),
        instance: "VN".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        public_address: "127.0.0.1:4001".into(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
    };
    assert!(matches!(init(options, clock()).await, Err(RegistryError::Exists(_))));
    let config = RegistryConfig::load(&made.config).unwrap();
    let running = start(&config, clock()).await.unwrap();
    assert!(Office::open(&config, clock()).await.is_err());
    running.stop().await.unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    for secret in ["admin-token", "passphrase", "root/passphrase"] {
        let mode = std::fs::metadata(folder.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("FORMAT")).unwrap(), "registry 1\n");
    // Another passphrase file opens nothing.
    let missing = RegistryConfig { data: place.path().join("nowhere"), ..config };
    assert!(matches!(Office::open(&missing, clock()).await, Err(RegistryError::NoRegistry(_))));
}
