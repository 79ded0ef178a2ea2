//! Reading the evidence. What is read, and by whom, is logged; the log holds ids only.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use truc_model::MessageId;

use crate::extract::{Named, Params};
use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{EvidenceEntry, EvidenceFilter, EvidenceRecord, EvidenceShown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowParams {
    #[serde(default)]
    body: bool,
}

pub(crate) async fn list(
    State(app): State<Shared>,
    Params(filter): Params<EvidenceFilter>,
) -> Result<Json<Vec<EvidenceEntry>>, AdminFault> {
    let found = app.backend.evidence_list(filter.query().map_err(AdminFault::malformed)?).await?;
    Ok(Json(found.into_iter().map(EvidenceEntry::from).collect()))
}

pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<MessageId>,
    Params(ShowParams { body: with_bodies }): Params<ShowParams>,
) -> Result<Json<EvidenceShown>, AdminFault> {
    let records = app.backend.evidence_show(id).await?;
    if records.is_empty() {
        return Err(AdminFault::not_found(format!("exchange {id}")));
    }
    tracing::info!(actor = caller.name, %id, with_bodies, "evidence shown");
    let mut shown = Vec::with_capacity(records.len());
    for record in records {
        let stored = if with_bodies && record.has_body {
            app.backend.evidence_body(record.sequence).await?
        } else {
            None
        };
        shown.push(EvidenceRecord::of(record, stored.map(|bytes| STANDARD.encode(bytes))));
    }
    Ok(Json(EvidenceShown { id, records: shown }))
}

pub(crate) async fn container(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<MessageId>,
) -> Result<Response, AdminFault> {
    let bytes = app.backend.evidence_container(id).await?;
    tracing::info!(actor = caller.name, %id, "evidence exported");
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.etsi.asic-e+zip"));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{id}.asice\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
