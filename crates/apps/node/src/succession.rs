//! Succession of rights at this node (protocol P6.4): when the directory says that a member is closed with a successor, equal
//! rights for the successor are added, or the operator is asked to, as `[policy] succession` says.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use truc_directory_sync::DirectoryHandle;
use truc_model::{Clock, MemberId};
use truc_policy::{Carried, PolicyEvent};

use crate::config::SuccessionPolicy;
use crate::desk::Desk;

/// A succession may come into force after the directory that announces it, so it is looked for this often too.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Who decides: the node itself, by its operator's policy.
const ACTOR: &str = "node";

/// Follows the directory for members that were closed with a successor.
pub(crate) struct Successions {
    pub(crate) desk: Arc<Desk>,
    pub(crate) directory: DirectoryHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: SuccessionPolicy,
}

impl Successions {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut told = Vec::new();
        loop {
            match self.policy {
                SuccessionPolicy::Automatic => self.take_over().await,
                SuccessionPolicy::Ask => self.ask(&mut told),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                more = self.directory.changed() => if !more { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One decision for each closed member, until nothing is left: a successor may have been closed in its turn.
    async fn take_over(&self) {
        loop {
            let (directory, now) = (self.directory.current(), self.clock.now());
            let make = move |policy: &truc_policy::Policy| {
                Ok(policy.successions(&directory, now).into_iter().next().map(PolicyEvent::Succeeded))
            };
            match self.desk.decide(Box::new(make), ACTOR).await {
                Ok(Some(PolicyEvent::Succeeded(carried))) => {
                    let (of, to) = (&carried.of, &carried.to);
                    tracing::info!(%of, %to, rights = carried.rights.len(), "rights carried over by succession");
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, "rights cannot be carried over by succession; tried again in a minute");
                    return;
                }
            }
        }
    }

    /// Tells the operator what is new.
    fn ask(&self, told: &mut Vec<(MemberId, usize)>) {
        let policy = self.desk.policy().load_full();
        let left = policy.successions(&self.directory.current(), self.clock.now());
        let weight = |carried: &Carried| (carried.of.clone(), carried.rights.len() + carried.places.len());
        for carried in left.iter().filter(|carried| !told.contains(&weight(carried))) {
            tracing::warn!(
                of = %carried.of, to = %carried.to, rights = carried.rights.len(), places = carried.places.len(),
                "a closed member has a successor: see truc access succession list, then truc access succession accept"
            );
        }
        *told = left.iter().map(weight).collect();
    }
}
