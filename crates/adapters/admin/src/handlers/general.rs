//! How the node is, and the directory it works with.

use axum::Json;
use axum::extract::State;

use crate::fault::AdminFault;
use crate::router::Shared;
use crate::view::{DirectoryView, NodeStatus};

pub(crate) async fn status(State(app): State<Shared>) -> Result<Json<NodeStatus>, AdminFault> {
    app.backend.status().await.map(Json)
}

pub(crate) async fn directory(State(app): State<Shared>) -> Result<Json<DirectoryView>, AdminFault> {
    app.backend.directory().await.map(Json)
}
