//! What a door has only so much of, and one peer at most half: exchanges, bytes of bodies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use truc_model::Fingerprint;

/// Certificates whose shares are remembered at once, before the idle ones are swept out.
const SHARES: usize = 1024;

/// So much in all, and for one certificate at most half of it.
#[derive(Clone)]
pub(crate) struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    by_peer: Arc<Mutex<HashMap<Fingerprint, Arc<Semaphore>>>>,
}

/// What was taken; given back when dropped.
pub(crate) struct Taken(
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

impl Shares {
    pub(crate) fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each: all.div_ceil(2), by_peer: Arc::default() }
    }

    /// Takes `amount` for `peer`, now or not at all.
    pub(crate) fn take(&self, peer: Fingerprint, amount: usize) -> Option<Taken> {
        let amount = u32::try_from(amount).ok()?;
        let share = {
            let mut shares = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
            if shares.len() >= SHARES {
                shares.retain(|_, share| share.available_permits() < self.each);
            }
            Arc::clone(shares.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        let share = share.try_acquire_many_owned(amount).ok()?;
        Some(Taken(share, Arc::clone(&self.all).try_acquire_many_owned(amount).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_at_most_half_and_everything_comes_back() {
        let shares = Shares::new(4);
        let (one, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let two = shares.take(one, 2).unwrap();
        assert!(shares.take(one, 1).is_none());
        let theirs = shares.take(other, 2).unwrap();
        assert!(shares.take(Fingerprint([3; 32]), 1).is_none(), "nothing is left");
        drop((two, theirs));
        assert!(shares.take(one, 2).is_some());
    }
}
