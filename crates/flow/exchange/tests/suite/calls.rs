//! Calls that go well, and calls that the consumer's own node refuses.

use truc_evidence::{Outcome, RecordKind, Role};
use truc_exchange::ports::{ServiceAnswer, ServiceFailure};
use truc_message::{Body, CanonicalPath, CanonicalQuery, Header};
use truc_model::FaultCode;
use truc_testkit::draft;
use truc_testkit::services::json;

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, STRICT, bus, kinds};

#[tokio::test]
async fn a_call_is_answered_and_recorded_at_both_ends() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    provider.services.on(SERVICE, |asked| async move {
        assert_eq!(asked.header.query.as_deref(), Some("a=1"));
        Ok(ServiceAnswer {
            headers: vec![("etag".into(), b"7".to_vec())],
            ..json(404, "{\"code\":\"NOT_FOUND\"}")
        })
    });
    let mut draft = draft(CLIENT, SERVICE);
    (draft.method, draft.body) = ("POST".into(), Body::new("{}".into()).into());
    (draft.query, draft.media_type) =
        (Some(CanonicalQuery::parse("a=1").unwrap()), Some("application/json".into()));
    let reply = consumer.call(draft).await.unwrap();
    assert_eq!(
        (reply.status, reply.body.bytes().unwrap().as_ref()),
        (404, b"{\"code\":\"NOT_FOUND\"}".as_slice())
    );
    assert_eq!(reply.headers, [("etag".to_owned(), b"7".to_vec())]);
    assert_eq!(reply.media_type.as_deref(), Some("application/json"));

    let (ours, theirs) = (consumer.records(reply.request).await, provider.records(reply.request).await);
    for (records, role) in [(&ours, Role::Consumer), (&theirs, Role::Provider)] {
        assert_eq!(kinds(records), [RecordKind::Request, RecordKind::Response]);
        assert!(records.iter().all(|record| record.local.role == role));
        assert_eq!(records[1].local.outcome, Some(Outcome::Ok));
    }
    for at in 0..2 {
        assert_eq!(ours[at].header, theirs[at].header);
        assert_eq!(ours[at].manifest_digest, theirs[at].manifest_digest);
        assert_eq!(ours[at].cms, theirs[at].cms);
        assert_eq!(ours[at].statuses.len(), 2, "seal and node");
        assert_eq!(ours[at].statuses, theirs[at].statuses);
    }
    let answer = Header::parse(&theirs[1].header).unwrap();
    assert_eq!(answer.leaf, Some(theirs[0].leaf()));
    assert_eq!(answer.in_reply_to.unwrap().digest, theirs[0].manifest_digest);
    assert_eq!(bus.responder.queries(), 0, "statuses are carried, not asked for");
}

#[tokio::test]
async fn the_officer_is_found_by_hash_only() {
    let bus = bus().await;
    let reply = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap();
    for node in [CONSUMER, PROVIDER] {
        for record in bus.node(node).records(reply.request).await {
            let local = std::str::from_utf8(&record.local_bytes).unwrap();
            assert!(!local.contains("cb-0123"), "{local}");
        }
        let request = &bus.node(node).records(reply.request).await[0];
        assert_eq!(request.local.officer.as_ref().unwrap().key_id, "index-1");
    }
}

#[tokio::test]
async fn secrets_are_handed_on_and_never_stored() {
    let bus = bus().await;
    let provider = bus.node(PROVIDER);
    provider.services.on(SERVICE, |asked| async move {
        assert!(asked.fields.contains(&("authorization".to_owned(), b"Bearer bi-mat-1".to_vec())));
        Ok(ServiceAnswer { headers: vec![("set-cookie".into(), b"bi-mat-2".to_vec())], ..json(200, "{}") })
    });
    let mut draft = draft(CLIENT, SERVICE);
    draft.headers = vec![
        ("accept".into(), b"*/*".to_vec()),
        ("authorization".into(), b"Bearer bi-mat-1".to_vec()),
        ("proxy-authorization".into(), b"bi-mat-3".to_vec()),
    ];
    let reply = bus.node(CONSUMER).call(draft).await.unwrap();
    assert_eq!(reply.headers, [("set-cookie".to_owned(), b"bi-mat-2".to_vec())]);
    for node in [CONSUMER, PROVIDER] {
        for record in bus.node(node).records(reply.request).await {
            let body = bus.node(node).store.body(record.sequence).await.unwrap().unwrap();
            for part in [&record.header, &record.local_bytes, &record.cms, &body] {
                let found = part.windows(6).any(|window| window == b"bi-mat");
                assert!(!found, "{:?} of {node}", record.kind);
            }
        }
    }
}

