//! The node's decisions: rights, services, and the highest directory seen; each durable before it counts (design §5).

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Mutex;
use truc_admin::{AdminCode, AdminFault, Decide};
use truc_directory::HeadRef;
use truc_directory_sync::HighestSeen;
use truc_evidence::{Decision, DecisionLog};
use truc_model::{Clock, SubsystemId, Timestamp};
use truc_policy::{BodyClass, Policy, PolicyEvent};

use crate::error::NodeError;
use crate::log_head::{LOG_OPENED, OldHead, OpenedLog};
use crate::restore::{RESTORED, Restoration};

const DIRECTORY_SEEN: &str = "directory.seen";

/// Takes decisions one at a time: check, journal, put in force.
pub(crate) struct Desk {
    log: Arc<dyn DecisionLog>,
    clock: Arc<dyn Clock>,
    policy: Arc<ArcSwap<Policy>>,
    /// Held from check to effect, so that decisions count in the order of the journal.
    one_at_a_time: Mutex<()>,
    highest: Mutex<Option<HeadRef>>,
    /// When this node last began anew from a backup.
    restored: Option<Timestamp>,
    /// The retention classes that the node declares.
    declared: Arc<BTreeSet<BodyClass>>,
    /// The log that it began then.
    new_log: Option<String>,
    /// The same, once it was said where the old one stood.
    opened_log: Mutex<Option<OpenedLog>>,
}

impl Desk {
    /// Rebuilds what was decided from the journal.
    pub(crate) async fn open(
        log: Arc<dyn DecisionLog>,
        clock: Arc<dyn Clock>,
        hosted: Vec<SubsystemId>,
    ) -> Result<Self, NodeError> {
        let decisions = log.replay().await.map_err(NodeError::store("the journal of decisions"))?;
        let mut events = Vec::new();
        let (mut highest, mut restored) = (None, None);
        let (mut new_log, mut opened_log) = (None, None::<OpenedLog>);
        for decision in decisions {
            if decision.kind == DIRECTORY_SEEN {
                let seen = serde_json::from_value(decision.payload)
                    .map_err(|e| NodeError::Decision(e.to_string()))?;
                highest = Some(seen);
                continue;
            }
            if decision.kind == RESTORED {
                restored = restored.max(Some(decision.at));
                let restoration: Restoration = serde_json::from_value(decision.payload)
                    .map_err(|e| NodeError::Decision(e.to_string()))?;
                new_log = Some(restoration.log);
                continue;
            }
            if decision.kind == LOG_OPENED {
                let opened = serde_json::from_value(decision.payload)
                    .map_err(|e| NodeError::Decision(e.to_string()))?;
                opened_log = Some(opened);
                continue;
            }
            match PolicyEvent::from_parts(&decision.kind, &decision.payload) {
                Some(Ok(event)) => events.push(event),
                Some(Err(error)) => return Err(NodeError::Decision(error.to_string())),
                None => {
                    return Err(NodeError::Decision(format!(
                        "{} is not known to this version",
                        decision.kind
                    )));
                }
            }
        }
        let policy = Policy::replay(hosted, &events).map_err(|e| NodeError::Decision(e.to_string()))?;
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        Ok(Self {
            log,
            clock,
            policy,
            one_at_a_time: Mutex::default(),
            highest: Mutex::new(highest),
            restored,
            declared: Arc::default(),
            opened_log: Mutex::new(opened_log.filter(|opened| new_log.as_ref() == Some(&opened.log))),
            new_log,
        })
    }

    /// From now on no service may name another retention class than these and `default`, unless it did before.
    #[must_use]
    pub(crate) fn declaring(mut self, classes: impl IntoIterator<Item = BodyClass>) -> Self {
        self.declared = Arc::new(classes.into_iter().collect());
        self
    }

    /// The log that this node began when it was restored last, with whether its beginning was said already; `None` for a node
    /// that goes on with its first log.
    pub(crate) async fn new_log(&self) -> Option<(&str, Option<OpenedLog>)> {
        Some((self.new_log.as_deref()?, self.opened_log.lock().await.clone()))
    }

    /// Says where the old log stood, once and for ever.
    pub(crate) async fn open_log(&self, log: &str, from: Option<OldHead>) -> Result<OpenedLog, NodeError> {
        let mut opened_log = self.opened_log.lock().await;
        if let Some(opened) = &*opened_log {
            return Ok(opened.clone());
        }
        let opened = OpenedLog { v: 1, log: log.to_owned(), from };
        let payload = serde_json::to_value(&opened).map_err(|e| NodeError::Decision(e.to_string()))?;
        let at = self.clock.now();
        let decision = Decision { kind: LOG_OPENED.to_owned(), actor: "node".to_owned(), at, payload };
        self.log.append(decision).await.map_err(NodeError::store("the journal of decisions"))?;
        *opened_log = Some(opened.clone());
        Ok(opened)
    }

    /// The journal of all decisions.
    pub(crate) const fn decisions(&self) -> &Arc<dyn DecisionLog> {
        &self.log
    }

    /// When this node last began anew from a backup, if it ever did.
    pub(crate) const fn restored(&self) -> Option<Timestamp> {
        self.restored
    }

    /// The policy in force, as the provider side reads it.
    pub(crate) fn policy(&self) -> &Arc<ArcSwap<Policy>> {
        &self.policy
    }

    /// Has `make` make a decision from the policy in force, makes it durable, and puts the new policy in force: one journal
    /// entry, however much it changes. Returns what was decided; `None` when `make` found nothing to decide.
    pub(crate) async fn decide(&self, make: Decide, actor: &str) -> Result<Option<PolicyEvent>, AdminFault> {
        let _turn = self.one_at_a_time.lock().await;
        let (policy, declared) = (self.policy.load_full(), Arc::clone(&self.declared));
        // A whole node's policy may take a while to compare.
        let made = tokio::task::spawn_blocking(move || {
            let Some(event) = make(&policy)? else { return Ok(None) };
            let next = policy.apply(&event)?;
            next.check_classes(&policy, &declared)?;
            Ok::<_, AdminFault>(Some((event, next)))
        });
        let made = made.await.map_err(|e| AdminFault::new(AdminCode::Internal, e.to_string()))?;
        let Some((event, next)) = made? else { return Ok(None) };
        let decision = Decision {
            kind: event.kind().to_owned(),
            actor: actor.to_owned(),
            at: self.clock.now(),
            payload: event.payload(),
        };
        self.log.append(decision).await.map_err(|error| AdminFault::not_recorded(&error))?;
        self.policy.store(Arc::new(next));
        tracing::info!(kind = event.kind(), actor, "decision in force");
        Ok(Some(event))
    }
}

#[async_trait]
impl HighestSeen for Desk {
    async fn highest(&self) -> Result<Option<HeadRef>, String> {
        Ok(*self.highest.lock().await)
    }

    async fn record(&self, head: HeadRef) -> Result<(), String> {
        let mut highest = self.highest.lock().await;
        let payload = serde_json::to_value(head).map_err(|e| e.to_string())?;
        let decision = Decision {
            kind: DIRECTORY_SEEN.to_owned(),
            actor: "node".to_owned(),
            at: self.clock.now(),
            payload,
        };
        self.log.append(decision).await.map_err(|e| e.to_string())?;
        *highest = Some(head);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
