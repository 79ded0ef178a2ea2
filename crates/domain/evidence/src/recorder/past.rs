//! What the journal knows of the past: which requests were left open, and what became of one that comes or is asked for
//! again.

use std::collections::HashSet;

use truc_message::Freshness;
use truc_model::{Digest, MessageId, NodeId, Timestamp};
use truc_trust::{Request, Verified};

use super::Recorder;
use crate::claims::{Claim, Known};
use crate::record::{RecordKind, Role, StoredRecord};
use crate::store::StoreError;

/// An exchange that was begun and has no answer on record.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// The request's record.
    pub record: StoredRecord,
}

/// What the provider's records say of a past request.
#[derive(Debug, Clone)]
pub enum Past {
    /// The record of the answer.
    Answered(Box<StoredRecord>),
    /// Recorded, not answered yet.
    Open,
    /// Nothing on record.
    Never,
}

impl Recorder {
    /// Rebuilds the claims from the journal and returns the requests without an answer; once, before any door opens
    /// (protocol P4.2, P4.5).
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn restore(&self) -> Result<Vec<OpenRequest>, StoreError> {
        let now = self.clock.now();
        let fresh = Freshness::default();
        let since = now.minus(fresh.memory());
        let records = self.store.replay(since).await?;
        for record in &records {
            let (local, digest) = (&record.local, record.manifest_digest);
            match (record.kind, local.role) {
                (RecordKind::Request, Role::Consumer) => self.claims.sent(local.request, digest, now),
                (RecordKind::Request, Role::Provider) => {
                    if let Ok(claim) = self.claims.claim(&local.peer, local.request, digest, now) {
                        claim.keep();
                    }
                }
                (_, Role::Provider) => self.claims.answered(local.request, record.sequence),
                (_, Role::Consumer) => {}
            }
        }
        // The clock may have been wrong when this node was started: what older records claim is not known. Their ids were
        // made at most twice the skew after them; no message as old as that is fresh, if the clock was right.
        self.claims.knows_since(since.plus(2 * fresh.skew));
        Ok(unanswered(records).into_iter().map(|record| OpenRequest { record }).collect())
    }

    /// Takes note that this node first ran at `started` on a journal restored from a backup: what came between the backup and then was claimed
    /// by records that are lost. A request carried out then says that it was sent at most the skew after `started`, and its id
    /// was made at most the skew after that; none of them is carried out again (protocol P6.3). Call it before any door opens.
    pub fn restored(&self, started: Timestamp) {
        self.claims.lost_until(started.plus(2 * Freshness::default().skew));
    }

    /// As [`Recorder::claim`], for a request whose body took so long that an earlier claim may be forgotten: the journal
    /// knows whether it came before.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn claim_late(&self, request: &Verified<Request>) -> Result<Result<Claim, Known>, StoreError> {
        let (header, digest) = (request.message().header(), request.message().digest());
        let claim = match self.claims.claim_late(&header.from, header.id, digest, self.clock.now()) {
            Ok(claim) => claim,
            Err(known) => return Ok(Err(known)),
        };
        let records = self.store.exchange(header.id).await?;
        let mut requests = records.iter().filter(|r| r.kind == RecordKind::Request);
        // An id is one message, whoever brings it or sent it from here.
        if requests.clone().any(|r| r.manifest_digest != digest) {
            return Ok(Err(Known::OtherMessage));
        }
        let theirs = |r: &&StoredRecord| r.local.role == Role::Provider && r.local.peer == header.from;
        if !requests.any(|r| theirs(&r)) {
            return Ok(Ok(claim));
        }
        let answer = records.iter().find(|r| r.kind != RecordKind::Request && theirs(r));
        Ok(Err(answer.map_or(Known::Open, |answer| Known::Answered(answer.sequence))))
    }

    /// What became of the request `id` with `digest` that the node `from` once sent (protocol P4.5). A request of which
    /// nothing is recorded is promised never to be carried out.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn past(&self, from: &NodeId, id: MessageId, digest: Digest) -> Result<Past, StoreError> {
        // First the claims, which know what is being recorded right now; then the journal, which knows what is older.
        let claimed = self.claims.claimed_or_void(from, id, self.clock.now());
        let records = self.store.exchange(id).await?;
        let theirs = |r: &&StoredRecord| r.local.role == Role::Provider && r.local.peer == *from;
        let recorded = records
            .iter()
            .filter(theirs)
            .any(|r| r.kind == RecordKind::Request && r.manifest_digest == digest);
        let answer = records.iter().find(|r| r.kind != RecordKind::Request && theirs(r));
        Ok(match answer {
            Some(answer) if recorded => Past::Answered(Box::new(answer.clone())),
            _ if recorded || claimed => Past::Open,
            _ => Past::Never,
        })
    }

    /// The requests recorded before `before` that still have no answer and that nobody says to be carrying out.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn abandoned(&self, before: Timestamp) -> Result<Vec<OpenRequest>, StoreError> {
        // Looked at first: one that ends meanwhile has its answer on record by the time the journal is read.
        let under_way = self.under_way.now();
        let mut open = unanswered(self.store.replay(self.clock.now()).await?);
        open.retain(|r| r.local.at < before && !under_way.contains(&(r.local.role, r.local.request)));
        Ok(open.into_iter().map(|record| OpenRequest { record }).collect())
    }
}

/// The requests among these records that have no answer among them, in order. By role too: a node that is both ends of an
/// exchange has both halves' records of one id.
fn unanswered(records: Vec<StoredRecord>) -> Vec<StoredRecord> {
    let key = |record: &StoredRecord| (record.local.role, record.local.request);
    let (requests, ends): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| r.kind == RecordKind::Request);
    let ended: HashSet<_> = ends.iter().map(key).collect();
    requests.into_iter().filter(|request| !ended.contains(&key(request))).collect()
}
