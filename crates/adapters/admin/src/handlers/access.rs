//! Rights to the services of the hosted subsystems.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use truc_directory::{Directory, MemberStatus};
use truc_message::CanonicalPath;
use truc_model::{SubsystemId, Timestamp};
use truc_policy::{Call, PolicyEvent, RightId};

use crate::extract::{Body, Named, Params};
use crate::fault::AdminFault;
use crate::router::Shared;
use crate::tokens::Caller;
use crate::view::{AccessEntry, AccessFilter, CheckAnswer, CheckCall, Grant};

pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(filter): Params<AccessFilter>,
) -> Json<Vec<AccessEntry>> {
    let policy = app.policy(&caller);
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
    let gone = move |policy: &truc_policy::Policy| {
        let right = policy.right(id).cloned();
        let right = right.ok_or_else(|| AdminFault::not_found(format!("right {id}")))?;
        Ok(Some(PolicyEvent::RightRevoked(right)))
    };
    app.decide_with(&caller, gone).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes by what the right says, whatever its conditions, as long as that is one right.
pub(crate) async fn revoke_same(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(grant): Params<Grant>,
) -> Result<StatusCode, AdminFault> {
    let said = grant.right();
    let gone = move |policy: &truc_policy::Policy| {
        if !policy.hosted().contains(&said.service().subsystem()) {
            return Err(truc_policy::PolicyError::NotHosted(said.service().subsystem()).into());
        }
        Ok(Some(PolicyEvent::RightRevoked(policy.right_that_says(&said)?.clone())))
    };
    app.decide_with(&caller, gone).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says whether a call would be permitted, and why; it is not recorded.
pub(crate) async fn check(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(asked): Body<CheckCall>,
) -> Result<Json<CheckAnswer>, AdminFault> {
    let policy = app.policy(&caller);
    if !policy.hosted().contains(&asked.service.subsystem()) {
        return Err(truc_policy::PolicyError::NotHosted(asked.service.subsystem()).into());
    }
    let (path, query) = match asked.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.path.as_str(), None),
    };
    let at = asked.at.unwrap_or_else(|| app.backend.now());
    let call = Call {
        client: &asked.client,
        service: &asked.service,
        method: &asked.method,
        path: CanonicalPath::parse(path).map_err(|e| AdminFault::malformed(format!("path: {e}")))?,
        query,
        officer: asked.officer,
        purpose: asked.purpose,
        legal_basis: asked.legal_basis,
        at,
        body_len: asked.body_length,
    };
    let directory = app.backend.directory_in_force();
    let in_group = |code: &str, subsystem: &SubsystemId| {
        directory.as_ref().is_some_and(|directory| directory.in_group(code, subsystem))
    };
    let explained = policy.explain(&call, &in_group);
    let notes = notes(directory.as_deref(), &asked.client, at);
    Ok(Json(CheckAnswer::of(explained, at, notes)))
}

/// What is no matter of rights and would stop the call before them.
fn notes(directory: Option<&Directory>, client: &SubsystemId, at: Timestamp) -> Vec<String> {
    let Some(directory) = directory else {
        return vec![
            "this node has no directory yet: it refuses every call, and global groups are empty here".into(),
        ];
    };
    let Some(member) = directory.member(&client.member()) else {
        return vec![format!("{} is not in the directory: a call of it is not trusted", client.member())];
    };
    let mut notes = Vec::new();
    if member.status == MemberStatus::Closed {
        notes.push(format!("{} is closed: it calls no more", member.id));
    } else if !member.is_active(at) {
        notes.push(format!("{} takes no part for now: its calls are refused", member.id));
    }
    match directory.subsystem(client) {
        None => notes.push(format!("{client} is not registered: a call of it is not trusted")),
        Some(subsystem) if subsystem.disabled => notes.push(format!("{client} is disabled in the directory")),
        Some(_) => {}
    }
    notes
}
