//! Claims: a request is carried out once, whatever the network repeats (protocol P4.2).
//!
//! An id belongs to one message on this node, whoever sends it: records, index and containers are found by it.
//!
//! Claims are forgotten by the wall clock, and wall clocks are set back. So what is forgotten leaves a mark: an id that is not
//! younger than the youngest one ever forgotten may have been carried out, and is refused. While clocks go forward the mark
//! lies where no message is fresh any more.

use std::collections::{BTreeSet, HashMap};
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
    /// Ids in the order in which they may be forgotten; not that of their coming, when the clock is set back in between.
    forget: BTreeSet<(Timestamp, MessageId)>,
    /// Requests that this node has said were never carried out: they must not be, however late they arrive.
    void: HashMap<(NodeId, MessageId), Timestamp>,
    /// When the youngest forgotten id was made: of what was made until then, this node no longer knows. Never goes back.
    forgotten: Option<Timestamp>,
    /// The same for forgotten promises alone, which the journal does not hold.
    promised: Option<Timestamp>,
    /// Of what was made until then, the journal itself may lack records: it came from a backup. Never goes back.
    lost: Option<Timestamp>,
}

impl Table {
    /// Forgets what can no longer be repeated. An id that was given back and claimed again has a later time of its own.
    fn prune(&mut self, now: Timestamp) {
        while self.forget.first().is_some_and(|(until, _)| *until < now) {
            let Some((until, id)) = self.forget.pop_first() else { return };
            let due = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.until == until);
            let (claimed, sent) = (due(self.entries.get(&id)), due(self.sent.get(&id)));
            if claimed {
                self.entries.remove(&id);
            }
            if sent {
                self.sent.remove(&id);
            }
            if claimed || sent {
                self.forgotten = self.forgotten.max(Some(id.made_at()));
            }
        }
    }

    /// Sweeps out old promises. An id may say that it was made at any time: one from the future must not shut the door.
    fn sweep(&mut self, now: Timestamp, memory: Duration) {
        let mut youngest = None;
        self.void.retain(|(_, id), until| {
            let keep = *until >= now;
            if !keep {
                youngest = youngest.max(Some(id.made_at().min(until.minus(memory))));
            }
            keep
        });
        self.promised = self.promised.max(youngest);
        self.forgotten = self.forgotten.max(youngest);
    }

    /// What is known of `id`, as far as it is not forgotten.
    fn known(&self, from: &NodeId, id: MessageId, digest: Digest) -> Option<Known> {
        if let Some(entry) = self.entries.get(&id) {
            return Some(match entry {
                Entry { digest: claimed, .. } if *claimed != digest => Known::OtherMessage,
                Entry { answer: Some(sequence), .. } => Known::Answered(*sequence),
                Entry { answer: None, .. } => Known::Open,
            });
        }
        if self.sent.get(&id).is_some_and(|entry| entry.digest != digest) {
            return Some(Known::OtherMessage);
        }
        self.void.contains_key(&(from.clone(), id)).then_some(Known::Void)
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
    /// Made no later than the youngest id that this node has forgotten (the field): whether it came before is not known.
    Forgotten(Timestamp),
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
        self.claim_after(from, id, digest, now, |table| table.forgotten)
    }

    /// As [`Claims::claim`], by somebody who looks up in the journal, with the claim in hand, whether what is forgotten here
    /// came before. Promises are not in the journal: what one may have been forgotten of is refused.
    ///
    /// # Errors
    /// [`Known`] when the id was claimed before, as far as that is remembered.
    pub fn claim_late(
        &self,
        from: &NodeId,
        id: MessageId,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Claim, Known> {
        self.claim_after(from, id, digest, now, |table| table.promised)
    }

    fn claim_after(
        &self,
        from: &NodeId,
        id: MessageId,
        digest: Digest,
        now: Timestamp,
        mark: impl FnOnce(&Table) -> Option<Timestamp>,
    ) -> Result<Claim, Known> {
        let mut table = lock(&self.table);
        table.prune(now);
        if let Some(known) = table.known(from, id, digest) {
            return Err(known);
        }
        if let Some(youngest) = mark(&table).filter(|youngest| id.made_at() <= *youngest) {
            return Err(Known::Forgotten(youngest));
        }
        let until = self.until(id, now);
        table.entries.insert(id, Entry { digest, from: Some(from.clone()), answer: None, until });
        table.forget.insert((until, id));
        Ok(Claim { table: Arc::clone(&self.table), id: Some(id) })
    }

    /// Takes the id of a request that this node sends: nobody else can use it here.
    pub fn sent(&self, id: MessageId, digest: Digest, now: Timestamp) {
        let mut table = lock(&self.table);
        table.prune(now);
        let until = self.until(id, now);
        table.sent.insert(id, Entry { digest, from: None, answer: None, until });
        table.forget.insert((until, id));
    }

    /// No request made until `made` can be claimed any more, unless it is already: the claims were rebuilt from records that
    /// do not reach further back.
    pub fn knows_since(&self, made: Timestamp) {
        let mut table = lock(&self.table);
        table.forgotten = table.forgotten.max(Some(made));
        table.promised = table.promised.max(Some(made));
    }

    /// As [`Claims::knows_since`], when the records themselves may be lost: nothing made until `made` is promised never to have
    /// been carried out.
    pub fn lost_until(&self, made: Timestamp) {
        self.knows_since(made);
        let mut table = lock(&self.table);
        table.lost = table.lost.max(Some(made));
    }

    /// Until when a claim is remembered: counted from now, or from the time of its id where this clock was set back since.
    fn until(&self, id: MessageId, now: Timestamp) -> Timestamp {
        now.max(id.made_at()).plus(self.memory)
    }

    /// Whether the node `from` has brought the request `id`. If not, this is a promise that it will never be carried out,
    /// however late it arrives: question and promise are one step, so that none slips in between.
    pub fn claimed_or_void(&self, from: &NodeId, id: MessageId, now: Timestamp) -> bool {
        let mut table = lock(&self.table);
        if table.entries.get(&id).is_some_and(|entry| entry.from.as_ref() == Some(from)) {
            return true;
        }
        // It may have been carried out by the node whose backup this one came from: "open" is always a safe answer.
        if table.lost.is_some_and(|lost| id.made_at() <= lost) {
            return true;
        }
        if table.void.len() >= VOID_SWEEP {
            table.sweep(now, self.memory);
        }
        // A node that asks without end gets no promises without end.
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
        assert_eq!(g.claim(a, 721), Err(Known::Forgotten(g.now)), "no message is fresh by then");
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
        assert_eq!(g.claim(digest, 1001), Err(Known::Forgotten(g.now)));
    }

    /// A clock that goes 12 minutes forward and back again (an operator, a broken time server) forgets claims too early.
    #[test]
    fn what_a_clock_made_us_forget_is_not_carried_out_again() {
        let g = ground();
        let digest = Digest::of(b"a");
        assert_eq!(g.claim(digest, 0), Ok(()));
        let other = MessageId::new(g.now.minus(Duration::from_secs(1)), [3; 10]);
        let ahead = g.now.plus(Duration::from_secs(721));
        // Whatever looks at the claims forgets the old ones.
        g.claims.sent(MessageId::new(ahead, [4; 10]), digest, ahead);
        assert_eq!(g.claim(digest, 1), Err(Known::Forgotten(g.now)), "the clock is back");
        let older = g.claims.claim(&g.node, other, digest, g.now).map(Claim::keep);
        assert_eq!(older, Err(Known::Forgotten(g.now)), "it may have been among the forgotten");
        let new = MessageId::new(g.now.plus(Duration::from_millis(1)), [5; 10]);
        assert_eq!(g.claims.claim(&g.node, new, digest, g.now).map(Claim::keep), Ok(()), "traffic goes on");
    }

    #[test]
    fn what_was_lost_with_a_journal_is_neither_carried_out_nor_denied() {
        let g = ground();
        let digest = Digest([1; 32]);
        g.claims.lost_until(g.now);
        assert_eq!(g.claim(digest, 1), Err(Known::Forgotten(g.now)));
        assert!(g.claims.claimed_or_void(&g.node, g.id, g.now), "nor is it promised that it never was");
        let late = g.claims.claim_late(&g.node, g.id, digest, g.now).map(|_| ());
        assert_eq!(late, Err(Known::Forgotten(g.now)), "the journal does not know either");
    }

    /// A body may take longer than claims are remembered: that others were forgotten meanwhile is no reason to refuse it.
    #[test]
    fn who_looks_into_the_journal_is_refused_for_forgotten_promises_alone() {
        let g = ground();
        let digest = Digest::of(b"a");
        assert_eq!(g.claim(digest, 0), Ok(()));
        let late = g.now.plus(Duration::from_secs(721));
        let slow = MessageId::new(g.now.minus(Duration::from_secs(1)), [3; 10]);
        let claimed = |id, at| g.claims.claim(&g.node, id, digest, at).map(drop);
        let claimed_late = |id, at| g.claims.claim_late(&g.node, id, digest, at).map(drop);
        assert_eq!(claimed(slow, late), Err(Known::Forgotten(g.now)));
        assert_eq!(claimed_late(slow, late), Ok(()));
        assert!(!g.claims.claimed_or_void(&g.node, slow, late));
        assert_eq!(claimed_late(slow, late), Err(Known::Void));
        let after = late.plus(MEMORY + Duration::from_secs(1));
        lock(&g.claims.table).sweep(after, MEMORY);
        assert!(
            matches!(claimed_late(slow, after), Err(Known::Forgotten(_))),
            "the promise is forgotten, and kept"
        );
        let new = MessageId::new(g.now.plus(Duration::from_secs(1)), [5; 10]);
        assert_eq!(claimed_late(new, after), Ok(()));
        g.claims.knows_since(new.made_at());
        assert!(claimed_late(new, after).is_err(), "promises do not outlive a restart");
    }

    /// Two clocks that were wrong together accepted a message of the time they showed.
    #[test]
    fn an_id_from_later_is_remembered_from_its_own_time_on() {
        let g = ground();
        let digest = Digest::of(b"a");
        let early = g.now.minus(Duration::from_secs(7200));
        assert_eq!(g.claims.claim(&g.node, g.id, digest, early).map(Claim::keep), Ok(()));
        assert_eq!(g.claim(digest, 720), Err(Known::Open));
        assert_eq!(g.claim(digest, 721), Err(Known::Forgotten(g.now)));
    }

    #[test]
    fn a_restart_knows_how_far_back_it_knows() {
        let g = ground();
        let digest = Digest::of(b"a");
        assert_eq!(g.claim(digest, 0), Ok(()));
        g.claims.knows_since(g.now);
        assert_eq!(g.claim(digest, 0), Err(Known::Open), "what was rebuilt is known");
        let older = MessageId::new(g.now, [6; 10]);
        let claimed = g.claims.claim(&g.node, older, digest, g.now).map(Claim::keep);
        assert_eq!(claimed, Err(Known::Forgotten(g.now)));
        g.claims.knows_since(g.now.minus(Duration::from_secs(60)));
        assert_eq!(
            g.claims.claim(&g.node, older, digest, g.now).map(Claim::keep),
            claimed,
            "never goes back"
        );
    }

    #[test]
    fn a_claim_given_back_is_nothing_forgotten() {
        let g = ground();
        let digest = Digest::of(b"a");
        drop(g.claims.claim(&g.node, g.id, digest, g.now).map_err(|_| ()).unwrap());
        assert_eq!(g.claim(digest, 721), Ok(()));
    }

    #[test]
    fn a_promise_about_an_id_from_the_future_does_not_shut_the_door() {
        let g = ground();
        let future = g.now.plus(Duration::from_secs(86_400));
        for n in 0..=VOID_SWEEP {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let at = if n < VOID_SWEEP { g.now } else { g.now.plus(Duration::from_secs(721)) };
            g.claims.claimed_or_void(&g.node, MessageId::new(future, random), at);
        }
        let digest = Digest::of(b"a");
        assert_eq!(g.claim(digest, 721), Err(Known::Forgotten(g.now)), "as old as the promises");
        let new = MessageId::new(g.now.plus(Duration::from_secs(1)), [7; 10]);
        assert_eq!(g.claims.claim(&g.node, new, digest, g.now).map(Claim::keep), Ok(()));
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
