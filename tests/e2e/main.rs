//! The end-to-end suite: real processes of the one binary, real TLS, real disks, on ports that the system chose.
//!
//! Tests that only call share one bus; those that kill or stop a part have their own.
#![allow(clippy::print_stderr, reason = "a skip is told loudly")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

mod big_bodies;
mod calls;
mod code_lists;
mod command_line;
mod crash;
mod declared;
mod demo;
#[allow(dead_code, reason = "shared with the suite of faults")]
mod echo;
mod enrolment;
mod evidence;
mod hosting;
#[allow(dead_code, reason = "shared with the suite of faults")]
mod office;
mod officers;
mod outages;
mod peer_heads;
mod registry_away;
mod registry_life;
mod renewal;
mod restores;
mod rights;
mod services;
mod support;
mod time_stamps;
mod witness;
mod xroad;

/// What the nodes of this suite have otherwise than the demonstration's.
const SETTINGS: &[(&str, &str)] = &[];
