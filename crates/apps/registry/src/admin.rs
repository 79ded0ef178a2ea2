//! The admin API: HTTP on loopback, `Authorization: Bearer`, JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, get, on};
use axum::{Extension, Json, Router};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_admin::small_server::{self, Limits};
use truc_directory::Directory;
use truc_governance::{Files, GovernanceError, Officer, Published, RequestRefusal};
use truc_model::{Clock, Digest, MemberId};

use crate::audit;
use crate::codes::LoadCodes;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::lifecycle::{
    Approve, AttachLevel, Certify, DisableSubsystem, EnableSubsystem, Invite, Refuse, ReinstateMember,
    ReinstateNode, RemoveNode, RemoveSubsystem, SetMaintenance, SetValidity, SuspendMember, SuspendNode,
    WithdrawInvitation,
};
use crate::requests as filed;
use crate::run::Job;
use crate::verbs::{
    AddAlias, AddMember, AddSubsystem, AddToGroup, CloseMember, CreateGroup, InstallRoot, InstallTrust,
    MoveNode, RegisterCertificate, RegisterNode, RemoveFromGroup, RenameMember, RevokeCertificate, Serve,
    StopServing, Verb,
};

/// Longest request body.
const BODY_LIMIT: usize = 1024 * 1024;
/// Limit for one decision.
const DECISION: Duration = Duration::from_secs(30);
/// What connections may take; a request may wait for a decision, and open answers have 2 s when the API stops.
const LIMITS: Limits = Limits {
    open: 64,
    head: Duration::from_secs(15),
    life: Duration::from_secs(600),
    drain: Duration::from_secs(2),
};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Desk {
    /// The digest of each officer's token.
    pub(crate) officers: Arc<[(Digest, Officer)]>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) published: watch::Receiver<Published>,
    pub(crate) files: watch::Receiver<Files>,
    pub(crate) config: Arc<RegistryConfig>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The audit log is read anew from the disk, whole: by one at a time.
    pub(crate) auditing: Arc<Semaphore>,
}

impl Desk {
    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.published.borrow().directory)
    }
}

pub(crate) async fn serve(
    listener: TcpListener,
    desk: Desk,
    stop: CancellationToken,
) -> Result<(), RegistryError> {
    small_server::serve(listener, router(desk), LIMITS, stop).await;
    Ok(())
}

fn router(desk: Desk) -> Router {
    let mut router = Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/directory", get(directory))
        .route("/api/v1/members", get(members))
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/subsystems", get(subsystems))
        .route("/api/v1/certificates", get(certificates))
        .route("/api/v1/groups", get(groups))
        .route("/api/v1/trust-services", get(trust_services))
        .route("/api/v1/invitations", get(invitations))
        .route("/api/v1/requests", get(requests))
        .route("/api/v1/requests/{number}", get(request))
        .route("/api/v1/audit", get(audit_log));
    router = verb::<AddMember>(router);
    router = verb::<RenameMember>(router);
    router = verb::<CloseMember>(router);
    router = verb::<AddSubsystem>(router);
    router = verb::<RegisterNode>(router);
    router = verb::<MoveNode>(router);
    router = verb::<Serve>(router);
    router = verb::<StopServing>(router);
    router = verb::<RegisterCertificate>(router);
    router = verb::<RevokeCertificate>(router);
    router = verb::<CreateGroup>(router);
    router = verb::<AddToGroup>(router);
    router = verb::<RemoveFromGroup>(router);
    router = verb::<AddAlias>(router);
    router = verb::<InstallTrust>(router);
    router = verb::<InstallRoot>(router);
    router = lifecycle(router);
    router = router.route(LoadCodes::PATH, on(MethodFilter::POST, load_codes));
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(desk.clone(), authenticate))
        .with_state(desk)
}

fn lifecycle(mut router: Router<Desk>) -> Router<Desk> {
    router = verb::<SuspendMember>(router);
    router = verb::<ReinstateMember>(router);
    router = verb::<SetValidity>(router);
    router = verb::<SuspendNode>(router);
    router = verb::<ReinstateNode>(router);
    router = verb::<RemoveNode>(router);
    router = verb::<SetMaintenance>(router);
    router = verb::<DisableSubsystem>(router);
    router = verb::<EnableSubsystem>(router);
    router = verb::<RemoveSubsystem>(router);
    router = verb::<Invite>(router);
    router = verb::<WithdrawInvitation>(router);
    router = verb::<AttachLevel>(router);
    router = verb::<Certify>(router);
    router = verb::<Approve>(router);
    verb::<Refuse>(router)
}

