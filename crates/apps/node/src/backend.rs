//! What the admin API reads and decides, on the running node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_admin::health::HealthSource;
use truc_admin::{
    AdminBackend, AdminCode, AdminFault, AuditPart, Decide, DirectoryStatus, DirectoryView, HeadsDocument,
    HeadsFilter, HoldAnswer, HoldRelease, HoldView, KeepingView, NewHold, NodeStatus,
};
use truc_directory::Directory;
use truc_evidence::container::{self, ExportError};
use truc_evidence::{EvidenceStore, Found, KeyedHash, ProofStore, Query, StoredRecord};
use truc_exchange::ports::{CurrentDirectory, ServiceFailure};
use truc_keeping::Keeper;
use truc_model::{Clock, MemberId, MessageId, NodeId, SubsystemId, Timestamp};
use truc_policy::{Policy, PolicyEvent, ServiceDefinition};
use truc_provider::HttpServiceDoor;

use crate::desk::Desk;
use crate::health::NodeHealth;
use crate::keeping;
use crate::log_head::LogError;
use crate::person_hashes::PersonHashes;
use crate::witness::{Witness, WitnessError};

/// How long a service may take to give its OpenAPI document to an operator, who waits 30 s at most.
const DESCRIPTION_WAIT: Duration = Duration::from_secs(20);

/// The node behind its admin API.
pub(crate) struct Backend {
    pub(crate) node: NodeId,
    pub(crate) hosted: Vec<SubsystemId>,
    pub(crate) started: Timestamp,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) proofs: Arc<dyn ProofStore>,
    pub(crate) person_hashes: Arc<PersonHashes>,
    pub(crate) services: Arc<HttpServiceDoor>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) keeper: Arc<Keeper>,
}

#[async_trait]
impl AdminBackend for Backend {
    async fn status(&self) -> Result<NodeStatus, AdminFault> {
        let now = self.clock.now();
        Ok(NodeStatus {
            node: self.node.clone(),
            instance: self.node.instance().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            uptime_seconds: now.since(self.started).as_secs(),
            directory: self.directory.current().map(|directory| DirectoryStatus::of(&directory, now)),
            hosted: self.hosted.clone(),
        })
    }

    async fn directory(&self) -> Result<DirectoryView, AdminFault> {
        let directory = self.directory.current();
        let directory =
            directory.ok_or_else(|| AdminFault::new(AdminCode::NotFound, "the node has no directory yet"))?;
        Ok(DirectoryView::of(&directory, self.clock.now()))
    }

    fn policy(&self) -> Arc<Policy> {
        self.desk.policy().load_full()
    }

    async fn read_description(&self, service: &ServiceDefinition) -> Result<Bytes, AdminFault> {
        let timeout = service.timeout.min(DESCRIPTION_WAIT);
        let asked = ServiceDefinition { timeout, ..service.clone() };
        let fetched = self.services.fetch_description(&asked).await;
        let unusable = |e: ServiceFailure| AdminFault::new(AdminCode::DescriptionUnusable, e.to_string());
        fetched.map(|(_, document)| document).map_err(unusable)
    }

    fn can_trust(&self, service: &ServiceDefinition) -> bool {
        !service.url.is_https() || !service.pinned_certificates.is_empty() || self.services.trusts_some_ca()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn directory_in_force(&self) -> Option<Arc<Directory>> {
        self.directory.current()
    }

    async fn decide(&self, make: Decide, actor: &str) -> Result<Option<PolicyEvent>, AdminFault> {
        self.desk.decide(make, actor).await
    }

    fn health(&self) -> Option<Arc<dyn HealthSource>> {
        Some(Arc::clone(&self.health) as _)
    }

    async fn evidence_list(&self, query: Query) -> Result<Found, AdminFault> {
        Ok(self.evidence.list(query).await?)
    }

    fn person_hashes(&self, text: &str, member: Option<&MemberId>) -> Vec<KeyedHash> {
        self.person_hashes.of(text, member)
    }

    async fn evidence_show(&self, id: MessageId) -> Result<Vec<StoredRecord>, AdminFault> {
        Ok(self.evidence.exchange(id).await?)
    }

    async fn evidence_body(&self, sequence: u64) -> Result<Option<Bytes>, AdminFault> {
        Ok(self.evidence.body(sequence).await?)
    }

    async fn evidence_container(&self, id: MessageId) -> Result<Bytes, AdminFault> {
        let exchange = container::collect_proved(self.evidence.as_ref(), self.proofs.as_ref(), id)
            .await
            .map_err(not_exported)?;
        let written = tokio::task::spawn_blocking(move || container::write(&exchange)).await;
        let written = written.map_err(|e| AdminFault::new(AdminCode::Internal, e.to_string()))?;
        Ok(written.map_err(not_exported)?.into())
    }

    async fn holds(&self) -> Result<Vec<HoldView>, AdminFault> {
        keeping::holds(&self.keeper).await
    }

    async fn hold(&self, new: NewHold, by: &str) -> Result<HoldAnswer, AdminFault> {
        keeping::hold(&self.keeper, new, by).await
    }

    async fn release(&self, release: HoldRelease, by: &str) -> Result<(), AdminFault> {
        keeping::release(&self.keeper, release, by).await
    }

    async fn keeping(&self) -> Result<KeepingView, AdminFault> {
        keeping::state(&self.keeper).await
    }

    async fn log_heads(&self, filter: HeadsFilter) -> Result<HeadsDocument, AdminFault> {
        self.witness.gather(filter).await.map_err(not_witnessed)
    }

    async fn log_audit(&self, peer: NodeId, from: u64) -> Result<AuditPart, AdminFault> {
        self.witness.audit(self.evidence.as_ref(), peer, from).await.map_err(not_witnessed)
    }
}

fn not_witnessed(error: WitnessError) -> AdminFault {
    let code = match &error {
        WitnessError::Own(LogError::Store(store)) => return AdminFault::from(store.clone()),
        WitnessError::Own(_) | WitnessError::Heads(_) => AdminCode::Internal,
        WitnessError::Unknown(_) => AdminCode::NotFound,
        // Somebody else does not answer, or not as it should.
        WitnessError::Away { .. }
        | WitnessError::Link(_)
        | WitnessError::Registry(_)
        | WitnessError::NoHead(..) => AdminCode::Busy,
    };
    AdminFault::new(code, error.to_string())
}

fn not_exported(error: ExportError) -> AdminFault {
    let code = match &error {
        ExportError::NotFound(_) => AdminCode::NotFound,
        ExportError::Store(store) => return AdminFault::from(store.clone()),
        ExportError::TooLarge => AdminCode::TooLarge,
        ExportError::Missing { .. } | ExportError::Damaged { .. } => AdminCode::Internal,
    };
    AdminFault::new(code, error.to_string())
}
