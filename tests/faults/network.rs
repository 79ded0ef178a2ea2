//! The network fails: between the nodes, to the registry, to the pilot PKI (OCSP and CRL) and to the service.
//!
//! Each test's bus lives in a network namespace of its own, and nftables there loses, resets and delays what goes to or
//! comes from one port.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::sync::Arc;
use std::time::Duration;

use crate::invariants;
use crate::load::{Called, Told};
use crate::network_rules::{Rules, connections_to};
use crate::process_ground::{Callers, Relay, at_once, is_fault, isolated, signal, tally, works_within};
use crate::support::{Bus, DESK, ECHO, rounds, until};

/// After a fault has gone, calls are answered within this.
const WORKS_AGAIN: Duration = Duration::from_secs(20);

/// A connection that died without a word is noticed by keep-alive: 20 s of silence, 10 s for the answer to the ping.
const NOTICED: Duration = Duration::from_secs(45);
/// Shorter than that.
const A_WHILE: Duration = Duration::from_millis(1500);
const SILENCE: Duration = Duration::from_secs(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Nodes,
    Registry,
    Pki,
    Service,
}

fn port_of(link: Link, bus: &Bus, relay: &Relay) -> u16 {
    match link {
        Link::Nodes => bus.layout.node("G01").unwrap().ports.0,
        Link::Registry => bus.layout.registry.0,
        Link::Pki => bus.layout.pki,
        Link::Service => relay.port,
    }
}

fn all_answered(about: &str, called: &[Called]) {
    assert!(called.iter().all(Called::is_answered), "{about}: {}", tally(called));
}

fn all_told(about: &str, called: &[Called]) {
    let silent = called.iter().find(|one| matches!(one.told, Told::Nothing(_)));
    assert!(silent.is_none(), "{about}: every call ends with a word, but {silent:?}");
}

#[test]
fn every_link_is_cut_reset_and_lossy_for_a_while() {
    isolated("network::every_link_is_cut_reset_and_lossy_for_a_while", || async {
        let bus = Arc::new(Bus::start().await);
        let relay = Relay::in_front_of_the_service(&bus).await;
        let rules = Rules::new().await;
        for round in 0..rounds(1) {
            for link in [Link::Nodes, Link::Registry, Link::Pki, Link::Service] {
                let port = port_of(link, &bus, &relay);
                let mut all = Vec::new();
                for (name, rule) in [
                    ("lost", "counter drop"),
                    ("reset", "counter reject with tcp reset"),
                    ("30 % lost", "numgen random mod 100 < 30 counter drop"),
                ] {
                    let about = format!("round {round}, {link:?} {name}");
                    let callers = Callers::start(&bus).await;
                    rules.both_ways(port, rule).await;
                    tokio::time::sleep(A_WHILE).await;
                    rules.heal().await;
                    let mut called = works_within(&bus, &about, WORKS_AGAIN).await;
                    called.extend(callers.stop().await);
                    eprintln!("{about}: {}", tally(&called));
                    all_told(&about, &called);
                    // TCP hides a short silence and losses; registry and PKI are not on the way of a call.
                    if name != "reset" || matches!(link, Link::Registry | Link::Pki) {
                        all_answered(&about, &called);
                    } else {
                        let hit = called.iter().any(|one| !one.is_answered());
                        assert!(hit, "{about}: the fault did not bite");
                    }
                    all.extend(called);
                }
                invariants::check(&bus, &format!("round {round}, {link:?}"), &all).await;
            }
        }
        invariants::finish(&bus, "links that fail").await;
    });
}

/// What lasts longer than keep-alive waits (20 s and 10 s), each on a bus of its own and all at once, since it is waiting for
/// the most part.
#[test]
fn silences_longer_than_keep_alive_heal_by_themselves() {
    isolated("network::silences_longer_than_keep_alive_heal_by_themselves", || async {
        let (half_dead, parted, asleep) = tokio::join!(ground(), ground(), ground());
        for round in 0..rounds(1) {
            tokio::join!(
                a_half_dead_connection_is_replaced(&half_dead, round),
                a_long_partition_heals(&parted, round),
                a_node_that_slept_is_found_again(&asleep, round),
            );
        }
        let grounds = [half_dead, parted, asleep];
        at_once(grounds.iter().map(|(bus, _)| invariants::finish(bus, "long silences"))).await;
    });
}

async fn ground() -> (Arc<Bus>, Rules) {
    (Arc::new(Bus::start().await), Rules::new().await)
}

fn between_nodes(bus: &Bus) -> u16 {
    bus.layout.node("G01").unwrap().ports.0
}

