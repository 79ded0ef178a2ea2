//! Directory and registry over real TLS on a port of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "shared with the directory's own tests")]
#[path = "../../../../domain/directory/tests/suite/bus.rs"]
mod bus;
mod delta;
mod folder;
mod peers;
mod registry;
mod syncing;
