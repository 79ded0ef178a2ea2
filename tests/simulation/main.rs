//! Nodes on a simulated network: real consumer and provider sides, real gRPC over real TLS, under partitions, lost and late
//! messages and crashes, by seed (docs/faults-and-rounds.md).
//!
//! `TRUC_SEED=n` runs one seed and shows its log; `TRUC_ROUNDS=n` scales the number of seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a seed that fails is said aloud")]
#![allow(missing_docs, reason = "a test")]

mod disk;
mod invariants;
mod journal;
mod network;
mod node;
mod papers;
mod plan;
mod service;
mod simulation;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use simulation::{Ran, run};

/// Seeds that are run, and how many of them twice, for one round.
const SEEDS: u64 = 200;
const TWICE: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What is wrong with a seed, run twice if it is one of those.
fn problems_of(seed: u64) -> (Vec<String>, Duration) {
    let first = match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(ran) => ran,
        Err(_) => return (vec!["the simulation itself stopped".into()], Duration::ZERO),
    };
    let mut wrong = first.wrong.clone();
    if seed.is_multiple_of(SEEDS / TWICE) {
        wrong.extend(difference(&first, &run(seed)));
    }
    (wrong, first.simulated)
}

fn difference(first: &Ran, second: &Ran) -> Option<String> {
    if first.digest == second.digest {
        return None;
    }
    let differs = first.lines.iter().zip(&second.lines).find(|(a, b)| a != b);
    Some(format!("a rerun differs: {differs:?}, {} and {} lines", first.lines.len(), second.lines.len()))
}

#[test]
fn every_seed_keeps_every_promise_and_runs_the_same_again() {
    if let Some(seed) = number("TRUC_SEED") {
        let ran = run(seed);
        eprintln!("{}\n{}", ran.lines.join("\n"), ran.asides.join("\n"));
        eprintln!("seed {seed}: {:?} simulated, log {}", ran.simulated, ran.digest);
        assert_eq!((ran.wrong.as_slice(), difference(&ran, &run(seed))), (&[][..], None));
        return;
    }
    let seeds = SEEDS * number("TRUC_ROUNDS").unwrap_or(1);
    let (next, failed, simulated) = (AtomicU64::new(0), Mutex::new(Vec::new()), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds {
                        return;
                    }
                    let (wrong, time) = problems_of(seed);
                    simulated.fetch_add(time.as_secs(), Ordering::SeqCst);
                    if !wrong.is_empty() {
                        eprintln!("seed {seed} (TRUC_SEED={seed} runs it alone): {wrong:#?}");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let hours = simulated.into_inner() / 3600;
    eprintln!("{seeds} seeds, {hours} simulated hours");
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}
