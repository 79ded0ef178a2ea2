//! The port behind which the node does what the API asks.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::Directory;
use truc_evidence::{Found, KeyedHash, Query, StoredRecord};
use truc_model::{MemberId, MessageId, NodeId, Timestamp};
use truc_policy::{Policy, PolicyEvent, ServiceDefinition};

use crate::fault::{AdminCode, AdminFault};
use crate::view::{
    AuditPart, DirectoryView, HeadsDocument, HeadsFilter, HoldAnswer, HoldRelease, HoldView, KeepingView,
    NewHold, NodeStatus,
};

/// Makes a decision from the policy in force; `None` when nothing is left to decide.
pub type Decide = Box<dyn FnOnce(&Policy) -> Result<Option<PolicyEvent>, AdminFault> + Send>;

/// What a node offers to its operators. Every call has a deadline set by the caller; a dropped read is harmless.
#[async_trait]
pub trait AdminBackend: Send + Sync {
    /// How the node is.
    ///
    /// # Errors
    /// [`AdminFault`] when it cannot tell.
    async fn status(&self) -> Result<NodeStatus, AdminFault>;

    /// The directory in force.
    ///
    /// # Errors
    /// [`AdminFault`], NOT_FOUND while the node has none yet.
    async fn directory(&self) -> Result<DirectoryView, AdminFault>;

    /// The policy in force.
    fn policy(&self) -> Arc<Policy>;

    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The directory by which calls are judged; none before the first one came.
    fn directory_in_force(&self) -> Option<Arc<Directory>>;

    /// The OpenAPI document of a service, fetched now from its `description_url`, under the service's own rules of TLS.
    ///
    /// # Errors
    /// [`AdminFault`], DESCRIPTION_UNUSABLE when it cannot be had.
    async fn read_description(&self, service: &ServiceDefinition) -> Result<Bytes, AdminFault>;

    /// Whether the node could trust this service's certificate at all: by a pin, or since it knows some CA of services.
    fn can_trust(&self, _service: &ServiceDefinition) -> bool {
        true
    }

    /// Takes a decision: has `make` make it from the policy in force, checks it against that, writes it to the journal under
    /// the name `actor`, and puts the new policy in force, one decision at a time, so that nothing changes between `make` and
    /// the effect. When it returns `Ok`, the decision (which it returns) is durable and in force; on an error nothing has
    /// changed. The API runs it to its end even when the caller goes away.
    ///
    /// # Errors
    /// [`AdminFault`]: that of `make`, from a [`truc_policy::PolicyError`] by `From`, or [`AdminFault::not_recorded`].
    async fn decide(&self, make: Decide, actor: &str) -> Result<Option<PolicyEvent>, AdminFault>;

    /// What `/healthz` and `/metrics` tell; none and there are no such paths.
    fn health(&self) -> Option<Arc<dyn crate::health::HealthSource>> {
        None
    }

    /// A page of the exchanges that match, newest first.
    ///
    /// # Errors
    /// [`AdminFault`].
    async fn evidence_list(&self, query: Query) -> Result<Found, AdminFault>;

    /// An officer, a dossier or a subject as the records may hold them: under every generation of every index key, or of `member`'s
    /// alone.
    fn person_hashes(&self, _text: &str, _member: Option<&MemberId>) -> Vec<KeyedHash> {
        Vec::new()
    }

    /// The records of one exchange, in order; empty when there are none.
    ///
    /// # Errors
    /// [`AdminFault`].
    async fn evidence_show(&self, id: MessageId) -> Result<Vec<StoredRecord>, AdminFault>;

    /// The body stored with one record; `None` when none was stored or it has expired.
    ///
    /// # Errors
    /// [`AdminFault`].
    async fn evidence_body(&self, sequence: u64) -> Result<Option<Bytes>, AdminFault>;

    /// The ASiC-E container of one exchange (protocol P5.5).
    ///
    /// # Errors
    /// [`AdminFault`], NOT_FOUND for an unknown exchange, CONFLICT for one that has no answer yet.
    async fn evidence_container(&self, id: MessageId) -> Result<Bytes, AdminFault>;

    /// Shows the newest head of this node's log to its witnesses, and gathers what they hold of it.
    ///
    /// # Errors
    /// [`AdminFault`] when the node keeps no log.
    async fn log_heads(&self, _filter: HeadsFilter) -> Result<HeadsDocument, AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, "this node shows its log to nobody"))
    }

    /// Checks one part of what `peer` acknowledged against its log, from this node's record `from` on.
    ///
    /// # Errors
    /// [`AdminFault`], NOT_FOUND for an unknown node, or when the peer does not answer.
    async fn log_audit(&self, _peer: NodeId, _from: u64) -> Result<AuditPart, AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, "this node audits no logs"))
    }

    /// The legal holds in force, by case.
    ///
    /// # Errors
    /// [`AdminFault`].
    async fn holds(&self) -> Result<Vec<HoldView>, AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, NO_KEEPING))
    }

    /// Takes a hold, ordered by the token `by`; durable when this returns.
    ///
    /// # Errors
    /// [`AdminFault`], NOT_FOUND when a request is not in this evidence; nothing is held then.
    async fn hold(&self, _new: NewHold, _by: &str) -> Result<HoldAnswer, AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, NO_KEEPING))
    }

    /// Releases the holds of a case.
    ///
    /// # Errors
    /// [`AdminFault`], NOT_FOUND when none is in force.
    async fn release(&self, _release: HoldRelease, _by: &str) -> Result<(), AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, NO_KEEPING))
    }

    /// What is kept where, and until when.
    ///
    /// # Errors
    /// [`AdminFault`].
    async fn keeping(&self) -> Result<KeepingView, AdminFault> {
        Err(AdminFault::new(AdminCode::NotFound, NO_KEEPING))
    }
}

const NO_KEEPING: &str = "this node keeps no evidence";
