//! The index alone, filled with made-up records: for the benchmark of searching, which has no use for ten million signatures.

use std::path::Path;
use std::sync::Arc;

use truc_evidence::{Found, KeyedHash, Outcome, Query, RecordKind, Role, StoreError};
use truc_model::{Digest, MessageId, ServiceId, SubsystemId, Timestamp};

use crate::evidence::index::Index;
use crate::evidence::record_format::Summary;
use crate::evidence::tail::{Step, ToIndex};
use crate::journal::scan::{Place, Point, SegmentId};

/// One record, as the benchmark makes it up.
#[derive(Debug, Clone)]
pub struct MadeUp {
    /// The message's id.
    pub message: MessageId,
    /// The request's.
    pub request: MessageId,
    /// When it was recorded.
    pub at: Timestamp,
    /// The caller.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// Who asked.
    pub officer: KeyedHash,
    /// About whom.
    pub subject: Option<KeyedHash>,
    /// For which dossier.
    pub dossier: KeyedHash,
    /// For which agency, of a request.
    pub agency: Option<String>,
    /// Why, of a request.
    pub purpose: Option<String>,
    /// The caller's own id, of a request.
    pub caller_id: Option<String>,
    /// The fault, of a refusal.
    pub fault: Option<String>,
}

/// An index without a journal.
pub struct IndexAlone {
    index: Index,
    next: u64,
}

impl IndexAlone {
    /// Opens or makes it in `folder`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let (index, point) = Index::open(&folder.join("evidence"), &folder.join("tmp"))?;
        Ok(Self { index, next: point.map_or(0, |point| point.sequence) })
    }

    /// Adds records in one step.
    ///
    /// # Errors
    /// What the index says.
    pub fn add(&mut self, records: Vec<MadeUp>) -> Result<(), String> {
        let steps: Vec<_> = records.into_iter().map(|record| Arc::new(self.step(record))).collect();
        self.index.apply(&steps)
    }

    fn step(&mut self, record: MadeUp) -> Step {
        let sequence = self.next;
        self.next += 1;
        let segment = SegmentId { first: sequence / 100_000 * 100_000, n: 0 };
        let place = Place { segment, offset: sequence % 100_000 * 1500 };
        let frame = u32::try_from(sequence % 100_000).unwrap_or_default();
        let digest = |text: Option<String>| text.map(|text| Digest::of(text.as_bytes()));
        let kind = match (&record.fault, record.message == record.request) {
            (_, true) => RecordKind::Request,
            (None, _) => RecordKind::Response,
            (Some(_), _) => RecordKind::Refusal,
        };
        let summary = Summary {
            kind,
            at: record.at,
            role: Role::Consumer,
            request: record.request,
            client: record.client,
            service: record.service,
            officer: Some(record.officer),
            subject: record.subject,
            dossier: Some(record.dossier),
            outcome: record.fault.as_ref().map(|_| Outcome::Refused),
            fault: record.fault,
            message: Some(record.message),
            caller_id: digest(record.caller_id),
            agency: digest(record.agency),
            purpose: digest(record.purpose),
        };
        Step::Record(Box::new(ToIndex {
            sequence,
            place,
            artifacts: Vec::new(),
            after: Point { place, frame, sequence: self.next, chain: Digest([0; 32]) },
            summary,
            leaf: Digest([0; 32]),
            group: None,
        }))
    }

    /// Searches.
    ///
    /// # Errors
    /// What the index says.
    pub fn list(&self, query: &Query) -> Result<Found, String> {
        self.index.list(query)
    }
}
