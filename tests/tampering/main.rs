//! The tampering matrix: every part of a message, changed in every way, is refused by the right side with the right fault
//! (docs/threat-model.md).
//!
//! Two honest nodes, with the real peer door, links and both halves of the flow, talk over real gRPC and real TLS 1.3. Between
//! them sits a hostile node that holds the keys of both: for requests it is a hostile consumer's node, for answers a hostile
//! provider's. It hears one message of an honest exchange to its end, changes one thing, and plays it on. Each row of a table
//! says what is changed and what must come of it: what the provider's node says, what the caller is told and by which side, how
//! often the service is called, what each side has on record. After every row an honest call must still go through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::type_complexity, reason = "a table names its columns' types in place")]
#![allow(clippy::print_stderr, reason = "the count of rows is said aloud")]
#![allow(missing_docs, reason = "a test")]

mod bodies;
mod case;
mod forge;
mod frames;
mod handshakes;
mod header;
mod hostile;
mod relay;
mod replays;
mod signature;
mod sweep;
mod wire;

use truc_testkit::Federation;

pub(crate) const CLIENT: &str = "VN/GOV/H26/mot-cua";
/// Hosted by the client's node, with a seal of its own, and without the right.
pub(crate) const SIBLING: &str = "VN/GOV/H27/xa-1";
pub(crate) const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";
pub(crate) const CONSUMER: &str = "VN/GOV/H26/ss1";
pub(crate) const PROVIDER: &str = "VN/GOV/G01/ss1";
/// Another member's node, with the right.
pub(crate) const STRANGER: &str = "VN/GOV/H28/ss1";

pub(crate) fn federation() -> Federation {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .member("VN/GOV/G02")
        .hosted_by(PROVIDER)
        .subsystem("dat-dai")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .service("thong-bao")
        .member("VN/GOV/H27")
        .hosted_by(CONSUMER)
        .subsystem("xa-1")
        .member("VN/GOV/H28")
        .subsystem("khac")
        .right(CLIENT, SERVICE)
        .right("VN/GOV/H28/khac", SERVICE)
        .right("VN/GOV/G01/csdl-dancu", "VN/GOV/H26/mot-cua/thong-bao")
        .over_tls()
}
