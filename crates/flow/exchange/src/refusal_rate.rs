//! Signed refusals are limited per client, so that nobody can fill a node's evidence with "no" (protocol P4.6).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use truc_model::{SubsystemId, Timestamp};

/// Signed refusals per client and second; beyond it the fault is told unsigned.
const PER_SECOND: u32 = 20;

/// Clients remembered at once.
const CLIENTS: usize = 10_000;

/// Counts refusals in whole seconds.
#[derive(Default)]
pub(crate) struct RefusalRate {
    counts: Mutex<HashMap<SubsystemId, (i64, u32)>>,
}

impl RefusalRate {
    /// Whether one more signed refusal to `client` is within the rate.
    pub(crate) fn allows(&self, client: &SubsystemId, now: Timestamp) -> bool {
        let second = now.seconds();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= CLIENTS && !counts.contains_key(client) {
            counts.retain(|_, (at, _)| *at == second);
            if counts.len() >= CLIENTS {
                return false;
            }
        }
        let count = counts.entry(client.clone()).or_insert((second, 0));
        if count.0 != second {
            *count = (second, 0);
        }
        count.1 = count.1.saturating_add(1);
        count.1 <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_rate_and_every_second_is_new() {
        let rate = RefusalRate::default();
        let client: SubsystemId = "VN/GOV/H26/mot-cua-so-9".parse().unwrap();
        let other: SubsystemId = "VN/GOV/H26/mot-cua-so-8".parse().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_500);
        let allowed = (0..30).filter(|_| rate.allows(&client, now)).count();
        assert_eq!(allowed, 20);
        assert!(rate.allows(&other, now));
        assert!(rate.allows(&client, Timestamp::from_millis(1_800_000_001_000)));
    }
}
