//! Bodies too big for memory flow through both nodes: what is on record, and what is told when they break off.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use truc_evidence::container::{self, CheckName, State, Verdict};
use truc_evidence::{Outcome, Query, RecordKind};
use truc_exchange::ports::{AnswerBody, Beginning, ConsumerSide as _, ServiceAnswer, ServiceFailure, Turn};
use truc_exchange::{Draft, DraftBody, Failed, Reply};
use truc_message::contract::{digest_of, pieces};
use truc_message::{Body, BodyStream, Header, Parts, WHOLE_BODY};
use truc_model::{Fault, FaultCode, MessageId};
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::services::json;
use truc_testkit::{Bus, Federation, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, SIBLING, kinds, leaf, request, until};

/// Too long to be kept with a record.
const LONG: u64 = WHOLE_BODY + 5;
/// The longest request body that the service takes.
const LIMIT: u64 = 2 * WHOLE_BODY;

/// As the other tests' bus, with a service that takes big bodies.
async fn bus() -> Bus {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .with(|service| service.max_body = LIMIT)
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .member("VN/GOV/H27")
        .hosted_by(CONSUMER)
        .subsystem("xa-1")
        .right(CLIENT, SERVICE)
        .start()
        .await
}

fn sending(client: &str, announced: Option<u64>, pieces: BodyStream) -> Draft {
    Draft { method: "POST".into(), body: DraftBody::Coming { announced, pieces }, ..draft(client, SERVICE) }
}

fn calling(bus: &Bus, draft: Draft) -> JoinHandle<Result<Reply, Failed>> {
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    tokio::spawn(async move { consumer.call(draft).await })
}

/// The id and the code that a call ended in.
fn told(outcome: Result<Reply, Failed>) -> (Option<MessageId>, FaultCode) {
    let failed = outcome.unwrap_err();
    (failed.request, failed.fault.code)
}

type Pieces = stream::BoxStream<'static, Result<Bytes, ServiceFailure>>;

fn answering(bus: &Bus, announced: Option<u64>, pieces: impl Fn() -> Pieces + Send + Sync + 'static) {
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        let body = AnswerBody::Coming { announced, pieces: pieces() };
        async move { Ok(ServiceAnswer { body, ..json(200, "") }) }
    });
}

/// `length` bytes of the service, and then `end`.
fn answer_of(length: u64, end: Option<ServiceFailure>) -> Pieces {
    let broken = |fault: Fault| ServiceFailure::Broken(fault.to_string());
    let sent = pieces(length).map(move |piece| piece.map_err(broken));
    sent.chain(stream::iter(end.map(Err))).boxed()
}

/// Both nodes hold these records of the exchange; the last one ends as told.
async fn on_record(bus: &Bus, id: MessageId, last: RecordKind, ending: (Outcome, Option<FaultCode>)) {
    for node in [CONSUMER, PROVIDER] {
        let records = bus.node(node).records(id).await;
        assert_eq!(kinds(&records), [RecordKind::Request, last], "{node}");
        let (outcome, fault) = ending;
        assert_eq!(records[1].local.outcome, Some(outcome), "{node}");
        assert_eq!(records[1].local.fault.as_deref(), fault.map(FaultCode::as_str), "{node}");
    }
}

/// Nothing is on record and nothing was called.
fn nothing_at(bus: &Bus, node: &str) {
    assert!(bus.node(node).memory.as_ref().unwrap().is_empty(), "{node}");
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}

