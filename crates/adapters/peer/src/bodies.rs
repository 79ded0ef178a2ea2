//! Bodies over 64 KiB on streams of their own, found by ticket (protocol P9.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use truc_model::Fingerprint;

/// How long one side waits for the other to begin, and then for each chunk.
pub(crate) const PROGRESS: Duration = Duration::from_secs(30);

/// How much later than the body's first chunk its ticket frame may come.
const TICKET_LATE: Duration = Duration::from_secs(10);

/// Names a body: 32 random bytes, good once.
pub(crate) type Ticket = [u8; 32];

pub(crate) fn new_ticket() -> Option<Ticket> {
    let mut ticket = [0; 32];
    SystemRandom::new().fill(&mut ticket).ok()?;
    Some(ticket)
}

struct Wanted {
    peer: Fingerprint,
    length: u64,
    deliver: oneshot::Sender<Bytes>,
}

struct Offered {
    peer: Fingerprint,
    body: Bytes,
    until: Instant,
}

/// The bodies that a provider's node waits for and holds ready.
#[derive(Default)]
pub(crate) struct Bodies {
    wanted: Mutex<HashMap<Ticket, Wanted>>,
    appeared: Notify,
    offered: Mutex<HashMap<Ticket, Offered>>,
}

/// Most bodies held ready at once, and their bytes in all.
const OFFERS: usize = 256;
const OFFERED_BYTES: usize = 256 * 1024 * 1024;

/// Takes the ticket's entry away when the exchange that waited for it has gone.
pub(crate) struct Waiting {
    bodies: Arc<Bodies>,
    ticket: Ticket,
    arrives: oneshot::Receiver<Bytes>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bodies.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.ticket);
    }
}

impl Waiting {
    /// The body, once `Send` has brought it whole; `None` when it never comes. Progress is watched by the sender's stream;
    /// this bounds the beginning and, at 64 KiB a second, the whole.
    pub(crate) async fn body(mut self, length: u64) -> Option<Bytes> {
        let whole = PROGRESS + Duration::from_secs(length / (64 * 1024));
        timeout(whole, &mut self.arrives).await.ok()?.ok()
    }
}

impl Bodies {
    /// Expects `peer` to send a body of `length` under `ticket`.
    pub(crate) fn want(self: &Arc<Self>, ticket: Ticket, peer: Fingerprint, length: u64) -> Waiting {
        let (deliver, arrives) = oneshot::channel();
        let wanted = Wanted { peer, length, deliver };
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, wanted);
        self.appeared.notify_waiters();
        Waiting { bodies: Arc::clone(self), ticket, arrives }
    }

    /// Finds who waits for `ticket`; a body may arrive a moment before its ticket frame.
    pub(crate) async fn claim(
        &self,
        ticket: Ticket,
        peer: Fingerprint,
    ) -> Option<(u64, oneshot::Sender<Bytes>)> {
        let until = Instant::now() + TICKET_LATE;
        loop {
            let appeared = self.appeared.notified();
            if let Some(found) = self.take(ticket, peer) {
                return Some(found);
            }
            timeout_at(until, appeared).await.ok()?;
        }
    }

    fn take(&self, ticket: Ticket, peer: Fingerprint) -> Option<(u64, oneshot::Sender<Bytes>)> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.get(&ticket)?.peer != peer {
            return None;
        }
        wanted.remove(&ticket).map(|w| (w.length, w.deliver))
    }

    /// Holds `body` ready for `peer`; `None` when too many are held already.
    pub(crate) fn offer(&self, peer: Fingerprint, body: Bytes) -> Option<Ticket> {
        let now = Instant::now();
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.retain(|_, offer| offer.until > now);
        let held: usize = offered.values().map(|offer| offer.body.len()).sum();
        if offered.len() >= OFFERS || held + body.len() > OFFERED_BYTES {
            return None;
        }
        let ticket = new_ticket()?;
        offered.insert(ticket, Offered { peer, body, until: now + 2 * PROGRESS });
        Some(ticket)
    }

    /// Gives an offered body out, once, to the peer it is for.
    pub(crate) fn fetch(&self, ticket: Ticket, peer: Fingerprint) -> Option<Bytes> {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        if offered.get(&ticket)?.peer != peer {
            return None;
        }
        offered.remove(&ticket).map(|offer| offer.body)
    }
}

