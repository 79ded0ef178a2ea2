//! The API over a real socket, with the node's part in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod declared;
mod limited;
mod node;
mod reads;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use node::{EXCHANGE, Running, SUBJECT, start, token};
use serde_json::{Value, json};
use truc_admin::{
    AccessFilter, AdminClient, AdminCode, ClientError, EvidenceFilter, EvidencePage, EvidenceSearch, Grant,
    GroupFilter, NewGroup, Role, routes,
};
use truc_directory::GroupMember;
use truc_evidence::Outcome;
use truc_policy::{Conditions, Endpoint, ServiceDefinition, ServiceKind};

pub(crate) const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";

/// The matrix as the documentation promises it: a, s, u, o for administrator, service-manager, auditor, observer.
const MATRIX: &[(&str, &str)] = &[
    ("GET /api/v1/status", "asuo"),
    ("GET /api/v1/directory", "aso"),
    ("GET /api/v1/services", "aso"),
    ("POST /api/v1/services", "as"),
    ("GET /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}", "aso"),
    ("PUT /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}", "as"),
    ("DELETE /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}", "as"),
    ("POST /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/disable", "as"),
    ("POST /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/refresh", "as"),
    ("POST /api/v1/services/{instance}/{class}/{member}/{subsystem}/{service}/enable", "as"),
    ("GET /api/v1/access", "aso"),
    ("POST /api/v1/access", "as"),
    ("DELETE /api/v1/access", "as"),
    ("DELETE /api/v1/access/{id}", "as"),
    ("POST /api/v1/access/check", "aso"),
    ("GET /api/v1/access/successions", "aso"),
    ("POST /api/v1/access/successions/{instance}/{class}/{member}", "as"),
    ("GET /api/v1/policy", "aso"),
    ("POST /api/v1/policy/plan", "as"),
    ("POST /api/v1/policy/apply", "as"),
    ("GET /api/v1/local-groups", "aso"),
    ("POST /api/v1/local-groups", "as"),
    ("DELETE /api/v1/local-groups/{instance}/{class}/{member}/{subsystem}/{code}", "as"),
    ("POST /api/v1/local-groups/{instance}/{class}/{member}/{subsystem}/{code}/members", "as"),
    ("DELETE /api/v1/local-groups/{instance}/{class}/{member}/{subsystem}/{code}/members", "as"),
    ("GET /api/v1/evidence", "au"),
    ("POST /api/v1/evidence/search", "au"),
    ("GET /api/v1/evidence/{id}", "au"),
    ("GET /api/v1/evidence/{id}/container", "au"),
    ("GET /api/v1/log/heads", "au"),
    ("GET /api/v1/log/audit", "au"),
    ("GET /api/v1/evidence/holds", "au"),
    ("POST /api/v1/evidence/holds", "au"),
    ("POST /api/v1/evidence/holds/release", "au"),
    ("GET /api/v1/evidence/keeping", "au"),
];

fn letter(role: Role) -> char {
    match role {
        Role::Administrator => 'a',
        Role::ServiceManager => 's',
        Role::Auditor => 'u',
        Role::Observer => 'o',
    }
}

pub(crate) async fn raw(
    node: &Running,
    method: Method,
    path: &str,
    bearer: Option<&str>,
    body: &str,
) -> (StatusCode, Value, http::HeaderMap) {
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("{}{path}", node.url));
    if let Some(bearer) = bearer {
        request = request.header("authorization", bearer);
    }
    let request =
        request.header("content-type", "application/json").body(Full::new(body.to_owned().into())).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, serde_json::from_slice(&bytes).unwrap_or_default(), parts.headers)
}

fn client(node: &Running, role: Role) -> AdminClient {
    AdminClient::new(&node.url, &token(role)).unwrap()
}

fn definition() -> ServiceDefinition {
    ServiceDefinition::rest(SERVICE.parse().unwrap(), "http://127.0.0.1:9000".parse().unwrap())
}

