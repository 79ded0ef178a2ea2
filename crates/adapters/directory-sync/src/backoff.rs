//! How long to wait before asking again.

use std::time::Duration;

use rustls::crypto::ring;

/// Waits that double up to a limit, each cut by chance to between half and the whole: a thousand nodes that lost one
/// registry at one moment do not come back to it at one moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// All went well: the next wait is short.
    pub(crate) const fn reset(&mut self) {
        self.next = self.min;
    }

    pub(crate) fn wait(&mut self) -> Duration {
        let longest = self.next;
        self.next = self.next.saturating_mul(2).min(self.max);
        longest / 2 + (longest / 2).mul_f64(chance())
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without chance there is only no spreading.
    let _ = ring::default_provider().secure_random.fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_limit_and_are_spread() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for longest in [1, 2, 4, 4] {
            let wait = backoff.wait();
            assert!(wait >= Duration::from_millis(longest * 500) && wait <= Duration::from_secs(longest));
        }
        backoff.reset();
        let first: std::collections::BTreeSet<Duration> = (0..20)
            .map(|_| {
                backoff.reset();
                backoff.wait()
            })
            .collect();
        assert!(first.len() > 1, "not all alike");
    }
}
