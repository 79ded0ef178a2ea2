//! The exchange as two or more whole nodes live it, without sockets (protocol P3, P4).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod bus;
mod calls;
mod clocks;
mod crashes;
mod durability;
mod flowing;
mod outages;
mod refusals;
mod renewals;
mod repeats;
mod settings;
mod stamping;
mod standing;
mod trust;
