//! Invitations, requests, approvals: what is taken, what is refused, and that a decision is whole or not at all.

use std::time::Duration;

use bytes::Bytes;
use truc_directory::{Der, MemberStatus, Usage, V1};
use truc_governance::*;
use truc_keys::SignatureAlgorithm;
use truc_model::{Clock as _, MemberId, MessageId, NodeId, SubsystemId, Timestamp};
use zeroize::Zeroizing;

use crate::office::{Office, certificate, public, sign};

pub(crate) const NODE: &str = "VN/GOV/H49/ss1";
pub(crate) const MEMBER: &str = "VN/GOV/H49";
/// Seeds of the new node's keys.
pub(crate) const AUTH: u8 = 20;
pub(crate) const SEAL: u8 = 21;
pub(crate) const LOG: u8 = 22;

pub(crate) fn csr(holder: &str, seed: u8) -> RequestedCertificate {
    RequestedCertificate { request: certificate(&format!("csr:{holder}#{seed}")), certificate: None }
}

pub(crate) fn granted(holder: &str, seed: u8, usage: Usage) -> GrantedCertificate {
    GrantedCertificate {
        holder: holder.to_owned(),
        usage,
        certificate: certificate(&format!("{holder}#{seed}")),
        intermediates: vec![],
    }
}

pub(crate) fn issued() -> Vec<GrantedCertificate> {
    vec![granted(NODE, AUTH, Usage::Auth), granted(MEMBER, SEAL, Usage::Sign)]
}

pub(crate) fn level() -> Option<SecurityLevel> {
    Some(SecurityLevel { level: 3, decision: "12/QĐ-UBND 01/11/2026".into() })
}

pub(crate) fn code(n: u8) -> InvitationCode {
    InvitationCode::new(&Zeroizing::new([n; 25]))
}

pub(crate) fn desk() -> NamedSubsystem {
    NamedSubsystem {
        id: format!("{MEMBER}/mot-cua-so-1").parse().unwrap(), name: "Một cửa số 1".into()
    }
}

pub(crate) fn enrolment() -> Ask {
    Ask::EnrolNode {
        address: "ss1.quangninh.gov.vn:5500".into(),
        log_key: public(LOG),
        versions: vec![1],
        auth: csr(NODE, AUTH),
        members: vec![EnrolledMember {
            id: MEMBER.parse().unwrap(),
            seal: csr(MEMBER, SEAL),
            subsystems: vec![desk()],
        }],
    }
}

/// Makes a request and signs it; every part can be bent before.
pub(crate) struct Applicant {
    pub(crate) request: Request,
    pub(crate) signatures: Vec<(SigningRole, String, Option<Der>, u8)>,
    pub(crate) invitation: Option<InvitationCode>,
}

pub(crate) fn message_id(now: Timestamp, n: u8) -> MessageId {
    MessageId::new(now, [n; 10])
}

impl Applicant {
    pub(crate) fn enrolling(office: &Office, invitation: u8) -> Self {
        let new = |holder: &str, seed| (SigningRole::NewKey, holder.to_owned(), None, seed);
        Self {
            request: Request {
                v: V1,
                id: message_id(office.clock.now(), invitation),
                instance: "VN".into(),
                node: NODE.parse().unwrap(),
                made: office.clock.now(),
                ask: enrolment(),
            },
            signatures: vec![
                new(NODE, AUTH),
                new(MEMBER, SEAL),
                (SigningRole::LogKey, NODE.to_owned(), None, LOG),
            ],
            invitation: Some(code(invitation)),
        }
    }

