//! The time of one exchange.

use tokio::time::Instant;
use truc_model::Timestamp;

/// A moment at which a node's clock was seen to agree with its peer's; time goes on from there by the clock that nobody can set.
/// Whatever an exchange dates later is dated by it: a clock that is set while a service is at work must not have its answer
/// signed with a time that no time-stamp will ever bear out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Timestamp,
    since: Instant,
}

impl Moment {
    /// It is `at` now.
    pub(crate) fn of(at: Timestamp) -> Self {
        Self { at, since: Instant::now() }
    }

    /// It was `at` when that `Instant` was taken.
    pub(crate) const fn when(at: Timestamp, since: Instant) -> Self {
        Self { at, since }
    }

    /// What time it is now.
    pub(crate) fn now(&self) -> Timestamp {
        self.at.plus(self.since.elapsed())
    }
}
