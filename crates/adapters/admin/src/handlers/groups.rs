//! Local groups of the hosted subsystems.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use truc_model::SubsystemId;
use truc_policy::{GroupCode, PolicyEvent};

use crate::extract::{Body, GroupPath, Params};
use crate::fault::AdminFault;
use crate::router::{App, Shared};
use crate::tokens::Caller;
use crate::view::{GroupEntry, GroupFilter, GroupMemberBody, NewGroup};

fn shown(
    app: &App,
    caller: &Caller,
    owner: &SubsystemId,
    code: &GroupCode,
) -> Result<Json<GroupEntry>, AdminFault> {
    let policy = app.policy(caller);
    let group = policy
        .local_group(owner, code)
        .ok_or_else(|| AdminFault::not_found(format!("local group {code}")))?;
    Ok(Json(GroupEntry::from(group)))
}

pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(filter): Params<GroupFilter>,
) -> Json<Vec<GroupEntry>> {
    let policy = app.policy(&caller);
    let groups =
        policy.local_groups().filter(|group| filter.owner.as_ref().is_none_or(|owner| *owner == group.owner));
    Json(groups.map(GroupEntry::from).collect())
}

pub(crate) async fn add(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(NewGroup { owner, code, description }): Body<NewGroup>,
) -> Result<(StatusCode, Json<GroupEntry>), AdminFault> {
    let event = PolicyEvent::LocalGroupAdded { owner: owner.clone(), code: code.clone(), description };
    app.decide(event, &caller).await?;
    shown(&app, &caller, &owner, &code).map(|json| (StatusCode::CREATED, json))
}

pub(crate) async fn remove(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    GroupPath(owner, code): GroupPath,
) -> Result<StatusCode, AdminFault> {
    app.decide(PolicyEvent::LocalGroupRemoved { owner, code }, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn join(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    GroupPath(owner, code): GroupPath,
    Body(GroupMemberBody { member }): Body<GroupMemberBody>,
) -> Result<Json<GroupEntry>, AdminFault> {
    let event = PolicyEvent::LocalGroupMemberAdded { owner: owner.clone(), code: code.clone(), member };
    app.decide(event, &caller).await?;
    shown(&app, &caller, &owner, &code)
}

pub(crate) async fn leave(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    GroupPath(owner, code): GroupPath,
    Params(GroupMemberBody { member }): Params<GroupMemberBody>,
) -> Result<Json<GroupEntry>, AdminFault> {
    let event = PolicyEvent::LocalGroupMemberRemoved { owner: owner.clone(), code: code.clone(), member };
    app.decide(event, &caller).await?;
    shown(&app, &caller, &owner, &code)
}
