//! The clock is set forward and back under a node: nothing is carried out twice, and no answer is from before its question.

use std::sync::Arc;
use std::time::Duration;

use truc_message::Header;
use truc_model::{Clock as _, FaultCode, Timestamp};
use truc_testkit::services::json;

use crate::bus::{PROVIDER, SERVICE, bus, request, send};

/// Longer than claims are remembered.
const AHEAD: Duration = Duration::from_secs(721);

#[tokio::test]
async fn a_clock_that_goes_forward_and_back_has_nothing_carried_out_twice() {
    let bus = bus().await;
    let (right, clock) = (bus.clock.now(), Arc::clone(bus.manual.as_ref().unwrap()));
    let parts = request(&bus, |_| {}).await;
    send(&bus, parts.clone()).await.answer();
    bus.advance(AHEAD);
    send(&bus, request(&bus, |_| {}).await).await.answer();
    clock.set(right.plus(Duration::from_secs(1)));
    assert_eq!(
        send(&bus, parts).await.fault(),
        FaultCode::Expired,
        "it is fresh, but its claim is forgotten"
    );
    assert_eq!(bus.node(PROVIDER).services.count(), 2);
    send(&bus, request(&bus, |_| {}).await).await.answer();
}

#[tokio::test]
async fn a_node_started_with_a_clock_ahead_knows_that_it_does_not_know() {
    let mut bus = bus().await;
    let (right, clock) = (bus.clock.now(), Arc::clone(bus.manual.as_ref().unwrap()));
    let parts = request(&bus, |_| {}).await;
    send(&bus, parts.clone()).await.answer();
    bus.advance(AHEAD);
    bus.node_mut(PROVIDER).restart().await;
    clock.set(right.plus(Duration::from_secs(1)));
    assert_eq!(send(&bus, parts.clone()).await.fault(), FaultCode::Expired);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    bus.node_mut(PROVIDER).restart().await;
    send(&bus, parts).await.answer();
    assert_eq!(bus.node(PROVIDER).services.count(), 1, "started with the right clock it knows again");
    send(&bus, request(&bus, |_| {}).await).await.answer();
}

/// How long a service may take in these tests; the clock is set by more.
const AT_WORK: Duration = Duration::from_secs(60);

/// When an answer is dated whose service takes so long that the provider's clock is set to `wrong` meanwhile, after its question.
async fn dated_with(wrong: impl Fn(Timestamp) -> Timestamp + Send + Sync + 'static) -> Duration {
    let bus = bus().await;
    let clock = Arc::clone(bus.manual.as_ref().unwrap());
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        clock.set(wrong(clock.now()));
        async { Ok(json(200, "{}")) }
    });
    let parts = request(&bus, |_| {}).await;
    let asked = Header::parse(&parts.header).unwrap().sent;
    let (answer, _) = send(&bus, parts).await.answer();
    assert!(answer.sent >= asked, "the directory in force was issued after {}", answer.sent);
    answer.sent.since(asked)
}

#[tokio::test]
async fn an_answer_is_never_from_before_its_question() {
    assert!(dated_with(|now| now.minus(Duration::from_secs(600))).await < AT_WORK);
}

#[tokio::test]
async fn an_answer_is_not_dated_by_a_clock_that_was_set_while_the_service_was_at_work() {
    assert!(dated_with(|now| now.plus(Duration::from_secs(7200))).await < AT_WORK);
}
