//! `listClients`.

use std::time::Duration;

use serde_json::json;

use crate::node::{Node, now};

#[tokio::test]
async fn the_directorys_active_members_are_listed_without_a_call() {
    let node = Node::start().await;
    for line in ["GET /listClients", "GET /listClients?xRoadInstance=VN"] {
        let answer = node.send(line, "", b"").await;
        assert_eq!((answer.status, answer.one("content-type")), (200, "application/json;charset=utf-8"));
        let id = |kind: &str| json!({"object_type": kind, "xroad_instance": "VN", "member_class": "GOV", "member_code": "G01"});
        let mut subsystem = id("SUBSYSTEM");
        subsystem["subsystem_code"] = json!("he-thong");
        let expected = json!({"member": [
            {"id": id("MEMBER"), "name": "Cơ quan <G01>"},
            {"id": subsystem, "name": "Cơ quan <G01>", "subsystem_name": "Hệ thống"},
        ]});
        assert_eq!(answer.json(), expected);
    }
    let answer = node.send("GET /listClients", "Accept: text/xml\r\n", b"").await;
    assert_eq!(answer.one("content-type"), "text/xml;charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    for piece in [
        "<xroad:id id:objectType=\"MEMBER\"><id:xRoadInstance>VN</id:xRoadInstance><id:memberClass>GOV</id:memberClass>",
        "<id:subsystemCode>he-thong</id:subsystemCode></xroad:id><xroad:name>Cơ quan &lt;G01&gt;</xroad:name>",
        "<xroad:subsystemName>Hệ thống</xroad:subsystemName></xroad:member></xroad:clientList>",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn foreign_instances_other_methods_and_an_expired_directory_are_refused() {
    let node = Node::start().await;
    let answer = node.send("GET /listClients?xRoadInstance=EE", "", b"").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["reason"].as_str().unwrap().contains("instance VN"));
    assert_eq!(node.send("POST /listClients", "", b"x").await.status, 400);
    node.clock.set(now().plus(Duration::from_secs(73 * 3600)));
    let answer = node.send("GET /listClients", "", b"").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("DIRECTORY_EXPIRED")));
    node.stop().await;
}
