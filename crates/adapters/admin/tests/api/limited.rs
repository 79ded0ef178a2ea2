//! A token that is limited to one hosted member: nothing of another can be seen or changed through it.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use truc_admin::{AdminClient, EvidenceSearch, Grant, NewGroup, Role, routes};
use truc_policy::{Conditions, ServiceDefinition};

use crate::node::{EXCHANGE, Running, SUBJECT, THEIR_EXCHANGE, limited, start_hosting, token};
use crate::raw;

const OURS: &str = "VN/GOV/G01/csdl-dancu";
const THEIRS: &str = "VN/GOV/G10/csdl-datdai";
const THEIR_SERVICE: &str = "VN/GOV/G10/csdl-datdai/thua-dat";

/// A node on which both members have a service, a group and a right of the same names.
async fn two_members() -> (Running, AdminClient, String) {
    let node = start_hosting(&[OURS, THEIRS]).await;
    let whole = AdminClient::new(&node.url, &token(Role::Administrator)).unwrap();
    let mut their_right = String::new();
    for (owner, code) in [(OURS, "tra-cuu"), (THEIRS, "thua-dat")] {
        let owner: truc_model::SubsystemId = owner.parse().unwrap();
        let service = owner.service(code).unwrap();
        let url = "http://127.0.0.1:9000".parse().unwrap();
        whole.add_service(&ServiceDefinition::rest(service.clone(), url)).await.unwrap();
        let group = NewGroup { owner, code: "ban".parse().unwrap(), description: String::new() };
        whole.add_local_group(&group).await.unwrap();
        let grant = Grant {
            subject: "LOCALGROUP:ban".parse().unwrap(),
            service,
            method: "GET".parse().unwrap(),
            path: "**".parse().unwrap(),
            conditions: Conditions::default(),
        };
        their_right = whole.grant(&grant).await.unwrap().id.to_string();
    }
    (node, whole, their_right)
}

/// What a limited administrator asks about the other member, by route; and the status that is to come.
fn about_them(method: &Method, path: &str, right: &str) -> (String, String, StatusCode) {
    let path = path
        .replace("{instance}/{class}/{member}/{subsystem}/{service}", THEIR_SERVICE)
        .replace("{instance}/{class}/{member}/{subsystem}/{code}", &format!("{THEIRS}/ban"))
        .replace("{instance}/{class}/{member}", "VN/GOV/H02")
        .replace("/access/{id}", &format!("/access/{right}"))
        .replace("{id}", THEIR_EXCHANGE);
    let service = json!({"id": format!("{THEIRS}/moi"), "kind": "rest", "url": "http://x"});
    let text = format!("format = 1\n[[service]]\nid = \"{THEIR_SERVICE}\"\nurl = \"http://y\"\n");
    let digest = "0".repeat(64);
    let last = path.rsplit('/').next().unwrap().to_owned();
    let (query, body) = match (method.as_str(), path.as_str(), last.as_str()) {
        ("POST", "/api/v1/services", _) => ("", service),
        ("PUT", ..) => ("", json!({"kind": "rest", "url": "http://y"})),
        (_, _, "disable") => ("", json!({"notice": "x"})),
        ("POST", "/api/v1/access", _) => ("", json!({"subject": "VN/GOV/H26", "service": THEIR_SERVICE})),
        ("DELETE", "/api/v1/access", _) => {
            ("?subject=LOCALGROUP:ban&method=GET&service=VN/GOV/G10/csdl-datdai/thua-dat", json!(null))
        }
        (_, _, "check") => {
            let client = "VN/GOV/H26/a";
            ("", json!({"client": client, "service": THEIR_SERVICE, "method": "GET", "path": "/"}))
        }
        ("POST", "/api/v1/local-groups", _) => ("", json!({"owner": THEIRS, "code": "moi"})),
        ("POST", _, "members") => ("", json!({"member": "MEMBER:VN/GOV/H26"})),
        ("DELETE", _, "members") => ("?member=MEMBER:VN/GOV/H26", json!(null)),
        (_, _, "search") => ("", json!({})),
        ("GET", "/api/v1/policy", _) => ("?member=VN/GOV/G10", json!(null)),
        (_, _, "plan" | "apply") => ("", json!({"text": text, "digest": digest, "member": "VN/GOV/G10"})),
        _ => ("", json!(null)),
    };
    let listed = ["status", "directory", "services", "access", "successions", "local-groups", "evidence"];
    let expected = match *method {
        // Lists are answered, without them; the test looks at what is in them.
        Method::POST if last == "search" => StatusCode::OK,
        Method::GET if listed.contains(&last.as_str()) && last != "successions" => StatusCode::OK,
        _ => StatusCode::NOT_FOUND,
    };
    (format!("{path}{query}"), body.to_string(), expected)
}

