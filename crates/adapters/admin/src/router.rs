//! The routes, who may use which, and what every request has to pass.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use truc_policy::{Policy, PolicyEvent};

use crate::backend::AdminBackend;
use crate::fault::{AdminCode, AdminFault};
use crate::handlers::{access, declared, evidence, general, groups, keeping, log, services, successions};
use crate::tokens::{Caller, Role, TokenTable};

/// Largest request body, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// Largest text of a whole policy, with what JSON adds to it, in bytes.
pub const POLICY_BODY_LIMIT: usize = 16 * 1024 * 1024;
/// How long one request may take.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// Requests worked on at once; more are answered BUSY.
pub const CONCURRENCY: usize = 32;
/// Searches and exports of evidence worked on at once: they read disk and reckon for long, and calls go before them.
pub const EVIDENCE_READS: usize = 4;
/// Searches and exports that may be here at once, the waiting included; more are answered BUSY at once, so that they never fill the door.
pub const EVIDENCE_ASKED: usize = 16;
/// How long one of them waits for its turn before it is answered BUSY.
pub const EVIDENCE_WAIT: Duration = Duration::from_secs(10);

/// What the handlers share.
pub(crate) struct App {
    pub(crate) backend: Arc<dyn AdminBackend>,
    tokens: TokenTable,
    slots: Semaphore,
    asked: Semaphore,
    reads: Arc<Semaphore>,
    reading: TaskTracker,
    decisions: TaskTracker,
}

pub(crate) type Shared = Arc<App>;

/// What goes on when its caller is gone.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    pub(crate) reading: TaskTracker,
    pub(crate) decisions: TaskTracker,
}

impl App {
    pub(crate) fn new(backend: Arc<dyn AdminBackend>, tokens: TokenTable, tasks: Tasks) -> Shared {
        Arc::new(Self {
            backend,
            tokens,
            slots: Semaphore::new(CONCURRENCY),
            asked: Semaphore::new(EVIDENCE_ASKED),
            reads: Arc::new(Semaphore::new(EVIDENCE_READS)),
            reading: tasks.reading,
            decisions: tasks.decisions,
        })
    }

    /// Does the work of a search or an export when its turn comes. It has a task of its own and keeps its place until it is done:
    /// what was begun cannot be called off, and a caller who goes away and asks again must not have two at work.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AdminFault>> + Send + 'static,
    ) -> Result<T, AdminFault> {
        let busy = || AdminFault::new(AdminCode::Busy, "other searches and exports are being worked on");
        let _asked = self.asked.try_acquire().map_err(|_| busy())?;
        let turn = tokio::time::timeout(EVIDENCE_WAIT, Arc::clone(&self.reads).acquire_owned()).await;
        let Ok(Ok(place)) = turn else { return Err(busy()) };
        let task = self.reading.spawn(async move {
            let outcome = work.await;
            drop(place);
            outcome
        });
        task.await.map_err(|_| AdminFault::new(AdminCode::Internal, "the evidence could not be read"))?
    }

    /// The policy in force, as much of it as the caller may see.
    pub(crate) fn policy(&self, caller: &Caller) -> Arc<Policy> {
        let policy = self.backend.policy();
        match &caller.member {
            Some(member) => Arc::new(policy.of_member(member)),
            None => policy,
        }
    }

    /// Takes a decision under the caller's name.
    pub(crate) async fn decide(&self, event: PolicyEvent, caller: &Caller) -> Result<(), AdminFault> {
        self.decide_with(caller, move |_| Ok(Some(event))).await.map(drop)
    }

    /// Has `make` make a decision from the policy in force, as much of it as the caller may see, and takes it under the
    /// caller's name, if it is the caller's to take. It has a task of its own, so that a caller who goes away in the middle
    /// cannot leave it in the journal and not in force.
    pub(crate) async fn decide_with(
        &self,
        caller: &Caller,
        make: impl FnOnce(&Policy) -> Result<Option<PolicyEvent>, AdminFault> + Send + 'static,
    ) -> Result<Option<PolicyEvent>, AdminFault> {
        let (backend, actor, member) =
            (Arc::clone(&self.backend), caller.name.clone(), caller.member.clone());
        let within = move |policy: &Policy| {
            let Some(member) = member else { return make(policy) };
            let part = policy.of_member(&member);
            let event = make(&part)?;
            // What is not of this member is not there for it, whatever the decision says.
            event.iter().try_for_each(|event| part.apply(event).map(drop))?;
            Ok(event)
        };
        let task = self.decisions.spawn(async move { backend.decide(Box::new(within), &actor).await });
        let outcome =
            task.await.map_err(|_| AdminFault::new(AdminCode::Internal, "the decision broke off"))?;
        match &outcome {
            Ok(event) => {
                let kind = event.as_ref().map_or("none", PolicyEvent::kind);
                tracing::info!(actor = caller.name, kind, "decision taken");
            }
            Err(fault) => {
                tracing::info!(actor = caller.name, code = fault.code.as_str(), "decision refused");
            }
        }
        outcome
    }
}

