//! What is moved is there, what is expired is gone, what is held stays; whatever fails, and whenever the power goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod expiry;
mod ground;
mod holds;
mod moving;
