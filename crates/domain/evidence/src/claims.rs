//! Claims: a request is carried out once, whatever the network repeats (protocol P4.2).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_model::{Digest, MessageId, NodeId, SubsystemId, Timestamp};

type Key = (SubsystemId, MessageId);

#[derive(Clone)]
struct Entry {
    digest: Digest,
    from: NodeId,
    /// The sequence of the answer's record, once there is one.
    answer: Option<u64>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    /// Keys in the order in which they may be forgotten.
    forget: VecDeque<(Timestamp, Key)>,
    /// Requests that this node has said were never carried out: they must not be, however late they arrive.
    void: HashMap<(NodeId, MessageId), Timestamp>,
    /// Claims by the node that brought the request, as it asks for their outcome.
    brought: HashMap<(NodeId, MessageId), Key>,
}

impl Table {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.brought.remove(&(entry.from, key.1));
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

/// All (sender, id) pairs that could still be repeated by a fresh message.
pub struct Claims {
    table: Arc<Mutex<Table>>,
    memory: Duration,
}

/// The right to carry out one request. Dropped before [`Claim::keep`], it is as if the request had never come.
pub struct Claim {
    table: Arc<Mutex<Table>>,
    key: Option<Key>,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every change is one insertion or removal, so a panic elsewhere cannot leave half a one.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claims {
    /// Remembers each claim for `memory`: the cap on a call's life plus twice the skew.
    pub fn new(memory: Duration) -> Self {
        Self { table: Arc::default(), memory }
    }

    /// Claims `id` of `sender`, brought by the node `from`, for the message `digest`.
    ///
    /// # Errors
    /// [`Known`] when the id was claimed before.
    pub fn claim(
        &self,
        sender: &SubsystemId,
        from: &NodeId,
        id: MessageId,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Claim, Known> {
        let key = (sender.clone(), id);
        let mut table = lock(&self.table);
        while table.forget.front().is_some_and(|(until, _)| *until < now) {
            if let Some((_, old)) = table.forget.pop_front() {
                table.remove(&old);
            }
        }
        if let Some(entry) = table.entries.get(&key) {
            return Err(match entry {
                Entry { digest: claimed, .. } if *claimed != digest => Known::OtherMessage,
                Entry { answer: Some(sequence), .. } => Known::Answered(*sequence),
                Entry { answer: None, .. } => Known::Open,
            });
        }
        if table.void.contains_key(&(from.clone(), id)) {
            return Err(Known::Void);
        }
        table.brought.insert((from.clone(), id), key.clone());
        table.entries.insert(key.clone(), Entry { digest, from: from.clone(), answer: None });
        table.forget.push_back((now.plus(self.memory), key.clone()));
        Ok(Claim { table: Arc::clone(&self.table), key: Some(key) })
    }

    /// Whether the node `from` has brought the request `id`. If not, this is a promise that it will never be carried out,
    /// however late it arrives: question and promise are one step, so that none slips in between.
    pub fn claimed_or_void(&self, from: &NodeId, id: MessageId, now: Timestamp) -> bool {
        let mut table = lock(&self.table);
        if table.brought.contains_key(&(from.clone(), id)) {
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
    pub fn release(&self, sender: &SubsystemId, id: MessageId) {
        lock(&self.table).remove(&(sender.clone(), id));
    }

    /// Notes that the request was answered by the record at `sequence`.
    pub fn answered(&self, sender: &SubsystemId, id: MessageId, sequence: u64) {
        if let Some(entry) = lock(&self.table).entries.get_mut(&(sender.clone(), id)) {
            entry.answer = Some(sequence);
        }
    }
}

impl Claim {
    /// The request is recorded: from now on it counts as carried out.
    pub fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.table).remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_claimed_once() {
        let claims = Claims::new(Duration::from_secs(420));
        let now = Timestamp::from_millis(1_800_000_000_000);
        let sender: SubsystemId = "VN/GOV/H26/mot-cua-so-1".parse().unwrap();
        let node: NodeId = "VN/GOV/H26/ss1".parse().unwrap();
        let id = MessageId::new(now, [1; 10]);
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        drop(claims.claim(&sender, &node, id, a, now).map_err(|_| ()).unwrap());
        claims.claim(&sender, &node, id, a, now).map_err(|_| ()).unwrap().keep();
        let again = |digest, at| claims.claim(&sender, &node, id, digest, at).map(Claim::keep);
        assert_eq!(again(a, now), Err(Known::Open));
        assert_eq!(again(b, now), Err(Known::OtherMessage));
        claims.answered(&sender, id, 9);
        assert_eq!(again(a, now.plus(Duration::from_secs(420))), Err(Known::Answered(9)));
        assert_eq!(again(a, now.plus(Duration::from_secs(421))), Ok(()));
        let late = MessageId::new(now, [2; 10]);
        assert!(claims.claimed_or_void(&node, id, now), "a claimed request is never promised away");
        assert!(!claims.claimed_or_void(&node, late, now));
        assert_eq!(claims.claim(&sender, &node, late, a, now).map(Claim::keep), Err(Known::Void));
    }
}
