//! The cap on failed look-ups per client, so that nobody finds numbers by guessing (protocol P4.7).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A client's failures are forgotten this long after its first one.
const WINDOW: Duration = Duration::from_secs(60);
/// More clients than a register has; those beyond share one count, so memory stays bounded.
const MAX_CLIENTS: usize = 4096;
const OTHERS: &str = "\u{0}others";

/// Counts failures per client in windows of a minute.
#[derive(Debug)]
pub(super) struct MismatchCap {
    limit: u32,
    clients: Mutex<HashMap<Box<str>, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    failures: u32,
}

impl Window {
    fn left(&self, now: Instant) -> Option<Duration> {
        WINDOW.checked_sub(now.saturating_duration_since(self.began)).filter(|d| !d.is_zero())
    }
}

impl MismatchCap {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, clients: Mutex::new(HashMap::new()) }
    }

    /// Whole seconds the client has to wait, when it has used up its failures. Ask before the
    /// look-up: a right guess must not get through either.
    pub(super) fn wait(&self, client: &str, now: Instant) -> Option<u64> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let window =
            clients.get(client).or_else(|| clients.get(OTHERS).filter(|_| clients.len() >= MAX_CLIENTS))?;
        let left = window.left(now)?;
        (window.failures >= self.limit).then(|| left.as_millis().div_ceil(1000) as u64)
    }

    /// Notes a failure.
    pub(super) fn failed(&self, client: &str, now: Instant) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(client) {
            clients.retain(|_, window| window.left(now).is_some());
        }
        // One place is kept for the shared count.
        let full = clients.len() + 1 >= MAX_CLIENTS && !clients.contains_key(client);
        let key = if full { OTHERS } else { client };
        let window = clients.entry(key.into()).or_insert(Window { began: now, failures: 0 });
        if window.left(now).is_none() {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_after_its_failures_and_others_do_not() {
        let cap = MismatchCap::new(3);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(cap.wait("a", start), None);
            cap.failed("a", start);
        }
        assert_eq!(cap.wait("a", start), Some(60));
        assert_eq!(cap.wait("a", start + Duration::from_millis(59_500)), Some(1));
        assert_eq!(cap.wait("b", start), None);
        let later = start + Duration::from_secs(60);
        assert_eq!(cap.wait("a", later), None);
        cap.failed("a", later);
        assert_eq!(cap.wait("a", later), None, "a new window counts from nothing");
    }

    #[test]
    fn clients_beyond_the_bound_share_one_count() {
        let cap = MismatchCap::new(2);
        let start = Instant::now();
        for n in 0..MAX_CLIENTS + 10 {
            cap.failed(&format!("c{n}"), start);
        }
        assert_eq!(cap.clients.lock().unwrap().len(), MAX_CLIENTS);
        assert_eq!(cap.wait("a newcomer", start), Some(60));
        assert_eq!(cap.wait("c1", start), None);
        let later = start + WINDOW;
        assert_eq!(cap.wait("a newcomer", later), None);
        cap.failed("a newcomer", later);
        assert_eq!(cap.clients.lock().unwrap().len(), 1, "old windows make room");
    }
}
