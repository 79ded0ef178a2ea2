//! Who takes part and who does not, by the directory's word: told by its reason at both ends, and never as UNTRUSTED.

use truc_directory::{Maintenance, MemberEntry, MemberStatus, NodeEntry, Succession, SuccessionStep};
use truc_message::Body;
use truc_model::{Fault, FaultCode, MemberId, Side};
use truc_testkit::{Bus, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, request, send};

fn change(bus: &Bus, member: &str, change: impl FnOnce(&mut MemberEntry)) {
    bus.change(|members| change(members.get_mut(&member.parse::<MemberId>().unwrap()).unwrap()));
}

/// Only the provider's node has the change: the consumer's follows later.
fn change_at_the_provider(bus: &Bus, member: &str, apply: impl FnOnce(&mut MemberEntry)) {
    let before = truc_exchange::ports::CurrentDirectory::current(bus.node(CONSUMER).directory.as_ref());
    change(bus, member, apply);
    bus.node(CONSUMER).directory.set(before.unwrap());
}

async fn told(bus: &Bus) -> Fault {
    bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err().fault
}

async fn told_targeting(bus: &Bus, node: &str) -> Fault {
    let mut asked = draft(CLIENT, SERVICE);
    asked.context.target = Some(node.parse().unwrap());
    bus.node(CONSUMER).call(asked).await.unwrap_err().fault
}

fn pause(node: &mut NodeEntry, message: &str) {
    node.maintenance = Some(Maintenance { message: message.to_owned() });
}

/// A second node of the provider; nobody answers there.
fn second_node(member: &mut MemberEntry, change: impl FnOnce(&mut NodeEntry)) {
    let mut second = member.nodes[0].clone();
    (second.id, second.auth_certificates) = (member.id.node("ss2").unwrap(), vec![]);
    second.maintenance = None;
    change(&mut second);
    member.nodes.push(second);
}

#[tokio::test]
async fn a_node_in_maintenance_is_passed_over_and_the_last_one_tells_its_message() {
    let bus = bus().await;
    change(&bus, "VN/GOV/G01", |g01| {
        pause(&mut g01.nodes[0], "");
        second_node(g01, |_| {});
    });
    assert_eq!(told(&bus).await.code, FaultCode::Unavailable, "the other node was tried, and is not there");
    let targeted = told_targeting(&bus, PROVIDER).await;
    assert_eq!(targeted.code, FaultCode::Maintenance);
    assert_eq!(targeted.detail, format!("node {PROVIDER} is in maintenance"));
    change(&bus, "VN/GOV/G01", |g01| pause(&mut g01.nodes[1], "Đến 18 giờ"));
    let fault = told(&bus).await;
    assert_eq!((fault.code, fault.side), (FaultCode::Maintenance, Side::ClientProxy));
    assert_eq!(
        fault.detail, "node VN/GOV/G01/ss2 is in maintenance: Đến 18 giờ",
        "the one that says something"
    );
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty(), "nothing was begun");
    change(&bus, "VN/GOV/G01", |g01| g01.nodes[0].maintenance = None);
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_suspended_provider_is_told_as_such() {
    let bus = bus().await;
    type Change = fn(&mut MemberEntry);
    let cases: [(Change, &str); 3] = [
        (|g01| g01.status = MemberStatus::Suspended, "member VN/GOV/G01 is suspended"),
        (|g01| g01.nodes[0].suspended = true, "node VN/GOV/G01/ss1 is suspended"),
        (
            |g01| g01.subsystems[0].disabled = true,
            "subsystem VN/GOV/G01/csdl-dancu is disabled by its member",
        ),
    ];
    for (apply, why) in cases {
        change(&bus, "VN/GOV/G01", apply);
        for fault in [told(&bus).await, told_targeting(&bus, PROVIDER).await] {
            assert_eq!((fault.code, fault.detail.as_str()), (FaultCode::Suspended, why));
        }
        change(&bus, "VN/GOV/G01", |g01| {
            (g01.status, g01.nodes[0].suspended, g01.subsystems[0].disabled) =
                (MemberStatus::Active, false, false);
        });
        assert_eq!(
            bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status,
            200,
            "{why}: it is back"
        );
    }
    // Of two nodes, the one that is not suspended serves.
    change(&bus, "VN/GOV/G01", |g01| second_node(g01, |second| second.suspended = true));
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    assert_eq!(told_targeting(&bus, "VN/GOV/G01/ss2").await.code, FaultCode::Suspended);
    assert_eq!(told_targeting(&bus, "VN/GOV/H28/ss1").await.code, FaultCode::UnknownNode);
}

#[tokio::test]
async fn a_closed_member_names_the_subsystem_that_goes_on() {
    let bus = bus().await;
    let at = bus.clock.now();
    change(&bus, "VN/GOV/G01", |g01| {
        g01.status = MemberStatus::Closed;
        g01.succession = Some(Succession {
            member: "VN/GOV/H28".parse().unwrap(),
            subsystems: vec![SuccessionStep {
                from: "VN/GOV/G01/csdl-dancu".parse().unwrap(),
                to: "VN/GOV/H28/khac".parse().unwrap(),
            }],
            at,
        });
    });
    let fault = told(&bus).await;
    assert_eq!((fault.code, fault.successor), (FaultCode::Moved, "VN/GOV/H28".parse().ok()));
    assert_eq!(fault.successor_subsystem, "VN/GOV/H28/khac".parse().ok());
}