fn verb<V: Verb>(router: Router<Desk>) -> Router<Desk> {
    let filter = if V::METHOD == Method::DELETE { MethodFilter::DELETE } else { MethodFilter::POST };
    router.route(V::PATH, on(filter, apply::<V>))
}

/// Nothing is answered without the token. Digests are compared, so that the time taken says nothing about it.
async fn authenticate(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).map(|t| Digest::of(t.trim().as_bytes()));
    let officer = desk.officers.iter().find(|(token, _)| Some(*token) == given).map(|(_, o)| o.clone());
    match officer {
        Some(officer) => {
            request.extensions_mut().insert(officer);
            next.run(request).await
        }
        None => refusal(
            StatusCode::UNAUTHORIZED,
            "send the token of the admin-token file as Authorization: Bearer",
        ),
    }
}

fn refusal(status: StatusCode, sentence: &str) -> Response {
    (status, Json(json!({ "error": sentence }))).into_response()
}

async fn apply<V: Verb>(
    State(desk): State<Desk>,
    Extension(officer): Extension<Officer>,
    body: Bytes,
) -> Response {
    let read = serde_json::from_slice::<V>(&body).map_err(|e| e.to_string()).and_then(V::command);
    let command = match read {
        Ok(command) => command,
        Err(sentence) => return refusal(StatusCode::BAD_REQUEST, &sentence),
    };
    let (answer, outcome) = oneshot::channel();
    let job = Job::Decide { command, officer, answer };
    if desk.jobs.try_send(job).is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many decisions are waiting; try again");
    }
    match timeout(DECISION, outcome).await {
        Ok(Ok(Ok(outcome))) => Json(outcome).into_response(),
        Ok(Ok(Err(error))) => refusal(status_of(&error), &error.to_string()),
        _ => refusal(StatusCode::GATEWAY_TIMEOUT, "the decision took too long; look whether it was taken"),
    }
}

async fn load_codes(
    State(desk): State<Desk>,
    Extension(officer): Extension<Officer>,
    body: Bytes,
) -> Response {
    let read =
        serde_json::from_slice::<LoadCodes>(&body).map_err(|e| e.to_string()).and_then(LoadCodes::commands);
    let commands = match read {
        Ok(commands) => commands,
        Err(sentence) => return refusal(StatusCode::BAD_REQUEST, &sentence),
    };
    let (answer, outcome) = oneshot::channel();
    if desk.jobs.try_send(Job::LoadCodes { commands, officer, answer }).is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many decisions are waiting; try again");
    }
    match timeout(DECISION, outcome).await {
        Ok(Ok(Ok(loaded))) => Json(loaded).into_response(),
        Ok(Ok(Err(error))) => refusal(status_of(&error), &error.to_string()),
        _ => refusal(
            StatusCode::GATEWAY_TIMEOUT,
            "the batch takes long; look what of it was decided, then load again",
        ),
    }
}

