//! Bad luck, made on purpose: disks, networks and processes that fail under real nodes (docs/faults-and-rounds.md).
#![allow(clippy::print_stderr, reason = "a skip is told loudly")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

// A bus of real processes and the service that counts, as in the end-to-end suite.
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../e2e/echo.rs"]
mod echo;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../e2e/office.rs"]
mod office;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../e2e/support.rs"]
mod support;

mod archive;
mod clocks;
mod disk;
mod expiry;
mod full_disk;
mod index;
mod invariants;
mod kill;
mod liar;
mod load;
mod overdue;
mod power;
mod registry;
mod s3;
mod sync;
mod trust;

mod network;
mod network_rules;
mod process;
mod process_ground;

mod process_clock;
mod service;
mod service_fake;

/// What the nodes have otherwise than the demonstration's: the follower has records stamped at every moment, and small disks do.
const SETTINGS: &[(&str, &str)] =
    &[("every = \"1m\"", "every = \"1s\""), ("refuse-free = \"256 MiB\"", "refuse-free = \"16 MiB\"")];
