//! The follower itself: one batch at a time, each minute and whenever somebody waits.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use truc_evidence::ers::{ErsError, Tree};
use truc_evidence::{AcknowledgedLeaf, Batch, Proof, StoreError};
use truc_message::Leaf;
use truc_model::{Digest, NodeId, Timestamp};

use crate::Settings;
use crate::acknowledged::Heard;
use crate::asking::{Asking, Stamped};
use crate::error::{NotStamped, StampError};
use crate::later::Later;
use crate::ports::Ports;
use crate::state::{LastToken, Oldest, Shared, StampingState};
use crate::waiters::Waiters;

/// Records of one batch.
const BATCH_LIMIT: u64 = 1_000_000;
/// Larger trees are computed off the runtime.
const SMALL_TREE: usize = 4096;
/// The log's size may trail an append by a moment; looked again after this long.
const TRAILING: Duration = Duration::from_millis(10);
/// While somebody waits, everybody is asked again at least this often.
const LONGEST_REST_OF_WAITERS: Duration = Duration::from_secs(5);
/// Between two rounds of what comes after a stamp.
const ROUND: Duration = Duration::from_secs(60);
/// What is waited for at the stop.
const LAST_ROUND: Duration = Duration::from_secs(5);

/// Has this node's records stamped, in order, each once.
pub struct Stamper {
    ports: Ports,
    settings: Settings,
    asking: Asking,
    shared: Shared,
    /// The first record without a stamp.
    stamped: watch::Sender<u64>,
    waiters: Waiters,
    wanted: Notify,
    heard: Heard,
}

impl Stamper {
    /// A follower that has not looked yet. `seed` makes this node's rests between attempts differ from other nodes'.
    pub fn new(ports: Ports, settings: Settings, seed: Digest) -> Self {
        Self {
            ports,
            settings,
            asking: Asking::new(seed),
            shared: Shared::default(),
            stamped: watch::Sender::new(0),
            waiters: Waiters::default(),
            wanted: Notify::new(),
            heard: Heard::default(),
        }
    }

    /// Looks how far the stamps are. Called once before exchanges begin, so that [`Self::overdue`] knows; then [`Self::run`]
    /// does it.
    ///
    /// # Errors
    /// [`StoreError`] when the journal fails.
    pub async fn look(&self) -> Result<(), StoreError> {
        if let Some(batch) = self.ports.proofs.last_batch().await? {
            self.advance(batch.next, LastToken { authority: batch.authority, gen_time: batch.gen_time });
        }
        self.measure().await.map(drop)
    }

