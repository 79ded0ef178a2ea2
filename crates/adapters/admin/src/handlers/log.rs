//! The tamper-evident log: what others hold of it, and the audit of a peer's.

use axum::extract::State;
use axum::{Extension, Json};

use crate::extract::Params;
use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{AuditFilter, AuditPart, HeadsDocument, HeadsFilter};

pub(crate) async fn heads(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(filter): Params<HeadsFilter>,
) -> Result<Json<HeadsDocument>, AdminFault> {
    tracing::info!(actor = caller.name, "heads gathered");
    app.backend.log_heads(filter).await.map(Json)
}

pub(crate) async fn audit(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(AuditFilter { peer, from }): Params<AuditFilter>,
) -> Result<Json<AuditPart>, AdminFault> {
    let peer = peer.parse().map_err(|e| AdminFault::malformed(format!("peer: {e}")))?;
    tracing::info!(actor = caller.name, %peer, from, "log of a peer audited");
    app.backend.log_audit(peer, from).await.map(Json)
}
