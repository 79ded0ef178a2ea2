//! Time-stamps for what a node records (protocol P5.4, `docs/evidence.md` §3): the follower that turns new records into
//! batches, has authorities stamp them, and keeps what comes after: certificate statuses and what peers acknowledged.
//!
//! It runs beside the exchanges and delays none of them but those of services that are declared immediate. This crate must not
//! own a socket, a file or wall time: authorities are reached through [`truc_trust::timestamp::TimeStampSource`], records and
//! proofs through the ports of `truc-evidence`. It changes no record.

mod acknowledged;
mod asking;
mod error;
mod later;
mod ports;
mod stamper;
mod state;
mod waiters;

use std::time::Duration;

pub use error::{NotStamped, StampError};
pub use ports::{Authorities, HeadSigner, HeadUnsigned, Ports, Statuses};
pub use stamper::Stamper;
pub use state::{AuthorityStanding, LastToken, StampingState};

/// How a node stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Between two batches.
    pub every: Duration,
    /// How old the oldest record without a stamp may become before new exchanges are refused; `None` for ever.
    pub grace: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: Duration::from_secs(60), grace: Some(Duration::from_secs(48 * 3600)) }
    }
}
