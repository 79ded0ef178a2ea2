//! How the node is, and the directory it works with.

use axum::extract::State;
use axum::{Extension, Json};

use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{DirectoryView, NodeStatus};

pub(crate) async fn status(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<NodeStatus>, AdminFault> {
    let mut status = app.backend.status().await?;
    if let Some(member) = &caller.member {
        status.hosted.retain(|subsystem| subsystem.member() == *member);
    }
    Ok(Json(status))
}

/// The directory is the same for everybody on the bus.
pub(crate) async fn directory(State(app): State<Shared>) -> Result<Json<DirectoryView>, AdminFault> {
    app.backend.directory().await.map(Json)
}
