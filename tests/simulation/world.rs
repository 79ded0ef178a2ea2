//! What the parts of one simulation share: the plan, the disks, what callers were told, what services did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use truc_evidence::{EvidenceStore as _, StoredRecord};
use truc_model::{FaultCode, MessageId, Timestamp};

use crate::disk::Disk;
use crate::journal::Journal;
use crate::papers::NODES;
use crate::plan::Plan;

/// One simulation.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) journal: Arc<Journal>,
    pub(crate) disks: Vec<Arc<Disk>>,
    told: Mutex<Vec<Call>>,
    executed: Mutex<Vec<Execution>>,
}

/// How far a caller has got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub(crate) state: State,
    /// What each attempt was told before the present one.
    pub(crate) attempts: Vec<Told>,
}

/// What a caller is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    NotBegun,
    /// Waiting for the answer since the time given.
    Waiting(Duration),
    /// Was told "not carried out" and will try again.
    Again,
    /// Will not try again.
    Done,
}

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The service's answer, whole.
    Answer(MessageId),
    Fault(FaultCode),
    /// Nothing: its node crashed.
    Nothing,
}

/// A service's work.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) node: usize,
    pub(crate) request: MessageId,
    pub(crate) call: usize,
    /// The caller's id with its attempt.
    pub(crate) name: String,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let plan = Plan::draw(seed);
        let journal = Arc::new(Journal::default());
        let disks = (0..NODES.len()).map(|n| Arc::new(Disk::new(n, seed, Arc::clone(&journal)))).collect();
        let told = Mutex::new(vec![Call::default(); plan.calls.len()]);
        Self { plan, journal, disks, told, executed: Mutex::default() }
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn executed(&self) -> MutexGuard<'_, Vec<Execution>> {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything on a node's disk, in order.
    pub(crate) fn records(&self, node: usize) -> Vec<StoredRecord> {
        // A memory store never waits.
        self.disks[node].replay(Timestamp::from_millis(0)).now_or_never().unwrap().unwrap()
    }

    /// The records of one exchange on a node's disk.
    pub(crate) fn exchange(&self, node: usize, request: MessageId) -> Vec<StoredRecord> {
        self.disks[node].exchange(request).now_or_never().unwrap().unwrap()
    }

    /// The index of a node by its id.
    pub(crate) fn index_of(node: &str) -> usize {
        NODES.iter().position(|known| *known == node).unwrap()
    }
}
