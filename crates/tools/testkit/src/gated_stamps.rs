//! Time-stamps that come when a test lets them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use truc_exchange::ports::TimeStamps;
use truc_message::Leaf;
use truc_model::{Fault, FaultCode, NodeId};

/// Stamps at once; waits while the gate is shut, and fails while it is told to.
pub struct GatedStamps {
    shut: watch::Sender<bool>,
    waiting: watch::Sender<Vec<u64>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    overdue: bool,
    failing: bool,
    stamped: Vec<u64>,
    heard: Vec<(NodeId, u64, Leaf)>,
}

impl Default for GatedStamps {
    fn default() -> Self {
        let (shut, waiting) = (watch::Sender::new(false), watch::Sender::new(Vec::new()));
        Self { shut, waiting, state: Mutex::default() }
    }
}

impl GatedStamps {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// From now on (or no longer) whoever waits for a stamp waits.
    pub fn set_shut(&self, shut: bool) {
        self.shut.send_replace(shut);
    }
    /// From now on (or no longer) records have waited too long.
    pub fn set_overdue(&self, overdue: bool) {
        self.state().overdue = overdue;
    }
    /// From now on (or no longer) no stamp is to be had.
    pub fn set_failing(&self, failing: bool) {
        self.state().failing = failing;
    }
    /// Returns once `count` records in all have come to the shut gate; says which.
    pub async fn waited_for(&self, count: usize) -> Vec<u64> {
        self.waiting.subscribe().wait_for(|waiting| waiting.len() >= count).await.unwrap().clone()
    }
    /// The records that were asked for and stamped, in order.
    pub fn stamped(&self) -> Vec<u64> {
        self.state().stamped.clone()
    }
    /// What other nodes said that they had recorded, with our record's sequence.
    pub fn heard(&self) -> Vec<(NodeId, u64, Leaf)> {
        self.state().heard.clone()
    }
}

#[async_trait]
impl TimeStamps for GatedStamps {
    fn overdue(&self) -> Option<Fault> {
        let fault =
            || Fault::provider(FaultCode::TimeStampOverdue, "no time-stamp for 49 h: see the authorities");
        self.state().overdue.then(fault)
    }
    async fn stamped(&self, sequence: u64) -> Result<(), Fault> {
        let mut shut = self.shut.subscribe();
        if *shut.borrow() {
            self.waiting.send_modify(|waiting| waiting.push(sequence));
        }
        shut.wait_for(|shut| !shut).await.unwrap();
        let mut state = self.state();
        if state.failing {
            return Err(Fault::provider(FaultCode::TimeStampOverdue, "no authority answers"));
        }
        state.stamped.push(sequence);
        Ok(())
    }
    fn acknowledged(&self, peer: &NodeId, own: u64, leaf: Leaf) {
        self.state().heard.push((peer.clone(), own, leaf));
    }
}
