//! The provider's "no": signed and recorded where protocol P4.6 says so, and unsigned otherwise.

use truc_evidence::{Outcome, RecordKind};
use truc_exchange::Draft;
use truc_message::Body;
use truc_model::{Fault, FaultCode};
use truc_policy::PolicyEvent;
use truc_testkit::{Bus, draft};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, SIBLING, STRICT, bus, kinds};

/// Calls, and compares what both ends recorded; `signed` refusals are recorded by both, unsigned faults by the consumer.
async fn refusal(bus: &Bus, asked: Draft, signed: bool) -> Fault {
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let failed = consumer.call(asked).await.unwrap_err();
    let (ours, theirs) =
        (consumer.records(failed.request.unwrap()).await, provider.records(failed.request.unwrap()).await);
    let end = if signed { RecordKind::Refusal } else { RecordKind::Unsigned };
    assert_eq!(kinds(&ours), [RecordKind::Request, end]);
    assert_eq!(ours[1].local.outcome, Some(Outcome::Refused));
    assert_eq!(ours[1].local.fault.as_deref(), Some(failed.fault.code.as_str()));
    let expected: &[RecordKind] = if signed { &[RecordKind::Request, RecordKind::Refusal] } else { &[] };
    assert_eq!(kinds(&theirs), expected);
    if signed {
        assert_eq!(theirs[1].header, ours[1].header);
        assert_eq!(theirs[1].local.outcome, Some(Outcome::Refused));
    }
    assert_eq!(provider.services.count(), 0);
    failed.fault
}

#[tokio::test]
async fn without_a_right_the_refusal_is_signed() {
    let bus = bus().await;
    let fault = refusal(&bus, draft(SIBLING, SERVICE), true).await;
    assert_eq!(fault.code, FaultCode::NoRight);
    assert!(fault.detail.contains(SIBLING) && !fault.detail.contains("cong-dan"), "{}", fault.detail);
}

#[tokio::test]
async fn an_unknown_service_is_told_unsigned() {
    let bus = bus().await;
    let fault = refusal(&bus, draft(CLIENT, "VN/GOV/G01/csdl-dancu/khong-co"), false).await;
    assert_eq!(fault.code, FaultCode::UnknownService);
}

#[tokio::test]
async fn officer_purpose_pause_and_size_are_conditions() {
    let bus = bus().await;
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, STRICT)).await.unwrap().status, 200);
    let bus = crate::bus::bus().await;
    let mut asked = draft(CLIENT, STRICT);
    asked.context.user_id = None;
    assert_eq!(refusal(&bus, asked, true).await.code, FaultCode::OfficerRequired);
    let mut asked = draft(CLIENT, STRICT);
    asked.context.purpose = None;
    assert_eq!(refusal(&bus, asked, true).await.code, FaultCode::PurposeRequired);
    let notice = "Bảo trì đến 18 giờ".to_owned();
    let event = PolicyEvent::ServiceDisabled { service: SERVICE.parse().unwrap(), notice: notice.clone() };
    bus.node(PROVIDER).decide(&event);
    let fault = refusal(&bus, draft(CLIENT, SERVICE), true).await;
    assert_eq!((fault.code, fault.detail), (FaultCode::ServiceDisabled, notice));
    let mut definition =
        bus.node(PROVIDER).policy.load().service(&STRICT.parse().unwrap()).unwrap().as_ref().clone();
    definition.max_body = 3;
    bus.node(PROVIDER).decide(&PolicyEvent::ServiceChanged(definition));
    let mut asked = draft(CLIENT, STRICT);
    (asked.method, asked.body) = ("POST".into(), Body::new("1234".into()).into());
    assert_eq!(refusal(&bus, asked, true).await.code, FaultCode::TooLarge);
}

/// Nobody may make a node spool what it will deny.
#[tokio::test]
async fn a_big_body_is_refused_by_its_header_and_unsigned() {
    let bus = bus().await;
    let big = |client: &str, length: usize| {
        let mut asked = draft(client, SERVICE);
        (asked.method, asked.body) = ("POST".into(), Body::new(vec![b'x'; length].into()).into());
        asked
    };
    assert_eq!(refusal(&bus, big(SIBLING, 70_000), false).await.code, FaultCode::NoRight);
    assert_eq!(refusal(&bus, big(CLIENT, 10 * 1024 * 1024 + 1), false).await.code, FaultCode::TooLarge);
    assert_eq!(bus.node(CONSUMER).call(big(CLIENT, 70_000)).await.unwrap().body.len(), 70_000);
}

/// The twenty-first refusal within one second is no longer signed, so that nobody fills a node's evidence with "no".
#[tokio::test]
async fn signed_refusals_are_limited_per_client() {
    let bus = bus().await;
    for _ in 0..20 {
        refusal(&bus, draft(SIBLING, SERVICE), true).await;
    }
    let limited = refusal(&bus, draft(SIBLING, SERVICE), false).await;
    assert_eq!(limited.code, FaultCode::QuotaExceeded);
    assert!(limited.retry_after.is_some());
    let mut other = draft(CLIENT, STRICT);
    other.context.user_id = None;
    refusal(&bus, other, true).await;
    bus.advance(std::time::Duration::from_secs(1));
    refusal(&bus, draft(SIBLING, SERVICE), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_sign_says_so() {
    let bus = bus().await;
    bus.node(PROVIDER).signer.set_down(true);
    let failed = bus.node(CONSUMER).call(draft(SIBLING, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::SigningFailed);
    // Here the service has acted before the key was found missing.
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::OutcomeUnknown);
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    bus.node(CONSUMER).signer.set_down(true);
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!((failed.fault.code, failed.request), (FaultCode::SigningFailed, None));
}
