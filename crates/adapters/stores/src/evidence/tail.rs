//! Records that are durable and not yet in the index: readers see them here, and the indexer takes them from here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_model::{Digest, MessageId};

use super::record_format::Summary;
use crate::journal::scan::{Place, Point};
use crate::journal::{Sink, Written};

/// A record on its way into the index.
#[derive(Debug, Clone)]
pub(crate) struct ToIndex {
    pub(crate) sequence: u64,
    pub(crate) place: Place,
    pub(crate) artifacts: Vec<(Digest, Place)>,
    pub(crate) after: Point,
    pub(crate) summary: Summary,
}

#[derive(Default)]
struct Waiting {
    records: BTreeMap<u64, Arc<ToIndex>>,
    by_request: HashMap<MessageId, Vec<u64>>,
    artifacts: HashMap<Digest, Place>,
    /// The index is to be opened again, though nothing may wait for it.
    reopen: bool,
    closed: bool,
}

pub(crate) struct Tail {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn place(&self, sequence: u64) -> Option<Place> {
        self.lock().records.get(&sequence).map(|r| r.place)
    }
    pub(crate) fn exchange(&self, request: &MessageId) -> Vec<u64> {
        self.lock().by_request.get(request).cloned().unwrap_or_default()
    }
    pub(crate) fn artifact(&self, digest: &Digest) -> Option<Place> {
        self.lock().artifacts.get(digest).copied()
    }

    /// Lets [`Tail::take`] return, with or without records.
    pub(crate) fn ask_to_reopen(&self) {
        self.lock().reopen = true;
        self.wake.notify_all();
    }

    /// Up to `most` records from the front, once there is one or the index is to be opened again; `None` when the store closes and nothing is left.
    pub(crate) fn take(&self, most: usize) -> Option<Vec<Arc<ToIndex>>> {
        let mut waiting = self.lock();
        while waiting.records.is_empty() && !std::mem::take(&mut waiting.reopen) {
            if waiting.closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some(waiting.records.values().take(most).cloned().collect())
    }

    /// Removes records that are in the index now.
    pub(crate) fn done(&self, records: &[Arc<ToIndex>]) {
        let mut waiting = self.lock();
        for record in records {
            waiting.records.remove(&record.sequence);
            let request = record.summary.request;
            if let Some(sequences) = waiting.by_request.get_mut(&request) {
                sequences.retain(|s| *s != record.sequence);
                if sequences.is_empty() {
                    waiting.by_request.remove(&request);
                }
            }
            for (digest, _) in &record.artifacts {
                waiting.artifacts.remove(digest);
            }
        }
    }

    /// Waits a while before the next try; false when the store closes.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let waiting = self.lock();
        let waited = self.wake.wait_timeout_while(waiting, time, |w| !w.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}

impl Sink<Summary> for Tail {
    fn durable(&self, entries: Vec<Written<Summary>>) {
        let mut waiting = self.lock();
        for Written { sequence, place, artifacts, after, note } in entries {
            waiting.by_request.entry(note.request).or_default().push(sequence);
            waiting.artifacts.extend(artifacts.iter().copied());
            let record = ToIndex { sequence, place, artifacts, after, summary: note };
            waiting.records.insert(sequence, Arc::new(record));
        }
        self.wake.notify_all();
    }

    fn ready(&self) -> bool {
        self.lock().records.len() < self.limit
    }
}
