//! How far the stamps are, for whoever watches a node.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use truc_model::Timestamp;
use truc_trust::{ServiceState, Standing};

/// How far the stamps are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampingState {
    /// Records without a stamp, when it was last looked.
    pub backlog: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Whether that is longer than the grace: new exchanges are refused.
    pub overdue: bool,
    /// The newest token.
    pub last: Option<LastToken>,
    /// The authorities that are asked, in their order.
    pub authorities: Vec<AuthorityStanding>,
    /// Why the last attempt failed, if it did.
    pub failing: Option<String>,
    /// What peers acknowledged and found no place, since the start.
    pub forgotten: u64,
}

/// A token that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastToken {
    /// What its authority is called.
    pub authority: String,
    /// When it was made, by the authority's clock.
    pub gen_time: Timestamp,
}

/// One authority, and how it has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityStanding {
    /// What the directory calls it.
    pub name: String,
    /// Whether it answers, is away within the grace, or has been away for longer.
    pub state: ServiceState,
    /// What that is judged by.
    pub standing: Standing,
}

/// What the follower last saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The first record without a stamp.
    pub(crate) stamped: u64,
    /// How many records there are.
    pub(crate) size: u64,
    /// The oldest record without a stamp.
    pub(crate) oldest: Option<Oldest>,
    pub(crate) last: Option<LastToken>,
    pub(crate) failing: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Oldest {
    pub(crate) sequence: u64,
    /// When the record was made.
    pub(crate) at: Timestamp,
    /// When it was first seen to wait: a clock that is set back makes nothing younger.
    pub(crate) since: Instant,
}

impl Oldest {
    fn age(&self, now: Timestamp) -> Duration {
        now.since(self.at).max(self.since.elapsed())
    }
}

impl Seen {
    pub(crate) fn backlog(&self) -> u64 {
        self.size.saturating_sub(self.stamped)
    }

    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        self.oldest.map(|oldest| oldest.age(now))
    }
}

/// Shared between the follower and those who ask.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Seen>);

impl Shared {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        // Fields are replaced whole, so a panic elsewhere cannot leave half a one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
