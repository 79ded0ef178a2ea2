//! A node enrols, asks and renews, over TLS, with a registry whose desk is the real governance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use truc_directory::{Der, Usage};
use truc_governance::{Command, InvitationCode, RequestState};
use truc_keys::{KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::{Clock, Fingerprint, NodeId, SubsystemId, SystemClock};
use truc_node::config::NodeConfig;
use truc_node::enrolment::{
    EnrolOptions, EnrolmentError, NodeRequest, Patience, Progress, RenewOptions, Settled, enrol,
    new_requests, renew, request,
};
use truc_node::{InitOptions, NodeError, init};
use truc_trust::CertificateRequest;

use registry::{Registry, code, leaf};

const PATIENCE: Patience = Patience { first: Duration::from_millis(20), most: Duration::from_millis(100) };

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn subsystem() -> SubsystemId {
    "VN/GOV/H49/mot-cua".parse().unwrap()
}

fn node() -> NodeId {
    "VN/GOV/H49/ss1".parse().unwrap()
}

fn options(registry: &Registry) -> InitOptions {
    let (file, digest) = registry.anchor_file(&registry.anchor);
    let any = || Some(([127, 0, 0, 1], 0).into());
    InitOptions {
        folder: registry.folder.path().join("node"),
        node: node(),
        members: vec![(subsystem().member(), vec![subsystem()])],
        anchor: Some(file),
        anchor_sha256: Some(digest),
        peer_listen: any(),
        edge_listen: any(),
        admin_listen: any(),
    }
}

fn fresh(registry: &Registry) -> NodeConfig {
    init(&options(registry)).unwrap().config
}

fn enrolling(invitation: Option<InvitationCode>) -> EnrolOptions {
    let names = BTreeMap::from([(subsystem(), "Một cửa".to_owned())]);
    EnrolOptions { invitation, address: Some("ss1.quangninh.gov.vn:5500".into()), names }
}

/// Enrols with an officer who approves at once.
async fn enrolled(registry: &Registry, config: &NodeConfig) -> Settled {
    let code = registry.invite(1).await;
    let desk = Arc::clone(&registry.desk);
    let mut tell = |progress: Progress<'_>| {
        if let Progress::Stands(standing) = progress
            && standing.state == RequestState::Submitted
        {
            let (desk, number) = (Arc::clone(&desk), standing.number);
            tokio::spawn(async move { desk.approve(number).await.unwrap() });
        }
    };
    enrol(config, enrolling(Some(code)), &clock(), (PATIENCE, true), &mut tell).await.unwrap()
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    for _ in 0..900 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within 90 s: {what}");
}

