//! What a service says about its evidence: whom calls are about, and what is kept of their bodies (evidence.md §5, §6.1).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use truc_evidence::container::{self, Verdict};
use truc_evidence::{KeyedHash, RecordKind, StoredRecord};
use truc_exchange::ports::{ConsumerSide as _, Conversation, OnRecord, PastOutcome, ProviderSide, Turn};
use truc_exchange::{Draft, Provider, Reply};
use truc_message::{Body, CanonicalPath, CanonicalQuery, Peer};
use truc_model::{Digest, Fault, FaultCode, MemberId, MessageId, Timestamp};
use truc_policy::{Bodies, EvidenceSettings, NoSubject, PolicyEvent};
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::services::json;
use truc_testkit::{Bus, Federation, TestNode, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, STRICT, Told, request, send, until};

const NUMBER: &str = "001099012345";

/// A bus whose service says `settings`, as its operator writes them.
async fn saying(settings: serde_json::Value) -> Bus {
    keeping(settings, Bodies::Full).await
}

async fn keeping(settings: serde_json::Value, consumers: Bodies) -> Bus {
    let said: EvidenceSettings = serde_json::from_value(settings).unwrap();
    Federation::new()
        .consumers_keep(consumers, "ben-goi")
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .with(|service| service.evidence = said)
        .service("can-cu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .right(CLIENT, SERVICE)
        .right(CLIENT, STRICT)
        .start()
        .await
}

fn asking(body: &str) -> Draft {
    let mut draft = draft(CLIENT, SERVICE);
    draft.method = "POST".into();
    draft.body = Body::new(Bytes::copy_from_slice(body.as_bytes())).into();
    draft
}

async fn call(bus: &Bus, draft: Draft) -> Reply {
    bus.node(CONSUMER).call(draft).await.unwrap()
}

async fn subject(bus: &Bus, draft: Draft) -> Option<KeyedHash> {
    let reply = call(bus, draft).await;
    bus.node(PROVIDER).records(reply.request).await[0].local.subject.clone()
}

fn hashed(node: &TestNode, member: &str, text: &str) -> Option<KeyedHash> {
    let member: MemberId = member.parse().unwrap();
    node.ground.recorder.hashes(&member, text).first().cloned()
}

async fn verified(node: &TestNode, bus: &Bus, request: MessageId) -> container::Report {
    let exchange = container::collect(node.store.as_ref(), request).await.unwrap();
    container::verify(&container::write(&exchange).unwrap(), &bus.registry.anchor()).unwrap()
}

#[tokio::test]
async fn whom_a_call_is_about_is_in_the_providers_record_of_the_request_alone() {
    let bus = saying(serde_json::json!({"subject": {"jsonPointer": "/congDan/so"}})).await;
    let mut draft = asking(&format!(r#"{{"congDan":{{"so":"{NUMBER}"}}}}"#));
    draft.context.issue = Some("000.00.00.H26-261121-0001".into());
    let reply = call(&bus, draft).await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let theirs = provider.records(reply.request).await;
    let ours = consumer.records(reply.request).await;
    let expected = hashed(provider, "VN/GOV/G01", NUMBER);
    assert!(expected.is_some());
    assert_eq!(theirs[0].local.subject, expected);
    assert!([&theirs[1], &ours[0], &ours[1]].iter().all(|record| record.local.subject.is_none()));
    let in_clear = |record: &StoredRecord| String::from_utf8_lossy(&record.local_bytes).contains(NUMBER);
    assert!(!theirs.iter().any(in_clear), "the index itself leaks no numbers");
    let dossier = "000.00.00.H26-261121-0001";
    assert_eq!(theirs[0].local.dossier, hashed(provider, "VN/GOV/G01", dossier));
    assert_eq!(ours[0].local.dossier, hashed(consumer, "VN/GOV/H26", dossier), "under each member's own key");
    assert_eq!(verified(provider, &bus, reply.request).await.verdict, Verdict::Holds);
}

#[tokio::test]
async fn a_subject_is_found_in_path_and_query_too() {
    let bus = saying(serde_json::json!({"subject": {"pathSegment": 2}})).await;
    let expected = hashed(bus.node(PROVIDER), "VN/GOV/G01", NUMBER);
    let mut asked = draft(CLIENT, SERVICE);
    asked.path = CanonicalPath::parse(&format!("/cong-dan/%30{}", &NUMBER[1..])).unwrap();
    assert_eq!(subject(&bus, asked).await, expected);
    let bus = saying(serde_json::json!({"subject": {"query": "so"}})).await;
    let mut asked = draft(CLIENT, SERVICE);
    asked.query = Some(CanonicalQuery::parse(&format!("a=1&so={NUMBER}")).unwrap());
    assert_eq!(subject(&bus, asked).await, expected);
}

/// Calls that name nobody, or more than one, go on as ever; they are counted.
#[tokio::test]
async fn a_call_that_names_nobody_is_counted() {
    let bus = saying(serde_json::json!({"subject": {"jsonPointer": "/so"}})).await;
    for body in ["{}", r#"{"so":"1","so":"2"}"#, "so=1", r#"{"so":7}"#] {
        assert_eq!(subject(&bus, asking(body)).await.is_some(), body.contains('7'), "{body}");
    }
    let counts = bus.node(PROVIDER).ground.recorder.subjects();
    let of = |why: NoSubject| NoSubject::ALL.iter().zip(counts.none).find(|(w, _)| **w == why).unwrap().1;
    assert_eq!(counts.found, 1);
    assert_eq!([NoSubject::Missing, NoSubject::Several, NoSubject::Unreadable].map(of), [1, 1, 1]);
    // A service that says nothing about it looks for nobody.
    let mut asked = asking(r#"{"so":7}"#);
    asked.service = STRICT.parse().unwrap();
    assert_eq!(subject(&bus, asked).await, None);
    assert_eq!(bus.node(PROVIDER).ground.recorder.subjects(), counts);
}

/// A refused request says about whom it was, too: "who wanted to look at my data".
#[tokio::test]
async fn a_refused_request_is_indexed_and_its_body_is_not_kept_either() {
    let settings = serde_json::json!({"subject": {"pathSegment": 1}, "bodies": "digest"});
    let bus = saying(settings).await;
    let provider = bus.node(PROVIDER);
    provider.decide(&PolicyEvent::ServiceDisabled {
        service: SERVICE.parse().unwrap(),
        notice: "bảo trì".into(),
    });
    let mut asked = asking("bí mật");
    asked.path = CanonicalPath::parse(&format!("/{NUMBER}")).unwrap();
    let failed = bus.node(CONSUMER).call(asked).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ServiceDisabled);
    let records = provider.records(failed.request.unwrap()).await;
    assert_eq!(records[0].local.subject, hashed(provider, "VN/GOV/G01", NUMBER));
    assert_eq!(
        (records[0].has_body, records[1].has_body),
        (false, true),
        "the refusal is the bus's own word"
    );
    let report = verified(provider, &bus, failed.request.unwrap()).await;
    assert_eq!(report.verdict, Verdict::Holds);
}

#[tokio::test]
async fn a_digest_only_exchange_keeps_no_body_and_its_container_verifies() {
    for (consumers, bodies) in [(Bodies::Full, true), (Bodies::Digest, false)] {
        let bus = keeping(serde_json::json!({"bodies": "digest", "retention": "ngan"}), consumers).await;
        let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
        provider.services.on(SERVICE, |_| async { Ok(json(200, r#"{"hoTen":"…"}"#)) });
        let reply = call(&bus, asking(r#"{"so":"1"}"#)).await;
        assert_eq!(reply.body.bytes().unwrap().as_ref(), r#"{"hoTen":"…"}"#.as_bytes());
        for (node, kept) in [(provider, false), (consumer, bodies)] {
            for record in node.records(reply.request).await {
                assert_eq!(record.has_body, kept);
                assert_eq!(node.store.body(record.sequence).await.unwrap().is_some(), kept);
            }
            let report = verified(node, &bus, reply.request).await;
            assert_eq!(report.verdict, Verdict::Holds, "{report}");
        }
        let classes =
            |node: &TestNode| node.gate.classes().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(classes(provider), ["ngan"; 2], "what the service says");
        assert_eq!(classes(consumer), ["ben-goi"; 2], "what the node says of its own calls");
    }
}

/// What the provider's node says of past requests, where it is not what the real one would say.
struct Saying {
    provider: Arc<Provider>,
    past: Box<dyn Fn(PastOutcome) -> PastOutcome + Send + Sync>,
}

#[async_trait]
impl ProviderSide for Saying {
    fn early(&self, peer: &Peer, header: &[u8], announced: Option<u64>, at: Timestamp) -> Result<u64, Fault> {
        self.provider.early(peer, header, announced, at)
    }
    async fn serve(&self, conversation: Box<dyn Conversation>) {
        self.provider.serve(conversation).await;
    }
    async fn outcome(&self, peer: &Peer, id: MessageId, digest: Digest) -> Result<PastOutcome, Fault> {
        self.provider.outcome(peer, id, digest).await.map(&self.past)
    }
}

fn seat(bus: &Bus, peer: Peer, past: impl Fn(PastOutcome) -> PastOutcome + Send + Sync + 'static) {
    let node = bus.node(PROVIDER);
    let side = Arc::new(Saying { provider: Arc::clone(&node.provider), past: Box::new(past) });
    bus.board.seat(node.id.clone(), side, peer, Arc::clone(&node.own), Arc::clone(&bus.clock));
}

/// The answer came whole, and only the word that it is on record is lost: of the answer that it has not kept the provider's
/// node still says which one it is.
#[tokio::test(start_paused = true)]
async fn a_digest_only_providers_lost_word_costs_no_answer_that_is_here() {
    type Say = fn(PastOutcome) -> PastOutcome;
    let silent: Say = |past| match past {
        PastOutcome::Lost(fault, _) => PastOutcome::Lost(fault, None),
        past => past,
    };
    let other: Say = |past| match past {
        PastOutcome::Lost(fault, Some(named)) => {
            PastOutcome::Lost(fault, Some(OnRecord { digest: Digest([7; 32]), ..named }))
        }
        past => past,
    };
    for (what, say, answer_came, known) in [
        ("it names the answer", (|past| past) as Say, true, true),
        ("it names none, as older nodes", silent, true, false),
        ("it names another", other, true, false),
        ("the answer itself did not come", |past| past, false, false),
    ] {
        let bus = keeping(serde_json::json!({"bodies": "digest"}), Bodies::Full).await;
        let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
        provider.services.on(SERVICE, |_| async { Ok(json(200, r#"{"hoTen":"…"}"#)) });
        seat(&bus, provider.peer(), say);
        bus.board.tap(move |way, turn| match (way, &turn) {
            (Way::Back, Turn::Message(..)) if !answer_came => Tapped::Break,
            (Way::Back, Turn::Recorded(_)) => Tapped::Lose,
            _ => Tapped::Pass(turn),
        });
        let ended = consumer.call(asking("{}")).await;
        assert_eq!(provider.services.count(), 1, "{what}");
        let request = match &ended {
            Ok(reply) => reply.request,
            Err(failed) => failed.request.unwrap(),
        };
        let theirs = provider.records(request).await;
        let ours = consumer.records(request).await;
        if known {
            let reply = ended.unwrap();
            assert_eq!(reply.body.bytes().unwrap().as_ref(), r#"{"hoTen":"…"}"#.as_bytes(), "{what}");
            let acknowledged = (provider.id.clone(), ours[1].sequence, theirs[1].leaf());
            assert_eq!(consumer.stamps.heard(), [acknowledged], "the leaf is held against it all the same");
        } else {
            assert_eq!(ended.unwrap_err().fault.code, FaultCode::OutcomeUnknown, "{what}");
            assert!(consumer.stamps.heard().is_empty(), "{what}");
        }
        let kind = if answer_came { RecordKind::Response } else { RecordKind::Unsigned };
        assert_eq!(ours[1].kind, kind, "{what}");
    }
}

/// Whoever took the provider's address over may be a node of the bus: what it says of the past counts for nothing.
#[tokio::test(start_paused = true)]
async fn another_node_at_the_providers_address_tells_no_outcome() {
    let bus = saying(serde_json::json!({})).await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let answers = Arc::new(Notify::new());
    let waits = Arc::clone(&answers);
    provider.services.on(SERVICE, move |_| {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            Ok(json(200, "{}"))
        }
    });
    bus.board.tap(|way, turn| match (way, &turn) {
        (Way::Back, Turn::Message(..)) => Tapped::Break,
        _ => Tapped::Pass(turn),
    });
    let side = Arc::clone(&consumer.consumer);
    let calling = tokio::spawn(async move { side.call(asking("{}")).await });
    until(|| provider.services.count() == 1).await;
    seat(&bus, consumer.peer(), |_| PastOutcome::Never);
    answers.notify_one();
    let failed = calling.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::OutcomeUnknown, "not told as never carried out");
}

/// There is nothing to leave out of nothing: a call without bodies is kept whole, and can be told again.
#[tokio::test]
async fn empty_bodies_are_kept_and_answers_without_them_told_again() {
    let bus = saying(serde_json::json!({"bodies": "digest"})).await;
    let parts = request(&bus, |_| {}).await;
    let (first, body) = send(&bus, parts.clone()).await.answer();
    assert!(body.is_empty());
    assert_eq!(send(&bus, parts).await.answer().0.id, first.id);
    bus.node(PROVIDER).services.on(SERVICE, |_| async { Ok(json(200, "{}")) });
    let parts = request(&bus, |_| {}).await;
    assert!(matches!(send(&bus, parts.clone()).await, Told::Answer(..)));
    assert_eq!(
        send(&bus, parts).await.fault(),
        FaultCode::OutcomeUnknown,
        "the node no longer has the answer"
    );
    assert_eq!(bus.node(PROVIDER).services.count(), 2, "and calls nobody again");
}