#[tokio::test]
async fn rights_of_one_member_never_leak_to_another() {
    let (node, whole, right) = two_members().await;
    let before = (whole.export(None).await.unwrap(), node.decisions().len());
    let bearer = format!("Bearer {}", limited(Role::Administrator));
    for route in routes() {
        let (path, body, expected) = about_them(&route.method, route.path, &right);
        let (status, answer, _) = raw(&node, route.method.clone(), &path, Some(&bearer), &body).await;
        let expected = if route.limited { expected } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{} {path}: {answer}", route.method);
        let directory = route.path.ends_with("/directory");
        assert!(directory || status != StatusCode::OK || !names_them(&answer), "{path}: {answer}");
    }
    assert_eq!((whole.export(None).await.unwrap(), node.decisions().len()), before);
    node.stop().await;
}

fn names_them(answer: &Value) -> bool {
    let text = answer.to_string();
    text.contains("VN/GOV/G10") || text.contains(THEIR_EXCHANGE) || text.contains("thua-dat")
}

#[tokio::test]
async fn a_limited_token_manages_its_own_member() {
    let (node, whole, _) = two_members().await;
    let ours = AdminClient::new(&node.url, &limited(Role::Administrator)).unwrap();
    assert_eq!(ours.status().await.unwrap().hosted.len(), 1);
    assert_eq!(whole.status().await.unwrap().hosted.len(), 2);
    let (services, rights) =
        (ours.services().await.unwrap(), ours.access(&Default::default()).await.unwrap());
    assert_eq!((services.len(), rights.len()), (1, 1));
    assert_eq!(ours.local_groups(&Default::default()).await.unwrap().len(), 1);
    let evidence = ours.evidence(&Default::default()).await.unwrap();
    assert_eq!(evidence.iter().map(|e| e.id.to_string()).collect::<Vec<_>>(), [EXCHANGE]);
    assert_eq!(whole.evidence(&Default::default()).await.unwrap().len(), 2);
    let about = EvidenceSearch { subject: Some(SUBJECT.into()), ..EvidenceSearch::default() };
    let found = ours.evidence_search(&about).await.unwrap();
    assert_eq!(found.exchanges, evidence, "a number is looked for among its own member's only");
    let page = EvidenceSearch { limit: Some(1), ..about.clone() };
    let page = whole.evidence_search(&page).await.unwrap();
    let rest = EvidenceSearch { after: page.next, ..about.clone() };
    assert_eq!((page.exchanges.len(), page.next), (1, Some(8)));
    assert_eq!(whole.evidence_search(&rest).await.unwrap().exchanges, evidence);
    ours.evidence_container(evidence[0].id).await.unwrap();
    ours.revoke(rights[0].id).await.unwrap();
    ours.disable_service(&services[0].id, "bảo trì").await.unwrap();
    assert_eq!(whole.access(&Default::default()).await.unwrap().len(), 1);
    // Its own text is its member's part, and applying it leaves the others alone.
    let mut text = ours.export(None).await.unwrap();
    assert!(!text.text.contains("VN/GOV/G10"), "{}", text.text);
    text.text = "format = 1\n".to_owned();
    let applied = ours.apply(&text).await.unwrap();
    assert_eq!(applied.changes.len(), 2);
    assert_eq!(whole.services().await.unwrap().len(), 1);
    let last = node.decisions().pop().unwrap();
    assert_eq!(last, ("policy.applied".to_owned(), "g01-administrator".to_owned()));
    node.stop().await;
}

/// A group of one member is nobody to the services of another beside it.
#[tokio::test]
async fn groups_of_one_member_serve_no_other() {
    let (node, whole, _) = two_members().await;
    let group = NewGroup {
        owner: THEIRS.parse().unwrap(),
        code: "rieng".parse().unwrap(),
        description: String::new(),
    };
    whole.add_local_group(&group).await.unwrap();
    let grant = Grant {
        subject: "LOCALGROUP:rieng".parse().unwrap(),
        service: format!("{OURS}/tra-cuu").parse().unwrap(),
        method: "GET".parse().unwrap(),
        path: "**".parse().unwrap(),
        conditions: Conditions::default(),
    };
    assert_eq!(crate::code(whole.grant(&grant).await.unwrap_err()).0, StatusCode::NOT_FOUND);
    node.stop().await;
}
