//! The declarative form: the whole policy, or one member's part, as one text.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use truc_model::{MemberId, ServiceId};
use truc_policy::{Declared, Endpoint, Policy};

use super::services::{described, untrusted};
use crate::extract::{Body, Params};
use crate::fault::{AdminCode, AdminFault};
use crate::router::{App, Shared};
use crate::tokens::Caller;
use crate::view::{PlanView, PolicyFilter, PolicyText};

/// The member to which this is limited: the one that is asked for, and the caller's own where it has no other.
fn limit(policy: &Policy, caller: &Caller, asked: Option<MemberId>) -> Result<Option<MemberId>, AdminFault> {
    let member = asked.or_else(|| caller.member.clone());
    match &member {
        Some(member) if !policy.hosted().iter().any(|subsystem| subsystem.member() == *member) => {
            Err(AdminFault::not_found(format!("the member {member}")))
        }
        _ => Ok(member),
    }
}

pub(crate) async fn export(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Params(PolicyFilter { member }): Params<PolicyFilter>,
) -> Result<Json<PolicyText>, AdminFault> {
    let policy = app.policy(&caller);
    let member = limit(&policy, &caller, member)?;
    let state = Declared::of(&policy, member.as_ref());
    Ok(Json(PolicyText { digest: Some(state.digest()), member, text: state.to_toml() }))
}

pub(crate) async fn plan(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PolicyText>,
) -> Result<Json<PlanView>, AdminFault> {
    let policy = app.policy(&caller);
    let declared = read(&policy, &caller, &wanted)?;
    unchanged(&policy, &declared, &wanted)?;
    let state = Declared::of(&policy, declared.member.as_ref());
    let plan = declared.plan(&policy, &BTreeMap::new());
    Ok(Json(PlanView::of(&plan, state.digest(), false, Vec::new())))
}

/// Makes the text so, all of it in one decision, if nothing has changed since the plan whose digest is given.
pub(crate) async fn apply(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PolicyText>,
) -> Result<Json<PlanView>, AdminFault> {
    if wanted.digest.is_none() {
        let detail = "digest: is missing; write the digest that POST /api/v1/policy/plan told";
        return Err(AdminFault::malformed(detail));
    }
    let policy = app.policy(&caller);
    let declared = read(&policy, &caller, &wanted)?;
    unchanged(&policy, &declared, &wanted)?;
    let (endpoints, notes) = documents(&app, &policy, &declared).await?;
    let plan = declared.plan(&policy, &endpoints);
    let member = declared.member.clone();
    let make = move |policy: &Policy| {
        unchanged(policy, &declared, &wanted)?;
        Ok(declared.plan(policy, &endpoints).event())
    };
    app.decide_with(&caller, make).await?;
    let digest = Declared::of(&app.policy(&caller), member.as_ref()).digest();
    Ok(Json(PlanView::of(&plan, digest, true, notes)))
}

fn read(policy: &Policy, caller: &Caller, wanted: &PolicyText) -> Result<Declared, AdminFault> {
    let member = limit(policy, caller, wanted.member.clone())?;
    Declared::parse(&wanted.text, policy, member.as_ref()).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
        AdminFault::malformed(format!("mistakes in the text: {}\n{}", lines.len(), lines.join("\n")))
    })
}

/// Whether what the plan was made from is still in force.
fn unchanged(policy: &Policy, declared: &Declared, wanted: &PolicyText) -> Result<(), AdminFault> {
    let Some(planned) = wanted.digest else { return Ok(()) };
    if Declared::of(policy, declared.member.as_ref()).digest() == planned {
        return Ok(());
    }
    let detail = "services, groups or rights have been changed since the plan was made; nothing was applied: plan again";
    Err(AdminFault::new(AdminCode::Conflict, detail))
}

/// The endpoints of the OpenAPI documents that are new, read now, and notes about them.
async fn documents(
    app: &App,
    policy: &Policy,
    declared: &Declared,
) -> Result<(BTreeMap<ServiceId, Vec<Endpoint>>, Vec<String>), AdminFault> {
    let (mut endpoints, mut notes) = (BTreeMap::new(), Vec::new());
    for service in declared.to_read(policy) {
        let read = described(app, service).await;
        let read =
            read.map_err(|fault| AdminFault::new(fault.code, format!("{}: {}", service.id, fault.detail)))?;
        notes.extend(read.notes.into_iter().map(|note| format!("{}: {note}", service.id)));
        endpoints.insert(service.id.clone(), read.endpoints);
    }
    for service in declared.services.values().map(|service| &service.definition) {
        notes.extend(untrusted(app, service).map(|note| format!("{}: {note}", service.id)));
    }
    Ok((endpoints, notes))
}
