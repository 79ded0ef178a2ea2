//! Bad luck, made on purpose: disks, networks and processes that fail under real nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]
