//! Every process of a bus is killed and stopped at any step under load.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::sync::Arc;
use std::time::Duration;

use crate::invariants;
use crate::load::{Called, Told};
use crate::process_ground::{Callers, Relay, signal, tally, works_within};
use crate::support::{Bus, rounds, run};

/// From the moment when a killed process is up again, or a stopped one goes on.
const WORKS_AGAIN: Duration = Duration::from_secs(20);

/// A call of the caller ends within the minute that it waits, whatever happens to the bus.
const NOBODY_HANGS: &str = "no call stays without a word";

/// What is killed and stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Consumer,
    Provider,
    Registry,
    Pki,
    Service,
}

const VICTIMS: [Victim; 5] =
    [Victim::Consumer, Victim::Provider, Victim::Registry, Victim::Pki, Victim::Service];

struct Ground {
    bus: Arc<Bus>,
    relay: Relay,
}

impl Ground {
    async fn new() -> Self {
        let bus = Arc::new(Bus::start().await);
        let relay = Relay::in_front_of_the_service(&bus).await;
        Self { bus, relay }
    }

    fn name(victim: Victim) -> &'static str {
        match victim {
            Victim::Consumer => "node h26",
            Victim::Provider => "node g01",
            Victim::Registry => "registry",
            Victim::Pki => "pki",
            Victim::Service => "service",
        }
    }

    async fn kill_and_start(&mut self, victim: Victim, dead: Duration) {
        if victim == Victim::Service {
            self.relay.kill().await;
            tokio::time::sleep(dead).await;
            return self.relay.start_again().await;
        }
        let mut processes = self.bus.processes.lock().await;
        let process = match victim {
            Victim::Consumer => processes.node(self.bus.layout.node("H26").unwrap()),
            Victim::Provider => processes.node(self.bus.layout.node("G01").unwrap()),
            Victim::Registry => processes.registry(),
            Victim::Pki | Victim::Service => processes.pki(),
        };
        processes.kill(&process.name).await.unwrap();
        tokio::time::sleep(dead).await;
        processes.start(vec![process]).await.unwrap();
    }

    async fn pid(&self, victim: Victim) -> u32 {
        if victim == Victim::Service {
            return self.relay.pid();
        }
        self.bus.processes.lock().await.pid(Self::name(victim)).unwrap()
    }

    async fn pause(&self, victim: Victim, how_long: Duration) {
        let pid = self.pid(victim).await;
        signal(pid, "STOP").await;
        tokio::time::sleep(how_long).await;
        signal(pid, "CONT").await;
    }
}

/// Some milliseconds that nobody chose, so that every run hits other steps.
fn any_moment() -> Duration {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    Duration::from_millis(random % 300)
}

fn all_told(about: &str, called: &[Called]) {
    let silent = called.iter().find(|one| matches!(one.told, Told::Nothing(_)));
    assert!(silent.is_none(), "{about}: {NOBODY_HANGS}, but {silent:?}");
}

#[test]
fn kill_9_of_any_process_at_any_step() {
    run(async {
        let mut ground = Ground::new().await;
        for round in 0..rounds(1) {
            for victim in VICTIMS {
                let moment = any_moment();
                let about = format!("round {round}, kill -9 of {}, {moment:?} after", Ground::name(victim));
                let callers = Callers::start(&ground.bus).await;
                tokio::time::sleep(moment).await;
                ground.kill_and_start(victim, any_moment()).await;
                let mut called = works_within(&ground.bus, &about, WORKS_AGAIN).await;
                called.extend(callers.stop().await);
                eprintln!("{about}: {}", tally(&called));
                match victim {
                    // Its callers were cut off with it.
                    Victim::Consumer => {}
                    Victim::Provider | Victim::Service => all_told(&about, &called),
                    // Off the data path: nobody notices.
                    Victim::Registry | Victim::Pki => {
                        assert!(called.iter().all(Called::is_answered), "{about}: {}", tally(&called));
                    }
                }
                invariants::check(&ground.bus, &about, &called).await;
            }
        }
        invariants::finish(&ground.bus, "kill -9 of any process").await;
    });
}

#[test]
fn a_process_that_is_stopped_for_seconds_goes_on_as_if_nothing_had_been() {
    run(async {
        let ground = Ground::new().await;
        for round in 0..rounds(1) {
            for victim in VICTIMS {
                let how_long = Duration::from_secs(3) + any_moment() * round as u32;
                let about = format!("round {round}, {} stopped for {how_long:?}", Ground::name(victim));
                let callers = Callers::start(&ground.bus).await;
                tokio::time::sleep(any_moment()).await;
                ground.pause(victim, how_long).await;
                let mut called = works_within(&ground.bus, &about, WORKS_AGAIN).await;
                called.extend(callers.stop().await);
                eprintln!("{about}: {}", tally(&called));
                // Shorter than every deadline: slow, and otherwise as ever.
                assert!(called.iter().all(Called::is_answered), "{about}: {}", tally(&called));
                invariants::check(&ground.bus, &about, &called).await;
            }
        }
        invariants::finish(&ground.bus, "stopped processes").await;
    });
}
