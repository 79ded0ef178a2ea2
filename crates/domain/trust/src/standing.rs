//! How the services that are asked have answered lately: which is asked first, which has a rest, and since when one is away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_model::{Digest, Timestamp};

/// More services than any directory names; a bound against growth without end.
const LIMIT: usize = 4096;
/// Who failed is asked after the others for this long.
const LAST_FOR: Duration = Duration::from_secs(600);
/// The longest rest between two attempts: also the longest time that a service which is back goes unnoticed.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What one service did when it was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it last gave what was asked for.
    pub answered_at: Option<Timestamp>,
    /// Since when it has not, without a success in between; `None` while it works.
    pub failing_since: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    failed_at: Option<Timestamp>,
    rest_until: Option<Timestamp>,
}

/// Whether a trust service works, is away within its grace, or has been away for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It answers, or nobody had to ask yet.
    Fresh,
    /// It is away; what was known before goes on counting for its grace.
    Degraded,
    /// It has been away for longer than the grace.
    Expired,
}

impl ServiceState {
    /// The word used in `/healthz`, metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Degraded => "degraded",
            Self::Expired => "expired",
        }
    }
}

impl Standing {
    /// The state at `now`, when what the service said counts for `grace`.
    pub fn state(&self, grace: Duration, now: Timestamp) -> ServiceState {
        match self.failing_since {
            None => ServiceState::Fresh,
            Some(since) if now <= self.answered_at.unwrap_or(since).plus(grace) => ServiceState::Degraded,
            Some(_) => ServiceState::Expired,
        }
    }

    fn resting(&self, now: Timestamp) -> bool {
        // A clock that was set back must not prolong a rest.
        self.rest_until.is_some_and(|until| now < until) && self.failed_at.is_some_and(|at| now >= at)
    }

    /// Orders the services: those without a recent failure first, then who failed longest ago.
    fn last_failure(&self, now: Timestamp) -> Option<Timestamp> {
        self.failed_at.filter(|at| self.failures > 0 && now <= at.plus(LAST_FOR))
    }
}

/// The standings of all services of one kind, by URL or name.
#[derive(Debug)]
pub struct Standings {
    /// Makes the rests of two nodes differ, so that they do not all come back in one moment.
    seed: Digest,
    known: Mutex<HashMap<String, Standing>>,
}

impl Standings {
    /// Nobody was asked yet. `seed` makes this node's rests differ from other nodes'.
    pub fn new(seed: Digest) -> Self {
        Self { seed, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Standing>> {
        // A standing is replaced whole, so a panic elsewhere cannot leave half a one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this service has answered; as one that was never asked, where it is not known.
    pub fn of(&self, name: &str) -> Standing {
        self.known().get(name).copied().unwrap_or_default()
    }

    /// Those of `names` that may be asked now, in the order to ask them.
    pub fn order(&self, names: &[String], now: Timestamp) -> Vec<String> {
        let known = self.known();
        let standing = |name: &String| known.get(name).copied().unwrap_or_default();
        let mut order: Vec<&String> = names.iter().filter(|name| !standing(name).resting(now)).collect();
        order.sort_by_key(|name| standing(name).last_failure(now));
        order.into_iter().cloned().collect()
    }

    /// It gave what was asked for. Says whether it had been failing.
    pub fn answered(&self, name: &str, now: Timestamp) -> bool {
        self.change(name, |standing| {
            let back = standing.failures > 0;
            *standing = Standing { answered_at: Some(now), ..Standing::default() };
            back
        })
    }

    /// It did not; with `rest` it is left alone for a while, longer each time. Says whether this is the first failure in a row.
    pub fn failed(&self, name: &str, rest: bool, now: Timestamp) -> bool {
        self.change(name, |standing| {
            standing.failures = standing.failures.saturating_add(1);
            standing.failing_since.get_or_insert(now);
            standing.failed_at = Some(now);
            standing.rest_until = rest.then(|| now.plus(self.rest(name, standing.failures)));
            standing.failures == 1
        })
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Standing) -> T) -> T {
        let mut known = self.known();
        if known.len() >= LIMIT && !known.contains_key(name) {
            known.clear();
        }
        change(known.entry(name.to_owned()).or_default())
    }

    /// 1 s, 2 s, 4 s … up to a minute, and of that a share between one half and the whole, which node, service and count decide.
    pub fn rest(&self, name: &str, failures: u32) -> Duration {
        let whole = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_REST);
        let drawn = Digest::of(&[&self.seed.0[..], name.as_bytes(), &failures.to_be_bytes()].concat());
        whole / 2 + whole / 2 * u32::from(drawn.0[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noon;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn who_failed_last_is_asked_last_and_rests_grow() {
        let standings = Standings::new(Digest([1; 32]));
        assert_eq!(standings.order(&names(), noon()), ["a", "b", "c"]);
        assert!(standings.failed("a", true, noon()), "told once");
        assert_eq!(standings.order(&names(), noon()), ["b", "c"]);
        let later = noon().plus(Duration::from_secs(2));
        assert!(!standings.failed("b", false, later) || standings.of("b").failures == 1);
        assert_eq!(standings.order(&names(), later), ["c", "a", "b"]);
        assert_eq!(standings.order(&names(), later.plus(LAST_FOR).plus(LAST_FOR)), ["a", "b", "c"]);
        assert!(standings.answered("a", later) && !standings.answered("a", later));
        assert_eq!(standings.order(&names(), later), ["a", "c", "b"]);
        let mut longest = Duration::ZERO;
        for failures in 1..40 {
            let rest = standings.rest("a", failures);
            let whole = Duration::from_secs(1 << (failures - 1).min(6)).min(LONGEST_REST);
            assert!(rest >= whole / 2 && rest <= whole, "{failures}: {rest:?}");
            longest = longest.max(rest);
        }
        assert!(longest > LONGEST_REST / 2);
    }

    #[test]
    fn nodes_do_not_come_back_together() {
        let rests: std::collections::BTreeSet<Duration> =
            (0..50).map(|n| Standings::new(Digest([n; 32])).rest("a", 7)).collect();
        assert!(rests.len() > 30, "{}", rests.len());
    }

    #[test]
    fn a_clock_set_back_prolongs_no_rest() {
        let standings = Standings::new(Digest([1; 32]));
        standings.failed("a", true, noon());
        assert_eq!(standings.order(&names()[..1], noon().minus(Duration::from_secs(9999))), ["a"]);
    }

    #[test]
    fn the_state_follows_what_the_service_did() {
        let standings = Standings::new(Digest([1; 32]));
        let grace = Duration::from_secs(3600);
        assert_eq!(standings.of("a").state(grace, noon()), ServiceState::Fresh);
        standings.answered("a", noon());
        let later = noon().plus(grace);
        standings.failed("a", true, later);
        assert_eq!(standings.of("a").state(grace, later), ServiceState::Degraded);
        assert_eq!(standings.of("a").state(grace, later.plus(Duration::from_secs(1))), ServiceState::Expired);
        standings.answered("a", later);
        assert_eq!(standings.of("a").state(grace, later), ServiceState::Fresh);
    }
}