pub(crate) fn code(error: ClientError) -> (StatusCode, String) {
    match error {
        ClientError::Refused { status, fault } => (status, fault.code),
        other => panic!("{other}"),
    }
}

#[test]
fn every_route_has_its_row_here_and_in_the_documentation() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/admin-api.md")).unwrap();
    let built: Vec<(String, String)> = routes()
        .iter()
        .map(|r| (format!("{} {}", r.method, r.path), r.roles.iter().map(|role| letter(*role)).collect()))
        .collect();
    let promised: Vec<(String, String)> =
        MATRIX.iter().map(|(r, l)| ((*r).to_owned(), (*l).to_owned())).collect();
    assert_eq!(built, promised);
    for (route, letters) in MATRIX {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{instance}/{class}/{member}/{subsystem}/{service}", "{service}");
        let path = path.replace("{instance}/{class}/{member}/{subsystem}/{code}", "{subsystem}/{code}");
        let path = path.replace("{instance}/{class}/{member}", "{member}");
        let row = format!("| {method} | `{}` | {letters} |", path.strip_prefix("/api/v1").unwrap());
        assert!(page.contains(&row), "docs/admin-api.md has no row {row:?}");
    }
    for code in AdminCode::ALL {
        assert!(page.contains(&format!("| {} | {} |", code.status().as_u16(), code.as_str())), "{code:?}");
    }
}

#[tokio::test]
async fn each_role_may_do_its_row_and_nothing_else() {
    let node = start().await;
    for (route, letters) in MATRIX {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path
            .replace("{instance}/{class}/{member}/{subsystem}/{service}", SERVICE)
            .replace("{instance}/{class}/{member}/{subsystem}/{code}", "VN/GOV/G01/csdl-dancu/nhom")
            .replace("{instance}/{class}/{member}", "VN/GOV/H02")
            .replace("{id}", EXCHANGE);
        let method: Method = method.parse().unwrap();
        for role in Role::ALL {
            let bearer = format!("Bearer {}", token(*role));
            let (status, body, _) = raw(&node, method.clone(), &path, Some(&bearer), "").await;
            let permitted = letters.contains(letter(*role));
            assert_eq!(status != StatusCode::FORBIDDEN, permitted, "{route} {role:?} {status}");
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{route} {role:?}");
            assert!(permitted || body["code"] == "FORBIDDEN", "{route} {role:?}");
        }
        let (status, ..) = raw(&node, method, &path, None, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{route}");
    }
    assert!(node.decisions().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn strangers_learn_only_that_they_need_a_token() {
    let node = start().await;
    let good = token(Role::Observer);
    for bearer in [
        None,
        Some("".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {good}x")),
        Some(good.clone()),
    ] {
        for path in ["/api/v1/status", "/", "/api/v1/khong-co"] {
            let (status, body, headers) = raw(&node, Method::GET, path, bearer.as_deref(), "").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{bearer:?}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"truc-admin\"");
            assert_eq!(body["code"], "UNAUTHENTICATED");
            assert!(
                !body["message"]["vi"].as_str().unwrap().is_empty()
                    && !body["message"]["en"].as_str().unwrap().is_empty()
            );
            assert!(!body.to_string().contains(&good));
        }
    }
    let bearer = format!("bearer {good}");
    let (status, body, headers) = raw(&node, Method::GET, "/api/v1/khong-co", Some(&bearer), "").await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::NOT_FOUND, Some("NOT_FOUND")));
    assert_eq!(headers["cache-control"], "no-store");
    let (status, body, _) = raw(&node, Method::PATCH, "/api/v1/services", Some(&bearer), "").await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::METHOD_NOT_ALLOWED, Some("METHOD_NOT_ALLOWED")));
    node.stop().await;
}

