//! Who counts: suspended, disabled and closed entries are found by name and speak for nobody.

use truc_directory::*;
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId};

use crate::bus::{Bus, member};

struct Names {
    member: MemberId,
    node: NodeId,
    subsystem: SubsystemId,
    seal: Fingerprint,
    tls: Fingerprint,
}

fn h26() -> Names {
    Names {
        member: "VN/GOV/H26".parse().unwrap(),
        node: "VN/GOV/H26/ss1".parse().unwrap(),
        subsystem: "VN/GOV/H26/he-thong".parse().unwrap(),
        seal: Fingerprint([12; 32]),
        tls: Fingerprint([112; 32]),
    }
}

/// G01's node serves H26's subsystem beside H26's own; `spoil` changes H26, `spoil_host` G01.
fn hosted(spoil: impl Fn(&mut MemberEntry), spoil_host: impl Fn(&mut MemberEntry)) -> Directory {
    let (mut bus, names) = (Bus::new(), h26());
    let (mut guest, mut host) = (member("H26", 12), member("G01", 11));
    host.nodes[0].serves.push(names.subsystem);
    spoil(&mut guest);
    spoil_host(&mut host);
    bus.set("member/VN/GOV/H26", guest.to_bytes());
    bus.set("member/VN/GOV/G01", host.to_bytes());
    bus.assemble().unwrap()
}

fn serving(directory: &Directory) -> Vec<String> {
    directory.nodes_serving(&h26().subsystem).iter().map(|n| n.id.to_string()).collect()
}

#[test]
fn everybody_counts_while_nothing_is_suspended() {
    let (directory, names) = (hosted(|_| {}, |_| {}), h26());
    assert_eq!(serving(&directory), ["VN/GOV/G01/ss1", "VN/GOV/H26/ss1"]);
    assert!(directory.speaks_for(&names.node, &names.subsystem));
    assert!(directory.has_sign_certificate(&names.member, &names.seal));
    assert_eq!(directory.node_of_auth_certificate(&names.tls).unwrap().id, names.node);
}

#[test]
fn a_member_that_is_not_active_has_no_seal_no_node_and_no_subsystem_that_counts() {
    for status in [MemberStatus::Suspended, MemberStatus::Closed] {
        let (directory, names) = (hosted(|m| m.status = status, |_| {}), h26());
        assert!(serving(&directory).is_empty(), "not through another's node either");
        assert!(!directory.speaks_for(&names.node, &names.subsystem));
        assert!(!directory.has_sign_certificate(&names.member, &names.seal));
        assert!(directory.node_of_auth_certificate(&names.tls).is_none());
        assert_eq!(directory.member(&names.member).unwrap().status, status, "found, to tell a good fault");
        assert!(directory.node(&names.node).is_some() && directory.subsystem(&names.subsystem).is_some());
    }
}

#[test]
fn a_host_that_is_not_active_takes_only_its_own_nodes_along() {
    for status in [MemberStatus::Suspended, MemberStatus::Closed] {
        let directory = hosted(|_| {}, |m| m.status = status);
        assert_eq!(serving(&directory), ["VN/GOV/H26/ss1"]);
    }
}

#[test]
fn a_suspended_node_speaks_for_nobody_and_its_tls_identity_does_not_count() {
    let (directory, names) = (hosted(|m| m.nodes[0].suspended = true, |_| {}), h26());
    assert_eq!(serving(&directory), ["VN/GOV/G01/ss1"]);
    assert!(directory.node_of_auth_certificate(&names.tls).is_none());
    assert!(directory.node(&names.node).unwrap().suspended);
    assert!(
        directory.has_sign_certificate(&names.member, &names.seal),
        "the member's seal is not the node's"
    );
}

#[test]
fn a_disabled_subsystem_is_registered_and_spoken_for_by_nobody() {
    let (directory, names) = (hosted(|m| m.subsystems[0].disabled = true, |_| {}), h26());
    assert!(serving(&directory).is_empty());
    assert!(directory.subsystem(&names.subsystem).unwrap().disabled);
    assert!(directory.node_of_auth_certificate(&names.tls).is_some());
}

#[test]
fn a_node_being_worked_on_is_still_listed() {
    let pause = |m: &mut MemberEntry| {
        m.nodes[0].maintenance = Some(Maintenance { message: "until 8:00".into() });
    };
    assert_eq!(serving(&hosted(pause, |_| {})).len(), 2, "the caller prefers another, or tells the message");
}
