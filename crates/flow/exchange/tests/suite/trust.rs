//! The five checks of protocol P3, in both directions.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use truc_evidence::RecordKind;
use truc_exchange::ports::Turn;
use truc_message::{Body, Header, Kind, Parts, Secret, Signature, hide};
use truc_model::FaultCode;
use truc_testkit::direct_link::{Tapped, Way};
use truc_testkit::{Bus, draft};
use truc_trust::Verdict;

use crate::bus::{
    CLIENT, CONSUMER, PROVIDER, SERVICE, STRANGER, bus, call, failed, kinds, refused, request, send,
    send_from, signed_by,
};

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut out = bytes.to_vec();
    out[at] ^= 1;
    out.into()
}

fn header_with(parts: Parts, from: &str, to: &str) -> Parts {
    let text = std::str::from_utf8(&parts.header).unwrap();
    assert!(text.contains(from));
    Parts { header: text.replace(from, to).into(), ..parts }
}

#[tokio::test]
async fn what_is_changed_on_the_way_is_refused() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let good = request(&bus, |_| {}).await;
    refused(&bus, header_with(good.clone(), "cb-0123", "cb-0124"), FaultCode::Untrusted, "header").await;
    refused(&bus, header_with(good.clone(), "\"v\":1", "\"v\":1 "), FaultCode::Untrusted, "a space").await;
    let with_body = signed_by(consumer, provider, "VN/GOV/H26", Body::new("abc".into()), |_| {}).await;
    let other = Parts { body: Body::new("abd".into()), ..with_body.clone() };
    refused(&bus, other, FaultCode::Untrusted, "body").await;
    let longer = Parts { body: Body::new("abcd".into()), ..with_body };
    refused(&bus, longer, FaultCode::Malformed, "body's length").await;
    let cms = good.signature.cms().clone();
    for at in [cms.len() - 1, cms.len() / 2, 5] {
        let parts = Parts { signature: Signature::Single(flipped(&cms, at)), ..good.clone() };
        refused(&bus, parts, FaultCode::Untrusted, "signature").await;
    }
    let unsigned = Parts { signature: Signature::Single(Bytes::new()), ..good.clone() };
    refused(&bus, unsigned, FaultCode::Malformed, "no signature").await;
    let another = request(&bus, |_| {}).await;
    let swapped = Parts { signature: another.signature, ..good.clone() };
    refused(&bus, swapped, FaultCode::Untrusted, "another message's signature").await;
    let stray = Parts { secrets: vec![Secret { salt: [1; 16], value: b"x".to_vec() }], ..good.clone() };
    refused(&bus, stray, FaultCode::Malformed, "a secret that the header does not hide").await;
    assert_eq!(send(&bus, good).await.answer().0.kind, Kind::Response);
}

#[tokio::test]
async fn secrets_must_be_those_that_were_signed() {
    let bus = bus().await;
    let (field, secret) = hide("authorization", b"Bearer x", [3; 16]);
    let parts = request(&bus, |header| header.headers = vec![field]).await;
    refused(&bus, parts.clone(), FaultCode::Malformed, "a missing secret").await;
    let other = Secret { value: b"Bearer y".to_vec(), ..secret.clone() };
    refused(&bus, Parts { secrets: vec![other], ..parts.clone() }, FaultCode::Malformed, "another secret")
        .await;
    assert_eq!(send(&bus, Parts { secrets: vec![secret], ..parts }).await.answer().0.status, Some(200));
}

