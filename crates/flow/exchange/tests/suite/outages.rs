//! Trust services go away and come back (protocol P3.5, P6.2; design §6): the bus degrades, says so in the evidence, stops with a
//! clear fault past the grace, and goes on by itself. Only the clock is the test's.

use std::sync::Arc;
use std::time::Duration;

use truc_evidence::{StoredRecord, TrustNote};
use truc_message::Parts;
use truc_model::FaultCode;
use truc_testkit::Bus;
use truc_trust::{ServiceState, Verdict};

use crate::bus::{CONSUMER, PROVIDER, bus, call, request, send};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A call that works, with what each side noted about trust: the provider of the request, the consumer of the answer.
async fn noted(bus: &Bus) -> [TrustNote; 2] {
    let reply = call(bus).await.unwrap();
    let note = |record: &StoredRecord| record.local.trust.clone().unwrap();
    let theirs = &bus.node(PROVIDER).records(reply.request).await[0];
    [note(theirs), note(&bus.node(CONSUMER).records(reply.request).await[1])]
}

/// Neither side goes on: the consumer tells its caller, and the provider tells a consumer that would.
async fn stopped(bus: &Bus, code: FaultCode) {
    let before = bus.node(PROVIDER).services.count();
    assert_eq!(call(bus).await.unwrap_err(), (None, code), "the consumer");
    let parts = request(bus, |_| {}).await;
    assert_eq!(send(bus, parts).await.fault(), code, "the provider");
    assert_eq!(bus.node(PROVIDER).services.count(), before, "the service was not called");
}

fn state_of_ocsp(bus: &Bus, node: &str) -> ServiceState {
    let ground = &bus.node(node).ground;
    let directory = ground.directory.current().unwrap();
    let states = ground.verifier.authority_states(&directory, bus.clock.now());
    states[0].state
}

#[tokio::test]
async fn without_the_registry_the_bus_goes_on_for_72_hours() {
    let bus = bus().await;
    bus.publish();
    assert!(noted(&bus).await.iter().all(|note| !note.directory_degraded && !note.status_graced));
    bus.advance(11 * MINUTE);
    assert!(noted(&bus).await.iter().all(|note| note.directory_degraded));
    bus.advance(72 * HOUR - 12 * MINUTE);
    let notes = noted(&bus).await;
    assert!(
        notes.iter().all(|note| note.directory_degraded && !note.status_graced),
        "71 h 59 min: {notes:?}"
    );
    bus.advance(2 * MINUTE);
    stopped(&bus, FaultCode::DirectoryExpired).await;
    bus.publish();
    assert!(noted(&bus).await.iter().all(|note| !note.directory_degraded), "a new head, and it works again");
}

/// A machine that slept for a day has old statuses until it fetches new ones. Carried, they would stand in the evidence for ever and show
/// nothing: the other side asks for itself.
#[tokio::test]
async fn a_status_past_every_grace_is_not_carried() {
    let bus = bus().await;
    let carried = async |bus: &Bus| request(bus, |_| {}).await.statuses.len();
    assert_eq!(carried(&bus).await, 2);
    bus.advance(11 * HOUR);
    assert_eq!(carried(&bus).await, 2);
    bus.advance(2 * HOUR);
    assert_eq!(carried(&bus).await, 0);
    assert_eq!(call(&bus).await.unwrap().status, 200);
}

/// One side's registry is away for longer than the other's: the caller hears whose.
#[tokio::test]
async fn an_expired_directory_on_the_other_side_is_told_to_the_caller() {
    let bus = bus().await;
    bus.advance(73 * HOUR);
    let fresh = bus.registry.publish(bus.clock.now());
    bus.node(CONSUMER).directory.set(Arc::clone(&fresh));
    let (request, code) = call(&bus).await.unwrap_err();
    assert_eq!(code, FaultCode::DirectoryExpired);
    let records = bus.node(CONSUMER).records(request.unwrap()).await;
    let last = records.last().unwrap();
    assert_eq!(
        last.local.fault.as_deref(),
        Some(FaultCode::DirectoryExpired.as_str()),
        "and it is on record"
    );
    bus.node(PROVIDER).directory.set(fresh);
    assert_eq!(call(&bus).await.unwrap().status, 200);
}

