//! Conditions, dry runs and the declarative form, over the API.

use http::StatusCode;
use truc_admin::{AccessFilter, AdminClient, CheckCall, Grant, PolicyText, Role};
use truc_policy::{Conditions, ServiceDefinition};

use crate::node::{Running, start, start_hosting, token};
use crate::{SERVICE, code};

fn administrator(node: &Running) -> AdminClient {
    AdminClient::new(&node.url, &token(Role::Administrator)).unwrap()
}

fn grant(conditions: Conditions) -> Grant {
    Grant {
        subject: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: SERVICE.parse().unwrap(),
        method: "GET".parse().unwrap(),
        path: "/cong-dan/*".parse().unwrap(),
        conditions,
    }
}

async fn with_service(node: &Running) -> AdminClient {
    let admin = administrator(node);
    let url = "http://127.0.0.1:9000".parse().unwrap();
    admin.add_service(&ServiceDefinition::rest(SERVICE.parse().unwrap(), url)).await.unwrap();
    admin
}

#[tokio::test]
async fn a_dry_run_says_yes_or_no_and_why() {
    let node = start().await;
    let admin = with_service(&node).await;
    let conditions = Conditions {
        require_legal_basis: true,
        hours: Some("mon-fri 07:30-17:00".parse().unwrap()),
        expires: Some("2027-01-01T00:00:00.000Z".parse().unwrap()),
        ..Conditions::default()
    };
    let granted = admin.grant(&grant(conditions)).await.unwrap();
    assert_eq!(granted.conditions, conditions);
    // The node's clock shows a Saturday.
    let call = CheckCall {
        client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: SERVICE.parse().unwrap(),
        method: "GET".to_owned(),
        path: "/cong-dan/1?x=1".to_owned(),
        officer: false,
        purpose: false,
        legal_basis: true,
        body_length: 0,
        at: None,
    };
    let no = admin.check(&call).await.unwrap();
    assert_eq!((no.allowed, no.code.as_deref()), (false, Some("NO_RIGHT")));
    assert_eq!(no.rights[0].misses, ["it holds mon-fri 07:30-17:00 (UTC+7) only"]);
    assert!(no.reason.unwrap().contains(&granted.id.to_string()));
    let monday = CheckCall { at: Some("2026-11-23T03:00:00.000Z".parse().unwrap()), ..call.clone() };
    let yes = admin.check(&monday).await.unwrap();
    assert_eq!((yes.allowed, yes.right, yes.code), (true, Some(granted.id), None));
    let bare = admin.check(&CheckCall { legal_basis: false, ..monday.clone() }).await.unwrap();
    assert_eq!(bare.code.as_deref(), Some("LEGAL_BASIS_REQUIRED"));
    let late = CheckCall { at: Some("2027-01-04T03:00:00.000Z".parse().unwrap()), ..monday.clone() };
    assert_eq!(admin.check(&late).await.unwrap().rights[0].misses, ["it ended 2027-01-01T00:00:00.000Z"]);
    let unknown = CheckCall { service: "VN/GOV/G01/csdl-dancu/khac".parse().unwrap(), ..monday };
    assert_eq!(admin.check(&unknown).await.unwrap().code.as_deref(), Some("UNKNOWN_SERVICE"));
    assert_eq!(node.decisions().len(), 2, "a dry run decides nothing");
    node.stop().await;
}

#[tokio::test]
async fn a_right_is_revoked_by_what_it_says_while_that_is_one() {
    let node = start().await;
    let admin = with_service(&node).await;
    let officer = Conditions { require_officer: true, ..Conditions::default() };
    admin.grant(&grant(officer)).await.unwrap();
    let plain = admin.grant(&grant(Conditions::default())).await.unwrap();
    let refused = admin.revoke_same(&grant(Conditions::default())).await.unwrap_err();
    assert!(refused.to_string().contains(&plain.id.to_string()), "{refused}");
    assert_eq!(code(refused), (StatusCode::CONFLICT, "CONFLICT".into()));
    admin.revoke(plain.id).await.unwrap();
    admin.revoke_same(&grant(Conditions::default())).await.unwrap();
    assert_eq!(admin.access(&AccessFilter::default()).await.unwrap(), []);
    node.stop().await;
}

#[tokio::test]
async fn what_is_exported_and_applied_is_nothing_new() {
    let node = start().await;
    let admin = with_service(&node).await;
    admin.grant(&grant(Conditions::default())).await.unwrap();
    let text = admin.export(None).await.unwrap();
    let plan = admin.plan(&text).await.unwrap();
    assert_eq!((plan.applied, plan.changes.len(), Some(plan.digest)), (false, 0, text.digest));
    assert!(admin.apply(&text).await.unwrap().changes.is_empty());
    assert_eq!(node.decisions().len(), 2, "nothing was decided");
    node.stop().await;
}

