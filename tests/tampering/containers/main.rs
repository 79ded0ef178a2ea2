//! Containers: every part changed, swapped, left out or put in, and every way in which the world was not as it should be.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
#[path = "../../../crates/domain/evidence/tests/support/mod.rs"]
mod support;

mod files;
mod hostile;
mod worlds;
