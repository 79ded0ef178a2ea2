//! `/asic` and `/verificationconf` (X-Road ug-sigdoc).

use truc_edge::{ClientConnections, Connection, Wanted};

use crate::node::{Node, Setup};

const OWN: &str = "xRoadInstance=VN&memberClass=GOV&memberCode=H26&subsystemCode=mot-cua-so-1";

#[tokio::test]
async fn documents_come_as_a_zip_or_alone() {
    let node = Node::start().await;
    for (flags, media_type, name, body) in [
        ("", "application/zip", "two.zip", "zip of 2"),
        ("&requestOnly", "application/zip", "two-request.zip", "zip of 2"),
        ("&responseOnly&force", "application/zip", "two-response.zip", "zip of 2"),
    ] {
        let answer = node.send(&format!("GET /asic?queryId=two&{OWN}{flags}"), "", b"").await;
        assert_eq!((answer.status, answer.one("content-type")), (200, media_type), "{flags}");
        assert_eq!(answer.one("content-disposition"), format!("attachment; filename=\"{name}\""));
        assert_eq!(answer.body, body.as_bytes());
    }
    let answer = node.send(&format!("GET /asic?queryId=one&{OWN}&responseOnly&unique"), "", b"").await;
    assert_eq!((answer.status, answer.one("content-type")), (200, "application/vnd.etsi.asic-e+zip"));
    assert_eq!(answer.one("content-disposition"), "attachment; filename=\"response-0.asice\"");
    assert_eq!(answer.body, b"asic");
    let head = node.send(&format!("HEAD /asic?queryId=one&{OWN}"), "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let questions = node.evidence.questions.lock().unwrap().clone();
    assert_eq!(questions[0].client.as_str(), "VN/GOV/H26/mot-cua-so-1");
    let wanted: Vec<Wanted> = questions.iter().map(|q| q.wanted).collect();
    assert_eq!(wanted, [Wanted::All, Wanted::Request, Wanted::Response, Wanted::Response, Wanted::All]);
    node.stop().await;
}

#[tokio::test]
async fn mistakes_are_told_in_plain_text_with_x_roads_statuses() {
    let node = Node::start().await;
    for (line, status, told) in [
        (format!("GET /asic?{OWN}"), 400, "queryId is missing"),
        (format!("GET /asic?queryId=two&{OWN}&unique"), 400, "requestOnly or responseOnly"),
        (format!("GET /asic?queryId=two&{OWN}&requestOnly&unique"), 400, "several"),
        (format!("GET /asic?queryId=big&{OWN}"), 400, "too big"),
        (format!("GET /asic?queryId=none&{OWN}"), 404, "no signed documents"),
        (format!("GET /asic?queryId=broken&{OWN}"), 500, "the node's log"),
        (format!("POST /asic?queryId=two&{OWN}"), 405, "GET"),
        ("DELETE /verificationconf".to_owned(), 405, "GET"),
    ] {
        let answer = node.send(&line, "", b"").await;
        assert_eq!(
            (answer.status, answer.one("content-type")),
            (status, "text/plain;charset=utf-8"),
            "{line}"
        );
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains(told) && !text.contains("secret"), "{line}: {text}");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_configuration_to_verify_with_is_a_zip_for_everybody() {
    let node = Node::start().await;
    let answer = node.send("GET /verificationconf", "", b"").await;
    assert_eq!((answer.status, answer.one("content-type")), (200, "application/zip"));
    assert_eq!(answer.one("content-disposition"), "attachment; filename=\"verificationconf.zip\"");
    assert_eq!(answer.body, b"a zip");
    node.stop().await;
}

#[tokio::test]
async fn documents_are_given_out_only_over_the_subsystems_connection() {
    let client = "VN/GOV/H26/mot-cua-so-1".parse().unwrap();
    let connections = ClientConnections::new([(client, Connection::Https)], false);
    let node = Node::set_up(Setup { connections, ..Setup::default() }).await;
    let answer = node.send(&format!("GET /asic?queryId=two&{OWN}"), "", b"").await;
    assert_eq!((answer.status, answer.one("content-type")), (401, "text/plain;charset=utf-8"));
    assert_eq!(answer.one("www-authenticate"), "TLS-Client-Certificate");
    assert!(String::from_utf8(answer.body).unwrap().contains("HTTPS"));
    assert!(node.evidence.questions.lock().unwrap().is_empty());
    node.stop().await;
}