#[tokio::test]
async fn a_service_that_fails_is_told_in_a_signed_refusal() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    for (failure, code, outcome) in [
        (ServiceFailure::Timeout(60_000), FaultCode::Timeout, Outcome::Unknown),
        (ServiceFailure::Unreachable("refused".into()), FaultCode::ServiceFailed, Outcome::Failed),
        (ServiceFailure::Broken("reset".into()), FaultCode::ServiceFailed, Outcome::Failed),
        (ServiceFailure::TooLarge(1), FaultCode::ServiceFailed, Outcome::Failed),
    ] {
        provider.services.on(SERVICE, move |_| {
            let failure = failure.clone();
            async move { Err(failure) }
        });
        let failed = consumer.call(draft(CLIENT, SERVICE)).await.unwrap_err();
        assert_eq!(failed.fault.code, code);
        for node in [consumer, provider] {
            let records = node.records(failed.request.unwrap()).await;
            assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Refusal]);
            assert_eq!(records[1].local.outcome, Some(outcome), "{code}");
            assert_eq!(records[1].local.fault.as_deref(), Some(code.as_str()));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_failed_service() {
    let bus = bus().await;
    let answers: [fn() -> ServiceAnswer; 3] = [
        || ServiceAnswer { headers: vec![("x-a".into(), b"b\r\nc: d".to_vec())], ..json(200, "{}") },
        || ServiceAnswer { headers: vec![("x a".into(), b"b".to_vec())], ..json(200, "{}") },
        || json(101, "{}"),
    ];
    for answer in answers {
        bus.node(PROVIDER).services.on(SERVICE, move |_| async move { Ok(answer()) });
        let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::ServiceFailed);
    }
}

#[tokio::test]
async fn the_bus_itself_answers_metaservices() {
    let bus = bus().await;
    let ask = async |client: &str, code: &str| {
        let mut asked = draft(client, &format!("VN/GOV/G01/csdl-dancu/{code}"));
        asked.path = CanonicalPath::parse("").unwrap();
        let reply = bus.node(CONSUMER).call(asked).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(reply.body.bytes().unwrap()).unwrap();
        json["service"].as_array().unwrap().len()
    };
    assert_eq!(ask(CLIENT, "listMethods").await, 2);
    assert_eq!(ask(CLIENT, "allowedMethods").await, 2);
    assert_eq!(ask(crate::bus::SIBLING, "listMethods").await, 2);
    assert_eq!(ask(crate::bus::SIBLING, "allowedMethods").await, 0, "no right, nothing allowed");
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 8, "signed and recorded like any call");
}

#[tokio::test]
async fn what_cannot_be_routed_never_leaves_the_node() {
    let bus = bus().await;
    let ask = async |client: &str, service: &str, target: Option<&str>| {
        let mut asked = draft(client, service);
        asked.context.target = target.map(|node| node.parse().unwrap());
        let failed = bus.node(CONSUMER).call(asked).await.unwrap_err();
        assert_eq!(failed.request, None);
        failed.fault.code
    };
    assert_eq!(ask("VN/GOV/H28/khac", SERVICE, None).await, FaultCode::UnknownClient);
    assert_eq!(ask("VN/GOV/H26/la", SERVICE, None).await, FaultCode::UnknownClient);
    assert_eq!(ask(CLIENT, "VN/GOV/G99/a/b", None).await, FaultCode::UnknownMember);
    assert_eq!(ask(CLIENT, "VN/GOV/G01/khac/b", None).await, FaultCode::UnknownMember);
    assert_eq!(ask(CLIENT, SERVICE, Some("VN/GOV/H28/ss1")).await, FaultCode::UnknownNode);
    bus.change(|members| {
        let g01 = members.get_mut(&"VN/GOV/G01".parse().unwrap()).unwrap();
        g01.nodes[0].versions = vec![2];
    });
    assert_eq!(ask(CLIENT, SERVICE, None).await, FaultCode::UnsupportedVersion);
    bus.change(|members| {
        let g01 = members.get_mut(&"VN/GOV/G01".parse().unwrap()).unwrap();
        g01.status = truc_directory::MemberStatus::Closed;
        g01.succession = Some(truc_directory::Succession {
            member: "VN/GOV/H28".parse().unwrap(),
            subsystems: vec![],
            at: bus.clock.now(),
        });
    });
    let moved = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err().fault;
    assert_eq!((moved.code, moved.successor), (FaultCode::Moved, "VN/GOV/H28".parse().ok()));
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty());
    bus.board.unseat(&bus.node("VN/GOV/H28/ss1").id);
    let strict = bus.node(PROVIDER).call(draft("VN/GOV/G01/csdl-dancu", STRICT)).await.unwrap_err();
    assert_eq!(strict.fault.code, FaultCode::Moved);
}

#[tokio::test]
async fn a_node_may_call_a_service_that_it_hosts_itself() {
    let bus = bus().await;
    let provider = bus.node(PROVIDER);
    provider.decide(&truc_policy::PolicyEvent::RightGranted(truc_policy::Right::new(
        "VN/GOV/G01/csdl-dancu".parse().unwrap(),
        SERVICE.parse().unwrap(),
        truc_policy::MethodPattern::Any,
        truc_policy::PathGlob::every(),
    )));
    let reply = provider.call(draft("VN/GOV/G01/csdl-dancu", SERVICE)).await.unwrap();
    assert_eq!(provider.records(reply.request).await.len(), 4, "once as consumer, once as provider");
}
