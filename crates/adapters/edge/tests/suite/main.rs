//! The edge over real sockets on port 0, with a consumer side that writes down what it is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod answers;
mod calls;
mod clients;
mod codes;
mod directory;
mod documents;
mod faults;
mod golden;
mod limits;
mod node;
mod table;
mod tls;
mod wire;