fn files_waiting(config: &NodeConfig) -> usize {
    std::fs::read_dir(config.data_folder.join("requests")).map_or(0, |folder| folder.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_with_another_hash_is_refused_before_anything_is_made() {
    let registry = Registry::start().await;
    let mut options = options(&registry);
    options.anchor_sha256 = Some(truc_model::Digest([7; 32]));
    assert!(matches!(init(&options), Err(NodeError::OtherAnchor { .. })));
    assert!(!options.folder.exists());
    let wanted = registry.anchor_file(&registry.anchor).1;
    options.anchor_sha256 = None;
    assert_eq!(init(&options).unwrap().anchor_sha256, Some(wanted), "init tells the hash of what it took");
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_enrols_and_could_start_with_what_was_written() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    let settled = enrolled(&registry, &config).await;
    assert_eq!(settled.standing.state, RequestState::Approved);
    assert_eq!(settled.written.len(), 2);
    config.check(SystemClock.now()).unwrap();
    assert_eq!(files_waiting(&config), 0, "nothing waits any more");
    let auth = leaf(&config.auth.certificate_file).fingerprint();
    let (serves, auths, name) = registry
        .desk
        .read(|state| {
            let node = state.node(&node()).unwrap();
            let member = state.member(&subsystem().member()).unwrap();
            (node.serves.clone(), node.auth_certificates.clone(), member.subsystems[0].name.clone())
        })
        .await;
    assert_eq!((serves, auths, name.as_str()), (vec![subsystem()], vec![auth], "Một cửa"));
    let again = enrol(&config, enrolling(None), &clock(), (PATIENCE, true), &mut |_| {}).await;
    assert!(matches!(again, Err(EnrolmentError::NoInvitation)));
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_restart_go_on_with_the_same_document() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    let code = registry.invite(1).await;
    // Taken in, and the answer lost: at the second address, after the first has failed as it always does.
    registry.desk.lose.store(1, Ordering::SeqCst);
    let lost = enrol(&config, enrolling(Some(code)), &clock(), (PATIENCE, false), &mut |_| {}).await;
    assert!(matches!(lost, Err(EnrolmentError::Away(_))), "{lost:?}");
    let mut resumed = false;
    let mut tell = |progress: Progress<'_>| resumed |= matches!(progress, Progress::Resumed);
    let shown = enrol(&config, enrolling(None), &clock(), (PATIENCE, false), &mut tell).await.unwrap();
    assert_eq!((shown.standing.number, shown.standing.state), (1, RequestState::Submitted));
    assert!(resumed && registry.desk.requests().await.len() == 1);
    // Dropped in the middle of its waiting, as by Ctrl-C.
    let (clock_, mut tell) = (clock(), |_: Progress<'_>| {});
    let waiting = enrol(&config, enrolling(None), &clock_, (PATIENCE, true), &mut tell);
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err());
    registry.desk.approve(1).await.unwrap();
    let settled = enrol(&config, enrolling(None), &clock(), (PATIENCE, true), &mut |_| {}).await.unwrap();
    assert_eq!((settled.standing.number, settled.written.len()), (1, 2));
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_the_registrys_words_and_leave_nothing_behind() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    let stranger = enrol(&config, enrolling(Some(code(9))), &clock(), (PATIENCE, true), &mut |_| {}).await;
    let told = stranger.unwrap_err().to_string();
    assert!(told.contains("lời mời không có giá trị") && told.contains("ask the registrar"), "{told}");
    assert_eq!(files_waiting(&config), 0);
    let first = registry.invite(1).await;
    let filed =
        enrol(&config, enrolling(Some(first)), &clock(), (PATIENCE, false), &mut |_| {}).await.unwrap();
    let why = "sai cấp độ an toàn".to_owned();
    registry.desk.run(Command::Refuse { number: filed.standing.number, why: why.clone() }).await.unwrap();
    let declined = enrol(&config, enrolling(None), &clock(), (PATIENCE, true), &mut |_| {}).await;
    assert!(
        matches!(&declined, Err(EnrolmentError::Declined { number: 1, why: told }) if *told == why),
        "{declined:?}"
    );
    assert_eq!(files_waiting(&config), 0);
    let used = enrol(&config, enrolling(Some(code(1))), &clock(), (PATIENCE, true), &mut |_| {}).await;
    assert!(used.unwrap_err().to_string().contains("tell the registrar at once"));
    // The same keys serve under a new invitation.
    let second = registry.invite(2).await;
    enrol(&config, enrolling(Some(second)), &clock(), (PATIENCE, false), &mut |_| {}).await.unwrap();
    assert_eq!(registry.desk.requests().await.len(), 2);
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pinned_registry_and_only_fitting_certificates_are_taken() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    let mut other = registry.anchor.clone();
    other.registry.iter_mut().for_each(|r| r.tls_certificate = Fingerprint([1; 32]));
    std::fs::write(&config.anchor_file, other.to_json()).unwrap();
    let code = registry.invite(1).await;
    let away = enrol(&config, enrolling(Some(code)), &clock(), (PATIENCE, false), &mut |_| {}).await;
    assert!(matches!(&away, Err(EnrolmentError::Away(why)) if why.contains("pins")), "{away:?}");
    assert!(registry.desk.requests().await.is_empty());
    std::fs::write(&config.anchor_file, registry.anchor.to_json()).unwrap();
    enrol(&config, enrolling(None), &clock(), (PATIENCE, false), &mut |_| {}).await.unwrap();
    registry.desk.approve(1).await.unwrap();
    registry.desk.tamper.store(true, Ordering::SeqCst);
    let swapped = enrol(&config, enrolling(None), &clock(), (PATIENCE, true), &mut |_| {}).await;
    assert!(matches!(swapped, Err(EnrolmentError::Certificate { .. })), "{swapped:?}");
    assert!(
        !config.auth.certificate_file.exists() && files_waiting(&config) == 1,
        "it goes on once that is mended"
    );
    registry.desk.tamper.store(false, Ordering::SeqCst);
    enrol(&config, enrolling(None), &clock(), (PATIENCE, true), &mut |_| {}).await.unwrap();
    config.check(SystemClock.now()).unwrap();
    registry.close().await;
}

fn pem(der: &Der) -> String {
    rcgen_pem("CERTIFICATE", der.as_bytes())
}

fn rcgen_pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// What an external CA does with a request file.
fn certified(registry: &Registry, file: &std::path::Path, usage: Usage, holder: &str) -> String {
    let request = CertificateRequest::from_pem(&std::fs::read(file).unwrap()).unwrap();
    let der = registry.desk.ca.issue(&Der::from(request.der().to_vec()), usage, holder);
    pem(&der)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_an_external_ca_come_along() {
    let registry = Registry::start().await;
    let made = init(&options(&registry)).unwrap();
    let config = made.config;
    registry.desk.external.store(true, Ordering::SeqCst);
    let auth = certified(&registry, &made.auth_request, Usage::Auth, node().as_str());
    let seal = certified(&registry, &made.sign_requests[0].1, Usage::Sign, "VN/GOV/H49");
    std::fs::write(&config.auth.certificate_file, &auth).unwrap();
    std::fs::write(&config.members[0].sign_certificate_file, &seal).unwrap();
    let settled = enrolled(&registry, &config).await;
    assert_eq!(settled.standing.certificates.len(), 2);
    assert_eq!(std::fs::read_to_string(&config.auth.certificate_file).unwrap(), auth, "left as it was");

    // Renewal: the registry has nobody to issue; the CA certifies new keys, and the registry takes the certificates.
    let alone = renew(&config, RenewOptions::default(), &clock(), (PATIENCE, true), &mut |_| {}).await;
    assert!(matches!(alone, Err(EnrolmentError::Refused(_))), "{alone:?}");
    let files = new_requests(&config, RenewOptions { auth: true, ..RenewOptions::default() }).await.unwrap();
    assert!(files.len() == 1 && files[0].ends_with("requests/auth--2.csr"), "{files:?}");
    let brought = registry.folder.path().join("brought.pem");
    std::fs::write(&brought, certified(&registry, &files[0], Usage::Auth, node().as_str())).unwrap();
    let options = RenewOptions { certificates: vec![brought.clone()], ..RenewOptions::default() };
    let asked = renew(&config, options, &clock(), (PATIENCE, true), &mut |_| {}).await.unwrap();
    assert_eq!((asked.keys, asked.granted), (vec!["auth--2".to_owned()], true));
    let registered = registry.desk.read(|s| s.node(&node()).unwrap().auth_certificates.clone()).await;
    assert!(registered.contains(&leaf(&brought).fingerprint()) && registered.len() == 2);
    assert_eq!(
        std::fs::read_to_string(&config.auth.certificate_file).unwrap(),
        auth,
        "the running node changes over"
    );
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_request_is_signed_as_the_registry_wants_it() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    enrolled(&registry, &config).await;
    let second: SubsystemId = "VN/GOV/H49/mot-cua-2".parse().unwrap();
    let ask =
        async |what: NodeRequest| request(&config, what, &clock(), (PATIENCE, false), &mut |_| {}).await;
    let at_once = [
        NodeRequest::MaintenanceOn("Bảo trì đến 22:00".into()),
        NodeRequest::MaintenanceOff,
        NodeRequest::DisableSubsystem(subsystem()),
        NodeRequest::EnableSubsystem(subsystem()),
        NodeRequest::ChangeAddress("ss2.quangninh.gov.vn:5500".into()),
    ];
    for what in at_once {
        let settled = ask(what.clone()).await.unwrap_or_else(|e| panic!("{what:?}: {e}"));
        assert_eq!(settled.standing.state, RequestState::Approved, "{what:?}");
    }
    // One that waits for an officer, and is then settled by the same words again.
    let register = NodeRequest::RegisterSubsystem(second.clone(), "Một cửa 2".into());
    let number = ask(register.clone()).await.unwrap().standing.number;
    assert_eq!(ask(register.clone()).await.unwrap().standing.number, number);
    registry.desk.approve(number).await.unwrap();
    assert_eq!(ask(register).await.unwrap().standing.state, RequestState::Approved);
    assert_eq!(
        ask(NodeRequest::DeleteSubsystem(second)).await.unwrap().standing.state,
        RequestState::Approved
    );
    let number = ask(NodeRequest::RegisterAuthCertificate).await.unwrap().standing.number;
    registry.desk.approve(number).await.unwrap();
    let further = ask(NodeRequest::RegisterAuthCertificate).await.unwrap().written;
    assert!(further[0].ends_with("certs/auth--2.registered.pem"), "{further:?}");
    let fingerprint = leaf(&further[0]).fingerprint();
    ask(NodeRequest::DeleteCertificate(fingerprint, None)).await.unwrap();
    let foreign = ask(NodeRequest::DisableSubsystem("VN/GOV/H50/x".parse().unwrap())).await;
    assert!(matches!(foreign, Err(EnrolmentError::NotHosted(_))));
    let auths = registry.desk.read(|s| s.node(&node()).unwrap().auth_certificates.clone()).await;
    assert_eq!(auths, vec![leaf(&config.auth.certificate_file).fingerprint()]);
    assert_eq!(files_waiting(&config), 0);
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_yesterday_is_no_answer_of_today() {
    let registry = Registry::start().await;
    let config = fresh(&registry);
    enrolled(&registry, &config).await;
    let ask =
        async |what: NodeRequest| request(&config, what, &clock(), (PATIENCE, false), &mut |_| {}).await;
    let on = || NodeRequest::MaintenanceOn("đang bảo trì".into());
    let maintained = async || registry.desk.read(|s| s.node(&node()).unwrap().maintenance.is_some()).await;
    registry.desk.lose.store(1, Ordering::SeqCst);
    assert!(matches!(ask(on()).await, Err(EnrolmentError::Away(_))));
    assert!(maintained().await);
    ask(NodeRequest::MaintenanceOff).await.unwrap();
    ask(on()).await.unwrap();
    assert!(maintained().await, "it was asked anew");
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_renews_by_itself_before_its_certificates_end() {
    let registry = Registry::start().await;
    let mut config = fresh(&registry);
    config.renewal.settle = Duration::ZERO;
    config.renewal.overlap = Duration::from_secs(1);
    let hour = Duration::from_secs(3600);
    *registry.desk.ca.life.lock().unwrap() = (60 * hour, 12 * hour);
    enrolled(&registry, &config).await;
    let files = [config.auth.certificate_file.clone(), config.members[0].sign_certificate_file.clone()];
    let old = files.clone().map(|file| leaf(&file).fingerprint());
    *registry.desk.ca.life.lock().unwrap() = (hour, 1000 * hour);
    let stop = CancellationToken::new();
    let running = tokio::spawn(truc_node::run(config.clone(), clock(), |_| {}, stop.clone()));
    let registered = async || {
        let member = subsystem().member();
        registry
            .desk
            .read(|state| {
                let auths = state.node(&node()).unwrap().auth_certificates.clone();
                let seals = &state.member(&member).unwrap().sign_certificates;
                (auths, seals.iter().map(|seal| seal.fingerprint).collect::<Vec<_>>())
            })
            .await
    };
    until("the old certificates are deleted", async || {
        assert!(!running.is_finished());
        let (auths, seals) = registered().await;
        !auths.contains(&old[0]) && !seals.contains(&old[1])
    })
    .await;
    let new = files.clone().map(|file| leaf(&file).fingerprint());
    assert_eq!(registered().await, (vec![new[0]], vec![new[1]]));
    until("the renewal is over", async || files_waiting(&config) == 0).await;
    let passphrase = Passphrase::from_file(&config.passphrase_file).unwrap();
    let store = FileKeyStore::open(&config.key_folder(), &passphrase).unwrap();
    let label = KeyLabel::new("auth--2").unwrap();
    assert_eq!(store.key(&label).unwrap().public_key, leaf(&files[0]).public_key());
    let kinds: Vec<String> = registry.desk.requests().await.into_iter().map(|(_, _, kind)| kind).collect();
    assert_eq!(kinds, ["enrol-node", "renew-keys", "delete-certificate", "delete-certificate"]);
    stop.cancel();
    running.await.unwrap().unwrap();
    // The next start goes on with the new keys.
    config.check(SystemClock.now()).unwrap();
    registry.close().await;
}