#[tokio::test]
async fn without_ocsp_the_bus_goes_on_for_12_hours() {
    let bus = bus().await;
    assert!(noted(&bus).await.iter().all(|note| !note.status_graced));
    bus.responder.set_down(true);
    // Responders write whole seconds.
    bus.advance(HOUR - Duration::from_secs(1));
    assert!(noted(&bus).await.iter().all(|note| !note.status_graced), "an hour is fresh");
    assert_eq!(state_of_ocsp(&bus, PROVIDER), ServiceState::Fresh, "nobody had to ask");
    bus.advance(MINUTE);
    assert!(noted(&bus).await.iter().all(|note| note.status_graced), "past it, by grace");
    assert_eq!(state_of_ocsp(&bus, PROVIDER), ServiceState::Degraded);
    bus.advance(11 * HOUR - 2 * MINUTE);
    bus.publish();
    assert!(
        noted(&bus).await.iter().all(|note| note.status_graced && !note.directory_degraded),
        "11 h 59 min"
    );
    bus.advance(2 * MINUTE);
    bus.publish();
    stopped(&bus, FaultCode::StatusUnknown).await;
    // The service is back; within a minute everybody has noticed.
    bus.responder.set_down(false);
    bus.advance(MINUTE);
    assert!(noted(&bus).await.iter().all(|note| !note.status_graced));
    assert_eq!(state_of_ocsp(&bus, PROVIDER), ServiceState::Fresh);
}

/// With the responder away the revocation list speaks for the certificates, and the record says so and keeps it.
#[tokio::test]
async fn a_revocation_list_stands_in_for_ocsp() {
    let bus = bus().await;
    bus.responder.set_down(true);
    bus.advance(20 * HOUR);
    bus.publish();
    stopped(&bus, FaultCode::StatusUnknown).await;
    bus.advance(2 * MINUTE);
    let list = bus.authority.list(&[], bus.clock.now());
    bus.responder.set_list(Some(list.clone()));
    for note in noted(&bus).await {
        assert!(!note.status_graced);
        assert_eq!(note.revocation_lists.len(), 1);
        let relied = &note.revocation_lists[0];
        assert_eq!(relied.digest, truc_model::Digest::of(&list));
        for node in [CONSUMER, PROVIDER] {
            assert_eq!(bus.node(node).store.artifact(relied.digest).await.unwrap(), Some(list.clone()));
        }
    }
    bus.advance(2 * HOUR);
    bus.publish();
    assert!(noted(&bus).await.iter().all(|note| note.status_graced && note.revocation_lists.len() == 1));
    // Revoked on the list is revoked, whatever else is carried.
    let seal = bus.node(CONSUMER).seals[&"VN/GOV/H26".parse().unwrap()].certificate.clone();
    bus.responder.set_list(Some(bus.authority.list(&[seal], bus.clock.now())));
    bus.advance(11 * MINUTE);
    bus.node(CONSUMER).renew_statuses();
    bus.advance(HOUR + MINUTE);
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::Untrusted);
    bus.responder.set_down(false);
    bus.advance(MINUTE);
    bus.node(CONSUMER).renew_statuses();
    let parts = request(&bus, |_| {}).await;
    assert_eq!(send(&bus, parts).await.fault(), FaultCode::Untrusted, "for good");
}

/// The attacker has the key of a revoked seal and a good status from before; the receiver can ask, and does.
#[tokio::test]
async fn a_stale_good_status_does_not_bring_a_revoked_seal_back() {
    let bus = bus().await;
    let consumer = bus.node(CONSUMER);
    let before = request(&bus, |_| {}).await.statuses;
    let seal = consumer.seals[&"VN/GOV/H26".parse().unwrap()].certificate.clone();
    bus.advance(2 * HOUR);
    bus.publish();
    bus.responder.set(&seal, Verdict::Revoked { at: bus.clock.now().minus(HOUR) });
    let carried = async || Parts { statuses: before.clone(), ..request(&bus, |_| {}).await };
    assert_eq!(send(&bus, carried().await).await.fault(), FaultCode::Untrusted);
    // Nor when everybody is away from then on: the newest status ever seen wins.
    bus.responder.set_down(true);
    bus.advance(HOUR);
    assert_eq!(send(&bus, carried().await).await.fault(), FaultCode::Untrusted);
    assert_eq!(bus.node(PROVIDER).services.count(), 0);
}
