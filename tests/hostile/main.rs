//! Callers that mean harm, at every listening door of real processes (docs/limits.md): slow, silent, too many, too big, never
//! ending, and HTTP/2 used against its purpose.
//!
//! Every attack ends in the same questions: does an honest caller get in meanwhile, or hear clearly that it may try again; is
//! the process alive, without a panic; did its memory and its open files stay within what is stated; are they given back?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "what an attack came to is for people")]
#![allow(missing_docs, reason = "a test")]

// A bus of real processes and the service that counts, as in the end-to-end suite.
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../e2e/echo.rs"]
mod echo;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../e2e/support.rs"]
mod support;

mod edge;
mod ground;
mod h2;
mod http2;
mod meter;
mod peer;
mod raw;
mod small;
mod smuggling;

/// What the nodes of this suite have otherwise than the demonstration's.
const SETTINGS: &[(&str, &str)] = &[];
