//! Enrolment and the other requests, from what the operator says to what the registry decided.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use truc_governance::{Ask, InvitationCode, Standing};
use truc_model::{Clock, Fingerprint, MemberId, NodeId, SubsystemId};

use super::compose::{self, Draft};
use super::error::EnrolmentError;
use super::folder::{Outbox, Pending};
use super::registrar::{Patience, Progress, Registrar, Tell, approved};
use super::settle;
use super::slots::Own;
use crate::config::NodeConfig;

/// A document older than this may be too old for the registry, which takes 10 minutes.
const OLD: Duration = Duration::from_secs(9 * 60);

/// How to enrol.
#[derive(Debug, Default)]
pub struct EnrolOptions {
    /// The registrar's code; none goes on with an enrolment under way.
    pub invitation: Option<InvitationCode>,
    /// Where other nodes connect; none takes the peer door's address.
    pub address: Option<String>,
    /// What people call the subsystems; the others are called by their code.
    pub names: BTreeMap<SubsystemId, String>,
}

/// What a node or a member asks, beside enrolment and renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRequest {
    /// A subsystem of a hosted member, and its name.
    RegisterSubsystem(SubsystemId, String),
    /// No node is to speak for it for now.
    DisableSubsystem(SubsystemId),
    /// Ends that.
    EnableSubsystem(SubsystemId),
    /// This node stops serving it.
    DeleteSubsystem(SubsystemId),
    /// A further TLS identity.
    RegisterAuthCertificate,
    /// A certificate is not to count any more; a seal's member signs too.
    DeleteCertificate(Fingerprint, Option<MemberId>),
    /// Other nodes connect elsewhere.
    ChangeAddress(String),
    /// The node goes on under another member, with this id.
    ChangeOwner(NodeId),
    /// Callers are sent elsewhere, or told the message.
    MaintenanceOn(String),
    /// Ends that.
    MaintenanceOff,
}

impl NodeRequest {
    fn draft(&self, own: &Own) -> Result<Draft, EnrolmentError> {
        match self {
            Self::RegisterSubsystem(id, name) => compose::register_subsystem(own, id, name),
            Self::DisableSubsystem(id) => {
                compose::of_subsystem(own, id, Ask::DisableSubsystem { subsystem: id.clone() })
            }
            Self::EnableSubsystem(id) => {
                compose::of_subsystem(own, id, Ask::EnableSubsystem { subsystem: id.clone() })
            }
            Self::DeleteSubsystem(id) => {
                compose::of_subsystem(own, id, Ask::DeleteSubsystem { subsystem: id.clone() })
            }
            Self::RegisterAuthCertificate => compose::register_auth_certificate(own),
            Self::DeleteCertificate(fingerprint, seal_of) => {
                let seal_of = seal_of.clone().or_else(|| compose::seal_with(own, fingerprint));
                compose::delete_certificate(own, *fingerprint, seal_of.as_ref())
            }
            Self::ChangeAddress(address) => {
                compose::of_node(own, Ask::ChangeAddress { address: address.clone() })
            }
            Self::ChangeOwner(to) => compose::change_owner(own, to),
            Self::MaintenanceOn(message) => {
                compose::of_node(own, Ask::MaintenanceOn { message: message.clone() })
            }
            Self::MaintenanceOff => compose::of_node(own, Ask::MaintenanceOff {}),
        }
    }

