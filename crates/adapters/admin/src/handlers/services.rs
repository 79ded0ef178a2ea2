//! Services of the hosted subsystems.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::Value;
use truc_model::ServiceId;
use truc_policy::{PolicyEvent, ServiceDefinition};

use crate::extract::{Body, ServicePath};
use crate::fault::AdminFault;
use crate::router::{App, Shared};
use crate::tokens::Caller;
use crate::view::{Notice, service_from_json, service_to_json};

type Answer = Result<Json<Value>, AdminFault>;

fn shown(app: &App, id: &ServiceId) -> Answer {
    let policy = app.backend.policy();
    let service = policy.service(id).ok_or_else(|| AdminFault::not_found(format!("service {id}")))?;
    Ok(Json(service_to_json(service)))
}

pub(crate) async fn list(State(app): State<Shared>) -> Json<Vec<Value>> {
    Json(app.backend.policy().services().map(|service| service_to_json(service)).collect())
}

pub(crate) async fn show(State(app): State<Shared>, ServicePath(id): ServicePath) -> Answer {
    shown(&app, &id)
}

pub(crate) async fn add(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(json): Body<Value>,
) -> Result<(StatusCode, Json<Value>), AdminFault> {
    let service: ServiceDefinition = service_from_json(json).map_err(AdminFault::malformed)?;
    let id = service.id.clone();
    app.decide(PolicyEvent::ServiceAdded(service), &caller).await?;
    shown(&app, &id).map(|json| (StatusCode::CREATED, json))
}

pub(crate) async fn change(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(id): ServicePath,
    Body(mut json): Body<Value>,
) -> Answer {
    if let Some(object) = json.as_object_mut() {
        object.entry("id").or_insert_with(|| Value::String(id.to_string()));
    }
    let service = service_from_json(json).map_err(AdminFault::malformed)?;
    if service.id != id {
        return Err(AdminFault::malformed("id: another service than the path names"));
    }
    app.decide(PolicyEvent::ServiceChanged(service), &caller).await?;
    shown(&app, &id)
}

pub(crate) async fn remove(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(service): ServicePath,
) -> Result<StatusCode, AdminFault> {
    app.decide(PolicyEvent::ServiceRemoved { service }, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn disable(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(service): ServicePath,
    Body(Notice { notice }): Body<Notice>,
) -> Answer {
    app.decide(PolicyEvent::ServiceDisabled { service: service.clone(), notice }, &caller).await?;
    shown(&app, &service)
}

pub(crate) async fn enable(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(service): ServicePath,
) -> Answer {
    app.decide(PolicyEvent::ServiceEnabled { service: service.clone() }, &caller).await?;
    shown(&app, &service)
}
