//! Who waits for whose record, and what is told when one cannot be made (protocol P4.3–P4.5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use truc_evidence::{Outcome, RecordKind};
use truc_exchange::ports::{ServiceAnswer, Turn};
use truc_model::FaultCode;
use truc_policy::{PolicyEvent, ServiceDefinition};
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::draft;
use truc_testkit::services::json;

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, call, failed, kinds, until};

#[tokio::test]
async fn a_consumer_that_cannot_record_gets_nothing_carried_out() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    consumer.memory.as_ref().unwrap().set_full(true);
    let (request, code) = call(&bus).await.unwrap_err();
    assert_eq!(
        (request, code),
        (None, FaultCode::RecordingFailed),
        "refused before anything leaves the node"
    );
    assert_eq!(provider.memory.as_ref().unwrap().len(), 0);
    assert_eq!(provider.services.count(), 0);
    consumer.memory.as_ref().unwrap().set_full(false);
    assert_eq!(call(&bus).await.unwrap().status, 200, "traffic goes on by itself when there is room");
}

#[tokio::test]
async fn a_provider_that_cannot_record_calls_nothing() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    provider.memory.as_ref().unwrap().set_full(true);
    let (request, code) = failed(&bus).await;
    assert_eq!(code, FaultCode::RecordingFailed);
    assert_eq!(provider.services.count(), 0);
    let records = consumer.records(request).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert_eq!(records[1].local.outcome, Some(Outcome::Refused));
    provider.memory.as_ref().unwrap().set_full(false);
    assert_eq!(call(&bus).await.unwrap().status, 200);
}

/// Room for the answer's record is kept before the service is called: a disk that fills up meanwhile loses nothing.
#[tokio::test]
async fn the_answer_has_its_room_before_the_service_acts() {
    let bus = bus().await;
    let disk = Arc::clone(bus.node(PROVIDER).memory.as_ref().unwrap());
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        disk.set_full(true);
        async { Ok(json(200, "{}")) }
    });
    assert_eq!(call(&bus).await.unwrap().status, 200);
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 2);
}

#[tokio::test]
async fn the_service_waits_for_both_records() {
    for slow in [CONSUMER, PROVIDER] {
        let bus = bus().await;
        let provider = bus.node(PROVIDER);
        bus.node(slow).gate.set_shut(true);
        let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
        let calling = tokio::spawn(async move {
            truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), draft(CLIENT, SERVICE)).await
        });
        bus.node(slow).gate.waited_for(1).await;
        let other = if slow == CONSUMER { PROVIDER } else { CONSUMER };
        until(|| bus.node(other).memory.as_ref().unwrap().len() == 1).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(provider.services.count(), 0, "{slow} has not recorded yet");
        bus.node(slow).gate.set_shut(false);
        assert_eq!(calling.await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_service_free_of_side_effects_is_called_meanwhile_and_its_answer_waits() {
    for slow in [CONSUMER, PROVIDER] {
        let bus = bus().await;
        let provider = bus.node(PROVIDER);
        let mut definition =
            ServiceDefinition::rest(SERVICE.parse().unwrap(), "http://127.0.0.1:1".parse().unwrap());
        definition.side_effect_free = true;
        provider.decide(&PolicyEvent::ServiceChanged(definition));
        bus.node(slow).gate.set_shut(true);
        let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
        let calling = tokio::spawn(async move {
            truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), draft(CLIENT, SERVICE)).await
        });
        bus.node(slow).gate.waited_for(1).await;
        until(|| provider.services.count() == 1).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!calling.is_finished(), "{slow} has not recorded yet");
        assert!(provider.memory.as_ref().unwrap().len() <= 1, "no answer is sealed yet");
        bus.node(slow).gate.set_shut(false);
        assert_eq!(calling.await.unwrap().unwrap().status, 200);
        assert_eq!(provider.services.count(), 1);
    }
}

#[tokio::test]
async fn what_a_look_saw_never_leaves_without_the_records() {
    let bus = bus().await;
    let provider = bus.node(PROVIDER);
    let mut definition =
        ServiceDefinition::rest(SERVICE.parse().unwrap(), "http://127.0.0.1:1".parse().unwrap());
    definition.side_effect_free = true;
    provider.decide(&PolicyEvent::ServiceChanged(definition));
    // A service that never answers must not hold up the fault either.
    provider.services.on(SERVICE, |_| std::future::pending());
    provider.memory.as_ref().unwrap().set_full(true);
    let (request, code) = failed(&bus).await;
    assert_eq!(code, FaultCode::RecordingFailed);
    assert_eq!(
        kinds(&bus.node(CONSUMER).records(request).await),
        [RecordKind::Request, RecordKind::Unsigned]
    );
    assert_eq!(provider.memory.as_ref().unwrap().len(), 0);
}