/// One row of the authorisation matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub roles: &'static [Role],
    /// Whether a token that is limited to one member may use it; it then sees and changes what is that member's.
    pub limited: bool,
}

const STATUS: &[Role] = Role::ALL;
const LISTS: &[Role] = &[Role::Administrator, Role::ServiceManager, Role::Observer];
const MANAGE: &[Role] = &[Role::Administrator, Role::ServiceManager];
const EVIDENCE: &[Role] = &[Role::Administrator, Role::Auditor];

const SERVICE: &str = "/api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}";
const DISABLE: &str = "/api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/disable";
const REFRESH: &str = "/api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/refresh";
const ENABLE: &str = "/api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/enable";
const GROUP: &str = "/api/v1/local-groups/{instance}/{class}/{member}/{subsystem}/{code}";
const GROUP_MEMBERS: &str = "/api/v1/local-groups/{instance}/{class}/{member}/{subsystem}/{code}/members";

const SUCCESSION: &str = "/api/v1/access/successions/{instance}/{class}/{member}";
/// The declarative form.
pub(crate) const POLICY_PATH: &str = "/api/v1/policy";

/// A row with what answers it: a route cannot be added without saying who may use it.
type Row = (Method, &'static str, &'static [Role], MethodRouter<Shared>);

/// The routes that are for the whole node's operators only.
fn of_the_node() -> Vec<Row> {
    let get = |path, roles, handler| (Method::GET, path, roles, handler);
    vec![
        get("/api/v1/log/heads", EVIDENCE, on(MethodFilter::GET, log::heads)),
        get("/api/v1/log/audit", EVIDENCE, on(MethodFilter::GET, log::audit)),
        get("/api/v1/evidence/holds", EVIDENCE, on(MethodFilter::GET, keeping::holds)),
        (Method::POST, "/api/v1/evidence/holds", EVIDENCE, on(MethodFilter::POST, keeping::hold)),
        (Method::POST, "/api/v1/evidence/holds/release", EVIDENCE, on(MethodFilter::POST, keeping::release)),
        get("/api/v1/evidence/keeping", EVIDENCE, on(MethodFilter::GET, keeping::state)),
    ]
}

/// The routes that a token limited to one member may use too: each handler asks `App` for what its caller may see.
fn of_a_member() -> Vec<Row> {
    let get = |path, roles, handler| (Method::GET, path, roles, handler);
    let post = |path, roles, handler| (Method::POST, path, roles, handler);
    let delete = |path, roles, handler| (Method::DELETE, path, roles, handler);
    vec![
        get("/api/v1/status", STATUS, on(MethodFilter::GET, general::status)),
        get("/api/v1/directory", LISTS, on(MethodFilter::GET, general::directory)),
        get("/api/v1/services", LISTS, on(MethodFilter::GET, services::list)),
        post("/api/v1/services", MANAGE, on(MethodFilter::POST, services::add)),
        get(SERVICE, LISTS, on(MethodFilter::GET, services::show)),
        (Method::PUT, SERVICE, MANAGE, on(MethodFilter::PUT, services::change)),
        delete(SERVICE, MANAGE, on(MethodFilter::DELETE, services::remove)),
        post(DISABLE, MANAGE, on(MethodFilter::POST, services::disable)),
        post(REFRESH, MANAGE, on(MethodFilter::POST, services::refresh)),
        post(ENABLE, MANAGE, on(MethodFilter::POST, services::enable)),
        get("/api/v1/access", LISTS, on(MethodFilter::GET, access::list)),
        post("/api/v1/access", MANAGE, on(MethodFilter::POST, access::grant)),
        delete("/api/v1/access", MANAGE, on(MethodFilter::DELETE, access::revoke_same)),
        delete("/api/v1/access/{id}", MANAGE, on(MethodFilter::DELETE, access::revoke)),
        post("/api/v1/access/check", LISTS, on(MethodFilter::POST, access::check)),
        get("/api/v1/access/successions", LISTS, on(MethodFilter::GET, successions::list)),
        post(SUCCESSION, MANAGE, on(MethodFilter::POST, successions::accept)),
        get(POLICY_PATH, LISTS, on(MethodFilter::GET, declared::export)),
        post("/api/v1/policy/plan", MANAGE, long(on(MethodFilter::POST, declared::plan))),
        post("/api/v1/policy/apply", MANAGE, long(on(MethodFilter::POST, declared::apply))),
        get("/api/v1/local-groups", LISTS, on(MethodFilter::GET, groups::list)),
        post("/api/v1/local-groups", MANAGE, on(MethodFilter::POST, groups::add)),
        delete(GROUP, MANAGE, on(MethodFilter::DELETE, groups::remove)),
        post(GROUP_MEMBERS, MANAGE, on(MethodFilter::POST, groups::join)),
        delete(GROUP_MEMBERS, MANAGE, on(MethodFilter::DELETE, groups::leave)),
        get("/api/v1/evidence", EVIDENCE, on(MethodFilter::GET, evidence::list)),
        post("/api/v1/evidence/search", EVIDENCE, on(MethodFilter::POST, evidence::search)),
        get("/api/v1/evidence/{id}", EVIDENCE, on(MethodFilter::GET, evidence::show)),
        get("/api/v1/evidence/{id}/container", EVIDENCE, on(MethodFilter::GET, evidence::container)),
    ]
}

