//! Governance through its public face, over stores in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod attacks;
mod ceremony;
mod commands;
mod golden;
mod mutated;
mod office;
mod publishing;
mod requests;
