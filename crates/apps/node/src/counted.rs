//! Counts exchanges where they end: at the record that ends one; and remembers why the last record could not be kept.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use truc_evidence::{
    EvidenceStore, Found, LocalPart, NewRecord, Query, Receipt, Reservation, Role, StoreError, StoredRecord,
};
use truc_model::{Digest, MessageId, Timestamp};

type Labels = Vec<(&'static str, String)>;

/// What has been counted since the node started.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    exchanges: Family<Labels, Counter>,
    degraded: Family<Labels, Counter>,
    failed: Arc<ArcSwapOption<String>>,
}

impl Counts {
    /// Why the last record could not be kept; nothing once one was kept again.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failed.load().as_deref().cloned()
    }

    /// Takes note of how the store did. A full queue is no matter of the disk.
    fn heard<T>(&self, outcome: Result<T, StoreError>, kept: bool) -> Result<T, StoreError> {
        match &outcome {
            Err(StoreError::Busy | StoreError::NotFound) => {}
            Err(error) => self.failed.store(Some(Arc::new(error.to_string()))),
            Ok(_) if kept && self.failed.load().is_some() => self.failed.store(None),
            Ok(_) => {}
        }
        outcome
    }

    /// Puts the counters on a page of metrics.
    pub(crate) fn register(&self, page: &mut Registry) {
        page.register("exchanges", "Exchanges that ended, as on record", self.exchanges.clone());
        page.register(
            "degraded_records",
            "Records made while a trust service was away",
            self.degraded.clone(),
        );
    }

    /// Counts one record.
    pub(crate) fn count(&self, local: &LocalPart) {
        if let Some(outcome) = local.outcome {
            let side = if local.role == Role::Consumer { "consumer" } else { "provider" };
            let fault = local.fault.clone().unwrap_or_default();
            let labels =
                vec![("side", side.to_owned()), ("outcome", outcome.as_str().to_owned()), ("fault", fault)];
            self.exchanges.get_or_create(&labels).inc();
        }
        if let Some(trust) = &local.trust {
            let why = [
                ("status-graced", trust.status_graced),
                ("revocation-list", !trust.revocation_lists.is_empty()),
                ("directory", trust.directory_degraded),
            ];
            for (why, _) in why.into_iter().filter(|(_, is)| *is) {
                self.degraded.get_or_create(&vec![("why", why.to_owned())]).inc();
            }
        }
    }
}

/// The evidence store with a count kept beside it.
pub(crate) struct Counted {
    pub(crate) store: Arc<dyn EvidenceStore>,
    pub(crate) counts: Counts,
}

#[async_trait]
impl EvidenceStore for Counted {
    async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        // Room alone does not show that something can be written.
        self.counts.heard(self.store.reserve(bytes).await, false)
    }

    async fn append(&self, record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let local = record.local.clone();
        let receipt = self.counts.heard(self.store.append(record, room).await, true)?;
        self.counts.count(&local);
        Ok(receipt)
    }

    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        self.store.read(sequence).await
    }

    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        self.store.exchange(request).await
    }

    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        self.store.body(sequence).await
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.store.artifact(digest).await
    }

    async fn list(&self, query: Query) -> Result<Found, StoreError> {
        self.store.list(query).await
    }

    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        self.store.replay(since).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_until_a_record_is_kept() {
        let counts = Counts::default();
        assert_eq!(counts.failing(), None);
        let failed = || Err::<(), _>(StoreError::Failed("the disk said no".into()));
        counts.heard(failed(), true).unwrap_err();
        assert!(counts.failing().unwrap().contains("the disk said no"));
        counts.heard(Ok(()), false).unwrap();
        assert!(counts.failing().is_some(), "room alone shows nothing");
        counts.heard(Ok(()), true).unwrap();
        assert_eq!(counts.failing(), None);
        counts.heard(Err::<(), _>(StoreError::Busy), true).unwrap_err();
        assert_eq!(counts.failing(), None, "a full queue is no matter of the disk");
    }
}