    /// Whether an unsettled document asks the same, so that it goes on instead of a new one.
    fn same(&self, ask: &Ask) -> bool {
        match (self, ask) {
            (Self::RegisterSubsystem(id, _), Ask::RegisterSubsystem { subsystem, .. }) => subsystem.id == *id,
            (Self::DisableSubsystem(id), Ask::DisableSubsystem { subsystem })
            | (Self::EnableSubsystem(id), Ask::EnableSubsystem { subsystem })
            | (Self::DeleteSubsystem(id), Ask::DeleteSubsystem { subsystem }) => subsystem == id,
            (Self::RegisterAuthCertificate, Ask::RegisterAuthCertificate { .. })
            | (Self::MaintenanceOff, Ask::MaintenanceOff {}) => true,
            (Self::DeleteCertificate(one, _), Ask::DeleteCertificate { fingerprint }) => fingerprint == one,
            (Self::ChangeAddress(one), Ask::ChangeAddress { address }) => address == one,
            (Self::ChangeOwner(one), Ask::ChangeOwner { to, .. }) => to == one,
            (Self::MaintenanceOn(one), Ask::MaintenanceOn { message }) => message == one,
            _ => false,
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Where it stands; still open only when nobody was to wait.
    pub standing: Standing,
    /// The certificate files that were written.
    pub written: Vec<PathBuf>,
}

/// Everything a request needs.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) own: Own,
    pub(crate) outbox: Outbox,
    pub(crate) registrar: Registrar,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Office {
    pub(crate) async fn open(
        config: &NodeConfig,
        clock: &Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, EnrolmentError> {
        let (config, clock) = (config.clone(), Arc::clone(clock));
        spawn_blocking(move || {
            let outbox = Outbox::open(&config)?;
            let registrar = Registrar::open(&config, patience)?;
            Ok(Self { own: Own::open(&config)?, outbox, registrar, clock })
        })
        .await?
    }

    /// Does blocking work with all of it, off the runtime's threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, EnrolmentError> + Send + 'static,
    ) -> Result<T, EnrolmentError> {
        let office = self.clone();
        spawn_blocking(move || work(&office)).await?
    }

    /// Forgets requests that are decided at once and whose answer was lost, unless the same is asked again right away: their
    /// effect may have been undone since, and their old answer would pass for a new one.
    fn forget_but(&self, wanted: &NodeRequest) -> Result<(), EnrolmentError> {
        let fresh = self.clock.now().minus(OLD);
        let at_once = |ask: &Ask| !ask.needs_approval() && !matches!(ask, Ask::RenewKeys { .. });
        for pending in self.outbox.all()? {
            let ask = &pending.request.ask;
            if at_once(ask) && !(wanted.same(ask) && pending.request.made > fresh) {
                self.outbox.settle(&pending)?;
            }
        }
        Ok(())
    }

    /// Signs a new document and keeps it.
    async fn file(
        &self,
        draft: Draft,
        invitation: Option<&InvitationCode>,
    ) -> Result<Pending, EnrolmentError> {
        let signed = draft.sign(&self.own, self.clock.now(), invitation).await?;
        self.blocking(move |office| Ok(office.outbox.keep(&signed)?)).await
    }

    /// What is decided is settled: certificates are put in place, and the document is forgotten.
    async fn settle(&self, pending: Pending, standing: Standing) -> Result<Settled, EnrolmentError> {
        if standing.state.is_open() {
            return Ok(Settled { standing, written: vec![] });
        }
        self.blocking(move |office| {
            let decided = approved(&standing);
            let written = match &decided {
                Ok(()) => settle::write(&office.own, &pending.request, &standing.certificates)?,
                Err(_) => vec![],
            };
            office.outbox.settle(&pending)?;
            decided.map(|()| Settled { standing, written })
        })
        .await
    }

    async fn pursue(
        &self,
        pending: &Pending,
        wait: bool,
        tell: Tell<'_>,
    ) -> Result<Standing, EnrolmentError> {
        let pursued = self.registrar.pursue(pending, wait, tell).await;
        if matches!(pursued, Err(EnrolmentError::Refused(_))) {
            // The registry never had it, and never will.
            let pending = pending.clone();
            self.blocking(move |office| Ok(office.outbox.settle(&pending)?)).await?;
        }
        pursued
    }
}

/// Enrols a node: makes the request or goes on with the one under way, sends it, and with `wait` waits for the decision and
/// writes the certificates. Everything is durable at every moment: dropped or killed, it goes on when called again.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn enrol(
    config: &NodeConfig,
    options: EnrolOptions,
    clock: &Arc<dyn Clock>,
    (patience, wait): (Patience, bool),
    tell: Tell<'_>,
) -> Result<Settled, EnrolmentError> {
    let office = Office::open(config, clock, patience).await?;
    let EnrolOptions { invitation, address, names } = options;
    let enrols = |ask: &Ask| matches!(ask, Ask::EnrolNode { .. });
    if let Some(pending) = office.blocking(move |office| Ok(office.outbox.find(enrols)?)).await? {
        tell(Progress::Resumed);
        match office.pursue(&pending, wait, tell).await {
            // It never arrived: with the invitation, a new one takes its place.
            Err(EnrolmentError::Refused(_)) if invitation.is_some() => {}
            pursued => return office.settle(pending, pursued?).await,
        }
    }
    let invitation = invitation.ok_or(EnrolmentError::NoInvitation)?;
    loop {
        let (address, names) = (address.clone(), names.clone());
        let draft = office.blocking(move |o| compose::enrol_node(&o.own, address.as_deref(), &names)).await?;
        let pending = office.file(draft, Some(&invitation)).await?;
        match office.pursue(&pending, wait, tell).await {
            // The registry was away for so long that the document had grown too old.
            Err(EnrolmentError::Refused(_)) if office.clock.now().since(pending.request.made) > OLD => {}
            pursued => return office.settle(pending, pursued?).await,
        }
    }
}

/// Sends a request of a node, running or not; with `wait` until it is decided.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn request(
    config: &NodeConfig,
    what: NodeRequest,
    clock: &Arc<dyn Clock>,
    (patience, wait): (Patience, bool),
    tell: Tell<'_>,
) -> Result<Settled, EnrolmentError> {
    let office = Office::open(config, clock, patience).await?;
    let wanted = what.clone();
    office.blocking(move |office| office.forget_but(&wanted)).await?;
    let wanted = what.clone();
    if let Some(pending) = office.blocking(move |o| Ok(o.outbox.find(|ask| wanted.same(ask))?)).await? {
        tell(Progress::Resumed);
        match office.pursue(&pending, wait, tell).await {
            Err(EnrolmentError::Refused(_)) => {}
            pursued => return office.settle(pending, pursued?).await,
        }
    }
    let draft = office.blocking(move |office| what.draft(&office.own)).await?;
    let pending = office.file(draft, None).await?;
    let standing = office.pursue(&pending, wait, tell).await?;
    office.settle(pending, standing).await
}