#[tokio::test]
async fn every_name_in_the_header_must_be_true() {
    let bus = bus().await;
    let (consumer, provider, stranger) = (bus.node(CONSUMER), bus.node(PROVIDER), bus.node(STRANGER));
    let to = request(&bus, |h| h.to = STRANGER.parse().unwrap()).await;
    refused(&bus, to, FaultCode::Untrusted, "another `to`").await;
    let from = request(&bus, |h| h.from = STRANGER.parse().unwrap()).await;
    refused(&bus, from, FaultCode::Untrusted, "another node's name in `from`").await;
    let unknown = request(&bus, |h| h.from = "VN/GOV/H26/ss9".parse().unwrap()).await;
    refused(&bus, unknown, FaultCode::Untrusted, "a node that the directory does not know").await;
    let client = request(&bus, |h| h.client = "VN/GOV/H28/khac".parse().unwrap()).await;
    refused(&bus, client, FaultCode::Untrusted, "a client that the node does not speak for").await;
    // H27 is hosted by the same node and has its own seal there.
    let sibling = signed_by(consumer, provider, "VN/GOV/H27", Body::empty(), |_| {}).await;
    refused(&bus, sibling, FaultCode::Untrusted, "sealed by another hosted member").await;
    // H28's node relays what H26 sealed for its own node.
    let relayed = request(&bus, |_| {}).await;
    assert_eq!(send_from(stranger, provider, relayed).await.fault(), FaultCode::Untrusted);
    // H28's node says that it is H26's.
    let posing =
        signed_by(stranger, provider, "VN/GOV/H28", Body::empty(), |h| h.from = CONSUMER.parse().unwrap());
    assert_eq!(send_from(stranger, provider, posing.await).await.fault(), FaultCode::Untrusted);
    let own_seal = signed_by(stranger, provider, "VN/GOV/H28", Body::empty(), |h| {
        h.client = "VN/GOV/H28/khac".parse().unwrap();
    });
    assert_eq!(send_from(stranger, provider, own_seal.await).await.answer().0.status, Some(200));
    let answer = signed_by(consumer, provider, "VN/GOV/H26", Body::empty(), |h| {
        (h.kind, h.status, h.method, h.path) = (Kind::Response, Some(200), None, None);
        h.in_reply_to = Some(truc_message::InReplyTo { id: h.id, digest: truc_model::Digest([1; 32]) });
    });
    assert_eq!(send(&bus, answer.await).await.fault(), FaultCode::Malformed);
}

#[tokio::test]
async fn a_message_is_of_now() {
    let bus = bus().await;
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let late =
        request(&bus, |h| (h.sent, h.expires) = (h.sent.minus(minutes(5)), h.sent.minus(minutes(3)))).await;
    refused(&bus, late, FaultCode::Expired, "expired").await;
    let long =
        request(&bus, |h| (h.sent, h.expires) = (h.sent.minus(minutes(7)), h.sent.plus(minutes(60)))).await;
    refused(&bus, long, FaultCode::Expired, "older than the cap, whatever it says").await;
    let future =
        request(&bus, |h| (h.sent, h.expires) = (h.sent.plus(minutes(2)), h.sent.plus(minutes(3)))).await;
    refused(&bus, future, FaultCode::Expired, "from the future").await;
    let backwards = request(&bus, |h| h.expires = h.sent).await;
    refused(&bus, backwards, FaultCode::Expired, "backwards").await;
    let skewed =
        request(&bus, |h| (h.sent, h.expires) = (h.sent.plus(minutes(1)), h.sent.plus(minutes(2)))).await;
    assert_eq!(send(&bus, skewed).await.answer().0.status, Some(200));
}

/// Statuses of the consumer's certificates, as the provider judges them.
#[tokio::test]
async fn revoked_and_unknown_certificates_are_refused() {
    for verdict in [Verdict::Revoked { at: "2026-11-01T00:00:00.000Z".parse().unwrap() }, Verdict::Unknown] {
        for which in [0, 1] {
            let bus = bus().await;
            let consumer = bus.node(CONSUMER);
            let seal = consumer.seals[&"VN/GOV/H26".parse().unwrap()].certificate.clone();
            bus.responder.set(if which == 0 { &seal } else { &consumer.auth }, verdict);
            consumer.renew_statuses();
            let parts = request(&bus, |_| {}).await;
            refused(&bus, parts, FaultCode::Untrusted, "carried").await;
            // Leaving the bad news out does not help: the receiver asks itself.
            let parts = Parts { statuses: vec![], ..request(&bus, |_| {}).await };
            refused(&bus, parts, FaultCode::Untrusted, "left out").await;
        }
    }
}

/// The newest status ever seen wins: an older good one, still fresh, does not bring a revoked certificate back.
#[tokio::test]
async fn a_revocation_seen_once_is_not_forgotten() {
    let bus = bus().await;
    let consumer = bus.node(CONSUMER);
    assert_eq!(call(&bus).await.unwrap().status, 200);
    let before = request(&bus, |_| {}).await;
    bus.advance(Duration::from_secs(60));
    let seal = consumer.seals[&"VN/GOV/H26".parse().unwrap()].certificate.clone();
    bus.responder.revoke(&seal);
    consumer.renew_statuses();
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::Untrusted);
    assert_eq!(send(&bus, before).await.fault(), FaultCode::Untrusted);
}

