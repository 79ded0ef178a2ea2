//! A request is carried out once, whatever the network repeats (protocol P4.2).

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Notify;
use truc_exchange::ports::{PastOutcome, Turn};
use truc_message::{Header, Parts};
use truc_model::{Digest, FaultCode, MessageId};
use truc_testkit::draft;
use truc_testkit::gated_store::GatedStore;
use truc_testkit::memory_store::MemoryStore;
use truc_testkit::services::json;

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, STRANGER, bus, request, send, send_from, signed_by};

fn digest_of(parts: &Parts) -> Digest {
    let header = Header::parse(&parts.header).unwrap();
    let header_digest = Digest::of(&parts.header);
    Digest::of(&truc_message::manifest::write(header.kind, header.id, header_digest, parts.body.digest()))
}

#[tokio::test]
async fn the_same_message_again_gets_the_recorded_answer() {
    let mut bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    let first = send(&bus, parts.clone()).await.answer();
    for _ in 0..2 {
        let again = send(&bus, parts.clone()).await.answer();
        assert_eq!((again.0.id, &again.1), (first.0.id, &first.1));
    }
    bus.node_mut(PROVIDER).restart().await;
    let again = send(&bus, parts).await.answer();
    assert_eq!(again.0.id, first.0.id, "claims are rebuilt before the door opens");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 2);
}

#[tokio::test]
async fn an_id_is_used_for_one_message() {
    let bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    let id = Header::parse(&parts.header).unwrap().id;
    send(&bus, parts).await.answer();
    let other = request(&bus, |h| (h.id, h.issue) = (id, Some("khac".into()))).await;
    assert_eq!(send(&bus, other).await.fault(), FaultCode::Replayed);
    // Records and containers are found by the id alone: so it is nobody else's either, whoever comes with it.
    let (stranger, provider) = (bus.node(STRANGER), bus.node(PROVIDER));
    let theirs = signed_by(stranger, provider, "VN/GOV/H28", truc_message::Body::empty(), |h| {
        (h.id, h.client) = (id, "VN/GOV/H28/khac".parse().unwrap());
    });
    assert_eq!(send_from(stranger, provider, theirs.await).await.fault(), FaultCode::Replayed);
    assert_eq!(provider.services.count(), 1);
}

/// Else an old id could come back after its claim was forgotten.
#[tokio::test]
async fn an_id_is_as_old_as_its_message() {
    let bus = bus().await;
    let old = MessageId::new(bus.clock.now().minus(std::time::Duration::from_secs(120)), [3; 10]);
    let parts = request(&bus, |h| h.id = old).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::Malformed);
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}

#[tokio::test]
async fn while_it_is_carried_out_a_repetition_is_told_so() {
    let bus = Arc::new(bus().await);
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, start) = (Arc::clone(&go), Arc::clone(&started));
    bus.node(PROVIDER).services.on(SERVICE, move |_| {
        let (wait, start) = (Arc::clone(&wait), Arc::clone(&start));
        async move {
            start.notify_one();
            wait.notified().await;
            Ok(json(200, "{}"))
        }
    });
    let parts = request(&bus, |_| {}).await;
    let (there, sent) = (Arc::clone(&bus), parts.clone());
    let first = tokio::spawn(async move { send(&there, sent).await.answer() });
    started.notified().await;
    assert_eq!(send(&bus, parts.clone()).await.fault(), FaultCode::OutcomeUnknown);
    let (consumer, entry) = (bus.node(CONSUMER), bus.node(PROVIDER).entry());
    let id = Header::parse(&parts.header).unwrap().id;
    let past = consumer.link.outcome(&entry, id, digest_of(&parts)).await.unwrap().0;
    assert!(matches!(past, PastOutcome::Open), "{past:?}");
    go.notify_one();
    first.await.unwrap();
    let past = consumer.link.outcome(&entry, id, digest_of(&parts)).await.unwrap().0;
    assert!(matches!(past, PastOutcome::Answered(..)), "{past:?}");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
}