/// Takes a longer body.
fn long(handler: MethodRouter<Shared>) -> MethodRouter<Shared> {
    handler.layer(DefaultBodyLimit::max(POLICY_BODY_LIMIT))
}

/// Every row, with whether a limited token may use it.
fn table() -> impl Iterator<Item = (Row, bool)> {
    let limited = of_a_member().into_iter().map(|row| (row, true));
    limited.chain(of_the_node().into_iter().map(|row| (row, false)))
}

/// The authorisation matrix, one row per method and path.
pub fn routes() -> Vec<Route> {
    table().map(|((method, path, roles, _), limited)| Route { method, path, roles, limited }).collect()
}

/// The API over `app`.
pub(crate) fn router(app: Shared) -> Router {
    let mut router = Router::new();
    for ((_, path, roles, handler), limited) in table() {
        let role_check = from_fn(move |request: Request, next: Next| permit(roles, limited, request, next));
        router = router.route(path, handler.route_layer(role_check));
    }
    router
        .fallback(async || {
            AdminFault::new(AdminCode::NotFound, "no such path in this API: see docs/admin-api.md")
        })
        .method_not_allowed_fallback(async || {
            AdminFault::new(AdminCode::MethodNotAllowed, "see docs/admin-api.md")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(&app), enter))
        .with_state(app)
}

/// What comes before every route: a free slot, a known token, a deadline.
async fn enter(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let mut response = match authenticate(&app, &request) {
        Err(fault) => fault.into_response(),
        Ok(caller) => match app.slots.try_acquire() {
            Err(_) => AdminFault::new(AdminCode::Busy, format!("{CONCURRENCY} requests are being worked on"))
                .into_response(),
            Ok(_slot) => {
                request.extensions_mut().insert(caller);
                let late = |_| AdminFault::new(AdminCode::Timeout, "30 seconds have passed").into_response();
                tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await.unwrap_or_else(late)
            }
        },
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn authenticate(app: &App, request: &Request) -> Result<Caller, AdminFault> {
    let refuse = |detail: &str| AdminFault::new(AdminCode::Unauthenticated, detail);
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refuse("the request needs one Authorization header: Bearer and the token"));
    };
    let (scheme, token) = value.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refuse("the Authorization header must say Bearer and the token"));
    }
    app.tokens.find(token.trim()).cloned().ok_or_else(|| {
        tracing::warn!(method = %request.method(), "request with an unknown token");
        refuse("this token is not in the node's configuration")
    })
}

/// Lets the request through when the caller's role is in the route's row, and the route is open to limited tokens if it is
/// one.
async fn permit(roles: &'static [Role], limited: bool, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(Caller { member: Some(member), .. }) if !limited => {
            let detail = format!("this token is limited to {member}; this is for the whole node's operators");
            AdminFault::new(AdminCode::Forbidden, detail).into_response()
        }
        Some(caller) if roles.contains(&caller.role) => next.run(request).await,
        Some(caller) => {
            let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let detail = format!("role {} may not do this, {} may", caller.role.as_str(), names.join(" or "));
            tracing::warn!(actor = caller.name, method = %request.method(), "request beyond the token's role");
            AdminFault::new(AdminCode::Forbidden, detail).into_response()
        }
        None => {
            AdminFault::new(AdminCode::Unauthenticated, "the request was not authenticated").into_response()
        }
    }
}
