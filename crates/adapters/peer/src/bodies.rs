//! Bodies over 64 KiB on streams of their own, found by ticket (protocol P9.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use truc_model::Fingerprint;

/// How long one side waits for the other to begin, and then for each chunk.
pub(crate) const PROGRESS: Duration = Duration::from_secs(30);

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
        let until = Instant::now() + PROGRESS;
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