    /// A request of the enrolled node, signed by node and, if asked for, member.
    pub(crate) fn asking(office: &Office, n: u8, ask: Ask, with_member: bool) -> Self {
        let mut applicant = Self::enrolling(office, n);
        applicant.request.ask = ask;
        applicant.invitation = None;
        applicant.signatures =
            vec![(SigningRole::Node, NODE.to_owned(), Some(certificate(&format!("{NODE}#{AUTH}"))), AUTH)];
        if with_member {
            let seal = Some(certificate(&format!("{MEMBER}#{SEAL}")));
            applicant.signatures.push((SigningRole::Member, MEMBER.to_owned(), seal, SEAL));
        }
        applicant
    }

    pub(crate) fn document(&self) -> Bytes {
        let request = self.request.to_bytes();
        let text = signed_text(&request);
        let one =
            |(role, holder, certificate, seed): &(SigningRole, String, Option<Der>, u8)| RequestSignature {
                role: *role,
                holder: holder.clone(),
                algorithm: SignatureAlgorithm::Ed25519,
                certificate: certificate.clone(),
                signature: sign(*seed, &text),
            };
        SignedRequest {
            v: V1,
            signatures: self.signatures.iter().map(one).collect(),
            invitation: self.invitation.as_ref().map(|code| code.mac(&text)),
            request,
        }
        .to_bytes()
    }

    pub(crate) async fn submit(&self, office: &mut Office) -> Result<(), GovernanceError> {
        office.run(Command::Submit { document: self.document(), issued: vec![] }).await.map(drop)
    }
}

impl Office {
    pub(crate) async fn invite(
        &mut self,
        n: u8,
        level: Option<SecurityLevel>,
    ) -> Result<(), GovernanceError> {
        let expires = self.clock.now().plus(Duration::from_secs(72 * 3600));
        let node: NodeId = NODE.parse().unwrap();
        let (id, key) = (code(n).id().clone(), code(n).key());
        self.run(Command::Invite { id, key, node, expires, level }).await.map(drop)
    }

    pub(crate) async fn with_h49() -> Self {
        let mut office = Self::furnished().await;
        let id: MemberId = MEMBER.parse().unwrap();
        let (name_vi, name_en) = ("UBND tỉnh Quảng Ninh".into(), "Quang Ninh".into());
        office.run(Command::AddMember { id, name_vi, name_en }).await.unwrap();
        office
    }

    pub(crate) async fn enrolled() -> Self {
        let mut office = Self::with_h49().await;
        office.invite(1, level()).await.unwrap();
        Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
        office.approve(1, "registrar", issued()).await.unwrap();
        office
    }

    pub(crate) async fn approve(
        &mut self,
        number: u64,
        who: &str,
        issued: Vec<GrantedCertificate>,
    ) -> Result<(), GovernanceError> {
        let command = Command::Approve { number, why: String::new(), level: None, issued };
        self.governance.execute(command, who).await.map(drop)
    }

    pub(crate) fn state(&self) -> &State {
        self.governance.state().unwrap()
    }
}

