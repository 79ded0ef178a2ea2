//! What is durable and not yet in the index: readers see it here, and the indexer takes it from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_evidence::Proof;
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
    /// What the tree has of it.
    pub(crate) leaf: Digest,
    /// What a batch has of it; none without a signed message.
    pub(crate) group: Option<Digest>,
}

/// A proof on its way into the index.
#[derive(Debug, Clone)]
pub(crate) struct ToProve {
    pub(crate) place: Place,
    pub(crate) after: Point,
    pub(crate) proof: Proof,
}

/// One step of the index along the journal.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Record(Box<ToIndex>),
    Proof(Box<ToProve>),
}

impl Step {
    /// The point up to which the index is complete with it.
    pub(crate) const fn after(&self) -> Point {
        match self {
            Self::Record(record) => record.after,
            Self::Proof(proof) => proof.after,
        }
    }
    pub(crate) fn record(&self) -> Option<&ToIndex> {
        match self {
            Self::Record(record) => Some(record),
            Self::Proof(_) => None,
        }
    }
}

/// What the evidence journal's writer hands on beside the place.
pub(crate) enum Note {
    Record(Box<Summary>, Option<Digest>),
    Proof(Proof),
}

/// The chain after so many of the last records is remembered: heads are made of the last one, while others come.
const RECENT: usize = 16_384;

#[derive(Default)]
struct Waiting {
    /// In the journal's order.
    steps: VecDeque<Arc<Step>>,
    places: HashMap<u64, Place>,
    by_request: HashMap<MessageId, Vec<u64>>,
    artifacts: HashMap<Digest, Place>,
    /// Numbers of records without a gap, and the chain after each.
    chains: VecDeque<(u64, Digest)>,
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
        self.lock().places.get(&sequence).copied()
    }
    pub(crate) fn exchange(&self, request: &MessageId) -> Vec<u64> {
        self.lock().by_request.get(request).cloned().unwrap_or_default()
    }
    pub(crate) fn artifact(&self, digest: &Digest) -> Option<Place> {
        self.lock().artifacts.get(digest).copied()
    }

    /// The chain after the first `size` records, if the last of them was appended lately.
    pub(crate) fn chain(&self, size: u64) -> Option<Digest> {
        let waiting = self.lock();
        let number = size.checked_sub(waiting.chains.front()?.0)?;
        let found = waiting.chains.get(usize::try_from(number).ok()?);
        found.filter(|(of, _)| *of == size).map(|(_, chain)| *chain)
    }

    /// Lets [`Tail::take`] return, with or without steps.
    pub(crate) fn ask_to_reopen(&self) {
        self.lock().reopen = true;
        self.wake.notify_all();
    }

    /// Up to `most` steps from the front, once there is one or the index is to be opened again; `None` when the store closes and nothing is left.
    pub(crate) fn take(&self, most: usize) -> Option<Vec<Arc<Step>>> {
        let mut waiting = self.lock();
        while waiting.steps.is_empty() && !std::mem::take(&mut waiting.reopen) {
            if waiting.closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some(waiting.steps.iter().take(most).cloned().collect())
    }

    /// Removes the first `taken` steps, which are in the index now.
    pub(crate) fn done(&self, taken: usize) {
        let mut waiting = self.lock();
        let taken = taken.min(waiting.steps.len());
        let steps: Vec<_> = waiting.steps.drain(..taken).collect();
        for record in steps.iter().filter_map(|step| step.record()) {
            waiting.places.remove(&record.sequence);
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

impl Sink<Note> for Tail {
    fn durable(&self, entries: Vec<Written<Note>>) {
        let mut waiting = self.lock();
        for Written { sequence, place, artifacts, after, leaf, note } in entries {
            let step = match note {
                Note::Record(summary, group) => {
                    if waiting.chains.len() == RECENT {
                        waiting.chains.pop_front();
                    }
                    waiting.chains.push_back((sequence + 1, after.chain));
                    waiting.by_request.entry(summary.request).or_default().push(sequence);
                    waiting.places.insert(sequence, place);
                    waiting.artifacts.extend(artifacts.iter().copied());
                    let leaf = leaf.hash;
                    let summary = *summary;
                    Step::Record(Box::new(ToIndex {
                        sequence,
                        place,
                        artifacts,
                        after,
                        summary,
                        leaf,
                        group,
                    }))
                }
                Note::Proof(proof) => Step::Proof(Box::new(ToProve { place, after, proof })),
            };
            waiting.steps.push_back(Arc::new(step));
        }
        self.wake.notify_all();
    }

    fn ready(&self) -> bool {
        self.lock().steps.len() < self.limit
    }
}
