//! Rights to the services of the hosted subsystems.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use truc_policy::{PolicyEvent, RightId};

use crate::extract::{Body, Named, Params};
use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{AccessEntry, AccessFilter, Grant};

pub(crate) async fn list(
    State(app): State<Shared>,
    Params(filter): Params<AccessFilter>,
) -> Json<Vec<AccessEntry>> {
    let policy = app.backend.policy();
    let rights = policy.rights().filter(|right| {
        filter.service.as_ref().is_none_or(|service| service == right.service())
            && filter.subject.as_ref().is_none_or(|subject| subject == right.subject())
    });
    Json(rights.map(AccessEntry::from).collect())
}

pub(crate) async fn grant(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(grant): Body<Grant>,
) -> Result<(StatusCode, Json<AccessEntry>), AdminFault> {
    let right = grant.right();
    let entry = AccessEntry::from(&right);
    app.decide(PolicyEvent::RightGranted(right), &caller).await?;
    Ok((StatusCode::CREATED, Json(entry)))
}

pub(crate) async fn revoke(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<RightId>,
) -> Result<StatusCode, AdminFault> {
    let right = app
        .backend
        .policy()
        .right(id)
        .cloned()
        .ok_or_else(|| AdminFault::not_found(format!("right {id}")))?;
    app.decide(PolicyEvent::RightRevoked(right), &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes by what the right says.
pub(crate) async fn revoke_same(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(grant): Params<Grant>,
) -> Result<StatusCode, AdminFault> {
    app.decide(PolicyEvent::RightRevoked(grant.right()), &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
