//! Room on disk: what is free in the segments being written, and what of it is promised (protocol P4.4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes in the journal segment and in the body segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) journal: u64,
    pub(crate) body: u64,
}

/// Promises are made under the lock and taken back without it: the writer can turn a promise into bytes while it holds
/// the lock, and nobody takes the room in between.
#[derive(Debug, Default)]
pub(crate) struct Space {
    free: Mutex<Room>,
    promised_journal: AtomicU64,
    promised_body: AtomicU64,
}

impl Space {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Room> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn promised(&self) -> Room {
        Room {
            journal: self.promised_journal.load(Ordering::SeqCst),
            body: self.promised_body.load(Ordering::SeqCst),
        }
    }

    /// How much is missing so that `need` fits beside what is promised.
    pub(crate) fn missing(&self, free: &Room, need: Room) -> Room {
        let promised = self.promised();
        Room {
            journal: (promised.journal + need.journal).saturating_sub(free.journal),
            body: (promised.body + need.body).saturating_sub(free.body),
        }
    }

    /// Promises `room` if it is there.
    pub(crate) fn promise(&self, room: Room) -> bool {
        let free = self.lock();
        let fits = self.missing(&free, room) == Room::default();
        if fits {
            self.promised_journal.fetch_add(room.journal, Ordering::SeqCst);
            self.promised_body.fetch_add(room.body, Ordering::SeqCst);
        }
        fits
    }

    pub(crate) fn take_back(&self, room: Room) {
        self.promised_journal.fetch_sub(room.journal, Ordering::SeqCst);
        self.promised_body.fetch_sub(room.body, Ordering::SeqCst);
    }
}