#[tokio::test]
async fn without_any_status_nobody_is_believed() {
    let bus = bus().await;
    bus.responder.set_down(true);
    let parts = Parts { statuses: vec![], ..request(&bus, |_| {}).await };
    refused(&bus, parts, FaultCode::StatusUnknown, "no status at all").await;
    let half = request(&bus, |_| {}).await;
    let half = Parts { statuses: half.statuses[..1].to_vec(), ..half };
    refused(&bus, half, FaultCode::StatusUnknown, "none of the node's").await;
    assert_eq!(call(&bus).await.unwrap().status, 200);
    let junk = Parts { statuses: vec![Bytes::from_static(b"junk"); 20], ..request(&bus, |_| {}).await };
    assert_eq!(send(&bus, junk).await.answer().0.status, Some(200), "what is known already counts");
}

#[tokio::test]
async fn a_stale_status_is_graced_only_while_the_responder_is_away() {
    let bus = bus().await;
    let graced = async |bus: &Bus| {
        let reply = call(bus).await.unwrap();
        let theirs = &bus.node(PROVIDER).records(reply.request).await[0];
        let ours = &bus.node(CONSUMER).records(reply.request).await[1];
        let graced =
            |record: &truc_evidence::StoredRecord| record.local.trust.as_ref().unwrap().status_graced;
        (graced(theirs), graced(ours))
    };
    assert_eq!(graced(&bus).await, (false, false));
    bus.responder.set_down(true);
    bus.advance(Duration::from_secs(2 * 3600));
    bus.publish();
    assert_eq!(graced(&bus).await, (true, true), "and the evidence says so");
    bus.responder.set_down(false);
    bus.advance(Duration::from_secs(11));
    assert_eq!(graced(&bus).await, (false, false), "the responder is back");
    bus.responder.set_down(true);
    bus.advance(Duration::from_secs(12 * 3600 + 1));
    bus.publish();
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::StatusUnknown);
    assert_eq!(
        call(&bus).await.unwrap_err(),
        (None, FaultCode::StatusUnknown),
        "nor does the consumer go on"
    );
}

#[tokio::test]
async fn a_status_from_the_future_does_not_count() {
    let bus = bus().await;
    bus.responder.set_this_update(Some(bus.clock.now().plus(Duration::from_secs(7200))));
    bus.node(CONSUMER).renew_statuses();
    let parts = request(&bus, |_| {}).await;
    refused(&bus, parts, FaultCode::StatusUnknown, "from the future").await;
    bus.responder.set_this_update(None);
    bus.advance(Duration::from_secs(11));
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.answer().0.status, Some(200), "the receiver asks for a true one");
}

#[tokio::test]
async fn certificates_that_are_no_longer_registered_do_not_count() {
    for which in [0, 1] {
        let bus = bus().await;
        let parts = request(&bus, |_| {}).await;
        bus.change(|members| {
            let h26 = members.get_mut(&"VN/GOV/H26".parse().unwrap()).unwrap();
            match which {
                0 => h26.sign_certificates.clear(),
                _ => h26.nodes[0].auth_certificates.clear(),
            }
        });
        refused(&bus, parts, FaultCode::Untrusted, "no longer registered").await;
    }
    let bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    bus.change(|members| {
        let h26 = members.get_mut(&"VN/GOV/H26".parse().unwrap()).unwrap();
        h26.status = truc_directory::MemberStatus::Closed;
    });
    refused(&bus, parts, FaultCode::Moved, "a closed member").await;
}

#[tokio::test]
async fn an_old_directory_degrades_and_then_stops() {
    let bus = bus().await;
    let degraded = async |bus: &Bus| {
        let reply = call(bus).await.unwrap();
        let theirs = &bus.node(PROVIDER).records(reply.request).await[0];
        let ours = &bus.node(CONSUMER).records(reply.request).await[1];
        let noted =
            |record: &truc_evidence::StoredRecord| record.local.trust.as_ref().unwrap().directory_degraded;
        (noted(theirs), noted(ours))
    };
    assert_eq!(degraded(&bus).await, (false, false));
    bus.advance(Duration::from_secs(601));
    assert_eq!(degraded(&bus).await, (true, true), "and the evidence says so");
    bus.advance(Duration::from_secs(72 * 3600));
    assert_eq!(call(&bus).await.unwrap_err(), (None, FaultCode::DirectoryExpired));
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::DirectoryExpired);
}

