//! Bodies over 64 KiB on streams of their own, found by ticket (protocol P9.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use truc_message::Body;
use truc_model::Fingerprint;

use crate::intake::{NotTaken, PROGRESS, held};
use crate::shares::{Shares, Taken};

/// How much later than the body's first chunk its ticket frame may come.
const TICKET_LATE: Duration = Duration::from_secs(10);

/// Pieces of a flowing body that wait for the one who fetches it.
const PIECES: usize = 4;

/// Names a body: 32 random bytes, good once.
pub(crate) type Ticket = [u8; 32];

pub(crate) fn new_ticket() -> Option<Ticket> {
    let mut ticket = [0; 32];
    SystemRandom::new().fill(&mut ticket).ok()?;
    Some(ticket)
}

/// A body that an exchange waits for.
pub(crate) struct Wanted {
    peer: Fingerprint,
    /// Its length, where the header told it.
    pub(crate) announced: Option<u64>,
    /// How long it may become.
    pub(crate) limit: u64,
    /// Says that it has begun to come.
    pub(crate) begun: oneshot::Sender<()>,
    /// Takes it.
    pub(crate) deliver: oneshot::Sender<Result<Body, NotTaken>>,
}

struct Offered {
    peer: Fingerprint,
    body: Offer,
    until: Instant,
    _place: Taken,
}

/// A body held ready.
pub(crate) enum Offer {
    /// Here already.
    Whole(Bytes),
    /// Still coming; an error says that the rest will not.
    Flowing(mpsc::Receiver<Result<Bytes, BrokeOff>>),
}

/// A flowing body ended before its end.
#[derive(Debug)]
pub(crate) struct BrokeOff;

/// The bodies that a provider's node waits for and holds ready.
pub(crate) struct Bodies {
    wanted: Mutex<HashMap<Ticket, Wanted>>,
    appeared: Notify,
    offered: Mutex<HashMap<Ticket, Offered>>,
    places: Shares,
    /// Taken until the last byte of a body has left, or its connection has.
    memory: Shares,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            wanted: Mutex::default(),
            appeared: Notify::new(),
            offered: Mutex::default(),
            places: Shares::new(OFFERS),
            memory: Shares::new(OFFERED_BYTES),
        }
    }
}

/// Most bodies held ready at once, and their bytes in all; of either, one peer has at most half.
const OFFERS: usize = 256;
const OFFERED_BYTES: usize = 256 * 1024 * 1024;

/// Takes the ticket's entry away when the exchange that waited for it has gone.
pub(crate) struct Waiting {
    bodies: Arc<Bodies>,
    ticket: Ticket,
    begins: oneshot::Receiver<()>,
    arrives: oneshot::Receiver<Result<Body, NotTaken>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bodies.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.ticket);
    }
}

impl Waiting {
    /// The body, once `Send` has brought it whole. This bounds its beginning; from then on its stream watches its progress.
    pub(crate) async fn body(mut self) -> Result<Body, NotTaken> {
        let begun = timeout(PROGRESS, &mut self.begins).await;
        if !matches!(begun, Ok(Ok(()))) {
            return Err(NotTaken::Late);
        }
        (&mut self.arrives).await.unwrap_or(Err(NotTaken::Late))
    }
}

