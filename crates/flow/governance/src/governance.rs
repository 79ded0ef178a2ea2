//! The registry's decisions: judged, recorded, then in force.

use std::sync::Arc;

use truc_directory::{AuditLogHead, MemberEntry};
use truc_evidence::{DecisionLog, Receipt};
use truc_model::Clock;

use crate::command::Command;
use crate::decide::Desk;
use crate::error::GovernanceError;
use crate::event::Event;
use crate::ports::CertificateInspector;
use crate::state::State;

/// The registry's decisions. There is one at a time over one log: `execute` takes it exclusively.
pub struct Governance {
    log: Arc<dyn DecisionLog>,
    inspector: Arc<dyn CertificateInspector>,
    clock: Arc<dyn Clock>,
    state: Option<State>,
    decisions: u64,
    audit: Option<AuditLogHead>,
}

impl Governance {
    /// Replays the log.
    ///
    /// # Errors
    /// [`GovernanceError::Store`] or [`GovernanceError::Journal`].
    pub async fn open(
        log: Arc<dyn DecisionLog>,
        inspector: Arc<dyn CertificateInspector>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GovernanceError> {
        let mut state = None;
        let decisions = log.replay().await?;
        for decision in &decisions {
            let event = Event::from_decision(decision).map_err(GovernanceError::Journal)?;
            state = Some(after(state.as_ref(), &event, decision.at).map_err(GovernanceError::Journal)?);
        }
        let decisions = decisions.len() as u64;
        Ok(Self { log, inspector, clock, state, decisions, audit: None })
    }

    /// Judges `command` and, when it may be, records it; it is in force when this returns, and published by the next
    /// [`crate::Publisher::publish`].
    ///
    /// # Errors
    /// [`GovernanceError`]; nothing changed then.
    pub async fn execute(&mut self, command: Command, actor: &str) -> Result<Receipt, GovernanceError> {
        let now = self.clock.now();
        let event = match (&self.state, command) {
            (None, Command::Initialise { root, trust }) => Event::Initialised { root, trust },
            (None, _) => return Err(GovernanceError::NotInitialised),
            (Some(state), command) => {
                Desk { state, inspector: self.inspector.as_ref(), now }.decide(command)?
            }
        };
        self.record(event, actor).await
    }

    /// Records that the registry came back after decisions that were never published, so that the next head gets a
    /// number and a chain hash of its own.
    pub(crate) async fn resume(&mut self) -> Result<Receipt, GovernanceError> {
        self.record(Event::Resumed {}, "registry").await
    }

    async fn record(&mut self, event: Event, actor: &str) -> Result<Receipt, GovernanceError> {
        let at = self.clock.now();
        let next = after(self.state.as_ref(), &event, at).map_err(GovernanceError::Endorsement)?;
        check_published_form(self.state.as_ref(), &next)?;
        let decision = event.to_decision(actor, at).map_err(GovernanceError::Invalid)?;
        let kind = decision.kind.clone();
        let receipt = self.log.append(decision).await?;
        tracing::info!(kind, actor, sequence = receipt.sequence, "decided");
        self.state = Some(next);
        self.decisions = self.decisions.saturating_add(1);
        self.audit = Some(AuditLogHead { sequence: receipt.sequence, chain: receipt.chain });
        Ok(receipt)
    }

    /// The state in force.
    ///
    /// # Errors
    /// [`GovernanceError::NotInitialised`].
    pub fn state(&self) -> Result<&State, GovernanceError> {
        self.state.as_ref().ok_or(GovernanceError::NotInitialised)
    }

    /// How many decisions there are; also the directory's version ([`truc_directory::Head::version`]), so that no
    /// version ever exists without a durable decision behind it.
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Where the log stands, if a decision was taken since it was opened.
    pub(crate) const fn audit(&self) -> Option<AuditLogHead> {
        self.audit
    }
}

fn after(state: Option<&State>, event: &Event, at: truc_model::Timestamp) -> Result<State, String> {
    match (state, event) {
        (None, Event::Initialised { root, trust }) => State::initial(root, trust).map_err(|e| e.to_string()),
        (None, _) => Err("the journal does not begin with the instance's opening".into()),
        (Some(state), event) => {
            let mut next = state.clone();
            next.apply(event, at)?;
            Ok(next)
        }
    }
}

/// Whatever is recorded must also be accepted by every node: members that changed are read as nodes read them.
fn check_published_form(before: Option<&State>, next: &State) -> Result<(), GovernanceError> {
    for (id, member) in &next.members {
        let same = before.and_then(|s| s.members.get(id)).is_some_and(|old| Arc::ptr_eq(old, member));
        if !same {
            MemberEntry::parse(&member.to_bytes()).map_err(|e| GovernanceError::Invalid(e.to_string()))?;
        }
    }
    Ok(())
}
