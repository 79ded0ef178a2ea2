//! The statuses that this node carries with its own messages.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use truc_model::{Fingerprint, Timestamp};

use crate::ocsp;
use crate::statuses::StatusPolicy;

/// The statuses of this node's own certificates, fetched ahead by their owner and carried with every message.
#[derive(Default)]
pub struct OwnStatuses {
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    seals: HashMap<Fingerprint, Fetched>,
    auth: Option<Fetched>,
}

#[derive(Clone)]
struct Fetched {
    response: Bytes,
    /// When the responder made it; none when that cannot be read, which is for the receiver to find.
    made: Option<Timestamp>,
}

impl Fetched {
    fn new(response: Bytes) -> Self {
        let made = ocsp::read(&response).ok().map(|read| read.produced_at());
        Self { response, made }
    }
}

impl OwnStatuses {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a freshly fetched response for a sign certificate in place.
    pub fn renew_seal(&self, certificate: Fingerprint, response: Bytes) {
        self.newest().seals.insert(certificate, Fetched::new(response));
    }

    /// Puts a freshly fetched response for the node's auth certificate in place.
    pub fn renew_auth(&self, response: Bytes) {
        self.newest().auth = Some(Fetched::new(response));
    }

    /// The responses to carry with a message that is sealed `now` under the seal `certificate`: its own, then the node's; one that was
    /// never fetched is left out. So is one that is past every grace, as after a sleep of the machine: it would stand in the
    /// evidence for ever, and show nothing. The receiver asks for itself then.
    pub fn carried(&self, certificate: &Fingerprint, now: Timestamp) -> Vec<Bytes> {
        let grace = StatusPolicy::default().grace;
        let newest = self.newest();
        let all = newest.seals.get(certificate).into_iter().chain(&newest.auth);
        let counts = |fetched: &&Fetched| fetched.made.is_none_or(|made| now <= made.plus(grace));
        all.filter(counts).map(|fetched| fetched.response.clone()).collect()
    }
}