#[tokio::test]
async fn bodies_that_flow_are_on_record_by_their_digest_and_the_containers_verify() {
    let bus = bus().await;
    for announced in [Some(LONG), None] {
        answering(&bus, announced, || answer_of(LONG + 7, None));
        let answer_length = announced.map(|length| length + 7);
        answering(&bus, answer_length, || answer_of(LONG + 7, None));
        let reply = bus.node(CONSUMER).call(sending(CLIENT, announced, pieces(LONG))).await.unwrap();
        let answered = digest_of(pieces(LONG + 7)).await.unwrap();
        assert_eq!((reply.body.len(), reply.body.digest()), answered);
        let sent = digest_of(pieces(LONG)).await.unwrap().1;
        assert_eq!(bus.node(PROVIDER).services.calls().last().unwrap().body.len() as u64, LONG);
        on_record(&bus, reply.request, RecordKind::Response, (Outcome::Ok, None)).await;
        for node in [CONSUMER, PROVIDER] {
            let records = bus.node(node).records(reply.request).await;
            assert!(records.iter().all(|record| !record.has_body), "{node}");
            let header = Header::parse(&records[0].header).unwrap();
            assert_eq!(header.body.unwrap().length, announced, "{node}: no length is made up");
            let exchange = container::collect(bus.node(node).store.as_ref(), reply.request).await.unwrap();
            let bytes = container::write(&exchange).unwrap();
            assert!((bytes.len() as u64) < WHOLE_BODY / 10, "{node}: the bodies are not in it");
            let report = container::verify(&bytes, &bus.registry.anchor()).unwrap();
            assert_eq!(report.verdict, Verdict::Holds, "{node}: {report}");
            // What it proves is the digests; it says so, and names them for whoever has the bodies.
            let told: BTreeSet<bool> = report
                .not_shown()
                .filter(|check| check.name == CheckName::Body)
                .map(|check| {
                    check.detail.contains(&sent.to_string()) || check.detail.contains(&answered.1.to_string())
                })
                .collect();
            assert_eq!(told, BTreeSet::from([true]), "{node}: {report}");
            let bodies = report.checks.iter().filter(|check| check.name == CheckName::Body);
            assert_eq!(bodies.filter(|check| check.state == State::NotShown).count(), 2, "{node}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_breaks_off_leaves_nothing_behind() {
    let bus = bus().await;
    let broke = Fault::client(FaultCode::Malformed, "the body broke off");
    let cut = pieces(WHOLE_BODY).chain(stream::iter([Err(broke)])).boxed();
    let (request, code) = told(bus.node(CONSUMER).call(sending(CLIENT, Some(LONG), cut)).await);
    assert_eq!(code, FaultCode::Malformed);
    assert!(request.is_some());
    for node in [CONSUMER, PROVIDER] {
        nothing_at(&bus, node);
    }
    // Less than was announced is no message either.
    let (_, code) = told(bus.node(CONSUMER).call(sending(CLIENT, Some(LONG), pieces(LONG - 1))).await);
    assert_eq!(code, FaultCode::Malformed);
    for node in [CONSUMER, PROVIDER] {
        nothing_at(&bus, node);
    }
}

/// Refused by the header, or when it becomes too long: unsigned, and the exchange has no other record than that.
#[tokio::test]
async fn what_is_refused_on_its_way_is_on_record_as_an_unsigned_end_alone() {
    for (client, announced, length, code) in [
        (SIBLING, Some(LONG), LONG, FaultCode::NoRight),
        (SIBLING, None, LONG, FaultCode::NoRight),
        (CLIENT, Some(LIMIT + 1), LIMIT + 1, FaultCode::TooLarge),
        (CLIENT, None, LIMIT + 1, FaultCode::TooLarge),
    ] {
        let mut bus = bus().await;
        let read = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&read);
        let body = pieces(length).inspect(move |piece| {
            counted.fetch_add(piece.as_ref().unwrap().len() as u64, Ordering::SeqCst);
        });
        let (id, told) = told(bus.node(CONSUMER).call(sending(client, announced, body.boxed())).await);
        let id = id.unwrap();
        assert_eq!(told, code, "{client} {announced:?}");
        let by_header = client == SIBLING || announced.is_some();
        assert_eq!(read.load(Ordering::SeqCst) == 0, by_header, "{code}: refused before the body is read");
        nothing_at(&bus, PROVIDER);
        alone_on_record(&bus, id, code).await;
        bus.advance(Duration::from_secs(700));
        let recorder = &bus.node(CONSUMER).ground.recorder;
        assert!(recorder.abandoned(bus.clock.now()).await.unwrap().is_empty(), "there is nothing to close");
        assert!(bus.node_mut(CONSUMER).restart().await.is_empty(), "nor after a restart");
        alone_on_record(&bus, id, code).await;
    }
}

async fn alone_on_record(bus: &Bus, id: MessageId, code: FaultCode) {
    let consumer = bus.node(CONSUMER);
    let records = consumer.records(id).await;
    assert_eq!(kinds(&records), [RecordKind::Unsigned]);
    assert_eq!(records[0].local.fault.as_deref(), Some(code.as_str()));
    let listed =
        consumer.store.list(Query { message: Some(id), ..Query::default() }).await.unwrap().exchanges;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].outcome, listed[0].fault.as_deref()), (Outcome::Refused, Some(code.as_str())));
    // Nothing of it is signed: its container proves nothing, and says so.
    let exchange = container::collect(consumer.store.as_ref(), id).await.unwrap();
    let report = container::verify(&container::write(&exchange).unwrap(), &bus.registry.anchor()).unwrap();
    assert!(report.failed().next().is_none(), "{report}");
    assert_ne!(report.verdict, Verdict::Holds, "{report}");
}