/// Changes the provider's messages on their way.
fn tamper(bus: &Bus, change: impl Fn(Parts) -> Parts + Send + Sync + 'static) {
    bus.board.tap(move |way, turn| match (way, turn) {
        (Way::Back, Turn::Message(parts, at)) => Tapped::Pass(Turn::Message(Box::new(change(*parts)), at)),
        (_, turn) => Tapped::Pass(turn),
    });
}

/// By then the service has acted: the caller must never read "not carried out".
#[tokio::test]
async fn an_answer_that_cannot_be_believed_is_never_taken_for_not_carried_out() {
    let bus = bus().await;
    assert_eq!(call(&bus).await.unwrap().status, 200);
    tamper(&bus, |parts| Parts { body: Body::new("x".into()), ..parts });
    assert_eq!(failed(&bus).await.1, FaultCode::InconsistentResponse);
    tamper(&bus, |parts| header_with(parts, "\"status\":200", "\"status\":404"));
    assert_eq!(failed(&bus).await.1, FaultCode::InconsistentResponse);
    tamper(&bus, |parts| {
        let cms = flipped(parts.signature.cms(), parts.signature.cms().len() - 1);
        Parts { signature: Signature::Single(cms), ..parts }
    });
    assert_eq!(failed(&bus).await.1, FaultCode::InconsistentResponse);
    tamper(&bus, |parts| Parts { secrets: vec![Secret { salt: [1; 16], value: vec![1] }], ..parts });
    let (request, code) = failed(&bus).await;
    assert_eq!(code, FaultCode::InconsistentResponse);
    let records = bus.node(CONSUMER).records(request).await;
    assert_eq!(kinds(&records), [RecordKind::Request, RecordKind::Unsigned]);
    assert_eq!(records[1].local.outcome, Some(truc_evidence::Outcome::Failed));
    bus.board.untap();
    let seal = bus.node(PROVIDER).seals[&"VN/GOV/G01".parse().unwrap()].certificate.clone();
    bus.advance(Duration::from_secs(10));
    bus.responder.revoke(&seal);
    bus.node(PROVIDER).renew_statuses();
    assert_eq!(failed(&bus).await.1, FaultCode::InconsistentResponse, "the provider's seal is revoked");
    assert_eq!(bus.node(PROVIDER).services.count(), 6);
}

#[tokio::test]
async fn an_answer_to_another_request_is_inconsistent() {
    let bus = bus().await;
    let first: Mutex<Option<Parts>> = Mutex::default();
    tamper(&bus, move |parts| first.lock().unwrap().get_or_insert(parts).clone());
    assert_eq!(call(&bus).await.unwrap().status, 200);
    assert_eq!(failed(&bus).await.1, FaultCode::InconsistentResponse);
}

/// A provider's node that shows a certificate which is not its own gets no request at all.
#[tokio::test]
async fn nothing_is_sent_to_a_node_that_is_not_who_it_should_be() {
    let bus = bus().await;
    let (provider, stranger) = (bus.node(PROVIDER), bus.node(STRANGER));
    let side = std::sync::Arc::clone(&stranger.provider) as _;
    let own = std::sync::Arc::clone(&stranger.own);
    bus.board.seat(provider.id.clone(), side, stranger.peer(), own, std::sync::Arc::clone(&bus.clock));
    assert_eq!(call(&bus).await.unwrap_err(), (None, FaultCode::Untrusted));
    assert!(bus.node(CONSUMER).memory.as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn a_header_is_judged_before_anything_else() {
    let bus = bus().await;
    let good = request(&bus, |_| {}).await;
    let header: Header = Header::parse(&good.header).unwrap();
    assert_eq!((header.client.as_str(), header.service.as_str()), (CLIENT, SERVICE));
    refused(
        &bus,
        Parts { header: Bytes::from_static(b"{}"), ..good.clone() },
        FaultCode::Malformed,
        "no header",
    )
    .await;
    let version = header_with(good.clone(), "\"v\":1,", "\"v\":2,");
    refused(&bus, version, FaultCode::UnsupportedVersion, "another version").await;
    let foreign = header_with(good, "NODE:VN/GOV/G01/ss1", "NODE:XX/GOV/G01/ss1");
    refused(&bus, foreign, FaultCode::Malformed, "another instance").await;
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
}
