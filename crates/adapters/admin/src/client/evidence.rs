//! What the client asks of evidence: records, the log, what is kept.

use bytes::Bytes;
use http::Method;
use truc_model::MessageId;

use super::{AdminClient, Called, ClientError, with_query};
use crate::view::{
    AuditFilter, AuditPart, EvidenceEntry, EvidenceFilter, EvidencePage, EvidenceSearch, EvidenceShown,
    HeadsDocument, HeadsFilter, HoldAnswer, HoldRelease, HoldView, KeepingView, NewHold,
};

impl AdminClient {
    /// The exchanges that match, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence(&self, filter: &EvidenceFilter) -> Called<Vec<EvidenceEntry>> {
        self.get(&with_query("/evidence", filter)).await
    }

    /// A page of what a search finds, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence_search(&self, search: &EvidenceSearch) -> Called<EvidencePage> {
        self.send(Method::POST, "/evidence/search", Some(search)).await
    }

    /// One exchange in full; with its bodies when `bodies`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence_show(&self, id: MessageId, bodies: bool) -> Called<EvidenceShown> {
        self.get(&format!("/evidence/{id}?body={bodies}")).await
    }

    /// The ASiC-E container of one exchange.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence_container(&self, id: MessageId) -> Called<Bytes> {
        self.call(Method::GET, &format!("/evidence/{id}/container"), Bytes::new()).await
    }

    /// What others hold of the node's log, after it was shown to them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn log_heads(&self, filter: HeadsFilter) -> Called<HeadsDocument> {
        self.get(&with_query("/log/heads", &filter)).await
    }

    /// One part of an audit of a peer's log.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn log_audit(&self, filter: &AuditFilter) -> Called<AuditPart> {
        self.get(&with_query("/log/audit", filter)).await
    }

    /// The legal holds in force.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn holds(&self) -> Called<Vec<HoldView>> {
        self.get("/evidence/holds").await
    }

    /// Takes a legal hold.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hold(&self, new: &NewHold) -> Called<HoldAnswer> {
        self.send(Method::POST, "/evidence/holds", Some(new)).await
    }

    /// Releases a legal hold.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release_hold(&self, release: &HoldRelease) -> Called<()> {
        let body = serde_json::to_vec(release).map_err(|e| ClientError::Settings(e.to_string()))?;
        self.call(Method::POST, "/evidence/holds/release", body.into()).await.map(drop)
    }

    /// What is kept where, and until when.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keeping(&self) -> Called<KeepingView> {
        self.get("/evidence/keeping").await
    }
}
