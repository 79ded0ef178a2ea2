//! What a thief, a hostile node or an officer alone must not get, one attack each.

use std::time::Duration;

use bytes::Bytes;
use truc_directory::{Der, Usage};
use truc_governance::*;
use truc_model::{Clock as _, MemberId, NodeId};

use crate::office::{Office, certificate};
use crate::requests::{
    AUTH, Applicant, MEMBER, NODE, SEAL, code, csr, desk, enrolment, granted, issued, level, refusal,
};

fn new_key(holder: &str, seed: u8) -> (SigningRole, String, Option<Der>, u8) {
    (SigningRole::NewKey, holder.to_owned(), None, seed)
}

fn seal_of(member: &str, seed: u8) -> EnrolledMember {
    EnrolledMember { id: member.parse().unwrap(), seal: csr(member, seed), subsystems: vec![] }
}

fn second() -> NamedSubsystem {
    NamedSubsystem { id: format!("{MEMBER}/mot-cua-so-2").parse().unwrap(), name: "Số 2".into() }
}

async fn submit_with(
    office: &mut Office,
    document: Bytes,
    issued: Vec<GrantedCertificate>,
) -> Result<(), GovernanceError> {
    office.run(Command::Submit { document, issued }).await.map(drop)
}

/// Renewal takes no officer: a suspended member would make keys for the time after.
#[tokio::test]
async fn a_suspended_member_makes_no_keys_for_afterwards() {
    let mut office = Office::enrolled().await;
    let renewal = Ask::RenewKeys { auth: None, seals: vec![seal_of(MEMBER, 31)] };
    let mut applicant = Applicant::asking(&office, 40, renewal, true);
    applicant.signatures.push(new_key(MEMBER, 31));
    let pause = Applicant::asking(&office, 41, Ask::MaintenanceOn { message: "x".into() }, false);
    let id: MemberId = MEMBER.parse().unwrap();
    office.run(Command::SuspendMember { id: id.clone(), why: "lộ khóa".into() }).await.unwrap();
    let new = || vec![granted(MEMBER, 31, Usage::Sign)];
    let refused = refusal(submit_with(&mut office, applicant.document(), new()).await);
    assert!(refused.to_string().contains("suspended"), "{refused}");
    assert!(pause.submit(&mut office).await.is_err(), "nor does its node ask for anything");
    office.run(Command::ReinstateMember { id, why: "đã xử lý".into() }).await.unwrap();
    submit_with(&mut office, applicant.document(), new()).await.unwrap();
}

/// What was signed with a key that was taken away since is not approved.
#[tokio::test]
async fn a_signature_counts_at_the_approval_too() {
    let mut office = Office::enrolled().await;
    let ask = Ask::RegisterAuthCertificate { auth: csr(NODE, 30) };
    let mut applicant = Applicant::asking(&office, 40, ask, false);
    applicant.signatures.push(new_key(NODE, 30));
    applicant.submit(&mut office).await.unwrap();
    let stolen = certificate(&format!("{NODE}#{AUTH}")).fingerprint();
    office.run(Command::RevokeCertificate { fingerprint: stolen }).await.unwrap();
    let new = || vec![granted(NODE, 30, Usage::Auth)];
    let refused = refusal(office.approve(2, "a", new()).await);
    assert!(matches!(refused, RequestRefusal::Signature { .. }), "{refused}");

    let mut office = Office::enrolled().await;
    let ask = Ask::RegisterAuthCertificate { auth: csr(NODE, 30) };
    let mut applicant = Applicant::asking(&office, 40, ask, false);
    applicant.signatures.push(new_key(NODE, 30));
    applicant.submit(&mut office).await.unwrap();
    let node: NodeId = NODE.parse().unwrap();
    office.run(Command::SuspendNode { node, why: "mất máy".into() }).await.unwrap();
    assert!(office.approve(2, "a", new()).await.is_err(), "nor what a suspended node asked before");
}

