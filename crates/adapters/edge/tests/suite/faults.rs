//! Faults as the information system reads them.

use std::time::Duration;

use truc_exchange::Failed;
use truc_model::{Fault, FaultCode, Lang};

use crate::node::{CLIENT, Node, SERVICE, id};

#[tokio::test]
async fn every_code_has_its_true_status_and_x_roads_form() {
    let node = Node::start().await;
    for code in FaultCode::ALL {
        let fault = Fault::provider(*code, "secret of the operator");
        node.answer_with(Err(Failed { request: Some(id()), fault: fault.clone() }));
        let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
        assert_eq!(answer.status, code.http_status(), "{code}");
        assert_eq!(answer.one("x-road-error"), fault.x_road_type());
        assert_eq!(answer.one("content-type"), "application/json;charset=utf-8");
        assert_eq!(answer.one("x-road-request-id"), id().to_string());
        let body = answer.json();
        assert_eq!(body["type"], fault.x_road_type());
        assert_eq!(body["code"], code.as_str());
        // Of the request itself the caller is told, of what the directory says of either end, and the notice of a pause;
        // everything else is the operators' business.
        let of_the_request = [FaultCode::Malformed, FaultCode::NoRight, FaultCode::TooLarge];
        let of_the_directory = [FaultCode::Maintenance, FaultCode::Suspended, FaultCode::ServiceDisabled];
        if of_the_request.contains(code) || of_the_directory.contains(code) {
            assert_eq!(body["reason"], fault.detail);
            continue;
        }
        assert_eq!(body["message"], code.public_text(Lang::Vi));
        assert_eq!(body["text"]["vi"], code.public_text(Lang::Vi));
        assert_eq!(body["text"]["en"], code.public_text(Lang::En));
        assert_eq!(
            (&body["detail"], &body["requestId"]),
            (&id().to_string().into(), &id().to_string().into())
        );
        assert_eq!(
            (body["blame"].as_str(), body["retry"].as_str()),
            (Some(fault.blame().as_str()), Some(code.retry().as_str()))
        );
        assert!(!String::from_utf8(answer.body).unwrap().contains("secret"));
    }
    node.stop().await;
}

#[tokio::test]
async fn callers_are_told_of_their_own_mistakes_in_their_language() {
    let node = Node::start().await;
    let line = "GET /r1/VN/GOV/G01/a";
    let body = node.send(line, CLIENT, b"").await.json();
    assert!(body["reason"].as_str().unwrap().contains("5 parts"), "{body}");
    assert!(body["message"].as_str().unwrap().starts_with(FaultCode::Malformed.public_text(Lang::Vi)));
    assert_eq!(body["requestId"], serde_json::Value::Null);
    assert_eq!(body["detail"].as_str().unwrap().len(), 36);
    let body = node.send(line, "Accept-Language: en\r\n", b"").await.json();
    assert!(body["message"].as_str().unwrap().starts_with(FaultCode::Malformed.public_text(Lang::En)));
    node.stop().await;
}

#[tokio::test]
async fn xml_is_written_for_those_who_ask_for_it() {
    let node = Node::start().await;
    let answer = node
        .send("GET /r1/VN/GOV/G01/a%3Cb%3E/x", "Accept: application/xml\r\nX-Road-Client: <\r\n", b"")
        .await;
    assert_eq!(answer.one("content-type"), "application/xml;charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("<error><type>client.bad_request</type><message>"), "{text}");
    assert!(text.contains("a&lt;b&gt;"), "{text}");
    node.stop().await;
}

#[tokio::test]
async fn retry_after_successor_and_head() {
    let node = Node::start().await;
    let quota = Fault::provider(FaultCode::QuotaExceeded, "").with_retry_after(Duration::from_millis(1500));
    node.answer_with(Err(Failed { request: None, fault: quota }));
    let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
    assert_eq!(
        (answer.status, answer.one("retry-after"), &answer.json()["retryAfter"]),
        (429, "2", &2.into())
    );
    let moved = Fault::consumer(FaultCode::Moved, "").with_successor(Some("VN/GOV/G10".parse().unwrap()));
    node.answer_with(Err(Failed { request: None, fault: moved }));
    let body = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await.json();
    assert_eq!(body["successor"], "VN/GOV/G10");
    assert!(body["message"].as_str().unwrap().contains("VN/GOV/G10"));
    let answer = node.send("HEAD /r1/", "", b"").await;
    assert_eq!(
        (answer.status, answer.body.len(), answer.one("x-road-error")),
        (400, 0, "client.bad_request")
    );
    node.stop().await;
}
