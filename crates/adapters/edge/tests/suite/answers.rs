//! What the information system gets back.

use bytes::Bytes;
use truc_edge::request_hash::{BodyHash, block, request_hash};
use truc_exchange::Reply;

use crate::node::{CLIENT, Node, SERVICE, id};

fn field(name: &str, value: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

#[tokio::test]
async fn the_services_answer_passes_and_the_nodes_fields_follow_it() {
    let node = Node::start().await;
    let headers = vec![
        field("location", b"/there"),
        field("set-cookie", b"a"),
        field("set-cookie", b"b"),
        field("date", b"Sat, 21 Nov 2026 03:04:05 GMT"),
        field("date", b"Sun, 22 Nov 2026 03:04:05 GMT"),
        field("x-road-id", b"forged"),
        field("x-road-request-hash", b"forged"),
        field("x-road-error", b"forged"),
        field("x-road-userid", b"kept"),
        field("transfer-encoding", b"chunked"),
        field("x-broken", b"a\r\nb"),
    ];
    let media_type = Some("text/csv; charset=x".to_owned());
    node.answer_with(Ok(Reply {
        request: id(),
        status: 303,
        headers,
        media_type,
        body: truc_message::Body::new(Bytes::from_static(b"1;2")),
    }));
    let fields = format!("{CLIENT}X-Road-Id: hs-1\r\nAccept: a\r\nX-B: 1\r\n");
    let answer = node.send(&format!("POST {SERVICE}/%63?q=1"), &fields, b"body").await;
    assert_eq!((answer.status, answer.body.as_slice()), (303, b"1;2".as_slice()));
    let block = block(
        "POST",
        &format!("{SERVICE}/c?q=1"),
        &[
            field("x-road-client", b"VN/GOV/H26/mot-cua-so-1"),
            field("x-road-id", b"hs-1"),
            field("accept", b"a"),
            field("x-b", b"1"),
        ],
        &id().to_string(),
        None,
    );
    for (name, values) in [
        ("content-type", vec!["text/csv; charset=x"]),
        ("location", vec!["/there"]),
        ("set-cookie", vec!["a", "b"]),
        ("date", vec!["Sat, 21 Nov 2026 03:04:05 GMT"]),
        ("content-length", vec!["3"]),
        ("transfer-encoding", vec![]),
        ("x-broken", vec![]),
        ("x-road-error", vec![]),
        ("x-road-userid", vec!["kept"]),
        ("x-road-id", vec!["hs-1"]),
        ("x-road-client", vec!["VN/GOV/H26/mot-cua-so-1"]),
        ("x-road-service", vec!["VN/GOV/G01/csdl-dancu/tra-cuu"]),
        ("x-road-request-id", vec![&id().to_string()]),
        ("x-road-request-hash", vec![&request_hash(&block, BodyHash::of(b"body"))]),
    ] {
        assert_eq!(answer.all(name), values, "{name}");
    }
    let ours: Vec<&str> =
        answer.fields.iter().map(|(n, _)| n.as_str()).filter(|n| n.starts_with("x-road-")).collect();
    let order = [
        "x-road-userid",
        "x-road-id",
        "x-road-client",
        "x-road-service",
        "x-road-request-id",
        "x-road-request-hash",
    ];
    assert_eq!(ours, order);
    node.stop().await;
}

#[tokio::test]
async fn a_missing_x_road_id_is_made_from_the_exchanges_id() {
    let node = Node::start().await;
    let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
    let made = format!("VN-{}", id());
    assert_eq!(answer.one("x-road-id"), made);
    let fields = [field("x-road-client", b"VN/GOV/H26/mot-cua-so-1")];
    let block = block("GET", SERVICE, &fields, &id().to_string(), Some(&made));
    assert_eq!(answer.one("x-road-request-hash"), request_hash(&block, BodyHash::of(b"")));
    node.stop().await;
}

#[tokio::test]
async fn a_registers_own_no_is_no_fault_of_the_bus() {
    let node = Node::start().await;
    for status in [204, 304, 404, 418, 500, 599] {
        node.answer_with(Ok(crate::node::reply(status, b"")));
        let answer = node.send(&format!("GET {SERVICE}"), CLIENT, b"").await;
        assert_eq!((answer.status, answer.all("x-road-error").len()), (status, 0));
    }
    node.stop().await;
}

#[tokio::test]
async fn head_says_nothing_of_a_length_it_does_not_know() {
    let node = Node::start().await;
    node.answer_with(Ok(crate::node::reply(200, b"")));
    let answer = node.send(&format!("HEAD {SERVICE}"), CLIENT, b"").await;
    assert_eq!(answer.all("content-length"), Vec::<&str>::new());
    node.stop().await;
}
