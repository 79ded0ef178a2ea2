//! Who keeps: what it stands on, its rounds, and how it stands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use truc_evidence::{ArchiveStore, BodyClass, EvidenceStore, ProofStore, Retention, SegmentStore};
use truc_model::{Clock, Timestamp};

use crate::error::{KeepingError, Trouble};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(600);
/// After rounds that failed, one after the other, in seconds; then as ever. What was away for a minute is not behind for ten.
const AGAIN: [u64; 4] = [30, 60, 120, 300];
/// A clock is believed so far ahead of the last time-stamp: what is destroyed cannot be brought back when the clock was wrong.
const AHEAD: Duration = Duration::from_secs(8 * 24 * 3600);

/// Signs notes with the node's log key.
#[async_trait]
pub trait NoteSigner: Send + Sync {
    /// The signed note over `text`.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    async fn note(&self, text: String) -> Result<String, String>;
}

/// How the keeper stands, for health and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeeperState {
    /// Closed segments that are not in the archive yet.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Segments moved since the start.
    pub moved: u64,
    /// Classes and months that expired since the start.
    pub expired: u64,
    /// When everything was last in order.
    pub well_at: Option<Timestamp>,
    /// What went wrong in the last round.
    pub failing: Option<String>,
    /// Holds in force.
    pub holds: u64,
}

/// Moves, destroys and holds; one thing at a time.
pub struct Keeper {
    pub(crate) segments: Arc<dyn SegmentStore>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) proofs: Arc<dyn ProofStore>,
    pub(crate) archive: Option<Arc<dyn ArchiveStore>>,
    pub(crate) notes: Arc<dyn NoteSigner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) classes: BTreeMap<BodyClass, Retention>,
    /// Journal segments with records as young as this stay here; zero moves all.
    pub(crate) young: Duration,
    /// Taken by whoever changes something: a hold never meets an expiry half done.
    pub(crate) one: tokio::sync::Mutex<()>,
    state: Mutex<KeeperState>,
    /// What the log was last told is in trouble.
    told: Mutex<Option<Trouble>>,
}

/// The pause after so many rounds in a row that failed.
fn pause(failed: usize) -> Duration {
    let again = failed.checked_sub(1).and_then(|nth| AGAIN.get(nth));
    again.map_or(ROUND, |seconds| Duration::from_secs(*seconds))
}

impl Keeper {
    /// A keeper over one node's evidence. Bodies of a class that `classes` does not name are kept.
    pub fn new(
        segments: Arc<dyn SegmentStore>,
        evidence: Arc<dyn EvidenceStore>,
        proofs: Arc<dyn ProofStore>,
        notes: Arc<dyn NoteSigner>,
        clock: Arc<dyn Clock>,
        classes: BTreeMap<BodyClass, Retention>,
    ) -> Self {
        let (archive, one, state) = (None, tokio::sync::Mutex::default(), Mutex::default());
        let (young, told) = (Duration::ZERO, Mutex::default());
        Self { segments, evidence, proofs, archive, notes, clock, classes, young, one, state, told }
    }

    /// Moves closed segments there.
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<dyn ArchiveStore>) -> Self {
        self.archive = Some(archive);
        self
    }

    /// Leaves here what a start reads, so that no start needs the archive: journal segments with records younger than this, and those from
    /// the last time-stamp on.
    #[must_use]
    pub const fn leaving(mut self, young: Duration) -> Self {
        self.young = young;
        self
    }

    /// How it stands.
    pub fn state(&self) -> KeeperState {
        self.lock().clone()
    }

    /// How long each class is kept.
    pub const fn classes(&self) -> &BTreeMap<BodyClass, Retention> {
        &self.classes
    }

    /// The segments it keeps.
    pub fn segments(&self) -> &dyn SegmentStore {
        self.segments.as_ref()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, KeeperState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes its rounds until `shutdown`; a round under way is given up between two steps.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut day = None;
        let mut failed = 0;
        loop {
            let Some(well) = shutdown.run_until_cancelled(self.round(&mut day)).await else { return };
            failed = if well { 0 } else { failed + 1 };
            let pause = pause(failed);
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// One round: expiry on the first of each UTC day and after one that failed, then moving. `day` is the day of the last expiry.
    /// Returns whether everything is in order. The log tells when that changes, health how it stands.
    pub async fn round(&self, day: &mut Option<i64>) -> bool {
        let now = self.clock.now();
        let today = now.seconds().div_euclid(24 * 3600);
        let mut failed = None;
        if *day != Some(today) {
            match self.expire().await {
                Ok(_) => *day = Some(today),
                Err(error) => failed = Some(error),
            }
        }
        if let Err(error) = self.move_closed().await {
            failed.get_or_insert(error);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        match (&failed, told.is_some()) {
            // The same trouble in other words is no news.
            (Some(error), _) if *told != Some(error.what()) => {
                tracing::warn!(%error, "evidence is not kept as configured; it is tried again, after half a minute at first");
            }
            (None, true) => tracing::info!("evidence is kept as configured again"),
            _ => {}
        }
        *told = failed.as_ref().map(KeepingError::what);
        if failed.is_none() {
            state.well_at = Some(now);
        }
        state.failing = failed.map(|error| error.to_string());
        told.is_none()
    }

    /// The moment that may be counted on for what cannot be undone.
    pub(crate) async fn believed_now(&self) -> Result<Timestamp, KeepingError> {
        let now = self.clock.now();
        Ok(match self.proofs.last_batch().await? {
            Some(batch) => now.min(batch.gen_time.plus(AHEAD)),
            None => now,
        })
    }
}