#[tokio::test]
async fn an_answer_that_does_not_become_whole_ends_in_a_signed_refusal_at_both_nodes() {
    for (end, code, outcome) in [
        (ServiceFailure::Broken("cut".into()), FaultCode::ServiceFailed, Outcome::Failed),
        (ServiceFailure::TooLarge(7), FaultCode::ServiceFailed, Outcome::Failed),
        (ServiceFailure::Timeout(60_000), FaultCode::Timeout, Outcome::Unknown),
    ] {
        let bus = bus().await;
        let last = end.clone();
        answering(&bus, None, move || answer_of(WHOLE_BODY, Some(last.clone())));
        let (id, told) = told(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await);
        assert_eq!(told, code, "{end}");
        on_record(&bus, id.unwrap(), RecordKind::Refusal, (outcome, Some(code))).await;
        assert_eq!(bus.node(PROVIDER).services.count(), 1);
    }
}

/// The service sends some of its answer and no more; tells when.
fn stuck(bus: &Bus) -> Arc<Notify> {
    let reached = Arc::new(Notify::new());
    let reach = Arc::clone(&reached);
    answering(bus, None, move || {
        let reach = Arc::clone(&reach);
        let never = stream::once(async move {
            reach.notify_one();
            std::future::pending().await
        });
        answer_of(1_000_000, None).chain(never).boxed()
    });
    reached
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_within_the_answer_leaves_its_outcome_unknown_at_both_nodes() {
    let bus = bus().await;
    let cut = Arc::new(Notify::new());
    let go = Arc::clone(&cut);
    answering(&bus, None, move || {
        let go = Arc::clone(&go);
        let after = stream::once(async move {
            go.notified().await;
            Ok(Bytes::from_static(b"more"))
        });
        answer_of(1_000_000, None).chain(after).chain(answer_of(1_000_000, None)).boxed()
    });
    let call = calling(&bus, draft(CLIENT, SERVICE));
    until(|| bus.node(PROVIDER).services.count() == 1).await;
    bus.board.cut();
    cut.notify_one();
    let (id, code) = told(call.await.unwrap());
    assert_eq!(code, FaultCode::OutcomeUnknown);
    let unknown = (Outcome::Unknown, Some(FaultCode::OutcomeUnknown));
    on_record(&bus, id.unwrap(), RecordKind::Refusal, unknown).await;
}

/// The provider holds the digest of an answer that flowed, and not the answer: it cannot be had again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_flowed_and_was_lost_is_unknown_to_the_caller() {
    let bus = bus().await;
    answering(&bus, None, || answer_of(LONG, None));
    bus.board.tap(|way, turn| match (way, &turn) {
        (Way::Back, Turn::Message(..)) => Tapped::Break,
        _ => Tapped::Pass(turn),
    });
    let (id, code) = told(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await);
    assert_eq!(code, FaultCode::OutcomeUnknown);
    let id = id.unwrap();
    assert_eq!(kinds(&bus.node(CONSUMER).records(id).await), [RecordKind::Request, RecordKind::Unsigned]);
    let theirs = bus.node(PROVIDER).records(id).await;
    assert_eq!(kinds(&theirs), [RecordKind::Request, RecordKind::Response]);
    assert_eq!(theirs[1].local.outcome, Some(Outcome::Ok), "what happened is on record there");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_dies_within_its_answer_closes_it_as_unknown() {
    let mut bus = bus().await;
    let reached = stuck(&bus);
    let call = calling(&bus, draft(CLIENT, SERVICE));
    reached.notified().await;
    assert!(bus.node_mut(PROVIDER).restart().await.is_empty());
    let (id, code) = told(call.await.unwrap());
    assert_eq!(code, FaultCode::OutcomeUnknown);
    let unknown = (Outcome::Unknown, Some(FaultCode::OutcomeUnknown));
    on_record(&bus, id.unwrap(), RecordKind::Refusal, unknown).await;
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_dies_between_body_and_signature_has_sent_no_request() {
    let mut bus = bus().await;
    let whole = Arc::new(Notify::new());
    let reach = Arc::clone(&whole);
    let never = stream::once(async move {
        reach.notify_one();
        std::future::pending().await
    });
    let call = calling(&bus, sending(CLIENT, None, pieces(LONG).chain(never).boxed()));
    whole.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert!(bus.node_mut(CONSUMER).restart().await.is_empty());
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    for node in [CONSUMER, PROVIDER] {
        nothing_at(&bus, node);
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_dies_between_body_and_signature_has_called_nothing() {
    let bus = bus().await;
    let (board, gone) = (Arc::clone(&bus.board), bus.node(PROVIDER).id.clone());
    let last = stream::once(async move {
        board.unseat(&gone);
        Ok(Bytes::from_static(b"."))
    });
    let call = bus.node(CONSUMER).call(sending(CLIENT, None, pieces(LONG).chain(last).boxed())).await;
    let (id, code) = told(call);
    assert_eq!(code, FaultCode::Unavailable);
    nothing_at(&bus, PROVIDER);
    let records = bus.node(CONSUMER).records(id.unwrap()).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert!(records[1].local.outcome == Some(Outcome::Failed));
}

/// Sends a message by hand whose body takes as long as `during` says.
async fn slowly(bus: &Bus, parts: &Parts, during: impl Future<Output = ()> + Send + 'static) -> Turn {
    let mut c = bus.node(CONSUMER).open(bus.node(PROVIDER)).await;
    let whole = parts.body.bytes().unwrap().clone();
    let body = stream::once(async move {
        during.await;
        Ok(whole)
    });
    let beginning = Beginning {
        header: parts.header.clone(),
        secrets: Vec::new(),
        statuses: parts.statuses.clone(),
        announced: Some(parts.body.len()),
    };
    assert!(c.begin(beginning, body.boxed()).await.unwrap().is_some());
    c.sign(&parts.signature).await.unwrap();
    c.say(Turn::Recorded(leaf())).await.unwrap();
    c.hear().await.unwrap()
}

fn message(turn: Turn) -> Box<Parts> {
    match turn {
        Turn::Message(parts, _) => parts,
        other => panic!("no answer: {other:?}"),
    }
}

/// Claims are forgotten after twelve minutes; a body may take longer. The journal knows what came before.
#[tokio::test]
async fn one_message_sent_twice_slower_than_claims_are_remembered_is_carried_out_once() {
    let bus = Arc::new(bus().await);
    let body = Body::new(Bytes::from(vec![7; 100_000]));
    let parts = Parts {
        body: body.clone(),
        ..crate::bus::signed_by(bus.node(CONSUMER), bus.node(PROVIDER), "VN/GOV/H26", body, |_| {}).await
    };
    let (first_is_done, other) = (Arc::new(Notify::new()), Arc::clone(&bus));
    let (done, there, again) = (Arc::clone(&first_is_done), Arc::clone(&bus), parts.clone());
    // Begins while the message is fresh, like the first one, and is whole long after the first was answered.
    let second = tokio::spawn(async move {
        let clock = Arc::clone(&other);
        let during = async move {
            done.notified().await;
            clock.advance(Duration::from_secs(800));
            clock.publish();
        };
        slowly(&other, &again, during).await
    });
    tokio::task::yield_now().await;
    let first = slowly(&bus, &parts, async move {
        there.advance(Duration::from_secs(800));
        there.publish();
    });
    let first = message(first.await);
    first_is_done.notify_one();
    let second = message(second.await.unwrap());
    assert_eq!(first.header, second.header, "the recorded answer again");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 2);
    // A message that begins when it is not fresh any more stays EXPIRED, however quick its body is.
    let late = crate::bus::send(&bus, parts).await;
    assert_eq!(late.fault(), FaultCode::Expired);
}

/// What takes long is not what nobody carries out: it is not closed behind the back of whoever carries it out.
#[tokio::test(start_paused = true)]
async fn an_exchange_under_way_is_not_closed_however_long_it_takes() {
    let bus = bus().await;
    let reached = stuck(&bus);
    let call = calling(&bus, draft(CLIENT, SERVICE));
    reached.notified().await;
    bus.advance(Duration::from_secs(3600));
    let before = bus.clock.now();
    for node in [CONSUMER, PROVIDER] {
        let open = bus.node(node).ground.recorder.abandoned(before).await.unwrap();
        assert!(open.is_empty(), "{node}");
        assert_eq!(bus.node(node).memory.as_ref().unwrap().len(), 1, "{node}: its request is on record");
    }
    call.abort();
    drop(call.await);
    let open = bus.node(CONSUMER).ground.recorder.abandoned(before).await.unwrap();
    assert_eq!(open.len(), 1, "now nobody does");
}

/// A body that takes an hour: what the message rests on is judged anew when it is whole.
#[tokio::test]
async fn a_body_may_take_longer_than_statuses_are_fresh() {
    let bus = Arc::new(bus().await);
    let parts = request(&bus, |_| {}).await;
    let there = Arc::clone(&bus);
    let answer = slowly(&bus, &parts, async move {
        there.advance(Duration::from_secs(4000));
        there.publish();
    });
    assert!(matches!(answer.await, Turn::Message(..)));
    let parts = request(&bus, |_| {}).await;
    let there = Arc::clone(&bus);
    let answer = slowly(&bus, &parts, async move {
        there.advance(Duration::from_secs(4000));
        there.responder.revoke(&there.node(CONSUMER).seals[&"VN/GOV/H26".parse().unwrap()].certificate);
        there.publish();
    });
    let Turn::Fault(fault) = answer.await else { panic!("a revoked member was believed") };
    assert_eq!(fault.code, FaultCode::Untrusted);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}