    /// Stamps until `shutdown`; then keeps what peers have acknowledged and ends.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(self.stamp_all(&shutdown), self.keep_all(&shutdown));
        match timeout(LAST_ROUND, self.heard.keep(self.ports.proofs.as_ref())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what peers acknowledged last was not kept"),
            Err(_) => tracing::warn!("what peers acknowledged last was not kept in time"),
        }
    }

    /// Whether a record has waited longer than the grace. Answers at once, from what was last seen.
    pub fn overdue(&self, now: Timestamp) -> bool {
        let Some(grace) = self.settings.grace else { return false };
        self.shared.seen().age(now).is_some_and(|age| age > grace)
    }

    /// How far the stamps are at `now`.
    pub fn state(&self, now: Timestamp) -> StampingState {
        let grace = self.settings.grace.unwrap_or(Duration::MAX);
        let authorities = self.asking.standings(&self.ports.authorities.current(), grace, now);
        let forgotten = self.heard.forgotten();
        let seen = self.shared.seen();
        let oldest = seen.age(now);
        StampingState {
            backlog: seen.backlog(),
            oldest,
            overdue: oldest.is_some_and(|age| age > grace),
            last: seen.last.clone(),
            authorities,
            failing: seen.failing.clone(),
            forgotten,
        }
    }

    /// Returns when the record at `sequence` is stamped, and has that done now. Whoever waits at the same time shares a token.
    ///
    /// # Errors
    /// [`NotStamped`] when it is not within `deadline`; it will be, later.
    pub async fn stamped(&self, sequence: u64, deadline: Duration) -> Result<(), NotStamped> {
        let mut stamped = self.stamped.subscribe();
        if *stamped.borrow_and_update() > sequence {
            return Ok(());
        }
        let _waiter = self.waiters.join(sequence).ok_or(NotStamped::Busy)?;
        self.wanted.notify_one();
        match timeout(deadline, stamped.wait_for(|next| *next > sequence)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let why = self.shared.seen().failing.clone();
                let why = why.unwrap_or_else(|| "the authority has not answered yet".to_owned());
                Err(NotStamped::TooLate { waited: deadline, why })
            }
        }
    }

    /// Notes that `peer` recorded the same message as our record `own` under `leaf`; kept within a minute. Does not wait.
    pub fn note_acknowledged(&self, peer: &NodeId, own: u64, leaf: Leaf) {
        self.heard.note(peer, AcknowledgedLeaf { own, leaf });
    }

    async fn stamp_all(&self, shutdown: &CancellationToken) {
        let mut failures = 0;
        loop {
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return,
                outcome = self.stamp_waiting() => outcome,
            };
            let rest = match outcome {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("records are stamped again");
                    }
                    failures = 0;
                    self.shared.seen().failing = None;
                    self.settings.every
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%error, "records are not stamped; it is tried again");
                    }
                    self.shared.seen().failing = Some(error.to_string());
                    self.asking.rest(failures).min(self.settings.every)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.rest(rest, failures > 0) => {}
            }
        }
    }

    /// Rests so long, or until somebody waits; while everything fails, waiters only shorten it.
    async fn rest(&self, rest: Duration, failing: bool) {
        let begun = Instant::now();
        loop {
            let waited_for = self.is_waited_for();
            if waited_for && !failing {
                return;
            }
            let rest = if waited_for { rest.min(LONGEST_REST_OF_WAITERS) } else { rest };
            tokio::select! {
                () = sleep_until(begun + rest) => return,
                () = self.wanted.notified() => {}
            }
        }
    }

    fn is_waited_for(&self) -> bool {
        self.waiters.last().is_some_and(|last| last >= *self.stamped.borrow())
    }

    /// Stamps what is there now, and then what is waited for. What else arrives meanwhile is for the next time.
    async fn stamp_waiting(&self) -> Result<(), StampError> {
        let mut target = self.measure().await?;
        loop {
            let first = *self.stamped.borrow();
            if first < target {
                self.stamp(first, target.min(first + BATCH_LIMIT)).await?;
            } else if self.is_waited_for() {
                target = self.measure().await?;
                if first >= target {
                    sleep(TRAILING).await;
                }
            } else {
                // What came meanwhile counts as waiting from now on.
                return self.measure().await.map(drop).map_err(StampError::from);
            }
        }
    }

    /// Looks how many records there are and since when the oldest without a stamp waits.
    async fn measure(&self) -> Result<u64, StoreError> {
        let size = self.ports.proofs.log_size().await?;
        let first = *self.stamped.borrow();
        let known = self.shared.seen().oldest.is_some_and(|oldest| oldest.sequence == first);
        let oldest = if size > first && !known { Some(self.oldest(first).await) } else { None };
        let mut seen = self.shared.seen();
        seen.size = size;
        if oldest.is_some() {
            seen.oldest = oldest;
        }
        Ok(size)
    }

    async fn oldest(&self, sequence: u64) -> Oldest {
        let record = self.ports.records.read(sequence).await;
        // A record that cannot be read is fsck's to tell; it waits from now on.
        let at = record.map_or_else(|_| self.ports.clock.now(), |record| record.local.at);
        Oldest { sequence, at, since: Instant::now() }
    }

    /// One batch.
    async fn stamp(&self, first: u64, next: u64) -> Result<(), StampError> {
        let groups = self.ports.proofs.groups(first, next).await?;
        let root = self.ports.proofs.root(next).await?;
        let head = self.ports.heads.head(next, root).await?;
        let mut leaves: Vec<Digest> = groups.into_iter().flatten().collect();
        leaves.push(Digest::of(head.as_bytes()));
        let imprint = imprint(leaves).await?;
        let authorities = self.ports.authorities.current();
        let (source, clock) = (self.ports.source.as_ref(), self.ports.clock.as_ref());
        let Stamped { authority, gen_time, token } =
            self.asking.token(imprint, &authorities, source, clock).await?;
        self.keep(Batch { first, next, head, authority: authority.clone(), gen_time, token }).await?;
        tracing::debug!(first, next, %authority, "records stamped");
        self.advance(next, LastToken { authority, gen_time });
        Ok(())
    }

    async fn keep(&self, batch: Batch) -> Result<(), StampError> {
        Ok(self.ports.proofs.prove(Proof::Batch(batch)).await?)
    }

    fn advance(&self, next: u64, last: LastToken) {
        {
            let mut seen = self.shared.seen();
            seen.stamped = next;
            seen.oldest = seen.oldest.filter(|oldest| oldest.sequence >= next);
            seen.last = Some(last);
        }
        self.stamped.send_replace(next);
    }

    async fn keep_all(&self, shutdown: &CancellationToken) {
        let mut later = Later::default();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(ROUND) => {}
            }
            let rounds = async {
                if let Err(error) = self.heard.keep(self.ports.proofs.as_ref()).await {
                    tracing::warn!(%error, "what peers acknowledged waits to be kept");
                }
                if let Err(error) = later.round(&self.ports).await {
                    tracing::warn!(%error, "statuses after the time-stamps wait to be kept");
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = rounds => {}
            }
        }
    }
}

/// The root of the batch's tree.
async fn imprint(leaves: Vec<Digest>) -> Result<Digest, StampError> {
    let root = |leaves| Tree::new(leaves).map(|tree| tree.root());
    if leaves.len() <= SMALL_TREE {
        return Ok(root(leaves)?);
    }
    let computed: Result<Digest, ErsError> =
        tokio::task::spawn_blocking(move || root(leaves)).await.map_err(|_| StampError::Stopped)?;
    Ok(computed?)
}