#[tokio::test]
async fn services_live_from_adding_to_removing() {
    let node = start().await;
    let manager = client(&node, Role::ServiceManager);
    let id = definition().id;
    assert_eq!(manager.add_service(&definition()).await.unwrap().service, definition());
    assert_eq!(manager.services().await.unwrap(), [definition()]);
    assert_eq!(
        code(manager.add_service(&definition()).await.unwrap_err()),
        (StatusCode::CONFLICT, "CONFLICT".into())
    );
    let mut changed = definition();
    changed.require_officer = true;
    assert_eq!(manager.change_service(&changed).await.unwrap().service, changed);
    let paused = manager.disable_service(&id, "Bảo trì").await.unwrap();
    assert_eq!(paused.disabled.as_deref(), Some("Bảo trì"));
    assert_eq!(manager.enable_service(&id).await.unwrap().disabled, None);
    assert_eq!(manager.service(&id).await.unwrap(), changed);
    manager.remove_service(&id).await.unwrap();
    assert_eq!(code(manager.service(&id).await.unwrap_err()), (StatusCode::NOT_FOUND, "NOT_FOUND".into()));
    assert_eq!(
        code(manager.remove_service(&id).await.unwrap_err()),
        (StatusCode::NOT_FOUND, "NOT_FOUND".into())
    );
    let kinds =
        ["service.added", "service.changed", "service.disabled", "service.enabled", "service.removed"];
    assert_eq!(node.decisions(), kinds.map(|kind| (kind.to_owned(), "ten-service-manager".to_owned())));
    node.stop().await;
}

fn endpoint(method: &str, path: &str, generated: bool) -> Endpoint {
    Endpoint { method: method.parse().unwrap(), path: path.parse().unwrap(), generated }
}

