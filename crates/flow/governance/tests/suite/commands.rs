use truc_directory::{GroupMember, MemberStatus, SuccessionStep, TrustServices};
use truc_evidence::StoreError;
use truc_governance::*;
use truc_model::MemberId;

use crate::office::{Office, PUBLISHING, ROOT, authority, certificate, public, signed_by};

fn add(id: &str) -> Command {
    Command::AddMember { id: id.parse().unwrap(), name_vi: "Tên".into(), name_en: "Name".into() }
}

#[tokio::test]
async fn nothing_happens_before_the_instance_is_opened() {
    let mut office = Office::empty().await;
    assert_eq!(office.run(add("VN/GOV/H26")).await.unwrap_err(), GovernanceError::NotInitialised);
    assert!(office.publisher.publish(&mut office.governance).await.is_err());
}

#[tokio::test]
async fn each_mistake_has_its_own_refusal_and_changes_nothing() {
    let mut office = Office::furnished().await;
    let before = office.governance.decisions();
    let id = |t: &str| t.parse::<MemberId>().unwrap();
    let cases: Vec<(Command, &str)> = vec![
        (add("VN/GOV/H26"), "already registered"),
        (add("LA/GOV/H26"), "another instance"),
        (add("VN/GOV/h49"), "upper case"),
        (add("VN/GOV/000.00.00.H48"), "new form"),
        (
            Command::AddMember { id: id("VN/GOV/X"), name_vi: " ".into(), name_en: "X".into() },
            "1 to 200 characters",
        ),
        (
            Command::RenameMember { id: id("VN/GOV/X"), name_vi: "a".into(), name_en: "b".into() },
            "not a member",
        ),
        (Command::AddSubsystem { id: "VN/GOV/X/a".parse().unwrap(), name: "a".into() }, "not a member"),
        (
            Command::AddSubsystem { id: "VN/GOV/H26/he-thong".parse().unwrap(), name: "a".into() },
            "already registered",
        ),
        (
            Command::Serve {
                node: "VN/GOV/H26/ss1".parse().unwrap(),
                subsystem: "VN/GOV/H26/x".parse().unwrap(),
            },
            "is not registered; add it first",
        ),
        (
            Command::MoveNode { node: "VN/GOV/H26/ss9".parse().unwrap(), address: "a:1".into() },
            "not a registered node",
        ),
        (
            Command::MoveNode { node: "VN/GOV/H26/ss1".parse().unwrap(), address: "nowhere".into() },
            "not an address",
        ),
        (
            Command::RegisterSignCertificate {
                member: id("VN/GOV/H26"),
                certificate: certificate("VN/GOV/G01#2"),
            },
            "names VN/GOV/G01, not VN/GOV/H26",
        ),
        (
            Command::RegisterSignCertificate {
                member: id("VN/GOV/H26"),
                certificate: certificate("VN/GOV/H26"),
            },
            "already registered",
        ),
        (
            Command::RegisterAuthCertificate {
                node: "VN/GOV/H26/ss1".parse().unwrap(),
                certificate: certificate("VN/GOV/H26/ss2"),
            },
            "names VN/GOV/H26/ss2",
        ),
        (
            Command::RegisterAuthCertificate {
                node: "VN/GOV/H26/ss1".parse().unwrap(),
                certificate: certificate("nonsense"),
            },
            "names nobody",
        ),
        (
            Command::RevokeCertificate { fingerprint: certificate("unseen").fingerprint() },
            "is not registered",
        ),
        (
            Command::AddToGroup { code: "g".into(), member: GroupMember::Member(id("VN/GOV/H26")) },
            "no global group",
        ),
        (Command::CreateGroup { code: "a b".into(), name: "x".into() }, "characters"),
        (Command::CloseMember { id: id("VN/GOV/X"), successor: None }, "not a member"),
    ];
    for (command, expected) in cases {
        let shown = format!("{command:?}");
        let refusal = office.run(command).await.unwrap_err().to_string();
        assert!(refusal.contains(expected), "{shown}: {refusal}");
    }
    assert_eq!(office.governance.decisions(), before);
}

#[tokio::test]
async fn without_an_approved_authority_no_certificate_counts() {
    let mut office = Office::furnished().await;
    let next = draft_trust_services(
        office.governance.state().unwrap().trust_services(),
        TrustChange::Remove(authority().name),
    )
    .unwrap();
    let trust = signed_by(&[ROOT], next.to_bytes()).await;
    office.run(Command::InstallTrustServices { trust }).await.unwrap();
    let refusal = office
        .run(Command::RegisterSignCertificate {
            member: "VN/GOV/H26".parse().unwrap(),
            certificate: certificate("VN/GOV/H26#3"),
        })
        .await;
    assert!(matches!(refusal, Err(GovernanceError::Certificate { .. })));
}

#[tokio::test]
async fn trust_lists_need_the_root_keys_and_the_next_number() {
    let mut office = Office::initialised().await;
    let current = office.governance.state().unwrap().trust_services().clone();
    let mut other = authority();
    other.name = "Second CA".into();
    let next = draft_trust_services(&current, TrustChange::AddAuthority(other)).unwrap();
    for (seed, list) in [(PUBLISHING, &next), (ROOT, &current), (ROOT, &TrustServices::empty("VN"))] {
        let trust = signed_by(&[seed], list.to_bytes()).await;
        let refusal = office.run(Command::InstallTrustServices { trust }).await.unwrap_err();
        assert!(matches!(refusal, GovernanceError::Endorsement(_)), "{refusal}");
    }
    let trust = signed_by(&[ROOT], next.to_bytes()).await;
    office.run(Command::InstallTrustServices { trust }).await.unwrap();
    assert_eq!(office.governance.state().unwrap().trust_services().authorities.len(), 2);
    assert!(draft_trust_services(&next, TrustChange::AddAuthority(authority())).is_err());
}

