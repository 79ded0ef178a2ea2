//! How often addresses come; everything in it is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Addresses remembered.
pub(crate) const REMEMBERED: usize = 8192;

/// A minute's worth of tokens that fills up again.
#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, full: f64, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() / 60.0 * full;
        (self.left, self.at) = ((self.left + filled).min(full), now);
        let admitted = self.left >= 1.0;
        if admitted {
            self.left -= 1.0;
        }
        admitted
    }
}

/// So many calls a minute of each of `N` kinds from each address.
pub(crate) struct Addresses<const N: usize> {
    a_minute: [f64; N],
    buckets: HashMap<IpAddr, [Bucket; N]>,
}

impl<const N: usize> Addresses<N> {
    pub(crate) fn new(a_minute: [f64; N]) -> Self {
        Self { a_minute, buckets: HashMap::new() }
    }

    /// Whether a call of this kind is still within what its address may ask.
    pub(crate) fn admit(&mut self, from: IpAddr, kind: usize, now: Instant) -> bool {
        if self.buckets.len() >= REMEMBERED {
            // Whoever has been away for a minute has full buckets again: forgetting it changes nothing.
            let recent = |b: &Bucket| now.saturating_duration_since(b.at) < Duration::from_secs(60);
            self.buckets.retain(|_, buckets| buckets.iter().any(recent));
        }
        if self.buckets.len() >= REMEMBERED && !self.buckets.contains_key(&from) {
            return false;
        }
        let fresh = || self.a_minute.map(|full| Bucket { left: full, at: now });
        let buckets = self.buckets.entry(from).or_insert_with(fresh);
        match (buckets.get_mut(kind), self.a_minute.get(kind)) {
            (Some(bucket), Some(full)) => bucket.take(*full, now),
            _ => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.buckets.len()
    }
}
