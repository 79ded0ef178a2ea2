//! Who waits for a stamp. A waiter that goes away is forgotten at once, so that nobody works for it any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More than the exchanges that any node carries at once.
const LIMIT: usize = 10_000;

/// The records that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// How many wait for each record.
    records: BTreeMap<u64, usize>,
    all: usize,
}

impl Waiters {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A count is changed whole, so a panic elsewhere cannot leave half a one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a record until dropped; `None` when too many do.
    pub(crate) fn join(&self, sequence: u64) -> Option<Waiter<'_>> {
        let mut waiting = self.waiting();
        if waiting.all >= LIMIT {
            return None;
        }
        waiting.all += 1;
        *waiting.records.entry(sequence).or_default() += 1;
        Some(Waiter { of: self, sequence })
    }

    /// The last record that somebody waits for.
    pub(crate) fn last(&self) -> Option<u64> {
        self.waiting().records.last_key_value().map(|(sequence, _)| *sequence)
    }
}

/// Somebody who waits.
pub(crate) struct Waiter<'a> {
    of: &'a Waiters,
    sequence: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.of.waiting();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(count) = waiting.records.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                waiting.records.remove(&self.sequence);
            }
        }
    }
}
