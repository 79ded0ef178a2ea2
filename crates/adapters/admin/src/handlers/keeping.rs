//! Legal holds, and what is kept where.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use crate::extract::Body;
use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{HoldAnswer, HoldRelease, HoldView, KeepingView, NewHold};

pub(crate) async fn holds(State(app): State<Shared>) -> Result<Json<Vec<HoldView>>, AdminFault> {
    app.backend.holds().await.map(Json)
}

pub(crate) async fn hold(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<NewHold>,
) -> Result<(StatusCode, Json<HoldAnswer>), AdminFault> {
    tracing::info!(actor = caller.name, exchanges = new.requests.len(), "legal hold ordered");
    let taken = app.backend.hold(new, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(taken)))
}

pub(crate) async fn release(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(release): Body<HoldRelease>,
) -> Result<StatusCode, AdminFault> {
    tracing::info!(actor = caller.name, "release of a legal hold ordered");
    app.backend.release(release, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn state(State(app): State<Shared>) -> Result<Json<KeepingView>, AdminFault> {
    app.backend.keeping().await.map(Json)
}
