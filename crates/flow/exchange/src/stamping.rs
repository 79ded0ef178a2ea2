//! Where an exchange waits for time-stamps, and what it is told when they do not come (evidence.md §3.3, §3.5).

use std::time::Duration;

use truc_evidence::Receipt;
use truc_message::Kind;
use truc_model::{Fault, FaultCode, Side};
use truc_policy::{EvidenceSettings, TimeStamp};

use crate::deadline::Deadline;
use crate::ground::Ground;

/// How long an exchange waits for one stamp.
const STAMP_DEADLINE: Duration = Duration::from_secs(30);

impl Ground {
    /// No new exchange is begun while records have waited too long for their stamp.
    ///
    /// # Errors
    /// TIME_STAMP_OVERDUE of `side`.
    pub(crate) fn stamps_in_time(&self, side: Side) -> Result<(), Fault> {
        self.time_stamps.overdue().map_or(Ok(()), |fault| Err(Fault { side, ..fault }))
    }

    /// Where a service is declared immediate: its request is stamped before it is called.
    ///
    /// # Errors
    /// TIME_STAMP_OVERDUE.
    pub(crate) async fn request_stamped(
        &self,
        said: &EvidenceSettings,
        record: &Receipt,
    ) -> Result<(), Fault> {
        if said.time_stamp == TimeStamp::Batch {
            return Ok(());
        }
        self.stamped(record).await.map_err(|fault| Fault {
            detail: format!("the service was not called: {}", fault.detail),
            code: FaultCode::TimeStampOverdue,
            ..fault
        })
    }

    /// Where a service is declared immediate: its answer is stamped before it is said to be recorded. A refusal hands over
    /// nothing, and is not waited for.
    ///
    /// # Errors
    /// OUTCOME_UNKNOWN: the service has acted, and its answer is on record.
    pub(crate) async fn answer_stamped(
        &self,
        said: &EvidenceSettings,
        kind: Kind,
        record: &Receipt,
    ) -> Result<(), Fault> {
        if said.time_stamp == TimeStamp::Batch || kind != Kind::Response {
            return Ok(());
        }
        self.stamped(record).await.map_err(|fault| {
            let detail = format!("the answer is on record, and has no time-stamp yet: {}", fault.detail);
            Fault { detail, code: FaultCode::OutcomeUnknown, ..fault }
        })
    }

    async fn stamped(&self, record: &Receipt) -> Result<(), Fault> {
        let deadline = Deadline::after(STAMP_DEADLINE, Side::ServerProxy);
        let stamping = self.time_stamps.stamped(record.sequence);
        let stamped = deadline.by(FaultCode::TimeStampOverdue, "waiting for the time-stamp", stamping).await;
        stamped.flatten().map_err(|fault| Fault { side: Side::ServerProxy, ..fault })
    }
}