#[tokio::test]
async fn the_caller_waits_for_both_records_of_the_answer() {
    for slow in [CONSUMER, PROVIDER] {
        let bus = bus().await;
        let gate = Arc::clone(&bus.node(slow).gate);
        // Both have recorded the request when the service is called; what comes after is the answer.
        bus.node(PROVIDER).services.on(SERVICE, move |_| {
            gate.set_shut(true);
            async { Ok(json(200, "{}")) }
        });
        let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
        let calling = tokio::spawn(async move {
            truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), draft(CLIENT, SERVICE)).await
        });
        bus.node(slow).gate.waited_for(1).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!calling.is_finished(), "{slow} has not recorded the answer yet");
        bus.node(slow).gate.set_shut(false);
        assert_eq!(calling.await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn without_recorded_the_service_is_not_called_and_that_is_stated() {
    let bus = bus().await;
    bus.board.tap(|way, turn| match (way, &turn) {
        (Way::Out, Turn::Recorded(_)) => Tapped::Lose,
        _ => Tapped::Pass(turn),
    });
    let (request, code) = failed(&bus).await;
    assert_eq!(code, FaultCode::Unavailable);
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
    for node in [CONSUMER, PROVIDER] {
        let records = bus.node(node).records(request).await;
        assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Refusal]);
        assert_eq!(records[1].local.outcome, Some(Outcome::Failed));
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_providers_recorded_the_outcome_is_unknown() {
    let bus = bus().await;
    bus.board.tap(|way, turn| match (way, &turn) {
        (Way::Back, Turn::Recorded(_)) => Tapped::Lose,
        _ => Tapped::Pass(turn),
    });
    // The conversation ends in silence, so the consumer asks; the provider has the answer on record by then.
    assert_eq!(call(&bus).await.unwrap().status, 200);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

/// The connection breaks when the answer is on its way: its outcome is asked for, and the answer is had after all.
#[tokio::test(start_paused = true)]
async fn a_broken_connection_loses_no_answer() {
    let bus = bus().await;
    bus.node(PROVIDER).services.on(SERVICE, |_| async {
        let headers = vec![("etag".into(), b"7".to_vec()), ("set-cookie".into(), b"bi-mat".to_vec())];
        Ok(ServiceAnswer { headers, ..json(200, "{\"a\":1}") })
    });
    for broken in [false, true] {
        let last = AtomicBool::new(broken);
        bus.board.tap(move |way, turn| match (way, &turn) {
            (Way::Back, Turn::Message(..)) if !last.load(Ordering::SeqCst) => Tapped::Break,
            (Way::Back, Turn::Recorded(_)) => Tapped::Break,
            _ => Tapped::Pass(turn),
        });
        let reply = call(&bus).await.unwrap();
        assert_eq!(reply.body.bytes().unwrap().as_ref(), b"{\"a\":1}");
        let secrets = reply.headers.iter().any(|(name, _)| name == "set-cookie");
        assert_eq!(secrets, broken, "secrets are never stored, so a repeated answer comes without them");
        assert!(reply.headers.contains(&("etag".into(), b"7".to_vec())));
        for node in [CONSUMER, PROVIDER] {
            let records = bus.node(node).records(reply.request).await;
            assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Response], "{node}");
        }
    }
    assert_eq!(bus.node(PROVIDER).services.count(), 2);
}

/// The request itself is lost with the connection: the provider's node says Never, and the caller may send it again.
#[tokio::test(start_paused = true)]
async fn a_request_that_never_came_is_told_as_not_carried_out() {
    let bus = bus().await;
    let lost = AtomicBool::new(false);
    bus.board.tap(move |way, turn| match (way, &turn) {
        (Way::Out, Turn::Message(..)) => Tapped::Lose,
        // Said, as far as the consumer can tell, and gone with the connection.
        (Way::Out, Turn::Recorded(_)) if !lost.swap(true, Ordering::SeqCst) => Tapped::Lose,
        _ => Tapped::Pass(turn),
    });
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    let calling = tokio::spawn(async move {
        truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), draft(CLIENT, SERVICE)).await
    });
    until(|| bus.node(CONSUMER).memory.as_ref().unwrap().len() == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let provider = bus.node(PROVIDER);
    let side = Arc::clone(&provider.provider) as _;
    bus.board.seat(
        provider.id.clone(),
        side,
        provider.peer(),
        Arc::clone(&provider.own),
        Arc::clone(&bus.clock),
    );
    let failed = calling.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::Unavailable);
    assert_eq!(provider.services.count(), 0);
    let records = bus.node(CONSUMER).records(failed.request.unwrap()).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert_eq!(records[1].local.outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unavailable() {
    let bus = bus().await;
    bus.board.unseat(&bus.node(PROVIDER).id);
    assert_eq!(call(&bus).await.unwrap_err(), (None, FaultCode::Unavailable));
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty());
}
