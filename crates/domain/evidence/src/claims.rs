//! Claims: a request is carried out once, whatever the network repeats (protocol P4.2).
//!
//! An id belongs to one message on this node, whoever sends it: records, index and containers are found by it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_model::{Digest, MessageId, NodeId, Timestamp};

#[derive(Clone)]
struct Entry {
    digest: Digest,
    /// The node that brought it; none for a request that this node sent itself.
    from: Option<NodeId>,
    /// The sequence of the answer's record, once there is one.
    answer: Option<u64>,
    until: Timestamp,
}

#[derive(Default)]
struct Table {
    entries: HashMap<MessageId, Entry>,
    /// Requests that this node sent: their ids are taken, but their own node may carry them out (a call to itself).
    sent: HashMap<MessageId, Entry>,
    /// Ids in the order in which they may be forgotten.
    forget: VecDeque<(Timestamp, MessageId)>,
    /// Requests that this node has said were never carried out: they must not be, however late they arrive.
    void: HashMap<(NodeId, MessageId), Timestamp>,
}

impl Table {
    /// Forgets what can no longer be repeated. An id that was given back and claimed again has a later time of its own.
    fn prune(&mut self, now: Timestamp) {
        while self.forget.front().is_some_and(|(until, _)| *until < now) {
            let Some((until, id)) = self.forget.pop_front() else { return };
            if self.entries.get(&id).is_some_and(|entry| entry.until == until) {
                self.entries.remove(&id);
            }
            if self.sent.get(&id).is_some_and(|entry| entry.until == until) {
                self.sent.remove(&id);
            }
        }
    }
}

/// What is already known of a request that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The same message, answered: the sequence of the answer's record.
    Answered(u64),
    /// The same message, still being carried out or interrupted.
    Open,
    /// The same id with another digest.
    OtherMessage,
    /// This node has told the sending node that the request was never carried out.
    Void,
}

/// From so many promises on, the old ones are swept out.
const VOID_SWEEP: usize = 10_000;

/// Promises remembered at once.
const VOID_LIMIT: usize = 200_000;

/// All ids that could still be repeated by a fresh message.
pub struct Claims {
    table: Arc<Mutex<Table>>,
    memory: Duration,
}