/// A big body with the room that it takes in memory.
struct HeldBody {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The body, with the room that it takes given back when nobody holds it any more.
pub(crate) fn held(body: Bytes, room: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(HeldBody { body, _room: room })
}

/// Collects chunks up to exactly `length`.
pub(crate) struct Collector {
    length: u64,
    bytes: BytesMut,
}

impl Collector {
    pub(crate) fn new(length: u64) -> Self {
        Self { length, bytes: BytesMut::new() }
    }
    /// False when the body would become longer than announced.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> bool {
        let fits = self.bytes.len() as u64 + chunk.len() as u64 <= self.length;
        if fits {
            self.bytes.extend_from_slice(chunk);
        }
        fits
    }
    /// The body, if it is whole.
    pub(crate) fn whole(self) -> Option<Bytes> {
        (self.bytes.len() as u64 == self.length).then(|| self.bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> (Fingerprint, Fingerprint) {
        (Fingerprint([1; 32]), Fingerprint([2; 32]))
    }

    #[tokio::test(start_paused = true)]
    async fn an_offer_is_for_one_peer_once_and_for_a_while() {
        let bodies = Bodies::default();
        let (theirs, other) = peers();
        let body = Bytes::from_static(b"body");
        let ticket = bodies.offer(theirs, body.clone()).unwrap();
        assert_eq!(bodies.fetch(ticket, other), None);
        assert_eq!(bodies.fetch([0; 32], theirs), None);
        assert_eq!(bodies.fetch(ticket, theirs), Some(body.clone()));
        assert_eq!(bodies.fetch(ticket, theirs), None);
        for _ in 0..OFFERS {
            bodies.offer(theirs, body.clone()).unwrap();
        }
        assert!(bodies.offer(theirs, body.clone()).is_none(), "too many");
        tokio::time::advance(2 * PROGRESS + Duration::from_secs(1)).await;
        assert!(bodies.offer(theirs, body).is_some(), "the old ones are forgotten");
    }

    #[test]
    fn what_is_held_ready_is_bounded_in_bytes() {
        let bodies = Bodies::default();
        let half = Bytes::from(vec![0; OFFERED_BYTES / 2]);
        assert!(bodies.offer(peers().0, half.clone()).is_some());
        assert!(bodies.offer(peers().0, half.clone()).is_some());
        assert!(bodies.offer(peers().0, half).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_taken_from_the_peer_that_announced_it() {
        let bodies = Arc::new(Bodies::default());
        let (theirs, other) = peers();
        let waiting = bodies.want([7; 32], theirs, 4);
        assert!(bodies.claim([7; 32], other).await.is_none(), "another peer's ticket");
        let (length, deliver) = bodies.claim([7; 32], theirs).await.unwrap();
        assert_eq!(length, 4);
        deliver.send(Bytes::from_static(b"body")).unwrap();
        assert_eq!(waiting.body(4).await.unwrap().as_ref(), b"body");
        assert!(bodies.claim([7; 32], theirs).await.is_none(), "good once");
        drop(bodies.want([8; 32], theirs, 4));
        assert!(bodies.claim([8; 32], theirs).await.is_none(), "nobody waits any longer");
    }

    #[test]
    fn a_body_has_exactly_its_length() {
        let mut collector = Collector::new(4);
        assert!(collector.push(b"bod") && !collector.push(b"y!"));
        assert!(collector.whole().is_none());
        let mut collector = Collector::new(4);
        assert!(collector.push(b"body"));
        assert_eq!(collector.whole().unwrap().as_ref(), b"body");
    }
}
