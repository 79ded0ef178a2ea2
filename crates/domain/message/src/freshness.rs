//! Whether a message is of now (protocol P4.1).

use std::time::Duration;

use truc_model::Timestamp;

/// How far two nodes' clocks may differ.
pub const SKEW: Duration = Duration::from_secs(60);

/// How long a call may live from `sent` to `expires`, whatever its sender wishes.
pub const CALL_LIFE: Duration = Duration::from_secs(300);

/// The receiver's caps.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// Accepted difference between the sender's clock and ours.
    pub skew: Duration,
    /// Longest accepted life of a call.
    pub life: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { skew: SKEW, life: CALL_LIFE }
    }
}

/// Why a message is not of now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// `sent` lies further ahead than the skew.
    #[error("sent {sent} lies after this node's {now}: compare the clocks of both nodes")]
    FromTheFuture {
        /// The header's `sent`.
        sent: Timestamp,
        /// The receiver's clock.
        now: Timestamp,
    },
    /// The message had expired when it arrived.
    #[error("expired {expires}, it arrived {now}: send it again, or compare the clocks of both nodes")]
    Expired {
        /// The header's `expires`, or `sent` plus the cap when that is earlier.
        expires: Timestamp,
        /// The receiver's clock.
        now: Timestamp,
    },
    /// `expires` is not after `sent`.
    #[error("expires is not after sent")]
    Backwards,
}

impl Freshness {
    /// Judges a message whose header arrived at `now`.
    ///
    /// # Errors
    /// [`FreshnessError`] says in which direction it is off.
    pub fn check(&self, sent: Timestamp, expires: Timestamp, now: Timestamp) -> Result<(), FreshnessError> {
        if expires <= sent {
            return Err(FreshnessError::Backwards);
        }
        if sent > now.plus(self.skew) {
            return Err(FreshnessError::FromTheFuture { sent, now });
        }
        let expires = expires.min(sent.plus(self.life));
        if now > expires.plus(self.skew) {
            return Err(FreshnessError::Expired { expires, now });
        }
        Ok(())
    }

    /// Judges an answer's `sent` against the asker's time. An answer may be as far ahead as the clock of a node that takes our
    /// requests (a call's life and the skew), and no further: no time-stamp would ever bear it out.
    ///
    /// # Errors
    /// [`FreshnessError::FromTheFuture`].
    pub fn check_answer(&self, sent: Timestamp, now: Timestamp) -> Result<(), FreshnessError> {
        if sent > now.plus(self.life).plus(self.skew) {
            return Err(FreshnessError::FromTheFuture { sent, now });
        }
        Ok(())
    }

    /// How long the claim on an id must be remembered: no message claimed now can be fresh later than that. Freshness is
    /// judged when the header arrives, the claim is made when the last frame is in, and a message may take `life` in
    /// between; so it is twice the life plus twice the skew.
    pub fn memory(&self) -> Duration {
        2 * self.life + 2 * self.skew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn skew_and_life_are_capped_by_the_receiver() {
        let f = Freshness::default();
        assert_eq!(f.check(at(0), at(30), at(0)), Ok(()));
        assert_eq!(f.check(at(60), at(90), at(0)), Ok(()));
        assert!(matches!(f.check(at(61), at(90), at(0)), Err(FreshnessError::FromTheFuture { .. })));
        assert_eq!(f.check(at(0), at(30), at(90)), Ok(()));
        assert!(matches!(f.check(at(0), at(30), at(91)), Err(FreshnessError::Expired { .. })));
        assert!(matches!(f.check(at(0), at(9_999), at(361)), Err(FreshnessError::Expired { .. })));
        assert_eq!(f.check(at(0), at(0), at(0)), Err(FreshnessError::Backwards));
    }

    #[test]
    fn an_answer_is_no_further_ahead_than_a_node_that_takes_our_requests() {
        let f = Freshness::default();
        assert_eq!(f.check_answer(at(360), at(0)), Ok(()));
        assert!(matches!(f.check_answer(at(361), at(0)), Err(FreshnessError::FromTheFuture { .. })));
        assert_eq!(
            f.check_answer(at(-9_999), at(0)),
            Ok(()),
            "a late answer is bound by the call's deadline"
        );
    }

    #[test]
    fn nothing_is_fresh_after_its_claim_is_forgotten() {
        let f = Freshness::default();
        let claimed_at = at(0);
        let sent_latest = claimed_at.plus(f.skew);
        let forgotten = claimed_at.plus(f.memory()).plus(Duration::from_millis(1));
        // A repeat whose header arrives while it is still fresh and whose last frame comes a whole life later.
        let header_arrived = forgotten.minus(f.life);
        assert!(f.check(sent_latest, sent_latest.plus(f.life), header_arrived).is_err());
    }
}
