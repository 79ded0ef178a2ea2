//! Old agency codes in addresses: one canonical form goes on.

use truc_edge::request_hash::{BodyHash, block, request_hash};
use truc_edge::{ClientConnections, Connection};

use crate::node::{CLIENT, Node, Setup, id};

#[tokio::test]
async fn old_codes_are_taken_as_the_member_that_they_mean() {
    let node = Node::start().await;
    for (service, client, goes_on) in [
        ("000.00.00.G01", "000.00.00.H26", ("G01", "H26")),
        // By the rule, since the table does not have them.
        ("00.14.H29", "000.00.14.H29", ("H29.14", "H29.14")),
        ("%30%300.00.00.G01", "00.00.G01", ("G01", "G01")),
        // The table says more than the rule.
        ("242.00.00.H55", "H26", ("H26", "H26")),
        // New codes stay as they are, also those that nobody knows here.
        ("G01", "H26", ("G01", "H26")),
        ("H99", "H55.242", ("H99", "H55.242")),
    ] {
        let line = format!("GET /r1/VN/GOV/{service}/he-thong/tra-cuu/x?q=1");
        let fields = format!(
            "X-Road-Client: VN/GOV/{client}/mot-cua-so-1\r\nX-Road-Security-Server: VN/GOV/{service}/ss1\r\n"
        );
        let answer = node.send(&line, &fields, b"").await;
        assert_eq!(answer.status, 200, "{line}");
        let draft = node.draft();
        let wanted = format!("VN/GOV/{}/he-thong/tra-cuu", goes_on.0);
        assert_eq!(draft.service.as_str(), wanted, "{service}");
        assert_eq!(draft.client.as_str(), format!("VN/GOV/{}/mot-cua-so-1", goes_on.1), "{client}");
        assert_eq!(draft.context.target.unwrap().as_str(), format!("VN/GOV/{}/ss1", goes_on.0));
        assert_eq!(answer.one("x-road-service"), wanted, "the answer says the canonical id");
        assert_eq!(answer.one("x-road-client"), draft.client.as_str());
    }
    node.stop().await;
}

#[tokio::test]
async fn the_request_hash_is_over_what_the_caller_wrote() {
    let node = Node::start().await;
    let fields = "X-Road-Client: VN/GOV/000.00.00.H26/mot-cua-so-1\r\nX-Road-Id: hs-1\r\n";
    let answer = node.send("GET /r1/VN/GOV/000.00.00.G01/he-thong/tra-cuu?q", fields, b"").await;
    let written = [
        ("x-road-client".to_owned(), b"VN/GOV/000.00.00.H26/mot-cua-so-1".to_vec()),
        ("x-road-id".to_owned(), b"hs-1".to_vec()),
    ];
    let id = id().to_string();
    let block = block("GET", "/r1/VN/GOV/000.00.00.G01/he-thong/tra-cuu?q", &written, &id, None);
    assert_eq!(answer.one("x-road-request-hash"), request_hash(&block, BodyHash::of(b"")));
    node.stop().await;
}

#[tokio::test]
async fn a_closed_members_code_is_never_its_successors() {
    // H26 is closed in this directory: what becomes of the call (MOVED) is judged under its own code.
    let node = Node::start().await;
    node.send("GET /r1/VN/GOV/000.00.00.H26/he-thong/tra-cuu", CLIENT, b"").await;
    assert_eq!(node.draft().service.member().as_str(), "VN/GOV/H26");
    node.stop().await;
}

#[tokio::test]
async fn unknown_and_ambiguous_codes_are_refused_with_a_hint() {
    let node = Node::start().await;
    for (service, told) in [
        ("000.00.00.H99", "H99"),
        // A level below an unused one: the rule would make two units the same.
        ("000.14.00.H29", "an alias of its own"),
        ("G12.18", "ambiguous"),
    ] {
        let answer = node.send(&format!("GET /r1/VN/GOV/{service}/he-thong/tra-cuu"), CLIENT, b"").await;
        let fault = answer.json();
        assert_eq!((answer.status, fault["code"].as_str()), (404, Some("UNKNOWN_MEMBER")), "{service}");
        let hint = fault["reason"].as_str().unwrap();
        assert!(hint.contains(service) && hint.contains(told), "{hint}");
    }
    let answer = node.send("GET /r1/VN/COM/000.00.00.G01/he-thong/tra-cuu", CLIENT, b"").await;
    assert!(answer.json()["reason"].as_str().unwrap().contains("another class"));
    let client = "X-Road-Client: VN/GOV/000.00.00.H99/mot-cua-so-1\r\n";
    let answer = node.send("GET /r1/VN/GOV/G01/he-thong/tra-cuu", client, b"").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("UNKNOWN_CLIENT")));
    let fields = format!("{CLIENT}X-Road-Security-Server: VN/GOV/000.00.00.H99/ss1\r\n");
    let answer = node.send("GET /r1/VN/GOV/G01/he-thong/tra-cuu", &fields, b"").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("UNKNOWN_NODE")));
    assert!(node.consumer.drafts.lock().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn another_spelling_opens_no_other_door() {
    let strict = [("VN/GOV/H26/mot-cua-so-1".parse().unwrap(), Connection::Https)];
    let connections = ClientConnections::new(strict, false);
    let node = Node::set_up(Setup { connections, ..Setup::default() }).await;
    let old = "X-Road-Client: VN/GOV/000.00.00.H26/mot-cua-so-1\r\n";
    for client in [CLIENT, old] {
        let answer = node.send("GET /r1/VN/GOV/G01/he-thong/tra-cuu", client, b"").await;
        assert_eq!(answer.status, 401, "{client}");
    }
    let asked = "xRoadInstance=VN&memberClass=GOV&memberCode=000.00.00.H26&subsystemCode=mot-cua-so-1";
    assert_eq!(node.send(&format!("GET /asic?queryId=one&{asked}"), "", b"").await.status, 401);
    node.connections.store(Default::default());
    assert_eq!(node.send(&format!("GET /asic?queryId=one&{asked}"), "", b"").await.status, 200);
    let question = node.evidence.questions.lock().unwrap().remove(0);
    assert_eq!(question.client.as_str(), "VN/GOV/H26/mot-cua-so-1");
    let unknown = asked.replace("H26", "H99");
    assert_eq!(node.send(&format!("GET /asic?queryId=one&{unknown}"), "", b"").await.status, 404);
    node.stop().await;
}

#[tokio::test]
async fn clients_are_listed_under_their_canonical_ids_only() {
    let node = Node::start().await;
    let listed = String::from_utf8(node.send("GET /listClients", "", b"").await.body).unwrap();
    assert!(listed.contains("\"G01\"") && !listed.contains("000.00.00"), "{listed}");
    node.stop().await;
}