/// The connection between the nodes dies without a word and never comes back, as when a firewall forgets it; a new one would
/// do. Nobody restarts anything.
async fn a_half_dead_connection_is_replaced((bus, rules): &(Arc<Bus>, Rules), round: usize) {
    let about = format!("round {round}, a half-dead connection");
    let port = between_nodes(bus);
    let callers = Callers::start(bus).await;
    let dead = connections_to(port).await;
    assert!(!dead.is_empty(), "{about}: there is a connection");
    for near in dead {
        rules.connection(near, port).await;
    }
    // The callers are in the middle of an exchange; what they are told is part of what is checked.
    let called = works_within(bus, &about, NOTICED).await;
    judge(bus, &about, called, callers).await;
    rules.heal().await;
}

/// All packets between the nodes are lost; then the network is whole again.
async fn a_long_partition_heals((bus, rules): &(Arc<Bus>, Rules), round: usize) {
    let about = format!("round {round}, 36 s without the other node");
    let callers = Callers::start(bus).await;
    rules.both_ways(between_nodes(bus), "counter drop").await;
    tokio::time::sleep(SILENCE).await;
    rules.heal().await;
    let called = works_within(bus, &about, WORKS_AGAIN).await;
    judge(bus, &about, called, callers).await;
}

/// A node's process is stopped, and goes on later as if no time had passed.
async fn a_node_that_slept_is_found_again((bus, _): &(Arc<Bus>, Rules), round: usize) {
    let name = if round.is_multiple_of(2) { "node g01" } else { "node h26" };
    let about = format!("round {round}, {name} stopped for 36 s");
    let callers = Callers::start(bus).await;
    let pid = bus.processes.lock().await.pid(name).unwrap();
    signal(pid, "STOP").await;
    tokio::time::sleep(SILENCE).await;
    signal(pid, "CONT").await;
    let called = works_within(bus, &about, WORKS_AGAIN).await;
    judge(bus, &about, called, callers).await;
}

async fn judge(bus: &Bus, about: &str, mut called: Vec<Called>, callers: Callers) {
    called.extend(callers.stop().await);
    eprintln!("{about}: {}", tally(&called));
    all_told(about, &called);
    invariants::check(bus, about, &called).await;
}

const BIG: usize = 5 << 20;

/// The connection is reset when one or two of five megabytes are over, on the way there and on the way back.
#[test]
fn a_reset_in_the_middle_of_a_big_body_has_a_stated_outcome() {
    isolated("network::a_reset_in_the_middle_of_a_big_body_has_a_stated_outcome", || async {
        let bus = Arc::new(Bus::start().await);
        let port = bus.layout.node("G01").unwrap().ports.0;
        let (throttle, cut) = (Rules::new().await, Rules::new().await);
        for round in 0..rounds(1) {
            for way in ["dport", "sport"] {
                let about = format!("round {round}, reset within a body, {way}");
                let before = works_within(&bus, &about, WORKS_AGAIN).await;
                // 1 MB a second one way, so that there is a middle; the other way is free.
                throttle.slow(way, port).await;
                let calling = tokio::spawn({
                    let bus = Arc::clone(&bus);
                    async move { big_call(&bus).await }
                });
                until("a megabyte has passed", || async { throttle.passed(way).await > 1 << 20 }).await;
                assert!(!calling.is_finished(), "{about}: the body is on its way");
                cut.both_ways(port, "counter reject with tcp reset").await;
                until("the connection is gone", || async { connections_to(port).await.is_empty() }).await;
                cut.heal().await;
                throttle.heal().await;
                let mut called = vec![calling.await.unwrap()];
                eprintln!("{about}: {}", tally(&called));
                all_told(&about, &called);
                // On its way there, the service has not been called and nobody says that it may have been.
                if way == "dport" {
                    assert!(is_fault(&called[0], "UNAVAILABLE"), "{about}: {:?}", called[0].told);
                }
                called.extend(before);
                called.extend(works_within(&bus, &about, WORKS_AGAIN).await);
                invariants::check(&bus, &about, &called).await;
            }
        }
        invariants::finish(&bus, "resets within bodies").await;
    });
}

async fn big_call(bus: &Bus) -> Called {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let own = format!("goi-lon-{}-{number}", std::process::id());
    let headers = [("X-Road-Client", DESK), ("X-Road-Id", own.as_str()), ("Content-Type", "text/plain")];
    let body = vec![number as u8 ^ 0x5a; BIG];
    let sent = bus.http.send("POST", &bus.edge(&format!("/r1/{ECHO}/raw/lon")), &headers, body.clone()).await;
    let told = match sent {
        Err(error) => Told::Nothing(error),
        Ok(answer) if answer.header("x-road-error").is_some() => {
            let told = answer.json();
            Told::Fault {
                status: answer.status.as_u16(),
                code: told["code"].as_str().unwrap_or_default().to_owned(),
                id: told["requestId"].as_str().and_then(|text| text.parse().ok()),
                text: told.to_string(),
            }
        }
        Ok(answer) => Told::Answered {
            id: answer.header("x-road-request-id").unwrap().parse().unwrap(),
            status: answer.status.as_u16(),
            whole: answer.body == body,
        },
    };
    Called { own, told }
}
