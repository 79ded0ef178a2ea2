//! The statuses that this node carries with its own messages.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use truc_model::Fingerprint;

/// The statuses of this node's own certificates, fetched ahead by their owner and carried with every message.
#[derive(Default)]
pub struct OwnStatuses {
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    seals: HashMap<Fingerprint, Bytes>,
    auth: Option<Bytes>,
}

impl OwnStatuses {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a freshly fetched response for a sign certificate in place.
    pub fn renew_seal(&self, certificate: Fingerprint, response: Bytes) {
        self.newest().seals.insert(certificate, response);
    }

    /// Puts a freshly fetched response for the node's auth certificate in place.
    pub fn renew_auth(&self, response: Bytes) {
        self.newest().auth = Some(response);
    }

    /// The responses to carry with a message under the seal `certificate`: its own, then the node's; one that was never
    /// fetched is left out.
    pub fn carried(&self, certificate: &Fingerprint) -> Vec<Bytes> {
        let newest = self.newest();
        newest.seals.get(certificate).cloned().into_iter().chain(newest.auth.clone()).collect()
    }
}