#[tokio::test]
async fn root_keys_change_with_both_thresholds_and_a_trust_list_signed_anew() {
    let mut office = Office::furnished().await;
    let state = office.governance.state().unwrap().clone();
    let mut next = state.root().clone();
    next.version = 2;
    next.root_keys = vec![public(41), public(42), public(43)];
    next.threshold = 2;
    let trust = signed_by(&[41, 43], state.trust_services().to_bytes()).await;
    let by_old_only = signed_by(&[ROOT], next.to_bytes()).await;
    let both = signed_by(&[ROOT, 41, 42], next.to_bytes()).await;
    for (root, trust) in [(by_old_only, Some(trust.clone())), (both.clone(), None)] {
        assert!(office.run(Command::InstallRoot { root, trust }).await.is_err());
    }
    office.run(Command::InstallRoot { root: both, trust: Some(trust) }).await.unwrap();
    assert_eq!(office.publish().await.directory.root().version, 2);
    let mut office = office.reopened().await;
    assert_eq!(office.publish().await.directory.root().threshold, 2);
}

#[tokio::test]
async fn what_the_log_does_not_take_is_not_decided() {
    let mut office = Office::furnished().await;
    *office.log.full.lock().unwrap() = true;
    let refusal = office.run(add("VN/GOV/H49")).await.unwrap_err();
    assert_eq!(refusal, GovernanceError::Store(StoreError::Full));
    assert!(office.governance.state().unwrap().member(&"VN/GOV/H49".parse().unwrap()).is_none());
}

#[tokio::test]
async fn a_replayed_log_gives_the_same_state() {
    let office = Office::furnished().await;
    let parts = |o: &Office| {
        let state = o.governance.state().unwrap().clone();
        state.members().map(|m| m.to_bytes()).collect::<Vec<_>>()
    };
    let before = parts(&office);
    let office = office.reopened().await;
    assert_eq!(parts(&office), before);
}

#[tokio::test]
async fn a_closed_member_leaves_its_places_to_its_successor() {
    let mut office = Office::furnished().await;
    office.admit("H10").await;
    let (old, new): (MemberId, MemberId) = ("VN/GOV/H10".parse().unwrap(), "VN/GOV/H26".parse().unwrap());
    let (from, to) = (old.subsystem("he-thong").unwrap(), new.subsystem("he-thong").unwrap());
    for command in [
        Command::CreateGroup { code: "mot-cua".into(), name: "Một cửa".into() },
        Command::AddToGroup { code: "mot-cua".into(), member: GroupMember::Subsystem(from.clone()) },
        Command::AddAlias { alias: "000.00.00.H10".into(), member: old.clone() },
        Command::Serve { node: new.node("ss1").unwrap(), subsystem: from.clone() },
    ] {
        office.run(command).await.unwrap();
    }
    // The old member's node may not strand somebody else's subsystem.
    office.run(Command::Serve { node: old.node("ss1").unwrap(), subsystem: to.clone() }).await.unwrap();
    let succession = NewSuccession {
        member: new.clone(),
        subsystems: vec![SuccessionStep { from: from.clone(), to: to.clone() }],
    };
    let close = Command::CloseMember { id: old.clone(), successor: Some(succession) };
    assert!(matches!(office.run(close.clone()).await, Err(GovernanceError::StillServing { .. })));
    office.run(Command::StopServing { node: old.node("ss1").unwrap(), subsystem: to.clone() }).await.unwrap();
    office.run(close).await.unwrap();

    let directory = office.publish().await.directory;
    let member = directory.member(&old).unwrap();
    assert_eq!(member.status, MemberStatus::Closed);
    assert_eq!(directory.successor(&old).unwrap().member, new);
    assert_eq!(directory.alias("000.00.00.H10"), Some(&old), "an alias never resolves to the successor");
    assert!(directory.in_group("mot-cua", &to) && !directory.in_group("mot-cua", &from));
    assert!(directory.nodes_serving(&from).is_empty());
    assert!(!directory.has_sign_certificate(&old, &certificate("VN/GOV/H10").fingerprint()));
    let refusal =
        office.run(Command::AddSubsystem { id: old.subsystem("x").unwrap(), name: "x".into() }).await;
    assert_eq!(refusal.unwrap_err(), GovernanceError::MemberClosed(old));
}

#[tokio::test]
async fn a_revoked_registration_is_gone_from_the_next_directory() {
    let mut office = Office::furnished().await;
    let (sign, auth) = (certificate("VN/GOV/H26").fingerprint(), certificate("VN/GOV/H26/ss1").fingerprint());
    let h26: MemberId = "VN/GOV/H26".parse().unwrap();
    let directory = office.publish().await.directory;
    assert!(
        directory.has_sign_certificate(&h26, &sign) && directory.node_of_auth_certificate(&auth).is_some()
    );
    for fingerprint in [sign, auth] {
        office.run(Command::RevokeCertificate { fingerprint }).await.unwrap();
    }
    let directory = office.publish().await.directory;
    assert!(
        !directory.has_sign_certificate(&h26, &sign) && directory.node_of_auth_certificate(&auth).is_none()
    );
}