fn status_of(error: &RegistryError) -> StatusCode {
    use GovernanceError as G;
    match error {
        RegistryError::Refused(refused) => match refused {
            G::Duplicate(_) | G::StillServing { .. } | G::MemberClosed(_) => StatusCode::CONFLICT,
            G::NotPermitted { .. } => StatusCode::FORBIDDEN,
            G::Request(RequestRefusal::Unknown(_)) => StatusCode::NOT_FOUND,
            G::Request(_) => StatusCode::CONFLICT,
            G::UnknownMember(_)
            | G::UnknownSubsystem(_)
            | G::UnknownNode(_)
            | G::UnknownGroup(_)
            | G::UnknownCertificate(_)
            | G::NotRegistered(_) => StatusCode::NOT_FOUND,
            G::Store(_) | G::Journal(_) | G::NotInitialised => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        },
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn status(State(desk): State<Desk>) -> Json<Value> {
    let directory = desk.directory();
    let freshness = format!("{:?}", directory.freshness(desk.clock.now())).to_lowercase();
    Json(json!({
        "instance": directory.instance(), "epoch": directory.epoch(), "version": directory.version(),
        "digest": directory.head_digest(), "issued": directory.issued(), "expires": directory.expires(),
        "freshness": freshness, "members": directory.members().count(), "nodes": directory.nodes().count(),
        "auditLog": directory.head().audit_log,
    }))
}

async fn directory(State(desk): State<Desk>) -> Json<Value> {
    Json(show(&desk.directory()))
}

/// The whole directory as people read it.
pub(crate) fn show(directory: &Directory) -> Value {
    json!({
        "head": directory.head(), "digest": directory.head_digest(), "root": directory.root(),
        "trustServices": directory.trust_services(), "members": directory.members().collect::<Vec<_>>(),
        "groups": directory.groups().groups, "aliases": crate::codes::aliases(directory),
    })
}

async fn members(State(desk): State<Desk>) -> Json<Value> {
    Json(json!(desk.directory().members().collect::<Vec<_>>()))
}

async fn nodes(State(desk): State<Desk>) -> Json<Value> {
    Json(json!(desk.directory().members().flat_map(|m| &m.nodes).collect::<Vec<_>>()))
}

async fn subsystems(State(desk): State<Desk>) -> Json<Value> {
    let directory = desk.directory();
    let of = |m: &truc_directory::MemberEntry| {
        let id = m.id.to_string();
        m.subsystems
            .iter()
            .map(|s| json!({ "id": format!("{id}/{}", s.code), "name": s.name }))
            .collect::<Vec<_>>()
    };
    Json(json!(directory.members().flat_map(of).collect::<Vec<_>>()))
}

async fn certificates(State(desk): State<Desk>) -> Json<Value> {
    let directory = desk.directory();
    let mut all = Vec::new();
    for member in directory.members() {
        for certificate in &member.sign_certificates {
            let holder = member.id.to_string();
            all.push(json!({ "usage": "sign", "holder": holder, "fingerprint": certificate.fingerprint }));
        }
        for node in &member.nodes {
            let one = |f| json!({ "usage": "auth", "holder": node.id.to_string(), "fingerprint": f });
            all.extend(node.auth_certificates.iter().map(one));
        }
    }
    Json(json!(all))
}

async fn groups(State(desk): State<Desk>) -> Json<Value> {
    Json(json!(desk.directory().groups().groups))
}

async fn trust_services(State(desk): State<Desk>) -> Json<Value> {
    Json(json!(desk.directory().trust_services()))
}

async fn invitations(State(desk): State<Desk>) -> Json<Value> {
    let files = desk.files.borrow().clone();
    Json(filed::invitations(&files, desk.clock.now()))
}

#[derive(serde::Deserialize)]
struct Waiting {
    #[serde(default)]
    waiting: bool,
}

async fn requests(State(desk): State<Desk>, Query(query): Query<Waiting>) -> Json<Value> {
    let files = desk.files.borrow().clone();
    Json(filed::list(&files, query.waiting))
}

async fn request(State(desk): State<Desk>, Path(number): Path<u64>) -> Response {
    let files = desk.files.borrow().clone();
    match files.request(number) {
        Some(found) => {
            let directory = desk.directory();
            let seals = |id: &MemberId| directory.member(id).map_or(0, |m| m.sign_certificates.len());
            Json(filed::show(found, seals)).into_response()
        }
        None => refusal(StatusCode::NOT_FOUND, &RequestRefusal::Unknown(number).to_string()),
    }
}

#[derive(serde::Deserialize)]
struct From {
    #[serde(default)]
    from: u64,
}

/// Most decisions in one answer.
const AUDIT_LIMIT: usize = 1000;

async fn audit_log(State(desk): State<Desk>, Query(query): Query<From>) -> Response {
    let Ok(Ok(_turn)) = timeout(DECISION, desk.auditing.acquire()).await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "others read the audit log; try again");
    };
    match audit::audit_log(&desk.config).await {
        Ok(log) => {
            let wanted = log.iter().filter(|one| one.sequence >= query.from).take(AUDIT_LIMIT);
            Json(json!(wanted.map(audit::shown).collect::<Vec<_>>())).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the audit log cannot be read");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the audit log cannot be read; see the registry's log")
        }
    }
}