/// What an officer switched off, the node does not switch on.
#[tokio::test]
async fn a_node_does_not_undo_what_an_officer_disabled() {
    let mut office = Office::enrolled().await;
    let subsystem = || desk().id;
    let mut n = 40;
    let mut ask = async |office: &mut Office, ask: Ask| {
        n += 1;
        Applicant::asking(office, n, ask, true).submit(office).await
    };
    // Whether or not the node was quicker.
    for before in [false, true] {
        if before {
            ask(&mut office, Ask::DisableSubsystem { subsystem: subsystem() }).await.unwrap();
        }
        office.run(Command::DisableSubsystem { id: subsystem() }).await.unwrap();
        assert!(office.run(Command::DisableSubsystem { id: subsystem() }).await.is_err(), "said already");
        assert!(ask(&mut office, Ask::DisableSubsystem { subsystem: subsystem() }).await.is_err());
        let enable = ask(&mut office, Ask::EnableSubsystem { subsystem: subsystem() }).await;
        assert!(matches!(refusal(enable), RequestRefusal::NotItsOwn { .. }));
        office = office.reopened().await;
        let enable = ask(&mut office, Ask::EnableSubsystem { subsystem: subsystem() }).await;
        assert!(enable.is_err(), "also after a restart");
        office.run(Command::EnableSubsystem { id: subsystem() }).await.unwrap();
    }
    ask(&mut office, Ask::DisableSubsystem { subsystem: subsystem() }).await.unwrap();
    ask(&mut office, Ask::EnableSubsystem { subsystem: subsystem() }).await.unwrap();
}

/// A node that hosts a member makes no further seal of it without the member's word.
#[tokio::test]
async fn a_hosted_member_consents_to_a_further_seal() {
    let mut office = Office::enrolled().await;
    let ask = Ask::RegisterSubsystem { subsystem: second(), seals: vec![seal_of(MEMBER, 31)] };
    let mut applicant = Applicant::asking(&office, 40, ask.clone(), false);
    applicant.signatures.push(new_key(MEMBER, 31));
    let refused = refusal(applicant.submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::Signature { .. }), "{refused}");
    let mut applicant = Applicant::asking(&office, 41, ask, true);
    applicant.signatures.push(new_key(MEMBER, 31));
    applicant.submit(&mut office).await.unwrap();
}

/// The second officer approves what the first one did.
#[tokio::test]
async fn two_officers_approve_the_same_security_level() {
    let mut office = Office::with_h49().await;
    office.governance = office.governance.with_rules(Rules { four_eyes: true });
    office.invite(1, None).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    let low = || Some(SecurityLevel { level: 1, decision: "99/QĐ-UBND 02/11/2026".into() });
    let approve = |level: Option<SecurityLevel>, issued| Command::Approve {
        number: 1,
        why: String::new(),
        level,
        issued,
    };
    let filed = |office: &Office| office.state().files().request(1).unwrap().clone();
    office.governance.execute(approve(level(), vec![]), "Lan").await.unwrap();
    assert_eq!(filed(&office).level, level(), "what the first officer said is kept");
    assert!(office.governance.execute(approve(low(), issued()), "Minh").await.is_err());
    let attach = Command::AttachLevel { number: 1, level: low().unwrap() };
    office.governance.execute(attach, "Minh").await.unwrap();
    assert_eq!((filed(&office).state, filed(&office).endorsed_by), (RequestState::Submitted, None));
    office.governance.execute(approve(None, vec![]), "Minh").await.unwrap();
    assert_eq!(filed(&office).state, RequestState::Endorsed, "Minh is the first of two now");
    office.governance.execute(approve(None, issued()), "Lan").await.unwrap();
    assert_eq!(filed(&office).state, RequestState::Approved);
    assert_eq!(office.reopened().await.state().files().request(1).unwrap().level, low());
}

