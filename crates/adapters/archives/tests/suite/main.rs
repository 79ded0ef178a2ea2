//! The archives keep their contract: a folder, and a bucket of a real S3 server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]
#![allow(missing_docs, reason = "a test")]

mod folder;
mod s3;
mod server;
