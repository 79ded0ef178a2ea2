//! A crash in the middle leaves a stated outcome, never a silent one (protocol P4.5).

use std::future::pending;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use truc_evidence::{Outcome, RecordKind};
use truc_exchange::ports::{ConsumerSide as _, Turn};
use truc_exchange::{Failed, Reply};
use truc_model::FaultCode;
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::services::json;
use truc_testkit::{Bus, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, kinds, request, send, until};

fn calling(bus: &Bus) -> JoinHandle<Result<Reply, Failed>> {
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    tokio::spawn(async move { consumer.call(draft(CLIENT, SERVICE)).await })
}

/// The service never answers; tells when it was called.
fn hanging(bus: &Bus) -> Arc<Notify> {
    let started = Arc::new(Notify::new());
    let start = Arc::clone(&started);
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        start.notify_one();
        pending()
    });
    started
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_crashed_closes_what_was_open_and_never_calls_again() {
    let mut bus = bus().await;
    let started = hanging(&bus);
    let calling = calling(&bus);
    started.notified().await;
    let open = bus.node_mut(PROVIDER).restart().await;
    assert!(open.is_empty(), "as a consumer it had nothing open");
    let failed = calling.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::OutcomeUnknown);
    for node in [CONSUMER, PROVIDER] {
        let records = bus.node(node).records(failed.request.unwrap()).await;
        assert_eq!(
            kinds(&records),
            [RecordKind::Request, RecordKind::Refusal],
            "{node}: signed and recorded"
        );
        assert_eq!(records[1].local.outcome, Some(Outcome::Unknown));
    }
    bus.node_mut(PROVIDER).restart().await;
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 2, "closed once");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_after_the_crash_gets_the_refusal() {
    let mut bus = bus().await;
    let started = hanging(&bus);
    let parts = request(&bus, |_| {}).await;
    let mut c = bus.node(CONSUMER).open(bus.node(PROVIDER)).await;
    c.say(Turn::Message(Box::new(parts.clone()), bus.clock.now())).await.unwrap();
    c.say(Turn::Recorded(crate::bus::leaf())).await.unwrap();
    started.notified().await;
    bus.node_mut(PROVIDER).restart().await;
    assert_eq!(send(&bus, parts).await.refusal(), FaultCode::OutcomeUnknown);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_crashed_asks_and_records_the_answer() {
    let mut bus = bus().await;
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (start, wait) = (Arc::clone(&started), Arc::clone(&go));
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        let (start, wait) = (Arc::clone(&start), Arc::clone(&wait));
        async move {
            start.notify_one();
            wait.notified().await;
            Ok(json(200, "{}"))
        }
    });
    let calling = calling(&bus);
    started.notified().await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    let open = bus.node_mut(CONSUMER).restart().await;
    assert_eq!(open.len(), 1);
    let id = open[0].record.local.request;
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    let closing = tokio::spawn(async move { consumer.close_open(open).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    closing.await.unwrap();
    for node in [CONSUMER, PROVIDER] {
        assert_eq!(
            kinds(&bus.node(node).records(id).await),
            [RecordKind::Request, RecordKind::Response],
            "{node}"
        );
    }
    assert!(bus.node_mut(CONSUMER).restart().await.is_empty());
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_crashed_before_sending_learns_that_nothing_happened() {
    let mut bus = bus().await;
    bus.board.tap(|way, turn| if way == Way::Out { Tapped::Lose } else { Tapped::Pass(turn) });
    let calling = calling(&bus);
    until(|| bus.node(CONSUMER).memory.as_ref().unwrap().len() == 1).await;
    calling.abort();
    drop(calling.await);
    bus.board.untap();
    let open = bus.node_mut(CONSUMER).restart().await;
    let id = open[0].record.local.request;
    bus.node(CONSUMER).consumer.close_open(open).await;
    let records = bus.node(CONSUMER).records(id).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert_eq!(records[1].local.fault.as_deref(), Some("UNAVAILABLE"));
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_tell_is_recorded_as_unknown() {
    let mut bus = bus().await;
    let started = hanging(&bus);
    let calling = calling(&bus);
    started.notified().await;
    calling.abort();
    drop(calling.await);
    let open = bus.node_mut(CONSUMER).restart().await;
    let id = open[0].record.local.request;
    bus.board.unseat(&PROVIDER.parse().unwrap());
    bus.node(CONSUMER).consumer.close_open(open).await;
    let records = bus.node(CONSUMER).records(id).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert_eq!(records[1].local.outcome, Some(Outcome::Unknown));
    assert_eq!(records[1].local.fault.as_deref(), Some("OUTCOME_UNKNOWN"));
}
