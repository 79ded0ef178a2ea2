//! Time-stamps that are late, and services that wait for them (evidence.md §3.3, §3.5).

use std::sync::Arc;

use tokio::task::JoinHandle;
use truc_evidence::{Outcome, RecordKind};
use truc_exchange::ports::{ConsumerSide as _, PastOutcome, ProviderSide as _, Turn};
use truc_exchange::{Failed, Reply};
use truc_model::{FaultCode, Side};
use truc_policy::TimeStamp;
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::services::json;
use truc_testkit::{Bus, Federation, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, Told, bus, call, failed, kinds, request, send, until};

/// A bus whose service waits for time-stamps.
async fn immediate(free: bool) -> Bus {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .with(|service| {
            (service.evidence.time_stamp, service.side_effect_free) = (TimeStamp::Immediate, free);
        })
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .right(CLIENT, SERVICE)
        .start()
        .await
}

fn calling(bus: &Bus) -> JoinHandle<Result<Reply, Failed>> {
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    tokio::spawn(async move { consumer.call(draft(CLIENT, SERVICE)).await })
}

/// Everybody who can go on does.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

fn records_of(bus: &Bus, node: &str) -> usize {
    bus.node(node).memory.as_ref().unwrap().len()
}

#[tokio::test]
async fn a_node_whose_stamps_are_overdue_begins_nothing_new() {
    for late in [CONSUMER, PROVIDER] {
        let bus = bus().await;
        bus.node(late).stamps.set_overdue(true);
        let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::TimeStampOverdue);
        let side = if late == CONSUMER { Side::ClientProxy } else { Side::ServerProxy };
        assert_eq!(failed.fault.side, side, "the prefix says whose");
        assert_eq!(failed.request.is_none(), late == CONSUMER, "nothing has left a node that is late itself");
        assert_eq!(records_of(&bus, PROVIDER), 0, "told unsigned, before anything is recorded");
        assert_eq!(bus.node(PROVIDER).services.count(), 0);
        if let Some(request) = failed.request {
            let records = bus.node(CONSUMER).records(request).await;
            assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
            assert_eq!(records[1].local.outcome, Some(Outcome::Refused));
        }
        bus.node(late).stamps.set_overdue(false);
        assert_eq!(call(&bus).await.unwrap().status, 200, "traffic goes on by itself");
    }
}

/// A message that was refused so may be sent again as it is.
#[tokio::test]
async fn what_was_refused_for_being_late_is_not_claimed() {
    let bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    bus.node(PROVIDER).stamps.set_overdue(true);
    assert_eq!(send(&bus, parts.clone()).await.fault(), FaultCode::TimeStampOverdue);
    bus.node(PROVIDER).stamps.set_overdue(false);
    assert!(matches!(send(&bus, parts).await, Told::Answer(..)));
}

/// Exchanges under way end as ever, and what became of earlier ones is still told.
#[tokio::test]
async fn being_late_cuts_nothing_that_is_under_way() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let both = [&consumer.stamps, &provider.stamps].map(Arc::clone);
    provider.services.on(SERVICE, move |_| {
        both.iter().for_each(|stamps| stamps.set_overdue(true));
        async { Ok(json(200, "{}")) }
    });
    let parts = request(&bus, |_| {}).await;
    let first = send(&bus, parts.clone()).await.answer();
    assert_eq!(first.0.status, Some(200));
    assert_eq!(call(&bus).await.unwrap_err().1, FaultCode::TimeStampOverdue, "no new one");
    let again = send(&bus, parts).await.answer();
    assert_eq!((again.0.id, provider.services.count()), (first.0.id, 1), "a repeat is told what it was told");
    let record = provider.store.read(0).await.unwrap();
    let peer = consumer.peer();
    let outcome = provider.provider.outcome(&peer, record.local.request, record.manifest_digest).await;
    assert!(matches!(outcome, Ok(PastOutcome::Answered(..))));
}

#[tokio::test]
async fn each_half_keeps_what_the_other_said_it_recorded() {
    let bus = bus().await;
    let reply = call(&bus).await.unwrap();
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let (theirs, ours) = (provider.records(reply.request).await, consumer.records(reply.request).await);
    // The provider heard of the consumer's request, against its own record of it; the consumer of the provider's answer.
    let heard = provider.stamps.heard();
    assert_eq!(heard, [(consumer.id.clone(), theirs[0].sequence, ours[0].leaf())]);
    assert_eq!(consumer.stamps.heard(), [(provider.id.clone(), ours[1].sequence, theirs[1].leaf())]);
    assert!(consumer.stamps.stamped().is_empty() && provider.stamps.stamped().is_empty(), "nobody waits");
}