#[tokio::test]
async fn generated_endpoints_come_from_the_document_alone() {
    let node = start().await;
    let manager = client(&node, Role::ServiceManager);
    let mut service = definition();
    service.kind = ServiceKind::OpenApi;
    service.description_url = Some("http://127.0.0.1:9000/openapi.yaml".parse().unwrap());
    service.endpoints = vec![endpoint("GET", "/tay", false), endpoint("GET", "/gia", true)];
    let unusable = (StatusCode::UNPROCESSABLE_ENTITY, "DESCRIPTION_UNUSABLE".to_owned());
    assert_eq!(code(manager.add_service(&service).await.unwrap_err()), unusable);
    node.publish("swagger: '2.0'");
    assert_eq!(code(manager.add_service(&service).await.unwrap_err()), unusable);

    node.publish("openapi: 3.1.0\npaths:\n  /a/{b}: {get: {}}\n  /r: {$ref: x.yaml}\n");
    let added = manager.add_service(&service).await.unwrap();
    assert_eq!(added.service.endpoints, [endpoint("GET", "/a/*", true), endpoint("GET", "/tay", false)]);
    assert!(added.notes.len() == 1 && added.notes[0].contains("x.yaml"), "{:?}", added.notes);

    // A change of something else asks nobody and cannot write over them.
    node.publish("broken");
    let mut changed = added.service.clone();
    changed.require_officer = true;
    changed.endpoints = vec![endpoint("PUT", "/gia", true), endpoint("PUT", "/tay", false)];
    let changed = manager.change_service(&changed).await.unwrap().service;
    assert_eq!(changed.endpoints, [endpoint("GET", "/a/*", true), endpoint("PUT", "/tay", false)]);
    assert_eq!(code(manager.refresh_service(&service.id).await.unwrap_err()), unusable);

    node.publish(r#"{"openapi":"3.0.3","paths":{"/c":{"post":{}}}}"#);
    let told = manager.refresh_service(&service.id).await.unwrap();
    assert_eq!(
        (told.added, told.deleted, told.notes),
        (vec![endpoint("POST", "/c", true)], vec![endpoint("GET", "/a/*", true)], vec![])
    );
    let now = manager.service(&service.id).await.unwrap();
    assert_eq!(now.endpoints, [endpoint("POST", "/c", true), endpoint("PUT", "/tay", false)]);
    assert_eq!(manager.refresh_service(&service.id).await.unwrap(), truc_admin::Refreshed::default());

    // With another document, or none, they are those of that.
    let document = Some("openapi: 3.0.0\npaths: {/d: {delete: {}}}".to_owned());
    let held = ServiceDefinition { description_url: None, document, ..now.clone() };
    let held = manager.change_service(&held).await.unwrap().service;
    assert_eq!(held.endpoints, [endpoint("DELETE", "/d", true), endpoint("PUT", "/tay", false)]);
    let rest = ServiceDefinition { kind: ServiceKind::Rest, document: None, ..held };
    let rest = manager.change_service(&rest).await.unwrap().service;
    assert_eq!(rest.endpoints, [endpoint("PUT", "/tay", false)]);
    assert_eq!(code(manager.refresh_service(&service.id).await.unwrap_err()).1, "MALFORMED");
    let kinds: Vec<String> = node.decisions().into_iter().map(|(kind, _)| kind).collect();
    let expected =
        ["service.added", "service.changed", "service.refreshed", "service.changed", "service.changed"];
    assert_eq!(kinds, expected);
    node.stop().await;
}

#[tokio::test]
async fn rights_are_granted_listed_and_revoked_either_way() {
    let node = start().await;
    let manager = client(&node, Role::Administrator);
    manager.add_service(&definition()).await.unwrap();
    let grant = |subject: &str, path: &str| Grant {
        subject: subject.parse().unwrap(),
        service: SERVICE.parse().unwrap(),
        method: "GET".parse().unwrap(),
        path: path.parse().unwrap(),
        conditions: Conditions::default(),
    };
    let desk = grant("VN/GOV/H26/mot-cua-so-1", "/cong-dan/*");
    let group = grant("GROUP:mot-cua", "/họ tên/**");
    let first = manager.grant(&desk).await.unwrap();
    let second = manager.grant(&group).await.unwrap();
    assert_eq!(first.subject.to_string(), "SUBSYSTEM:VN/GOV/H26/mot-cua-so-1");
    assert_eq!(code(manager.grant(&desk).await.unwrap_err()).1, "CONFLICT");
    assert_eq!(manager.access(&AccessFilter::default()).await.unwrap(), [first.clone(), second.clone()]);
    let only = AccessFilter { service: None, subject: Some(group.subject.clone()) };
    assert_eq!(manager.access(&only).await.unwrap(), [second]);
    manager.revoke(first.id).await.unwrap();
    assert_eq!(code(manager.revoke(first.id).await.unwrap_err()).1, "NOT_FOUND");
    manager.revoke_same(&group).await.unwrap();
    assert_eq!(manager.access(&AccessFilter::default()).await.unwrap(), []);
    let bearer = format!("Bearer {}", token(Role::Administrator));
    let bare = json!({"subject": "VN/GOV/H26", "service": SERVICE}).to_string();
    let (status, body, _) = raw(&node, Method::POST, "/api/v1/access", Some(&bearer), &bare).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        (&body["subject"], &body["method"], &body["path"]),
        (&json!("MEMBER:VN/GOV/H26"), &json!("*"), &json!("**"))
    );
    node.stop().await;
}

#[tokio::test]
async fn local_groups_live_from_adding_to_removing() {
    let node = start().await;
    let manager = client(&node, Role::ServiceManager);
    let new = NewGroup {
        owner: "VN/GOV/G01/csdl-dancu".parse().unwrap(),
        code: "doi-tac".parse().unwrap(),
        description: "Đối tác".into(),
    };
    let member = GroupMember::Member("VN/GOV/H26".parse().unwrap());
    assert_eq!(manager.add_local_group(&new).await.unwrap().members, []);
    let joined = manager.join_local_group(&new.owner, &new.code, &member).await.unwrap();
    assert_eq!(joined.members, std::slice::from_ref(&member));
    let filter = GroupFilter { owner: Some(new.owner.clone()) };
    assert_eq!(manager.local_groups(&filter).await.unwrap(), [joined]);
    assert_eq!(manager.leave_local_group(&new.owner, &new.code, &member).await.unwrap().members, []);
    manager.remove_local_group(&new.owner, &new.code).await.unwrap();
    assert_eq!(manager.local_groups(&GroupFilter::default()).await.unwrap(), []);
    assert_eq!(node.decisions().len(), 4);
    node.stop().await;
}

