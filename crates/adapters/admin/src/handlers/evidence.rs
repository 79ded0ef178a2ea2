//! Reading the evidence. What is read, and by whom, is logged; the log holds ids only.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use truc_evidence::{ExchangeSummary, Query, Role, StoredRecord};
use truc_model::{MemberId, MessageId};

use crate::extract::{Named, Params};
use crate::fault::AdminFault;
use crate::router::{App, Shared};
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
    Extension(caller): Extension<Caller>,
    Params(filter): Params<EvidenceFilter>,
) -> Result<Json<Vec<EvidenceEntry>>, AdminFault> {
    let query = filter.query().map_err(AdminFault::malformed)?;
    let found = match &caller.member {
        Some(member) => of_member(&app, member, query).await?,
        None => app.backend.evidence_list(query).await?,
    };
    Ok(Json(found.into_iter().map(EvidenceEntry::from).collect()))
}

/// Most exchanges of all members that are gone through at once for those of one.
const PAGE: usize = 1000;

/// The exchanges of one hosted member: page by page, since the store knows clients and services and no members.
async fn of_member(
    app: &App,
    member: &MemberId,
    mut query: Query,
) -> Result<Vec<ExchangeSummary>, AdminFault> {
    let wanted = std::mem::replace(&mut query.limit, PAGE);
    let mut found: Vec<ExchangeSummary> = Vec::new();
    loop {
        let page = app.backend.evidence_list(query.clone()).await?;
        let whole = page.len() >= PAGE;
        let oldest = page.last().map(|exchange| exchange.time);
        for exchange in page {
            let known = found.iter().rev().take(PAGE).any(|known| known.id == exchange.id);
            if !known && is_of(app, member, &exchange).await? {
                found.push(exchange);
                if found.len() == wanted {
                    return Ok(found);
                }
            }
        }
        // The next page begins in the millisecond in which this one ended: what was there already is known.
        let next = oldest.map(|oldest| oldest.plus(std::time::Duration::from_millis(1)));
        if !whole || next.is_none() || next == query.until {
            return Ok(found);
        }
        query.until = next;
    }
}

/// Whether the exchange is one of this member's own here: it called, or its service was called.
async fn is_of(app: &App, member: &MemberId, exchange: &ExchangeSummary) -> Result<bool, AdminFault> {
    let (own, other) = match exchange.role {
        Role::Consumer => (exchange.client.member(), exchange.service.member()),
        Role::Provider => (exchange.service.member(), exchange.client.member()),
    };
    if own == *member {
        return Ok(true);
    }
    // Both halves may have passed through this node, and the list shows one of them.
    Ok(other == *member && !records(app, exchange.id, Some(member)).await?.is_empty())
}

/// The records of an exchange, as many as are this member's.
async fn records(
    app: &App,
    id: MessageId,
    member: Option<&MemberId>,
) -> Result<Vec<StoredRecord>, AdminFault> {
    let mut records = app.backend.evidence_show(id).await?;
    records.retain(|record| member.is_none_or(|member| record.owner == *member));
    Ok(records)
}

pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<MessageId>,
    Params(ShowParams { body: with_bodies }): Params<ShowParams>,
) -> Result<Json<EvidenceShown>, AdminFault> {
    let records = records(&app, id, caller.member.as_ref()).await?;
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
    if caller.member.is_some() && records(&app, id, caller.member.as_ref()).await?.is_empty() {
        return Err(AdminFault::not_found(format!("exchange {id}")));
    }
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
