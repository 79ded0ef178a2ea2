//! What the two ends of a shared stream do alike: statuses once per stream, frames to queues.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use truc_model::{Digest, Timestamp};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

/// Statuses remembered for one stream; beyond it they are sent again.
const STATUS_LIMIT: usize = 128;

/// An exchange may begin this many numbers after a younger one; older ones are taken for repeated.
const NUMBERS_APART: u64 = 4096;

/// Which exchange numbers a stream has used. Numbers are never reused on a stream, but exchanges do not begin in the
/// order of their numbers: between taking a number and the first frame the consumer's node signs. Whatever numbers a peer
/// chooses, one costs no more than a sweep over the window.
pub(crate) struct Numbers {
    highest: u64,
    /// Of the highest number and those before it, by their rest modulo the window's size.
    used: Box<[bool]>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { highest: 0, used: vec![true; Self::place(NUMBERS_APART - 1) + 1].into() }
    }
}

impl Numbers {
    #[allow(clippy::cast_possible_truncation, reason = "below 4096")]
    const fn place(number: u64) -> usize {
        (number % NUMBERS_APART) as usize
    }

    /// True the first time a number is used.
    pub(crate) fn begins(&mut self, number: u64) -> bool {
        if number > self.highest {
            if number - self.highest >= NUMBERS_APART {
                self.used.fill(false);
            } else {
                (self.highest + 1..number).for_each(|between| self.used[Self::place(between)] = false);
            }
            self.highest = number;
        } else if self.highest - number >= NUMBERS_APART || self.used[Self::place(number)] {
            return false;
        }
        self.used[Self::place(number)] = true;
        true
    }
}

/// A frame as it waits for its exchange.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) kind: Kind,
    pub(crate) at: Timestamp,
}

/// The writing end: leaves out statuses that this stream has carried. Used by the one task that orders the frames.
#[derive(Default)]
pub(crate) struct StatusesSent(HashSet<Digest>);

impl StatusesSent {
    pub(crate) fn thin(&mut self, mut frame: wire::Frame) -> wire::Frame {
        if let Some(open) = open_of(&mut frame) {
            if self.0.len() > STATUS_LIMIT {
                self.0.clear();
            }
            open.statuses.retain(|status| self.0.insert(Digest::of(status)));
        }
        frame
    }
}

/// The reading end: fills statuses in by digest. One that the stream never carried is left out: then the receiver asks
/// the trust service itself.
#[derive(Default)]
pub(crate) struct StatusesSeen(HashMap<Digest, Bytes>);

impl StatusesSeen {
    pub(crate) fn fill(&mut self, frame: &mut wire::Frame) {
        let Some(open) = open_of(frame) else { return };
        for status in open.statuses.drain(..).filter(|status| status.len() <= truc_trust::ocsp::SIZE_LIMIT) {
            if self.0.len() > STATUS_LIMIT {
                self.0.clear();
            }
            // A copy: what was read from the wire keeps the whole frame in memory.
            self.0.insert(Digest::of(&status), Bytes::copy_from_slice(&status));
        }
        let named = open.status_digests.iter().take(8).filter_map(|digest| Digest::from_slice(digest));
        open.statuses = named.filter_map(|digest| self.0.get(&digest).cloned()).collect();
    }
}

fn open_of(frame: &mut wire::Frame) -> Option<&mut wire::Open> {
    match frame.kind.as_mut()? {
        Kind::Open(open) => Some(open),
        Kind::Refusal(refusal) => refusal.open.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_begins_once_in_whatever_order() {
        let mut numbers = Numbers::default();
        let order = [3, 1, 2, 5, 4, 9000, 5000, 8999];
        assert!(order.iter().all(|n| numbers.begins(*n)));
        assert!(!order.iter().any(|n| numbers.begins(*n)));
        assert!(!numbers.begins(0));
        assert!(!numbers.begins(6), "too long ago to be told from a repetition");
        assert!(numbers.begins(u64::MAX));
        assert!(numbers.begins(u64::MAX - 4095) && !numbers.begins(u64::MAX - 4096));
    }

    #[test]
    fn a_status_that_is_too_long_is_not_remembered() {
        let long = Bytes::from(vec![7; truc_trust::ocsp::SIZE_LIMIT + 1]);
        let named = vec![Bytes::copy_from_slice(Digest::of(&long).as_bytes())];
        let open = wire::Open { status_digests: named, statuses: vec![long], ..Default::default() };
        let mut frame = crate::convert::frame(1, Kind::Open(open));
        StatusesSeen::default().fill(&mut frame);
        assert!(open_of(&mut frame).unwrap().statuses.is_empty());
    }

    #[test]
    fn a_status_travels_once_and_is_seen_every_time() {
        let status = Bytes::from_static(b"ocsp response");
        let open = wire::Open {
            status_digests: vec![Bytes::copy_from_slice(Digest::of(&status).as_bytes())],
            statuses: vec![status.clone()],
            ..Default::default()
        };
        let (mut sent, mut seen) = (StatusesSent::default(), StatusesSeen::default());
        for round in 0..3 {
            let mut frame = sent.thin(crate::convert::frame(round, Kind::Open(open.clone())));
            assert_eq!(open_of(&mut frame).unwrap().statuses.is_empty(), round > 0);
            seen.fill(&mut frame);
            assert_eq!(open_of(&mut frame).unwrap().statuses, std::slice::from_ref(&status));
        }
    }
}