#[tokio::test]
async fn malformed_requests_change_nothing_and_say_why() {
    let node = start().await;
    let bearer = format!("Bearer {}", token(Role::Administrator));
    let big = format!("{{\"id\":\"{}\"}}", "x".repeat(truc_admin::BODY_LIMIT));
    let reserved =
        json!({"id": "VN/GOV/G01/csdl-dancu/listMethods", "kind": "rest", "url": "http://x"}).to_string();
    let elsewhere =
        json!({"id": "VN/GOV/G10/csdl-datdai/tra-cuu", "kind": "rest", "url": "http://x"}).to_string();
    let user = json!({"id": SERVICE, "kind": "rest", "url": "http://u:p@x"}).to_string();
    let stray = json!({"id": SERVICE, "kind": "rest", "url": "http://x", "stray": 1}).to_string();
    for (path, body, expected, says) in [
        ("/api/v1/services", "{", "MALFORMED", "body"),
        ("/api/v1/services", "[]", "MALFORMED", "id"),
        ("/api/v1/services", "{}", "MALFORMED", "id"),
        ("/api/v1/services", &big, "TOO_LARGE", ""),
        ("/api/v1/services", &reserved, "MALFORMED", "reserved"),
        ("/api/v1/services", &elsewhere, "NOT_FOUND", "not hosted"),
        ("/api/v1/services", &user, "MALFORMED", "password"),
        ("/api/v1/services", &stray, "MALFORMED", "stray"),
        ("/api/v1/access", r#"{"subject":"x","service":"VN/GOV/G01/csdl-dancu/s"}"#, "MALFORMED", "subject"),
        (
            "/api/v1/access",
            r#"{"subject":"VN/GOV/H26","service":"VN/GOV/G01/csdl-dancu/s","path":"a"}"#,
            "MALFORMED",
            "path",
        ),
    ] {
        let (_, answer, _) = raw(&node, Method::POST, path, Some(&bearer), body).await;
        assert_eq!(answer["code"], expected, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(says), "{answer}");
    }
    let other = json!({"id": "VN/GOV/G01/csdl-dancu/khac", "kind": "rest", "url": "http://x"}).to_string();
    let put = raw(&node, Method::PUT, &format!("/api/v1/services/{SERVICE}"), Some(&bearer), &other).await;
    assert_eq!((put.0, put.1["code"].as_str()), (StatusCode::BAD_REQUEST, Some("MALFORMED")));
    for path in [
        "/api/v1/evidence?limit=x",
        "/api/v1/evidence?limit=1001",
        "/api/v1/evidence?limit=0",
        "/api/v1/evidence?stray=1",
        "/api/v1/evidence/x",
        "/api/v1/evidence?since=today",
    ] {
        assert_eq!(
            raw(&node, Method::GET, path, Some(&bearer), "").await.0,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    assert!(node.decisions().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_journaled_does_not_happen() {
    let node = start().await;
    node.fill_the_disk();
    let manager = client(&node, Role::ServiceManager);
    let refused = code(manager.add_service(&definition()).await.unwrap_err());
    assert_eq!(refused, (StatusCode::SERVICE_UNAVAILABLE, "RECORDING_FAILED".into()));
    assert_eq!(manager.services().await.unwrap(), []);
    node.stop().await;
}

#[tokio::test]
async fn a_decision_ends_though_its_caller_goes_away() {
    let node = start().await;
    node.hold_decisions();
    let manager = client(&node, Role::ServiceManager);
    let call = tokio::spawn(async move { manager.add_service(&definition()).await });
    node.decision_has_begun().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    node.release_decisions();
    let backend = node.stop().await;
    assert_eq!(backend.decisions(), [("service.added".to_owned(), "ten-service-manager".to_owned())]);
}

#[tokio::test]
async fn auditors_read_the_evidence() {
    let node = start().await;
    let auditor = client(&node, Role::Auditor);
    let list =
        auditor.evidence(&EvidenceFilter { limit: Some(5), ..EvidenceFilter::default() }).await.unwrap();
    assert_eq!((list.len(), list[0].outcome), (1, Outcome::Ok));
    let bearer = format!("Bearer {}", token(Role::Auditor));
    let (_, rows, _) =
        raw(&node, Method::GET, "/api/v1/evidence?client=VN/GOV/H26/mot-cua-so-1", Some(&bearer), "").await;
    assert_eq!(
        rows[0],
        json!({"id": EXCHANGE, "time": "2026-11-21T03:04:05.678Z", "role": "provider", "client": "VN/GOV/H26/mot-cua-so-1",
            "service": SERVICE, "outcome": "ok"})
    );
    let stranger =
        EvidenceFilter { client: Some("VN/GOV/H49/x".parse().unwrap()), ..EvidenceFilter::default() };
    assert_eq!(auditor.evidence(&stranger).await.unwrap(), []);
    let about = |subject: &str| EvidenceSearch { subject: Some(subject.into()), ..EvidenceSearch::default() };
    let found = auditor.evidence_search(&about(SUBJECT)).await.unwrap();
    assert_eq!((found.exchanges, found.next), (list.clone(), None));
    assert_eq!(auditor.evidence_search(&about("001")).await.unwrap(), EvidencePage::default());
    assert!(!format!("{:?}", about(SUBJECT)).contains(SUBJECT), "nobody logs a number by accident");
    for bad in
        [r#"{"limit":0}"#, r#"{"limit":1001}"#, r#"{"after":-1}"#, r#"{"after":"x"}"#, r#"{"stray":1}"#]
    {
        let (status, _, _) = raw(&node, Method::POST, "/api/v1/evidence/search", Some(&bearer), bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let in_url = format!("/api/v1/evidence?subject={SUBJECT}");
    let refused = raw(&node, Method::GET, &in_url, Some(&bearer), "").await;
    assert_eq!(refused.0, StatusCode::BAD_REQUEST, "a person is never named in an address");
    let id = list[0].id;
    let shown = auditor.evidence_show(id, false).await.unwrap();
    // The header's text comes out as it was signed, its odd spacing included.
    assert_eq!(shown.records[0].header.as_ref().unwrap().get(), "{\"v\": 1}");
    assert!(shown.records[0].has_body && shown.records[0].body.is_none());
    assert_eq!(
        auditor.evidence_show(id, true).await.unwrap().records[0].body.as_deref(),
        Some("eGluIGNow6Bv")
    );
    assert_eq!(&auditor.evidence_container(id).await.unwrap()[..], b"PK container");
    let path = format!("/api/v1/evidence/{EXCHANGE}/container");
    let (_, _, headers) = raw(&node, Method::GET, &path, Some(&bearer), "").await;
    assert_eq!(headers["content-type"], "application/vnd.etsi.asic-e+zip");
    let unknown = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap();
    assert_eq!(code(auditor.evidence_show(unknown, false).await.unwrap_err()).0, StatusCode::NOT_FOUND);
    node.stop().await;
}

#[tokio::test]
async fn status_and_directory_are_told() {
    let node = start().await;
    let observer = client(&node, Role::Observer);
    let status = observer.status().await.unwrap();
    assert_eq!(
        (status.node.as_str(), status.hosted[0].as_str()),
        ("VN/GOV/G01/ss1", "VN/GOV/G01/csdl-dancu")
    );
    assert_eq!(observer.directory().await.unwrap().members[0].id.as_str(), "VN/GOV/G01");
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_there_is_said_to_be_not_running() {
    let node = start().await;
    let observer = client(&node, Role::Observer);
    let url = node.url.clone();
    node.stop().await;
    let error = observer.status().await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("node not running at {url}")), "{error}");
}
