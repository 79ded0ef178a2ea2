//! Deadlines of one exchange, on tokio's time (protocol P10.6).

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use truc_evidence::StoreError;
use truc_model::{Fault, FaultCode, Side};

/// How long a record may take to become durable.
const RECORD_DEADLINE: Duration = Duration::from_secs(30);

/// A disk that does not answer must not hold an exchange for ever.
pub(crate) async fn within<T>(
    recording: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late =
        StoreError::Failed(format!("the record was not durable within {} s", RECORD_DEADLINE.as_secs()));
    tokio::time::timeout(RECORD_DEADLINE, recording).await.unwrap_or(Err(late))
}

/// The moment by which a side must be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    side: Side,
}

impl Deadline {
    pub(crate) fn after(life: Duration, side: Side) -> Self {
        Self { at: Instant::now() + life, side }
    }

    /// Waits for `step` at most until the deadline.
    pub(crate) async fn by<T>(
        &self,
        code: FaultCode,
        what: &str,
        step: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        timeout_at(self.at, step)
            .await
            .map_err(|_| Fault::at(self.side, code, format!("deadline passed: {what}")))
    }
}