/// No service call before the request's stamp; no `recorded` before the answer's.
#[tokio::test]
async fn an_immediate_service_is_called_and_answered_between_two_stamps() {
    for free in [false, true] {
        let bus = immediate(free).await;
        let provider = bus.node(PROVIDER);
        let (said, heard) = std::sync::mpsc::channel();
        bus.board.tap(move |way, turn| {
            if way == Way::Back {
                said.send(matches!(turn, Turn::Recorded(_))).unwrap();
            }
            Tapped::Pass(turn)
        });
        provider.stamps.set_shut(true);
        let calling = calling(&bus);
        assert_eq!(provider.stamps.waited_for(1).await, [0], "the request's record");
        until(|| records_of(&bus, CONSUMER) == 1).await;
        settle().await;
        assert_eq!(provider.services.count(), 0, "free of side effects or not");
        let gate = Arc::clone(&provider.stamps);
        provider.services.on(SERVICE, move |_| {
            gate.set_shut(true);
            async { Ok(json(200, "{}")) }
        });
        provider.stamps.set_shut(false);
        assert_eq!(provider.stamps.waited_for(2).await, [0, 1], "the answer's record");
        until(|| records_of(&bus, CONSUMER) == 2).await;
        settle().await;
        assert!(!calling.is_finished(), "the caller hears nothing before");
        assert_eq!(
            heard.try_iter().collect::<Vec<_>>(),
            [false],
            "the answer is with the peer, and no `recorded`"
        );
        provider.stamps.set_shut(false);
        assert_eq!(calling.await.unwrap().unwrap().status, 200);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [true]);
        assert_eq!(provider.stamps.stamped(), [0, 1]);
        assert!(bus.node(CONSUMER).stamps.stamped().is_empty(), "the consumer's half waits for none");
    }
}

/// As other failures after the record: a signed refusal, on record at both ends, and nothing is called.
#[tokio::test]
async fn without_the_requests_stamp_the_service_is_not_called_and_that_is_stated() {
    let bus = immediate(false).await;
    bus.node(PROVIDER).stamps.set_failing(true);
    let (request, code) = failed(&bus).await;
    assert_eq!((code, bus.node(PROVIDER).services.count()), (FaultCode::TimeStampOverdue, 0));
    for node in [CONSUMER, PROVIDER] {
        let records = bus.node(node).records(request).await;
        assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Refusal], "{node}");
        assert_eq!(records[1].local.outcome, Some(Outcome::Refused));
        assert_eq!(records[1].local.fault.as_deref(), Some("TIME_STAMP_OVERDUE"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stamp_is_waited_for_within_bounds() {
    let bus = immediate(false).await;
    bus.node(PROVIDER).stamps.set_shut(true);
    let begun = tokio::time::Instant::now();
    assert_eq!(failed(&bus).await.1, FaultCode::TimeStampOverdue);
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_answers_stamp_the_outcome_is_unknown_and_can_be_asked_for() {
    let bus = immediate(false).await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let gate = Arc::clone(&provider.stamps);
    provider.services.on(SERVICE, move |_| {
        gate.set_failing(true);
        async { Ok(json(200, "{}")) }
    });
    let (request, code) = failed(&bus).await;
    assert_eq!(code, FaultCode::OutcomeUnknown);
    let records = provider.records(request).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Response]);
    let outcome = provider.provider.outcome(&consumer.peer(), request, records[0].manifest_digest).await;
    assert!(matches!(outcome, Ok(PastOutcome::Answered(..))), "the recorded answer is told later");
    assert_eq!(provider.services.count(), 1);
}

/// A refusal hands over nothing: it is not waited for.
#[tokio::test]
async fn a_refusal_of_an_immediate_service_waits_for_no_stamp() {
    let bus = immediate(false).await;
    bus.node(PROVIDER).stamps.set_shut(true);
    let parts = request(&bus, |header| header.path = Some("/khong-co".into())).await;
    bus.node(PROVIDER).decide(&truc_policy::PolicyEvent::ServiceDisabled {
        service: SERVICE.parse().unwrap(),
        notice: "bảo trì".into(),
    });
    assert_eq!(send(&bus, parts).await.refusal(), FaultCode::ServiceDisabled);
}