/// Never means never: a duplicate that comes late is not carried out.
#[tokio::test]
async fn what_was_said_never_to_have_been_carried_out_never_will_be() {
    let bus = bus().await;
    let (consumer, entry) = (bus.node(CONSUMER), bus.node(PROVIDER).entry());
    let parts = request(&bus, |_| {}).await;
    let id = Header::parse(&parts.header).unwrap().id;
    let past = consumer.link.outcome(&entry, id, digest_of(&parts)).await.unwrap().0;
    assert!(matches!(past, PastOutcome::Never), "{past:?}");
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::Replayed);
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}

/// Outcomes are told to the node that asked for the call, and to nobody else.
#[tokio::test]
async fn a_stranger_learns_nothing_of_an_outcome() {
    let bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    send(&bus, parts.clone()).await.answer();
    let id = Header::parse(&parts.header).unwrap().id;
    let entry = bus.node(PROVIDER).entry();
    let asked = bus.node(STRANGER).link.outcome(&entry, id, digest_of(&parts)).await.unwrap().0;
    assert!(matches!(asked, PastOutcome::Never), "{asked:?}");
    let asked = bus.node(CONSUMER).link.outcome(&entry, id, Digest([9; 32])).await.unwrap().0;
    assert!(!matches!(asked, PastOutcome::Answered(..)), "another digest is another request: {asked:?}");
    bus.advance(std::time::Duration::from_secs(3601));
    bus.publish();
    bus.responder.revoke(&bus.node(CONSUMER).auth);
    let asked = bus.node(CONSUMER).link.outcome(&entry, id, digest_of(&parts)).await;
    assert!(asked.is_err(), "a revoked node is told nothing");
}

#[tokio::test]
async fn many_calls_at_once_are_carried_out_once_each() {
    let bus = bus().await;
    let calls = join_all((0..64).map(|_| bus.node(CONSUMER).call(draft(CLIENT, SERVICE)))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(bus.node(PROVIDER).services.count(), 64);
    assert_eq!(bus.node(PROVIDER).memory.as_ref().unwrap().len(), 128);
}

/// Asked while the request is being recorded: that is not "never".
#[tokio::test]
async fn a_request_that_is_being_recorded_is_not_promised_away() {
    let bus = bus().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    provider.gate.set_shut(true);
    let parts = request(&bus, |_| {}).await;
    let (id, digest) = (Header::parse(&parts.header).unwrap().id, digest_of(&parts));
    let mut c = consumer.open(provider).await;
    c.say(Turn::Message(Box::new(parts), bus.clock.now())).await.unwrap();
    c.say(Turn::Recorded(crate::bus::leaf())).await.unwrap();
    provider.gate.waited_for(1).await;
    let asked = consumer.link.outcome(&provider.entry(), id, digest).await.unwrap().0;
    assert!(matches!(asked, PastOutcome::Open), "{asked:?}");
    provider.gate.set_shut(false);
    assert!(matches!(c.hear().await.unwrap(), Turn::Message(..)));
    assert_eq!(provider.services.count(), 1);
}

/// A node restored from a backup has lost the records that came after it, and the claims with them (protocol P6.3).
#[tokio::test]
async fn what_was_carried_out_after_the_backup_is_not_carried_out_again() {
    let mut bus = bus().await;
    let parts = request(&bus, |_| {}).await;
    send(&bus, parts.clone()).await.answer();
    // The backup is older than all of that; the restored node starts at once, well within the request's life.
    let now = bus.clock.now();
    let provider = bus.node_mut(PROVIDER);
    provider.gate = Arc::new(GatedStore::new(Arc::new(MemoryStore::default())));
    provider.restart().await;
    provider.ground.recorder.restored(now);
    assert_eq!(send(&bus, parts.clone()).await.fault(), FaultCode::Expired);
    let (id, entry) = (Header::parse(&parts.header).unwrap().id, bus.node(PROVIDER).entry());
    let past = bus.node(CONSUMER).link.outcome(&entry, id, digest_of(&parts)).await.unwrap().0;
    assert!(matches!(past, PastOutcome::Open), "nor is it denied: {past:?}");
    assert_eq!(bus.node(PROVIDER).services.count(), 1);
    // What is sent when the clocks of its peers can no longer be behind its start is carried out.
    let fresh = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, fresh).await.fault(), FaultCode::Expired);
    bus.advance(std::time::Duration::from_secs(121));
    let fresh = request(&bus, |_| {}).await;
    send(&bus, fresh).await.answer();
    assert_eq!(bus.node(PROVIDER).services.count(), 2);
}