/// The right to carry out one request. Dropped before [`Claim::keep`], it is as if the request had never come.
pub struct Claim {
    table: Arc<Mutex<Table>>,
    id: Option<MessageId>,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every change is one insertion or removal, so a panic elsewhere cannot leave half a one.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claims {
    /// Remembers each claim for `memory` ([`truc_message::Freshness::memory`]).
    pub fn new(memory: Duration) -> Self {
        Self { table: Arc::default(), memory }
    }

    /// Claims `id`, brought by the node `from`, for the message `digest`.
    ///
    /// # Errors
    /// [`Known`] when the id was claimed before.
    pub fn claim(
        &self,
        from: &NodeId,
        id: MessageId,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Claim, Known> {
        let mut table = lock(&self.table);
        table.prune(now);
        if let Some(entry) = table.entries.get(&id) {
            return Err(match entry {
                Entry { digest: claimed, .. } if *claimed != digest => Known::OtherMessage,
                Entry { answer: Some(sequence), .. } => Known::Answered(*sequence),
                Entry { answer: None, .. } => Known::Open,
            });
        }
        if table.sent.get(&id).is_some_and(|entry| entry.digest != digest) {
            return Err(Known::OtherMessage);
        }
        if table.void.contains_key(&(from.clone(), id)) {
            return Err(Known::Void);
        }
        let until = now.plus(self.memory);
        table.entries.insert(id, Entry { digest, from: Some(from.clone()), answer: None, until });
        table.forget.push_back((until, id));
        Ok(Claim { table: Arc::clone(&self.table), id: Some(id) })
    }

    /// Takes the id of a request that this node sends: nobody else can use it here.
    pub fn sent(&self, id: MessageId, digest: Digest, now: Timestamp) {
        let mut table = lock(&self.table);
        table.prune(now);
        let until = now.plus(self.memory);
        table.sent.insert(id, Entry { digest, from: None, answer: None, until });
        table.forget.push_back((until, id));
    }

    /// Whether the node `from` has brought the request `id`. If not, this is a promise that it will never be carried out,
    /// however late it arrives: question and promise are one step, so that none slips in between.
    pub fn claimed_or_void(&self, from: &NodeId, id: MessageId, now: Timestamp) -> bool {
        let mut table = lock(&self.table);
        if table.entries.get(&id).is_some_and(|entry| entry.from.as_ref() == Some(from)) {
            return true;
        }
        if table.void.len() >= VOID_SWEEP {
            table.void.retain(|_, until| *until >= now);
        }
        // A node that asks without end gets no promises without end: "open" is always a safe answer.
        if table.void.len() >= VOID_LIMIT {
            return true;
        }
        table.void.insert((from.clone(), id), now.plus(self.memory));
        false
    }

    /// Gives a kept claim back: its request was not recorded after all.
    pub fn release(&self, id: MessageId) {
        lock(&self.table).entries.remove(&id);
    }

    /// Notes that the request was answered by the record at `sequence`.
    pub fn answered(&self, id: MessageId, sequence: u64) {
        if let Some(entry) = lock(&self.table).entries.get_mut(&id) {
            entry.answer = Some(sequence);
        }
    }
}

impl Claim {
    /// The request is being recorded: from now on it counts as carried out, unless [`Claims::release`] says otherwise.
    pub fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            lock(&self.table).entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(720);

    struct Ground {
        claims: Claims,
        node: NodeId,
        now: Timestamp,
        id: MessageId,
    }

    fn ground() -> Ground {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let node = "VN/GOV/H26/ss1".parse().unwrap();
        Ground { claims: Claims::new(MEMORY), node, now, id: MessageId::new(now, [1; 10]) }
    }

    impl Ground {
        fn claim(&self, digest: Digest, after: u64) -> Result<(), Known> {
            let at = self.now.plus(Duration::from_secs(after));
            self.claims.claim(&self.node, self.id, digest, at).map(Claim::keep)
        }
    }

    #[test]
    fn a_request_is_claimed_once() {
        let g = ground();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        drop(g.claims.claim(&g.node, g.id, a, g.now).map_err(|_| ()).unwrap());
        assert_eq!(g.claim(a, 0), Ok(()));
        assert_eq!(g.claim(a, 0), Err(Known::Open));
        assert_eq!(g.claim(b, 0), Err(Known::OtherMessage), "whoever the other client is");
        g.claims.answered(g.id, 9);
        assert_eq!(g.claim(a, 720), Err(Known::Answered(9)));
        assert_eq!(g.claim(a, 721), Ok(()));
    }

    /// A claim that was given back must not take the later claim of the same id with it when its own time has come.
    #[test]
    fn what_was_given_back_does_not_shorten_what_was_claimed_again() {
        let g = ground();
        let digest = Digest::of(b"a");
        drop(g.claims.claim(&g.node, g.id, digest, g.now).map_err(|_| ()).unwrap());
        assert_eq!(g.claim(digest, 280), Ok(()));
        g.claims.answered(g.id, 1);
        assert_eq!(g.claim(digest, 721), Err(Known::Answered(1)));
        assert_eq!(g.claim(digest, 1000), Err(Known::Answered(1)));
        assert_eq!(g.claim(digest, 1001), Ok(()));
    }

    #[test]
    fn the_id_of_a_request_of_ours_is_nobody_elses() {
        let g = ground();
        let ours = Digest::of(b"ours");
        g.claims.sent(g.id, ours, g.now);
        assert_eq!(g.claim(Digest::of(b"theirs"), 1), Err(Known::OtherMessage));
        assert_eq!(g.claim(ours, 1), Ok(()), "a call to ourselves");
    }

    #[test]
    fn never_is_a_promise_and_not_given_for_what_is_claimed() {
        let g = ground();
        assert_eq!(g.claim(Digest::of(b"a"), 0), Ok(()));
        assert!(g.claims.claimed_or_void(&g.node, g.id, g.now));
        let late = MessageId::new(g.now, [2; 10]);
        assert!(!g.claims.claimed_or_void(&g.node, late, g.now));
        let claimed = g.claims.claim(&g.node, late, Digest::of(b"b"), g.now).map(Claim::keep);
        assert_eq!(claimed, Err(Known::Void));
    }
}