/// The caller's own node says why, before anything leaves it.
#[tokio::test]
async fn a_caller_that_takes_no_part_hears_it_at_its_own_edge() {
    let bus = bus().await;
    let at = bus.clock.now();
    change(&bus, "VN/GOV/H26", |h26| h26.subsystems[0].disabled = true);
    assert_eq!(told(&bus).await.code, FaultCode::Suspended);
    change(&bus, "VN/GOV/H26", |h26| {
        (h26.subsystems[0].disabled, h26.nodes[0].suspended) = (false, true);
    });
    assert_eq!(told(&bus).await.code, FaultCode::Suspended);
    change(&bus, "VN/GOV/H26", |h26| {
        (h26.nodes[0].suspended, h26.status) = (false, MemberStatus::Suspended);
    });
    assert_eq!(told(&bus).await.code, FaultCode::Suspended);
    change(&bus, "VN/GOV/H26", |h26| {
        h26.status = MemberStatus::Closed;
        h26.succession = Some(Succession { member: "VN/GOV/H28".parse().unwrap(), subsystems: vec![], at });
    });
    let fault = told(&bus).await;
    assert_eq!((fault.code, fault.successor), (FaultCode::Moved, "VN/GOV/H28".parse().ok()));
    let hosted = bus.node(CONSUMER).call(draft("VN/GOV/H27/xa-1", SERVICE)).await.unwrap_err().fault;
    assert_eq!(hosted.code, FaultCode::Suspended, "its node does not count either: {hosted}");
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty());
    // A node in maintenance takes no requests, and still calls.
    change(&bus, "VN/GOV/H26", |h26| {
        (h26.status, h26.succession) = (MemberStatus::Active, None);
        pause(&mut h26.nodes[0], "");
    });
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
}

/// The consumer's directory is older: the provider's node says the reason, unsigned, calls nothing and records nothing.
#[tokio::test]
async fn the_providers_node_tells_the_reason_to_those_who_do_not_know_yet() {
    type Change = (&'static str, fn(&mut MemberEntry), FaultCode);
    let cases: [Change; 9] = [
        ("VN/GOV/H26", |m| m.status = MemberStatus::Suspended, FaultCode::Suspended),
        ("VN/GOV/H26", |m| m.status = MemberStatus::Closed, FaultCode::Moved),
        ("VN/GOV/H26", |m| m.nodes[0].suspended = true, FaultCode::Suspended),
        ("VN/GOV/H26", |m| m.subsystems[0].disabled = true, FaultCode::Suspended),
        ("VN/GOV/G01", |m| m.status = MemberStatus::Suspended, FaultCode::Suspended),
        ("VN/GOV/G01", |m| m.status = MemberStatus::Closed, FaultCode::Moved),
        ("VN/GOV/G01", |m| m.nodes[0].suspended = true, FaultCode::Suspended),
        ("VN/GOV/G01", |m| m.subsystems[0].disabled = true, FaultCode::Suspended),
        ("VN/GOV/G01", |m| pause(&mut m.nodes[0], "x"), FaultCode::Maintenance),
    ];
    for (n, (member, apply, code)) in cases.into_iter().enumerate() {
        for big in [false, true] {
            let bus = bus().await;
            change_at_the_provider(&bus, member, apply);
            let mut asked = draft(CLIENT, SERVICE);
            if big {
                (asked.method, asked.body) = ("POST".into(), Body::new(vec![b'x'; 70_000].into()).into());
            }
            let fault = bus.node(CONSUMER).call(asked).await.unwrap_err().fault;
            assert_eq!((fault.code, fault.side), (code, Side::ServerProxy), "case {n}, big: {big}: {fault}");
            assert!(bus.node(PROVIDER).memory.as_ref().unwrap().is_empty(), "case {n}: recorded");
            assert_eq!(bus.node(PROVIDER).services.count(), 0, "case {n}: called");
        }
    }
}

/// Nobody learns of another node's standing by naming it, and what was carried out before is told in maintenance too.
#[tokio::test]
async fn maintenance_ends_nothing_that_was_begun() {
    let bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    let first = send(&bus, parts.clone()).await.answer();
    assert_eq!(first.0.status, Some(200));
    change(&bus, "VN/GOV/G01", |g01| pause(&mut g01.nodes[0], ""));
    let again = send(&bus, parts).await.answer();
    assert_eq!((again.0.id, again.0.status), (first.0.id, Some(200)), "the recorded answer");
    assert_eq!(send(&bus, request(&bus, |_| {}).await).await.fault(), FaultCode::Maintenance);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    // The claim was given back: the same request is carried out once the node is back.
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts.clone()).await.fault(), FaultCode::Maintenance);
    change(&bus, "VN/GOV/G01", |g01| g01.nodes[0].maintenance = None);
    assert_eq!(send(&bus, parts).await.answer().0.status, Some(200));
}
