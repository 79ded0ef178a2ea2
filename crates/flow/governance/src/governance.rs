//! The registry's decisions: judged, recorded, then in force.

use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{AuditLogHead, MemberEntry};
use truc_evidence::{DecisionLog, Receipt};
use truc_model::{Clock, Digest};

use crate::command::Command;
use crate::decide::Desk;
use crate::error::{GovernanceError, RequestRefusal};
use crate::event::Event;
use crate::filed::{SecurityLevel, Standing};
use crate::officer::Officer;
use crate::ports::CertificateInspector;
use crate::request::SignedRequest;
use crate::requests::{Examined, WantedCertificate};
use crate::state::State;

/// What the registry's operator has chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Two officers must approve a request.
    pub four_eyes: bool,
}

/// The registry's decisions. There is one at a time over one log: `execute` takes it exclusively.
pub struct Governance {
    log: Arc<dyn DecisionLog>,
    inspector: Arc<dyn CertificateInspector>,
    clock: Arc<dyn Clock>,
    rules: Rules,
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
            state = Some(
                after(state.as_ref(), &event, decision.at, &decision.actor)
                    .map_err(GovernanceError::Journal)?,
            );
        }
        let decisions = decisions.len() as u64;
        Ok(Self { log, inspector, clock, rules: Rules::default(), state, decisions, audit: None })
    }

    /// With other rules than the default ones.
    #[must_use]
    pub const fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// As [`Governance::execute`], for an officer whose role must cover the command.
    ///
    /// # Errors
    /// [`GovernanceError::NotPermitted`] and what [`Governance::execute`] refuses.
    pub async fn execute_as(
        &mut self,
        command: Command,
        officer: &Officer,
    ) -> Result<Receipt, GovernanceError> {
        if !officer.role.may(command.needs()) {
            return Err(GovernanceError::NotPermitted { name: officer.name.clone(), role: officer.role });
        }
        self.execute(command, &officer.name).await
    }

    /// Where a request stands that came in before with these very bytes; `None` when it is new.
    ///
    /// # Errors
    /// [`crate::RequestRefusal`]: it is no request, or its id is another's.
    pub fn standing(&self, document: &[u8]) -> Result<Option<Standing>, GovernanceError> {
        let (_, request) = SignedRequest::parse(document).map_err(RequestRefusal::from)?;
        match self.state()?.files().request_of(&request.id) {
            None => Ok(None),
            Some(filed) if filed.digest == Digest::of(document) => Ok(Some(Standing::of(filed))),
            Some(_) => Err(RequestRefusal::IdTaken.into()),
        }
    }

    /// Looks at a new request without taking it in: whether it could be, and which certificates its keys still need.
    ///
    /// # Errors
    /// [`GovernanceError`], as [`Command::Submit`] would be refused.
    pub fn examine(&self, document: &Bytes) -> Result<Examined, GovernanceError> {
        self.desk("")?.examine(document)
    }

    /// The certificates that approving this request still needs; with four eyes, none for the first approval.
    ///
    /// # Errors
    /// [`GovernanceError`]: there is no such open request.
    pub fn wanted(&self, number: u64) -> Result<Vec<WantedCertificate>, GovernanceError> {
        self.desk("")?.wanted(number)
    }

    /// Whether this officer could approve the request as far as it can be told without its certificates. To be asked before
    /// any is issued: a CA must not certify what is refused anyway.
    ///
    /// # Errors
    /// [`GovernanceError`], as [`Command::Approve`] would be refused.
    pub fn check_approval(
        &self,
        number: u64,
        level: Option<&SecurityLevel>,
        officer: &str,
    ) -> Result<(), GovernanceError> {
        self.desk(officer)?.approvable(number, level).map(drop)
    }

    fn desk<'a>(&'a self, actor: &'a str) -> Result<Desk<'a>, GovernanceError> {
        let now = self.clock.now();
        Ok(Desk { state: self.state()?, inspector: self.inspector.as_ref(), now, actor, rules: self.rules })
    }

    /// Judges `command` and, when it may be, records it; it is in force when this returns, and published by the next
    /// [`crate::Publisher::publish`].
    ///
    /// # Errors
    /// [`GovernanceError`]; nothing changed then.
    pub async fn execute(&mut self, command: Command, actor: &str) -> Result<Receipt, GovernanceError> {
        let event = match (&self.state, command) {
            (None, Command::Initialise { root, trust }) => Event::Initialised { root, trust },
            (None, _) => return Err(GovernanceError::NotInitialised),
            (Some(_), command) => self.desk(actor)?.decide(command)?,
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
        let next = after(self.state.as_ref(), &event, at, actor).map_err(GovernanceError::Endorsement)?;
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

fn after(state: Option<&State>, event: &Event, at: truc_model::Timestamp, by: &str) -> Result<State, String> {
    match (state, event) {
        (None, Event::Initialised { root, trust }) => State::initial(root, trust).map_err(|e| e.to_string()),
        (None, _) => Err("the journal does not begin with the instance's opening".into()),
        (Some(state), event) => {
            let mut next = state.clone();
            next.apply(event, at, by)?;
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
