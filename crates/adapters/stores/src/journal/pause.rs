//! The pause between a failure of the disk and the next segment, so that a disk which goes on failing is not filled with begun segments.

use std::time::{Duration, Instant};

use truc_evidence::StoreError;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with every failure, until something succeeds.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    now: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    length: Duration,
    cause: String,
}

impl Pause {
    /// # Errors
    /// [`StoreError::Failed`] with the cause, while the pause lasts.
    pub(crate) fn over(&self, now: Instant) -> Result<(), StoreError> {
        match &self.now {
            Some(waiting) if now < waiting.until => Err(StoreError::Failed(format!(
                "writing failed a moment ago and is tried again within {} s: {}",
                LONGEST.as_secs(),
                waiting.cause
            ))),
            _ => Ok(()),
        }
    }

    /// Begins the pause, twice as long as the one before.
    pub(crate) fn begin(&mut self, now: Instant, cause: &StoreError) {
        let length = self.now.as_ref().map_or(FIRST, |w| (w.length * 2).min(LONGEST));
        self.now = Some(Waiting { until: now + length, length, cause: cause.to_string() });
    }

    /// Something succeeded: the next pause is a first one.
    pub(crate) fn end(&mut self) {
        self.now = None;
    }
}