/// No CA is asked for certificates of what is refused anyway.
#[tokio::test]
async fn what_cannot_be_approved_is_known_before_anything_is_issued() {
    let mut office = Office::with_h49().await;
    office.governance = office.governance.with_rules(Rules { four_eyes: true });
    office.invite(1, None).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    assert!(office.governance.check_approval(1, None, "Lan").is_err(), "no level");
    office.governance.check_approval(1, level().as_ref(), "Lan").unwrap();
    office.run(Command::AttachLevel { number: 1, level: level().unwrap() }).await.unwrap();
    office.approve(1, "Lan", vec![]).await.unwrap();
    let twice = office.governance.check_approval(1, None, "Lan").unwrap_err();
    assert!(matches!(twice, GovernanceError::Request(RequestRefusal::SecondOfficer(_))), "{twice}");
    office.governance.check_approval(1, None, "Minh").unwrap();
}

/// Everything stays in the journal for good, so a node cannot fill it.
#[tokio::test]
async fn a_node_does_not_fill_the_journal() {
    let mut office = Office::enrolled().await;
    let toggle = |n: u8| match n % 2 {
        0 => Ask::MaintenanceOn { message: "Bảo trì".into() },
        _ => Ask::MaintenanceOff {},
    };
    let mut taken = 0;
    for n in 0..100 {
        let applicant = Applicant::asking(&office, 100 + n, toggle(n), false);
        taken += u32::from(applicant.submit(&mut office).await.is_ok());
    }
    assert_eq!(taken, 60);
    office.clock.advance(Duration::from_secs(3601));
    Applicant::asking(&office, 240, toggle(0), false).submit(&mut office).await.unwrap();
    let kept = office.state().files().requests().map(|filed| filed.document.len()).sum::<usize>();
    assert_eq!(kept, 0, "nor the registry's memory");
}

#[tokio::test]
async fn certificates_do_not_pile_up() {
    let mut office = Office::enrolled().await;
    let mut taken = 0;
    for seed in 100..120 {
        let renewal = Ask::RenewKeys { auth: Some(csr(NODE, seed)), seals: vec![seal_of(MEMBER, seed + 50)] };
        let mut applicant = Applicant::asking(&office, seed, renewal, true);
        applicant.signatures.extend([new_key(NODE, seed), new_key(MEMBER, seed + 50)]);
        let new = vec![granted(NODE, seed, Usage::Auth), granted(MEMBER, seed + 50, Usage::Sign)];
        taken += u32::from(submit_with(&mut office, applicant.document(), new).await.is_ok());
    }
    assert_eq!(taken, 7, "eight of each, the first ones among them");
}

/// A document says what it says and carries nothing else.
#[tokio::test]
async fn nothing_rides_along_in_a_document() {
    let mut office = Office::enrolled().await;
    let applicant = Applicant::asking(&office, 40, Ask::MaintenanceOn { message: "x".into() }, false);
    let document = applicant.document();
    let (signed, _) = SignedRequest::parse(&document).unwrap();
    let resigned = |request: Vec<u8>| {
        let text = signed_text(&request);
        let mut bent = signed.clone();
        bent.signatures[0].signature = crate::office::sign(AUTH, &text);
        bent.request = Bytes::from(request);
        bent.to_bytes()
    };
    let text = String::from_utf8(signed.request.to_vec()).unwrap();
    let twice = |key: &str| text.replacen('{', &format!("{{{key},"), 1).into_bytes();
    let inside = |from: &str, to: &str| {
        let bent = text.replacen(from, to, 1);
        assert_ne!(bent, text, "{from}");
        bent.into_bytes()
    };
    for request in [
        [text.as_bytes(), &[b' '; 100_000]].concat(),
        twice("\"v\":1"),
        twice("\"node\":\"VN/GOV/G01/ss1\""),
        inside("\"kind\":", "\"kind\":\"maintenance-off\",\"kind\":"),
        inside("\"message\":", "\"message\":\"y\",\"message\":"),
        inside("\"message\":", "\"more\":1,\"message\":"),
        inside(NODE, "VN/GOV/h49/ss1"),
    ] {
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert!(submit_with(&mut office, resigned(request), vec![]).await.is_err(), "{shown}");
    }
    let padded = [&document[..], &[b' '; 100_000]].concat();
    assert!(submit_with(&mut office, Bytes::from(padded), vec![]).await.is_err());
    submit_with(&mut office, resigned(text.clone().into_bytes()), vec![]).await.unwrap();

    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    let mut loaded = Applicant::enrolling(&office, 1);
    loaded.signatures[0].2 = Some(certificate("anything"));
    assert!(loaded.submit(&mut office).await.is_err(), "a certificate that nobody asked for");
    let bent = |bend: &dyn Fn(&mut Vec<u32>, &mut Vec<EnrolledMember>)| {
        let mut applicant = Applicant::enrolling(&office, 1);
        applicant.request.ask = enrolment();
        if let Ask::EnrolNode { versions, members, .. } = &mut applicant.request.ask {
            bend(versions, members);
        }
        applicant.document()
    };
    for document in [
        bent(&|versions, _| versions.clear()),
        bent(&|versions, _| versions.extend(2..40)),
        bent(&|_, members| members[0].subsystems[0].name = "Số 1\u{1b}[2J".into()),
        bent(&|_, members| members[0].subsystems[0].name = "Số \u{202e}1".into()),
    ] {
        let refused = submit_with(&mut office, document, vec![]).await.unwrap_err();
        assert!(matches!(refused, GovernanceError::Request(RequestRefusal::Malformed(_))), "{refused:?}");
    }
}

