//! The first certificate status after a token (`docs/evidence.md` §3.4): it shows that the signer's certificate was good when
//! the token was made.

use std::collections::HashMap;
use std::time::Duration;

use truc_evidence::{Batch, LaterStatus, Proof, StoreError, StoredRecord};
use truc_model::{Fingerprint, Timestamp};
use truc_trust::{Certificate, cms};

use crate::ports::Ports;

/// The node asks by itself when traffic brought no status this long after the token, and as often again.
const ASK_AFTER: Duration = Duration::from_secs(600);
/// One certificate's responders have this long.
const DEADLINE: Duration = Duration::from_secs(30);
/// Certificates asked about in one round.
const ASKED: usize = 32;
/// Certificates whose status is waited for.
const LIMIT: usize = 20_000;
/// A new start looks back this far for signers whose status did not come before the stop.
const LOOK_BACK: Duration = Duration::from_secs(24 * 3600);
/// And not over more records than this.
const LOOK_BACK_RECORDS: u64 = 100_000;

/// A signer whose status after its tokens is not kept yet.
struct Awaited {
    certificate: Certificate,
    intermediates: Vec<Certificate>,
    /// The time of the first token that waits for a status.
    first: Timestamp,
    /// The time of the last one.
    last: Timestamp,
    /// When the node asked by itself.
    asked: Option<Timestamp>,
}

/// Follows the batches, and keeps the statuses of their signers.
#[derive(Default)]
pub(crate) struct Later {
    /// The record to go on with; `None` before the first round.
    next: Option<u64>,
    awaited: HashMap<Fingerprint, Awaited>,
}

impl Later {
    /// One round: new batches, statuses that came, statuses to ask for.
    pub(crate) async fn round(&mut self, ports: &Ports) -> Result<(), StoreError> {
        let mut next = match self.next {
            Some(next) => next,
            None => begin(ports).await?,
        };
        self.next = Some(next);
        while let Some(batch) = ports.proofs.batch_of(next).await? {
            self.follow(&batch, next, ports).await?;
            next = batch.next;
            self.next = Some(next);
        }
        self.take_in(ports).await?;
        self.ask(ports).await;
        self.take_in(ports).await
    }

    /// Notes who signed in `batch`, from record `from` on.
    async fn follow(&mut self, batch: &Batch, from: u64, ports: &Ports) -> Result<(), StoreError> {
        for sequence in from..batch.next {
            let record = match ports.records.read(sequence).await {
                Ok(record) => record,
                // Damage is for fsck to tell; the others' statuses are kept all the same.
                Err(StoreError::NotFound | StoreError::Damaged(_)) => continue,
                Err(error) => return Err(error),
            };
            self.note(&record, batch.gen_time, ports).await?;
            if sequence % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn note(&mut self, record: &StoredRecord, at: Timestamp, ports: &Ports) -> Result<(), StoreError> {
        // Most records are of a signer that is awaited already; its certificate need not be read again.
        let named = record.local.trust.as_ref().map(|trust| trust.signer);
        if let Some(awaited) = named.and_then(|named| self.awaited.get_mut(&named)) {
            awaited.last = awaited.last.max(at);
            return Ok(());
        }
        // An unsigned fault has no signature.
        let Ok(message) = cms::read(&record.cms) else { return Ok(()) };
        let (certificate, intermediates) = (message.certificate().clone(), message.intermediates().to_vec());
        let fingerprint = certificate.fingerprint();
        if let Some(awaited) = self.awaited.get_mut(&fingerprint) {
            awaited.last = awaited.last.max(at);
            return Ok(());
        }
        let kept = ports.proofs.status_after(fingerprint, at).await?;
        if kept.is_none() && self.awaited.len() < LIMIT {
            let awaited = Awaited { certificate, intermediates, first: at, last: at, asked: None };
            self.awaited.insert(fingerprint, awaited);
        }
        Ok(())
    }

    /// Keeps each status that is newer than a token which waits for one, whatever it says.
    async fn take_in(&mut self, ports: &Ports) -> Result<(), StoreError> {
        let mut done = Vec::new();
        for (fingerprint, awaited) in &mut self.awaited {
            let Some(known) = ports.statuses.newest(fingerprint) else { continue };
            let this_update = known.status.this_update;
            if this_update < awaited.first {
                continue;
            }
            let status =
                LaterStatus { certificate: *fingerprint, this_update, response: known.response.clone() };
            ports.proofs.prove(Proof::Status(status)).await?;
            if this_update >= awaited.last {
                done.push(*fingerprint);
            } else {
                // Tokens in between are covered by the same status as the last, or by this one.
                awaited.first = awaited.last;
            }
        }
        for fingerprint in done {
            self.awaited.remove(&fingerprint);
        }
        Ok(())
    }

    /// Asks for those that traffic did not bring.
    async fn ask(&mut self, ports: &Ports) {
        let now = ports.clock.now();
        let due = |awaited: &&mut Awaited| {
            let last = awaited.asked.unwrap_or(awaited.first);
            // A clock that was set back must not prolong the wait.
            now < last || now >= last.plus(ASK_AFTER)
        };
        for awaited in self.awaited.values_mut().filter(due).take(ASKED) {
            awaited.asked = Some(now);
            let asking = ports.statuses.renew(&awaited.certificate, &awaited.intermediates);
            if tokio::time::timeout(DEADLINE, asking).await.is_err() {
                tracing::debug!("a status after the time-stamp is not to be had yet");
            }
        }
    }
}

/// Where a new start begins: at the first batch of the last day, or of the last records.
async fn begin(ports: &Ports) -> Result<u64, StoreError> {
    let since = ports.clock.now().minus(LOOK_BACK);
    let Some(mut batch) = ports.proofs.last_batch().await? else { return Ok(0) };
    let last = batch.next;
    while batch.first > 0 && batch.gen_time >= since && last - batch.first < LOOK_BACK_RECORDS {
        match ports.proofs.batch_of(batch.first - 1).await? {
            Some(before) => batch = before,
            None => break,
        }
    }
    Ok(batch.first.max(last.saturating_sub(LOOK_BACK_RECORDS)))
}