impl Bodies {
    /// Expects `peer` to send a body under `ticket`.
    pub(crate) fn want(
        self: &Arc<Self>,
        ticket: Ticket,
        peer: Fingerprint,
        announced: Option<u64>,
        limit: u64,
    ) -> Waiting {
        let (deliver, arrives) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let wanted = Wanted { peer, announced, limit, begun, deliver };
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, wanted);
        self.appeared.notify_waiters();
        Waiting { bodies: Arc::clone(self), ticket, begins, arrives }
    }

    /// Finds who waits for `ticket`; a body may arrive a moment before its ticket frame.
    pub(crate) async fn claim(&self, ticket: Ticket, peer: Fingerprint) -> Option<Wanted> {
        let until = Instant::now() + TICKET_LATE;
        loop {
            let appeared = self.appeared.notified();
            if let Some(found) = self.take(ticket, peer) {
                return Some(found);
            }
            timeout_at(until, appeared).await.ok()?;
        }
    }

    fn take(&self, ticket: Ticket, peer: Fingerprint) -> Option<Wanted> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.get(&ticket)?.peer != peer {
            return None;
        }
        wanted.remove(&ticket)
    }

    /// Holds `body` ready for `peer`; `None` when too many are held already.
    pub(crate) fn offer(&self, peer: Fingerprint, body: Bytes) -> Option<Ticket> {
        self.forget();
        let room = self.memory.take(peer, body.len())?;
        self.hold(peer, Offer::Whole(held(body, room)))
    }

    /// Holds a body that is still coming ready for `peer`, and takes its pieces.
    pub(crate) fn offer_flowing(
        &self,
        peer: Fingerprint,
    ) -> Option<(Ticket, mpsc::Sender<Result<Bytes, BrokeOff>>)> {
        self.forget();
        let (pieces, flowing) = mpsc::channel(PIECES);
        Some((self.hold(peer, Offer::Flowing(flowing))?, pieces))
    }

    /// Forgets what nobody fetched in time.
    fn forget(&self) {
        let now = Instant::now();
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.retain(|_, offer| offer.until > now);
    }

    fn hold(&self, peer: Fingerprint, body: Offer) -> Option<Ticket> {
        let place = self.places.take(peer, 1)?;
        let ticket = new_ticket()?;
        let offer = Offered { peer, body, until: Instant::now() + 2 * PROGRESS, _place: place };
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, offer);
        Some(ticket)
    }

    /// Gives an offered body out, once, to the peer it is for.
    pub(crate) fn fetch(&self, ticket: Ticket, peer: Fingerprint) -> Option<Offer> {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let offer = offered.get(&ticket)?;
        if offer.peer != peer || offer.until <= Instant::now() {
            return None;
        }
        offered.remove(&ticket).map(|offer| offer.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> (Fingerprint, Fingerprint) {
        (Fingerprint([1; 32]), Fingerprint([2; 32]))
    }

    fn whole(offer: Option<Offer>) -> Option<Bytes> {
        match offer? {
            Offer::Whole(bytes) => Some(bytes),
            Offer::Flowing(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_offer_is_for_one_peer_once_and_for_a_while() {
        let bodies = Bodies::default();
        let (theirs, other) = peers();
        let body = Bytes::from_static(b"body");
        let ticket = bodies.offer(theirs, body.clone()).unwrap();
        assert!(bodies.fetch(ticket, other).is_none());
        assert!(bodies.fetch([0; 32], theirs).is_none());
        assert_eq!(whole(bodies.fetch(ticket, theirs)), Some(body.clone()));
        assert!(bodies.fetch(ticket, theirs).is_none());
        for _ in 0..OFFERS / 2 {
            bodies.offer(theirs, body.clone()).unwrap();
        }
        assert!(bodies.offer(theirs, body.clone()).is_none(), "too many");
        assert!(bodies.offer(other, body.clone()).is_some(), "of one peer");
        tokio::time::advance(2 * PROGRESS + Duration::from_secs(1)).await;
        assert!(bodies.offer(theirs, body).is_some(), "the old ones are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_ready_is_bounded_in_bytes_until_it_has_left() {
        let bodies = Bodies::default();
        let (theirs, other) = peers();
        let half = Bytes::from(vec![0; OFFERED_BYTES / 2]);
        let ticket = bodies.offer(theirs, half.clone()).unwrap();
        assert!(bodies.offer(theirs, half.slice(..1)).is_none(), "their half");
        assert!(bodies.offer(other, half.clone()).is_some());
        assert!(bodies.offer(Fingerprint([3; 32]), half.slice(..1)).is_none(), "all of it");
        let leaving = whole(bodies.fetch(ticket, theirs)).unwrap().slice(7..);
        assert!(bodies.offer(theirs, half.slice(..1)).is_none(), "on its way");
        drop(leaving);
        assert!(bodies.offer(theirs, half.slice(..1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_taken_from_the_peer_that_announced_it() {
        let bodies = Arc::new(Bodies::default());
        let (theirs, other) = peers();
        let waiting = bodies.want([7; 32], theirs, Some(4), 9);
        assert!(bodies.claim([7; 32], other).await.is_none(), "another peer's ticket");
        let wanted = bodies.claim([7; 32], theirs).await.unwrap();
        assert_eq!((wanted.announced, wanted.limit), (Some(4), 9));
        let body = Body::new(Bytes::from_static(b"body"));
        wanted.begun.send(()).unwrap();
        wanted.deliver.send(Ok(body.clone())).unwrap();
        assert_eq!(waiting.body().await, Ok(body));
        assert!(bodies.claim([7; 32], theirs).await.is_none(), "good once");
        drop(bodies.want([8; 32], theirs, Some(4), 9));
        assert!(bodies.claim([8; 32], theirs).await.is_none(), "nobody waits any longer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_begins_or_is_given_up_is_late() {
        let bodies = Arc::new(Bodies::default());
        let theirs = peers().0;
        assert_eq!(bodies.want([7; 32], theirs, None, 9).body().await, Err(NotTaken::Late));
        let waiting = bodies.want([8; 32], theirs, None, 9);
        let wanted = bodies.claim([8; 32], theirs).await.unwrap();
        wanted.begun.send(()).unwrap();
        drop(wanted.deliver);
        assert_eq!(waiting.body().await, Err(NotTaken::Late));
    }
}
