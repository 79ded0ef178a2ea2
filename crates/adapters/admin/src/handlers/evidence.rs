//! Reading the evidence. What is read, and by whom, is logged; the log holds ids only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use truc_evidence::{Query, StoredRecord};
use truc_model::{MemberId, MessageId};

use crate::backend::AdminBackend;
use crate::extract::{Body, Named, Params};
use crate::fault::AdminFault;
use crate::router::{App, Shared};
use crate::tokens::Caller;
use crate::view::{EvidenceFilter, EvidencePage, EvidenceRecord, EvidenceSearch, EvidenceShown, NEXT_HEADER};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowParams {
    #[serde(default)]
    body: bool,
}

pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(filter): Params<EvidenceFilter>,
) -> Result<Response, AdminFault> {
    let query = Query { owner: caller.member.clone(), ..filter.query().map_err(AdminFault::malformed)? };
    let EvidencePage { exchanges, next } = found(&app, query).await?;
    let mut response = Json(exchanges).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(NEXT_HEADER, HeaderValue::from(next));
    }
    Ok(response)
}

/// As a list, with everything that can be asked for. People are named in the body, and in no log.
pub(crate) async fn search(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(search): Body<EvidenceSearch>,
) -> Result<Json<EvidencePage>, AdminFault> {
    let (officer, subject, dossier) =
        (search.officer.is_some(), search.subject.is_some(), search.dossier.is_some());
    let member = caller.member.as_ref();
    let query =
        search.query(|text| app.backend.person_hashes(text, member)).map_err(AdminFault::malformed)?;
    let query = Query { owner: caller.member.clone(), ..query };
    if officer || subject || dossier {
        tracing::info!(
            actor = caller.name,
            officer,
            subject,
            dossier,
            "evidence searched for a person or dossier"
        );
    }
    found(&app, query).await.map(Json)
}

async fn found(app: &App, query: Query) -> Result<EvidencePage, AdminFault> {
    let backend = Arc::clone(&app.backend);
    app.read(async move { backend.evidence_list(query).await }).await.map(Into::into)
}

/// The records of an exchange, as many as are this member's.
async fn records(
    backend: &dyn AdminBackend,
    id: MessageId,
    member: Option<&MemberId>,
) -> Result<Vec<StoredRecord>, AdminFault> {
    let mut records = backend.evidence_show(id).await?;
    records.retain(|record| member.is_none_or(|member| record.owner == *member));
    Ok(records)
}

pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<MessageId>,
    Params(ShowParams { body: with_bodies }): Params<ShowParams>,
) -> Result<Json<EvidenceShown>, AdminFault> {
    let (backend, Caller { name, member, .. }) = (Arc::clone(&app.backend), caller);
    let shown = async move {
        let records = records(backend.as_ref(), id, member.as_ref()).await?;
        if records.is_empty() {
            return Err(AdminFault::not_found(format!("exchange {id}")));
        }
        tracing::info!(actor = name, %id, with_bodies, "evidence shown");
        let mut shown = Vec::with_capacity(records.len());
        for record in records {
            let stored = if with_bodies && record.has_body {
                backend.evidence_body(record.sequence).await?
            } else {
                None
            };
            shown.push(EvidenceRecord::of(record, stored.map(|bytes| STANDARD.encode(bytes))));
        }
        Ok(EvidenceShown { id, records: shown })
    };
    app.read(shown).await.map(Json)
}

pub(crate) async fn container(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<MessageId>,
) -> Result<Response, AdminFault> {
    let (backend, Caller { name, member, .. }) = (Arc::clone(&app.backend), caller);
    let made = async move {
        if member.is_some() && records(backend.as_ref(), id, member.as_ref()).await?.is_empty() {
            return Err(AdminFault::not_found(format!("exchange {id}")));
        }
        backend.evidence_container(id).await
    };
    let bytes = app.read(made).await?;
    tracing::info!(actor = name, %id, "evidence exported");
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.etsi.asic-e+zip"));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{id}.asice\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
