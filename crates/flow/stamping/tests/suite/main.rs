//! The follower over a memory store, with authorities that work, hang, refuse and lie. Time is tokio's, paused: it moves only
//! when everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod bad_luck;
mod bench;
mod immediate;
mod kept;
mod many;
mod stamping;