pub(crate) fn refusal(outcome: Result<(), GovernanceError>) -> RequestRefusal {
    match outcome.unwrap_err() {
        GovernanceError::Request(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_invited_node_enrols_and_is_in_the_next_directory() {
    let mut office = Office::with_h49().await;
    office.invite(1, None).await.unwrap();
    let applicant = Applicant::enrolling(&office, 1);
    let document = applicant.document();
    assert_eq!(office.governance.standing(&document).unwrap(), None);
    applicant.submit(&mut office).await.unwrap();
    let standing = office.governance.standing(&document).unwrap().unwrap();
    assert_eq!((standing.number, standing.state), (1, RequestState::Submitted));
    assert_eq!(standing.comparison_code, SignedRequest::parse(&document).unwrap().0.comparison_code());

    assert_eq!(refusal(office.approve(1, "a", issued()).await), RequestRefusal::NoLevel(1));
    let attach = Command::AttachLevel { number: 1, level: level().unwrap() };
    office.run(attach).await.unwrap();
    let wanted = office.governance.wanted(1).unwrap();
    assert_eq!(wanted.len(), 2);
    assert!(wanted.iter().all(|w| w.organisation == "UBND tỉnh Quảng Ninh"));
    let refused = refusal(office.approve(1, "a", vec![]).await);
    assert!(matches!(refused, RequestRefusal::NotCertified { .. }), "{refused}");
    office.approve(1, "a", issued()).await.unwrap();

    let standing = office.governance.standing(&document).unwrap().unwrap();
    let steps: Vec<&str> = standing.steps.iter().map(|s| s.step.as_str()).collect();
    assert_eq!(steps, ["draft", "submitted", "security-level-attached", "csr-signed", "approved"]);
    assert_eq!(standing.certificates, issued());
    let directory = office.publish().await.directory;
    let node: NodeId = NODE.parse().unwrap();
    assert_eq!(directory.nodes_serving(&desk().id).iter().map(|n| &n.id).collect::<Vec<_>>(), [&node]);
    let auth = certificate(&format!("{NODE}#{AUTH}")).fingerprint();
    assert_eq!(directory.node_of_auth_certificate(&auth).map(|n| &n.id), Some(&node));
    let refused = refusal(office.approve(1, "b", issued()).await);
    assert!(matches!(refused, RequestRefusal::Decided { .. }), "two operators at once: {refused}");
    assert_eq!(refusal(applicant.submit(&mut office).await), RequestRefusal::IdTaken);
    let again = office.reopened().await;
    assert_eq!(again.governance.standing(&document).unwrap().unwrap(), standing, "after a restart");
}

#[tokio::test]
async fn an_invitation_serves_one_node_once_and_in_time() {
    let mut office = Office::with_h49().await;
    let stranger = Applicant::enrolling(&office, 9);
    assert_eq!(refusal(stranger.submit(&mut office).await), RequestRefusal::NotInvited);
    office.invite(1, None).await.unwrap();
    let mut wrong_secret = Applicant::enrolling(&office, 1);
    let text = signed_text(&wrong_secret.request.to_bytes());
    let mut document: serde_json::Value = serde_json::from_slice(&wrong_secret.document()).unwrap();
    let mut mac = serde_json::to_value(code(2).mac(&text)).unwrap();
    mac["id"] = serde_json::json!(code(1).id());
    document["invitation"] = mac;
    let forged = Bytes::from(serde_json::to_vec(&document).unwrap());
    let outcome = office.run(Command::Submit { document: forged, issued: vec![] }).await.map(drop);
    assert_eq!(refusal(outcome), RequestRefusal::NotInvited);
    wrong_secret.invitation = None;
    assert_eq!(refusal(wrong_secret.submit(&mut office).await), RequestRefusal::NotInvited);

    let mut elsewhere = Applicant::enrolling(&office, 1);
    elsewhere.request.node = "VN/GOV/H26/ss2".parse().unwrap();
    assert!(elsewhere.submit(&mut office).await.is_err(), "another node's invitation");

    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    let mut late = Applicant::enrolling(&office, 1);
    late.request.id = message_id(office.clock.now(), 77);
    let refused = refusal(late.submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::InvitationUsed { number: 1, .. }), "{refused}");

    office.invite(2, None).await.unwrap();
    let why = "sai nút".to_owned();
    office.run(Command::WithdrawInvitation { id: code(2).id().clone(), why }).await.unwrap();
    let refused = refusal(Applicant::enrolling(&office, 2).submit(&mut office).await);
    assert_eq!(refused, RequestRefusal::InvitationWithdrawn(code(2).id().clone()));

    office.invite(3, None).await.unwrap();
    office.clock.advance(Duration::from_secs(73 * 3600));
    let refused = refusal(Applicant::enrolling(&office, 3).submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::InvitationExpired { .. }), "{refused}");
}

#[tokio::test]
async fn every_key_proves_itself_and_serves_once() {
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    for missing in 0..3 {
        let mut applicant = Applicant::enrolling(&office, 1);
        applicant.signatures.remove(missing);
        let refused = refusal(applicant.submit(&mut office).await);
        assert!(matches!(refused, RequestRefusal::Signature { .. }), "{missing}: {refused}");
        let mut applicant = Applicant::enrolling(&office, 1);
        applicant.signatures[missing].3 = 99;
        let refused = refusal(applicant.submit(&mut office).await);
        assert!(matches!(refused, RequestRefusal::Signature { .. }), "{missing}: {refused}");
    }
    let mut extra = Applicant::enrolling(&office, 1);
    extra.signatures.push((SigningRole::NewKey, "VN/GOV/G01".into(), None, 50));
    assert!(matches!(refusal(extra.submit(&mut office).await), RequestRefusal::Signature { .. }));

    let bent = |bend: &dyn Fn(&mut Ask)| {
        let mut applicant = Applicant::enrolling(&office, 1);
        bend(&mut applicant.request.ask);
        applicant.document()
    };
    let with_auth = |requested: RequestedCertificate| {
        bent(&move |ask| {
            if let Ask::EnrolNode { auth, .. } = ask {
                *auth = requested.clone();
            }
        })
    };
    let cases = [
        (with_auth(csr("VN/GOV/H49/ss2", AUTH)), "names"),
        (with_auth(csr(NODE, SEAL)), "was registered before"),
        (
            with_auth(RequestedCertificate { request: certificate("junk"), certificate: None }),
            "no certificate request",
        ),
        (
            with_auth(RequestedCertificate {
                certificate: Some(certificate(&format!("{NODE}#99"))),
                ..csr(NODE, AUTH)
            }),
            "none of the keys",
        ),
    ];
    for (document, expected) in cases {
        let error = office.run(Command::Submit { document, issued: vec![] }).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    let foreign = vec![granted("VN/GOV/H26/ss1", AUTH, Usage::Auth), granted(MEMBER, SEAL, Usage::Sign)];
    assert!(office.approve(1, "a", foreign).await.is_err(), "a certificate in another's name");
    office.approve(1, "a", issued()).await.unwrap();
    office.run(Command::RemoveNode { node: NODE.parse().unwrap() }).await.unwrap();
    office.invite(2, level()).await.unwrap();
    let refused = refusal(Applicant::enrolling(&office, 2).submit(&mut office).await);
    assert!(
        matches!(refused, RequestRefusal::KeyUsed { .. }),
        "also a key of a node that is gone: {refused}"
    );
}

#[tokio::test]
async fn certificates_of_an_external_ca_are_brought() {
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    let (auth, seal) = (format!("{NODE}#{AUTH}"), format!("{MEMBER}#{SEAL}"));
    for wrong in ["VN/GOV/H49/ss1#99", "VN/GOV/H26#21"] {
        let command = Command::BringCertificates {
            number: 1,
            certificates: vec![certificate(wrong)],
            intermediates: vec![],
        };
        assert!(office.run(command).await.is_err(), "{wrong}");
    }
    for one in [&auth, &seal] {
        let command = Command::BringCertificates {
            number: 1,
            certificates: vec![certificate(one)],
            intermediates: vec![],
        };
        office.run(command).await.unwrap();
    }
    assert_eq!(office.governance.wanted(1).unwrap(), []);
    office.approve(1, "a", vec![]).await.unwrap();
    assert!(office.state().node(&NODE.parse().unwrap()).is_some());
}

#[tokio::test]
async fn four_eyes_are_two_officers() {
    let mut office = Office::with_h49().await;
    office.governance = office.governance.with_rules(Rules { four_eyes: true });
    office.invite(1, level()).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    office.approve(1, "Lan", vec![]).await.unwrap();
    assert_eq!(office.state().files().request(1).unwrap().state, RequestState::Endorsed);
    assert!(office.state().node(&NODE.parse().unwrap()).is_none());
    assert_eq!(
        refusal(office.approve(1, "Lan", issued()).await),
        RequestRefusal::SecondOfficer("Lan".into())
    );
    office.approve(1, "Minh", issued()).await.unwrap();
    assert!(office.state().node(&NODE.parse().unwrap()).is_some());
}

#[tokio::test]
async fn what_is_stale_or_refused_stays_so() {
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    let mut applicant = Applicant::enrolling(&office, 1);
    applicant.request.made = office.clock.now().minus(Duration::from_secs(601));
    assert!(matches!(refusal(applicant.submit(&mut office).await), RequestRefusal::NotNow { .. }));
    let applicant = Applicant::enrolling(&office, 1);
    applicant.submit(&mut office).await.unwrap();
    office.clock.advance(Duration::from_secs(31 * 24 * 3600));
    assert!(matches!(refusal(office.approve(1, "a", issued()).await), RequestRefusal::Stale { .. }));
    assert!(office.run(Command::Refuse { number: 1, why: " ".into() }).await.is_err(), "why?");
    office.run(Command::Refuse { number: 1, why: "quá hạn".into() }).await.unwrap();
    let standing = office.governance.standing(&applicant.document()).unwrap().unwrap();
    assert_eq!(standing.refusal(), Some("quá hạn"));
    assert_eq!(refusal(office.approve(7, "a", vec![]).await), RequestRefusal::Unknown(7));
}

#[tokio::test]
async fn a_node_manages_what_is_its_own() {
    let mut office = Office::enrolled().await;
    let (node, subsystem): (NodeId, SubsystemId) = (NODE.parse().unwrap(), desk().id);
    let second =
        NamedSubsystem { id: format!("{MEMBER}/mot-cua-so-2").parse().unwrap(), name: "Số 2".into() };
    let mut n = 10;
    let mut ask = async |office: &mut Office, ask: Ask, member: bool| {
        n += 1;
        Applicant::asking(office, n, ask, member).submit(office).await
    };
    let register = Ask::RegisterSubsystem { subsystem: second.clone(), seals: vec![] };
    assert!(matches!(
        refusal(ask(&mut office, register.clone(), false).await),
        RequestRefusal::Signature { .. }
    ));
    ask(&mut office, register, true).await.unwrap();
    assert_eq!(office.state().files().request(2).unwrap().state, RequestState::Submitted, "it waits");
    office.approve(2, "a", vec![]).await.unwrap();
    assert_eq!(office.state().nodes_serving(&second.id), 1);

    ask(&mut office, Ask::MaintenanceOn { message: "Bảo trì đến 18:00".into() }, false).await.unwrap();
    assert_eq!(
        office.state().node(&node).unwrap().maintenance.as_ref().unwrap().message,
        "Bảo trì đến 18:00",
        "at once"
    );
    ask(&mut office, Ask::MaintenanceOff {}, false).await.unwrap();
    ask(&mut office, Ask::DisableSubsystem { subsystem: subsystem.clone() }, true).await.unwrap();
    assert!(office.publish().await.directory.nodes_serving(&subsystem).is_empty());
    ask(&mut office, Ask::EnableSubsystem { subsystem: subsystem.clone() }, true).await.unwrap();
    ask(&mut office, Ask::ChangeAddress { address: "ss1.qn.gov.vn:5500".into() }, false).await.unwrap();
    assert_eq!(office.state().node(&node).unwrap().address, "ss1.qn.gov.vn:5500");

    let own = certificate(&format!("{NODE}#{AUTH}")).fingerprint();
    assert!(
        ask(&mut office, Ask::DeleteCertificate { fingerprint: own }, false).await.is_err(),
        "its only one"
    );
    let theirs = certificate("VN/GOV/G01").fingerprint();
    let refused = refusal(ask(&mut office, Ask::DeleteCertificate { fingerprint: theirs }, true).await);
    assert!(matches!(refused, RequestRefusal::NotItsOwn { .. }), "{refused}");
    let foreign = Ask::DisableSubsystem { subsystem: "VN/GOV/G01/he-thong".parse().unwrap() };
    assert!(matches!(refusal(ask(&mut office, foreign, true).await), RequestRefusal::NotItsOwn { .. }));

    for subsystem in [subsystem, second.id] {
        ask(&mut office, Ask::DeleteSubsystem { subsystem: subsystem.clone() }, true).await.unwrap();
        assert!(!office.state().has_subsystem(&subsystem));
    }
    let why = "mất khóa".to_owned();
    office.run(Command::SuspendNode { node: node.clone(), why }).await.unwrap();
    assert!(office.publish().await.directory.node_of_auth_certificate(&own).is_none());
    assert!(ask(&mut office, Ask::MaintenanceOff {}, false).await.is_err(), "a suspended node asks nothing");
    office.run(Command::ReinstateNode { node, why: "đã xử lý".into() }).await.unwrap();
}

#[tokio::test]
async fn keys_are_renewed_with_overlap() {
    let mut office = Office::enrolled().await;
    let member = || EnrolledMember { id: MEMBER.parse().unwrap(), seal: csr(MEMBER, 31), subsystems: vec![] };
    let renewal = Ask::RenewKeys { auth: Some(csr(NODE, 30)), seals: vec![member()] };
    let mut applicant = Applicant::asking(&office, 40, renewal, true);
    applicant.signatures.push((SigningRole::NewKey, NODE.to_owned(), None, 30));
    applicant.signatures.push((SigningRole::NewKey, MEMBER.to_owned(), None, 31));
    let document = applicant.document();
    assert_eq!(office.governance.examine(&document).unwrap().wanted.len(), 2);
    let bare = office.run(Command::Submit { document: document.clone(), issued: vec![] }).await.map(drop);
    assert!(matches!(refusal(bare), RequestRefusal::NotCertified { .. }));
    let issued = vec![granted(NODE, 30, Usage::Auth), granted(MEMBER, 31, Usage::Sign)];
    office.run(Command::Submit { document: document.clone(), issued }).await.unwrap();
    let directory = office.publish().await.directory;
    let (node, id): (NodeId, MemberId) = (NODE.parse().unwrap(), MEMBER.parse().unwrap());
    for seed in [AUTH, 30] {
        let print = certificate(&format!("{NODE}#{seed}")).fingerprint();
        assert_eq!(directory.node_of_auth_certificate(&print).map(|n| &n.id), Some(&node), "{seed}");
    }
    for seed in [SEAL, 31] {
        let print = certificate(&format!("{MEMBER}#{seed}")).fingerprint();
        assert!(directory.has_sign_certificate(&id, &print), "{seed}");
    }
    let old = certificate(&format!("{NODE}#{AUTH}")).fingerprint();
    let mut delete = Applicant::asking(&office, 41, Ask::DeleteCertificate { fingerprint: old }, false);
    delete.signatures[0].2 = Some(certificate(&format!("{NODE}#30")));
    delete.signatures[0].3 = 30;
    delete.submit(&mut office).await.unwrap();
    assert!(office.publish().await.directory.node_of_auth_certificate(&old).is_none());
}

#[tokio::test]
async fn a_node_changes_its_owner_with_both_owners_consent() {
    let mut office = Office::enrolled().await;
    let to = "VN/GOV/H26/ss9";
    let change = Ask::ChangeOwner { to: to.parse().unwrap(), auth: csr(to, 30) };
    let mut applicant = Applicant::asking(&office, 40, change, true);
    applicant.signatures.push((SigningRole::NewKey, to.to_owned(), None, 30));
    assert!(matches!(refusal(applicant.submit(&mut office).await), RequestRefusal::Signature { .. }));
    let certified = Command::RegisterSignCertificate {
        member: "VN/GOV/H26".parse().unwrap(),
        certificate: certificate("VN/GOV/H26#35"),
    };
    office.run(certified).await.unwrap();
    let seal = Some(certificate("VN/GOV/H26#35"));
    applicant.signatures.push((SigningRole::Member, "VN/GOV/H26".into(), seal, 35));
    applicant.submit(&mut office).await.unwrap();
    office.approve(2, "a", vec![granted(to, 30, Usage::Auth)]).await.unwrap();
    let directory = office.publish().await.directory;
    assert!(directory.node(&NODE.parse().unwrap()).is_none());
    assert_eq!(directory.node(&to.parse().unwrap()).unwrap().serves, [desk().id], "it goes on with its work");
}

#[tokio::test]
async fn a_suspended_member_takes_no_part_and_comes_back_whole() {
    let mut office = Office::enrolled().await;
    let id: MemberId = MEMBER.parse().unwrap();
    let before = office.state().member(&id).unwrap().clone();
    let suspend = || Command::SuspendMember { id: id.clone(), why: "sự cố an toàn".into() };
    office.run(suspend()).await.unwrap();
    assert!(office.run(suspend()).await.is_err());
    let directory = office.publish().await.directory;
    assert_eq!(directory.member(&id).unwrap().status, MemberStatus::Suspended);
    assert!(directory.nodes_serving(&desk().id).is_empty());
    office.run(Command::ReinstateMember { id: id.clone(), why: "đã khắc phục".into() }).await.unwrap();
    assert_eq!(*office.state().member(&id).unwrap(), before);
    let soon = office.clock.now().plus(Duration::from_secs(3600));
    let until = Command::SetValidity { id: id.clone(), valid_from: None, valid_to: Some(soon) };
    office.run(until).await.unwrap();
    office.clock.advance(Duration::from_secs(3601));
    assert!(!office.state().member(&id).unwrap().is_active(office.clock.now()));
    assert!(office.run(suspend()).await.is_err(), "it is over");
}

#[tokio::test]
async fn officers_do_what_their_role_covers() {
    let mut office = Office::enrolled().await;
    let id: MemberId = MEMBER.parse().unwrap();
    let add =
        || Command::AddMember { id: "VN/GOV/H01".parse().unwrap(), name_vi: "a".into(), name_en: "b".into() };
    let suspend = || Command::SuspendMember { id: id.clone(), why: "x".into() };
    let refuse = || Command::Refuse { number: 99, why: "x".into() };
    for (role, may) in [
        (OfficerRole::Auditor, [false, false, false]),
        (OfficerRole::Registrar, [true, false, true]),
        (OfficerRole::SecurityOfficer, [false, true, true]),
        (OfficerRole::Administrator, [true, true, true]),
    ] {
        for (command, may) in [add(), suspend(), refuse()].into_iter().zip(may) {
            assert_eq!(role.may(command.needs()), may, "{role} {command:?}");
            if !may {
                let officer = Officer { name: "x".into(), role };
                let outcome = office.governance.execute_as(command, &officer).await;
                assert!(matches!(outcome, Err(GovernanceError::NotPermitted { .. })));
            }
        }
        assert_eq!(role.as_str().parse::<OfficerRole>().unwrap(), role);
    }
}

/// A kill leaves the journal after some whole decision: each prefix replays, and the approval is in it whole or not at all.
#[tokio::test]
async fn a_registry_killed_anywhere_is_before_or_after_each_decision() {
    let office = Office::enrolled().await;
    let all = office.log.decisions.lock().unwrap().clone();
    let node: NodeId = NODE.parse().unwrap();
    for kept in 1..=all.len() {
        let log = std::sync::Arc::new(crate::office::MemoryLog::default());
        log.decisions.lock().unwrap().extend_from_slice(&all[..kept]);
        let replayed = Office::over(log, office.parts.clone(), office.clock.clone()).await;
        let state = replayed.state();
        let approved = state.files().request(1).is_some_and(|r| r.state == RequestState::Approved);
        let member = state.member(&node.owner());
        let traces = state.node(&node).is_some()
            || member.is_some_and(|m| !m.sign_certificates.is_empty() || !m.subsystems.is_empty());
        assert_eq!(approved, traces, "after {kept} decisions");
        if let (true, Some(entry)) = (approved, state.node(&node)) {
            assert_eq!((entry.auth_certificates.len(), entry.serves.len()), (1, 1));
        }
    }
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    *office.log.full.lock().unwrap() = true;
    assert!(office.approve(1, "a", issued()).await.is_err());
    assert!(office.state().node(&node).is_none(), "a full disk takes no decision");
    *office.log.full.lock().unwrap() = false;
    office.approve(1, "a", issued()).await.unwrap();
}

/// Every kind of decision about requests and standing, one after the other.
pub(crate) async fn a_long_day() -> Office {
    let mut office = Office::enrolled().await;
    let (node, id): (NodeId, MemberId) = (NODE.parse().unwrap(), MEMBER.parse().unwrap());
    let why = || "lý do".to_owned();
    let second = NamedSubsystem { id: id.subsystem("mot-cua-so-2").unwrap(), name: "Số 2".into() };
    let ask = Ask::RegisterSubsystem { subsystem: second.clone(), seals: vec![] };
    Applicant::asking(&office, 50, ask, true).submit(&mut office).await.unwrap();
    office.governance = office.governance.with_rules(Rules { four_eyes: true });
    office.approve(2, "Lan", vec![]).await.unwrap();
    office.run(Command::AttachLevel { number: 2, level: level().unwrap() }).await.unwrap();
    office.run(Command::Refuse { number: 2, why: why() }).await.unwrap();
    let maintenance = Ask::MaintenanceOn { message: "Bảo trì".into() };
    Applicant::asking(&office, 51, maintenance, false).submit(&mut office).await.unwrap();
    let to: NodeId = "VN/GOV/H26/ss9".parse().unwrap();
    let later = office.clock.now().plus(Duration::from_secs(86_400));
    for command in [
        Command::AddSubsystem { id: second.id.clone(), name: "Số 2".into() },
        Command::DisableSubsystem { id: second.id.clone() },
        Command::EnableSubsystem { id: second.id.clone() },
        Command::RemoveSubsystem { id: second.id },
        Command::SuspendMember { id: id.clone(), why: why() },
        Command::ReinstateMember { id: id.clone(), why: why() },
        Command::SetValidity { id: id.clone(), valid_from: None, valid_to: Some(later) },
        Command::SuspendNode { node: node.clone(), why: why() },
        Command::ReinstateNode { node: node.clone(), why: why() },
        Command::ChangeOwner { node, to: to.clone() },
        Command::RemoveNode { node: to },
    ] {
        office.run(command).await.unwrap();
    }
    office.invite(60, None).await.unwrap();
    office.run(Command::WithdrawInvitation { id: code(60).id().clone(), why: why() }).await.unwrap();
    office.invite(61, None).await.unwrap();
    let mut applicant = Applicant::enrolling(&office, 61);
    let new = |holder: &str, seed| (SigningRole::NewKey, holder.to_owned(), None, seed);
    if let Ask::EnrolNode { auth, members, .. } = &mut applicant.request.ask {
        *auth = csr(NODE, 70);
        members[0].seal = csr(MEMBER, 71);
    }
    applicant.signatures[0] = new(NODE, 70);
    applicant.signatures[1] = new(MEMBER, 71);
    applicant.submit(&mut office).await.unwrap();
    let number = office.state().files().requests().last().unwrap().number;
    let brought = vec![certificate(&format!("{NODE}#70"))];
    office
        .run(Command::BringCertificates { number, certificates: brought, intermediates: vec![] })
        .await
        .unwrap();
    office
}
