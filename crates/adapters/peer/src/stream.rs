//! What the two ends of a shared stream do alike: statuses once per stream, frames to queues.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use truc_model::{Digest, Timestamp};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

/// Statuses remembered for one stream; beyond it they are sent again.
const STATUS_LIMIT: usize = 4096;

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
        for status in open.statuses.drain(..) {
            if self.0.len() > STATUS_LIMIT {
                self.0.clear();
            }
            self.0.insert(Digest::of(&status), status);
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
            assert_eq!(open_of(&mut frame).unwrap().statuses, [status.clone()]);
        }
    }
}