/// Whoever lacks the node's key learns nothing of its request, nor makes the registry read certificate requests.
#[tokio::test]
async fn a_stranger_is_turned_away_by_the_first_signature() {
    let mut office = Office::enrolled().await;
    let renewal = Ask::RenewKeys { auth: Some(csr(NODE, AUTH)), seals: vec![seal_of(MEMBER, SEAL)] };
    let mut applicant = Applicant::asking(&office, 40, renewal, true);
    applicant.signatures[0].3 = 99;
    let refused = refusal(applicant.submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::Signature { .. }), "not that a key is used: {refused}");
}

/// A certificate for another key of the same request is not taken for this one.
#[tokio::test]
async fn certificates_are_not_swapped_between_holders() {
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    Applicant::enrolling(&office, 1).submit(&mut office).await.unwrap();
    let swapped = vec![
        GrantedCertificate {
            certificate: certificate(&format!("{NODE}#{SEAL}")),
            ..granted(NODE, AUTH, Usage::Auth)
        },
        GrantedCertificate {
            certificate: certificate(&format!("{MEMBER}#{AUTH}")),
            ..granted(MEMBER, SEAL, Usage::Sign)
        },
    ];
    let refused = refusal(office.approve(1, "a", swapped).await);
    assert!(matches!(refused, RequestRefusal::Certificate { .. }), "{refused}");
    office.approve(1, "a", issued()).await.unwrap();
}

/// The thief of an invitation that was first is seen: the genuine node is told, and neither can be mistaken for the other.
#[tokio::test]
async fn a_thief_who_was_quicker_is_noticed() {
    let mut office = Office::with_h49().await;
    office.invite(1, level()).await.unwrap();
    let genuine = Applicant::enrolling(&office, 1);
    let mut thief = Applicant::enrolling(&office, 1);
    thief.request.id = truc_model::MessageId::new(office.clock.now(), [7; 10]);
    if let Ask::EnrolNode { address, .. } = &mut thief.request.ask {
        "thief.example:5500".clone_into(address);
    }
    thief.submit(&mut office).await.unwrap();
    let refused = refusal(genuine.submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::InvitationUsed { number: 1, .. }), "{refused}");
    let genuine_code = SignedRequest::parse(&genuine.document()).unwrap().0.comparison_code();
    assert_ne!(office.state().files().request(1).unwrap().comparison_code, genuine_code);
    // Withdrawing comes too late, refusing does not; and the code is spent for good.
    let id = code(1).id().clone();
    assert!(office.run(Command::WithdrawInvitation { id, why: "x".into() }).await.is_err());
    office.run(Command::Refuse { number: 1, why: "sai mã đối chiếu".into() }).await.unwrap();
    let refused = refusal(genuine.submit(&mut office).await);
    assert!(matches!(refused, RequestRefusal::InvitationUsed { .. }), "{refused}");
}
