//! Nodes over real TLS on loopback (protocol P3, P9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]
#![allow(missing_docs, reason = "a test")]

mod contract;
mod cutting;
mod exchanges;
mod handshakes;
mod heads;
mod limits;
mod log;
mod matrix;

use truc_testkit::{Bus, Federation};

pub(crate) const CLIENT: &str = "VN/GOV/H26/mot-cua";
pub(crate) const SIBLING: &str = "VN/GOV/H27/xa-1";
pub(crate) const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";
pub(crate) const CONSUMER: &str = "VN/GOV/H26/ss1";
pub(crate) const PROVIDER: &str = "VN/GOV/G01/ss1";

pub(crate) fn federation() -> Federation {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .member("VN/GOV/H27")
        .hosted_by(CONSUMER)
        .subsystem("xa-1")
        .right(CLIENT, SERVICE)
        .over_tls()
}

pub(crate) async fn bus() -> Bus {
    federation().start().await
}

/// The certificates of a node's open connections.
pub(crate) fn open_connections(bus: &Bus, node: &str) -> Vec<truc_model::Fingerprint> {
    let open = std::sync::Mutex::new(Vec::new());
    bus.node(node).connections.close_untrusted(|certificate| {
        open.lock().unwrap().push(*certificate);
        true
    });
    open.into_inner().unwrap()
}
