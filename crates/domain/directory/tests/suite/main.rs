//! Tests of the directory's formats and rules through its public face.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod assembling;
mod bus;
mod golden;
mod indexed;
mod lookups;
mod mutated;
mod rollback;
mod updates;
