//! Succession of rights: what closed members leave to their successors here, and taking it over (protocol P6.4).

use axum::extract::State;
use axum::{Extension, Json};
use truc_policy::{Policy, PolicyEvent};

use crate::extract::MemberPath;
use crate::fault::{AdminCode, AdminFault};
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::SuccessionEntry;

pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Vec<SuccessionEntry>>, AdminFault> {
    let directory = app.backend.directory_in_force().ok_or_else(no_directory)?;
    let left = app.policy(&caller).successions(&directory, app.backend.now());
    Ok(Json(left.iter().map(SuccessionEntry::from).collect()))
}

/// Gives the successor of a closed member what that one has here, in one decision.
pub(crate) async fn accept(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    MemberPath(member): MemberPath,
) -> Result<Json<SuccessionEntry>, AdminFault> {
    let directory = app.backend.directory_in_force().ok_or_else(no_directory)?;
    let now = app.backend.now();
    let make = move |policy: &Policy| {
        let left = policy.successions(&directory, now).into_iter().find(|left| left.of == member);
        let left = left.ok_or_else(|| {
            let detail = format!(
                "nothing is left to carry over from {member}: it is not closed with a successor, or has no rights here, or \
                 they were carried over before"
            );
            AdminFault::new(AdminCode::NotFound, detail)
        })?;
        Ok(Some(PolicyEvent::Succeeded(left)))
    };
    match app.decide_with(&caller, make).await? {
        Some(PolicyEvent::Succeeded(carried)) => Ok(Json(SuccessionEntry::from(&carried))),
        _ => Err(AdminFault::new(AdminCode::Internal, "the decision is not the one that was made")),
    }
}

fn no_directory() -> AdminFault {
    AdminFault::new(AdminCode::NotFound, "the node has no directory yet")
}
