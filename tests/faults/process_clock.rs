//! Clocks are set forward and back under running nodes: refused clearly, nothing carried out twice, well again by itself.
//!
//! The bus runs under libfaketime; a file says how far each of the two nodes' clocks is off. Only the time of day is moved.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::sync::Arc;
use std::time::Duration;

use truc_evidence::Outcome;

use crate::clocks::{self, Clocks};
use crate::invariants;
use crate::load::{Called, Told, call};
use crate::process_ground::{Callers, is_fault, tally, works_within};
use crate::support::{Bus, rounds, run};

/// When every clock is right again.
const WORKS_AGAIN: Duration = Duration::from_secs(20);

const MINUTE: i64 = 60;

/// The right time on this bus: later than that of the machine, so that a clock set back does not show a time when nobody was a
/// member yet.
const RIGHT: i64 = 60 * MINUTE;

/// A bus whose two nodes have clocks that can be set.
struct Ground {
    bus: Arc<Bus>,
    clocks: Clocks,
}

impl Ground {
    async fn new(library: &str) -> Self {
        let mut clocks = None;
        let bus = Bus::start_as(|layout| {
            let (set, program) = Clocks::new(&layout.dir, library, &["g01", "h26"], RIGHT);
            clocks = Some(set);
            program
        });
        let bus = Arc::new(bus.await);
        Self { bus, clocks: clocks.unwrap() }
    }

    /// Puts a node's clock `seconds` off the right time, in one step.
    fn set(&self, node: &str, seconds: i64) {
        self.clocks.set(node, RIGHT + seconds);
    }
}

/// What a wrong clock may lead to.
fn refused_clearly(about: &str, called: &[Called], codes: &[&str]) {
    assert!(!called.is_empty(), "{about}: nobody called");
    for one in called {
        let fine = codes.iter().any(|code| is_fault(one, code));
        assert!(fine, "{about}: expected one of {codes:?}: {:?}", one.told);
    }
}

async fn some_calls(bus: &Bus) -> Vec<Called> {
    let mut called = Vec::new();
    for _ in 0..6 {
        called.push(call(bus).await);
    }
    called
}

#[test]
fn clocks_that_are_set_are_refused_clearly_and_well_again_by_themselves() {
    let test = "process_clock::clocks_that_are_set_are_refused_clearly_and_well_again_by_themselves";
    let Some(library) = clocks::library(test) else { return };
    run(async {
        let ground = Ground::new(library).await;
        let bus = &ground.bus;
        works_within(bus, "both clocks are right", WORKS_AGAIN).await;
        for round in 0..rounds(1) {
            for node in ["g01", "h26"] {
                for (step, seconds) in [
                    ("12 minutes forward", 12 * MINUTE),
                    ("10 minutes back", -10 * MINUTE),
                    ("2 hours forward", 120 * MINUTE),
                ] {
                    let about = format!("round {round}, {node} {step}");
                    let callers = Callers::start(bus).await;
                    ground.set(node, seconds);
                    let wrong = some_calls(bus).await;
                    eprintln!("{about}: {}", tally(&wrong));
                    refused_clearly(&about, &wrong, &["EXPIRED"]);
                    ground.set(node, 0);
                    let mut called = works_within(bus, &about, WORKS_AGAIN).await;
                    called.extend(wrong);
                    called.extend(callers.stop().await);
                    eprintln!("{about}: {}", tally(&called));
                    let silent = called.iter().find(|one| matches!(one.told, Told::Nothing(_)));
                    assert!(silent.is_none(), "{about}: {silent:?}");
                    invariants::check(bus, &about, &called).await;
                }
            }
            started_with_a_wrong_clock(&ground, round).await;
        }
        for node in ["H26", "G01"] {
            let list = bus.admin(node).evidence(&truc_admin::EvidenceFilter::default()).await.unwrap();
            assert!(list.iter().any(|entry| entry.outcome == Outcome::Ok), "{node}");
        }
        invariants::finish(bus, "clocks that are set").await;
    });
}

/// The provider's node starts with a clock 12 minutes ahead, which is then set right: it refuses what it may have carried out
/// before it was started, which is everything for some minutes, and a start with the right clock ends that at once.
async fn started_with_a_wrong_clock(ground: &Ground, round: usize) {
    let (bus, about) = (&ground.bus, format!("round {round}, started 12 minutes ahead"));
    let restart = || async {
        let mut processes = bus.processes.lock().await;
        let process = processes.node(bus.layout.node("G01").unwrap());
        processes.stop(&process.name).await.unwrap();
        processes.start(vec![process]).await.unwrap();
    };
    ground.set("g01", 12 * MINUTE);
    restart().await;
    ground.set("g01", 0);
    let mut called = some_calls(bus).await;
    eprintln!("{about}: {}", tally(&called));
    refused_clearly(&about, &called, &["EXPIRED"]);
    restart().await;
    called.extend(works_within(bus, &about, WORKS_AGAIN).await);
    invariants::check(bus, &about, &called).await;
}