#[tokio::test]
async fn a_plan_is_applied_whole_and_only_while_it_is_true() {
    let node = start().await;
    let admin = with_service(&node).await;
    node.publish("openapi: 3.1.0\npaths:\n  /a/{b}: {get: {}}\n");
    let exported = admin.export(None).await.unwrap();
    let more = "[[service.right]]\nto = \"MEMBER:VN/GOV/H26\"\n[[service]]\nid = \"VN/GOV/G01/csdl-dancu/ho-tich\"\n\
                url = \"https://x\"\ndescription-url = \"https://x/openapi.yaml\"\n";
    let wanted = PolicyText { text: exported.text.clone() + more, digest: None, member: None };
    let plan = admin.plan(&wanted).await.unwrap();
    let told: Vec<String> =
        plan.changes.iter().map(|c| format!("{} {} {}", c.step, c.kind, c.what)).collect();
    assert_eq!(
        told,
        [
            "add service VN/GOV/G01/csdl-dancu/ho-tich",
            "add right VN/GOV/G01/csdl-dancu/tra-cuu: MEMBER:VN/GOV/H26 * **",
        ]
    );
    // Without a digest, or with another than that of what is in force, nothing happens.
    assert_eq!(code(admin.apply(&wanted).await.unwrap_err()).1, "MALFORMED");
    let planned = PolicyText { digest: Some(plan.digest), ..wanted };
    admin.disable_service(&SERVICE.parse().unwrap(), "x").await.unwrap();
    assert_eq!(code(admin.apply(&planned).await.unwrap_err()).1, "CONFLICT");
    assert_eq!(code(admin.plan(&planned).await.unwrap_err()).1, "CONFLICT");
    admin.enable_service(&SERVICE.parse().unwrap()).await.unwrap();
    // A document that cannot be read, or a disk that is full, stops all of it.
    node.publish("broken");
    assert_eq!(code(admin.apply(&planned).await.unwrap_err()).1, "DESCRIPTION_UNUSABLE");
    node.publish("openapi: 3.1.0\npaths:\n  /a/{b}: {get: {}}\n");
    node.fill_the_disk();
    assert_eq!(code(admin.apply(&planned).await.unwrap_err()).1, "RECORDING_FAILED");
    assert_eq!(admin.export(None).await.unwrap(), exported);
    node.stop().await;

    let node = start().await;
    let admin = with_service(&node).await;
    node.publish("openapi: 3.1.0\npaths:\n  /a/{b}: {get: {}}\n");
    let applied = admin.apply(&planned).await.unwrap();
    assert_eq!((applied.applied, applied.changes.len()), (true, 2));
    let service = admin.service(&"VN/GOV/G01/csdl-dancu/ho-tich".parse().unwrap()).await.unwrap();
    assert_eq!(service.endpoints.len(), 1);
    let kinds: Vec<String> = node.decisions().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["service.added", "policy.applied"]);
    node.stop().await;
}

#[tokio::test]
async fn mistakes_of_a_text_are_told_at_once_with_their_lines() {
    let node = start().await;
    let admin = administrator(&node);
    let text = "format = 1\ncolour = 1\n[[service]]\nid = \"VN/GOV/G10/a/b\"\nurl = \"x\"\n".to_owned();
    let wrong = PolicyText { text, digest: None, member: None };
    let told = admin.plan(&wrong).await.unwrap_err().to_string();
    assert!(told.contains("mistakes in the text: 2") && told.contains("line 2: colour"), "{told}");
    assert!(told.contains("line 5: url"), "{told}");
    let other = PolicyText { member: Some("VN/GOV/G10".parse().unwrap()), ..wrong };
    assert_eq!(code(admin.plan(&other).await.unwrap_err()).0, StatusCode::NOT_FOUND);
    node.stop().await;
}

/// Moving a hosted member to a node of its own: its part of the text goes there, and nothing of the others.
#[tokio::test]
async fn a_hosted_members_part_moves_to_another_node() {
    let old = start_hosting(&["VN/GOV/G01/csdl-dancu", "VN/GOV/G10/csdl-datdai"]).await;
    let from = with_service(&old).await;
    from.grant(&grant(Conditions { require_purpose: true, ..Conditions::default() })).await.unwrap();
    let url = "http://127.0.0.1:9001".parse().unwrap();
    let other = "VN/GOV/G10/csdl-datdai/thua-dat".parse().unwrap();
    from.add_service(&ServiceDefinition::rest(other, url)).await.unwrap();
    let member = "VN/GOV/G01".parse().unwrap();
    let part = from.export(Some(&member)).await.unwrap();

    let new = start().await;
    let to = administrator(&new);
    let moved = PolicyText { digest: None, ..part.clone() };
    let plan = to.plan(&moved).await.unwrap();
    assert_eq!(plan.changes.len(), 2);
    to.apply(&PolicyText { digest: Some(plan.digest), ..moved }).await.unwrap();
    assert_eq!(to.export(Some(&member)).await.unwrap(), part);
    assert_eq!(
        to.access(&AccessFilter::default()).await.unwrap(),
        from.access(&AccessFilter::default()).await.unwrap()
    );
    // The old node still serves both: nothing was taken from it.
    assert_eq!(from.services().await.unwrap().len(), 2);
    old.stop().await;
    new.stop().await;
}
