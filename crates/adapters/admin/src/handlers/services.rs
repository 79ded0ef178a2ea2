//! Services of the hosted subsystems.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use bytes::Bytes;
use serde_json::Value;
use truc_model::ServiceId;
use truc_policy::{DescriptionError, OpenApi, Operations, PolicyEvent, ServiceDefinition, ServiceKind};

use crate::extract::{Body, ServicePath};
use crate::fault::{AdminCode, AdminFault};
use crate::router::{App, Shared};
use crate::tokens::Caller;
use crate::view::{Notice, Offered, Refreshed, service_from_json, service_to_json};

type Answer = Result<Json<Value>, AdminFault>;

fn in_force(app: &App, caller: &Caller, id: &ServiceId) -> Result<ServiceDefinition, AdminFault> {
    let policy = app.policy(caller);
    let service = policy.service(id).ok_or_else(|| AdminFault::not_found(format!("service {id}")))?;
    Ok(ServiceDefinition::clone(service))
}

fn shown(app: &App, caller: &Caller, id: &ServiceId) -> Answer {
    in_force(app, caller, id).map(|service| Json(service_to_json(&service)))
}

fn offered(app: &App, caller: &Caller, id: &ServiceId, mut notes: Vec<String>) -> Answer {
    let service = in_force(app, caller, id)?;
    notes.extend(untrusted(app, &service));
    Ok(Json(Offered { service, notes }.to_json()))
}

/// What is to be told of a service whose certificate the node cannot trust.
pub(crate) fn untrusted(app: &App, service: &ServiceDefinition) -> Option<String> {
    (!app.backend.can_trust(service)).then(|| {
        "every call of this https service will fail: the node has no [provider] ca-file, and no certificate is pinned; \
         set ca-file and restart, or pin the service's certificate (--pin)"
            .to_owned()
    })
}

/// What the service's OpenAPI document describes, read now.
pub(crate) async fn described(app: &App, service: &ServiceDefinition) -> Result<Operations, AdminFault> {
    let bytes = match &service.document {
        Some(text) => Bytes::copy_from_slice(text.as_bytes()),
        None => app.backend.read_description(service).await?,
    };
    // Documents of megabytes are taken apart off the runtime.
    let read = tokio::task::spawn_blocking(move || OpenApi::parse(&bytes)?.operations()).await;
    let read = read.map_err(|e| AdminFault::new(AdminCode::Internal, e.to_string()))?;
    read.map_err(|e: DescriptionError| AdminFault::new(AdminCode::DescriptionUnusable, e.to_string()))
}

/// Fills in the generated endpoints, which nobody writes by hand; returns notes about the document.
async fn generate(app: &App, service: &mut ServiceDefinition) -> Result<Vec<String>, AdminFault> {
    let found = match service.kind {
        ServiceKind::OpenApi => described(app, service).await?,
        ServiceKind::Rest => Operations::default(),
    };
    service.set_generated(found.endpoints);
    Ok(found.notes)
}

pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Json<Vec<Value>> {
    Json(app.policy(&caller).services().map(|service| service_to_json(service)).collect())
}

pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(id): ServicePath,
) -> Answer {
    shown(&app, &caller, &id)
}

pub(crate) async fn add(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(json): Body<Value>,
) -> Result<(StatusCode, Json<Value>), AdminFault> {
    let mut service: ServiceDefinition = service_from_json(json).map_err(AdminFault::malformed)?;
    service.set_generated(Vec::new());
    let id = service.id.clone();
    // What would be refused anyway is refused before anything is fetched.
    app.policy(&caller).apply(&PolicyEvent::ServiceAdded(service.clone()))?;
    let notes = generate(&app, &mut service).await?;
    app.decide(PolicyEvent::ServiceAdded(service), &caller).await?;
    offered(&app, &caller, &id, notes).map(|json| (StatusCode::CREATED, json))
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
    let mut service = service_from_json(json).map_err(AdminFault::malformed)?;
    if service.id != id {
        return Err(AdminFault::malformed("id: another service than the path names"));
    }
    service.set_generated(Vec::new());
    app.policy(&caller).apply(&PolicyEvent::ServiceChanged(service.clone()))?;
    // The same document is read again only when asked to (refresh): changing a timeout must not need the provider.
    let notes = match in_force(&app, &caller, &id)?.is_described_as(&service) {
        true => Vec::new(),
        false => generate(&app, &mut service).await?,
    };
    app.decide(PolicyEvent::ServiceChanged(service), &caller).await?;
    offered(&app, &caller, &id, notes)
}

pub(crate) async fn refresh(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(id): ServicePath,
) -> Result<Json<Refreshed>, AdminFault> {
    let service = in_force(&app, &caller, &id)?;
    if service.kind != ServiceKind::OpenApi {
        return Err(AdminFault::malformed(format!(
            "{id} is a REST service: it has no OpenAPI document to read"
        )));
    }
    let read = described(&app, &service).await?;
    let (added, deleted) = service.changes(&read);
    if !added.is_empty() || !deleted.is_empty() {
        let event = PolicyEvent::ServiceRefreshed { service: id, endpoints: read.endpoints };
        app.decide(event, &caller).await?;
    }
    Ok(Json(Refreshed { added, deleted, notes: read.notes }))
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
    shown(&app, &caller, &service)
}

pub(crate) async fn enable(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    ServicePath(service): ServicePath,
) -> Answer {
    app.decide(PolicyEvent::ServiceEnabled { service: service.clone() }, &caller).await?;
    shown(&app, &caller, &service)
}
