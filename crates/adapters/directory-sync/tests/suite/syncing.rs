use std::sync::Arc;
use std::sync::atomic::Ordering;

use truc_directory::{RegistryAddress, Rollback};
use truc_directory_sync::SyncError;
use truc_model::Fingerprint;

use crate::bus::{Bus, Key, at, member};
use crate::registry::{Journal, Registry, node};

#[tokio::test]
async fn a_node_follows_the_registry_and_fetches_only_what_changed() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let (mut handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    assert_eq!(handle.current().version(), 1);
    assert_eq!(*journal.0.lock().unwrap(), Some(handle.current().head_ref()));
    let asked = registry.shelf.asked.load(Ordering::SeqCst);
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();

    bus.head.version = 2;
    bus.set("member/VN/GOV/H49", member("H49", 13).to_bytes());
    registry.show(&bus);
    assert!(handle.changed().await);
    assert_eq!(handle.current().version(), 2);
    assert_eq!(registry.shelf.asked.load(Ordering::SeqCst), asked + 1, "one new part");

    bus.head.issued = at("2026-11-21T03:04:00.000Z");
    registry.show(&bus);
    assert!(handle.changed().await);
    assert_eq!(handle.current().issued(), bus.head.issued);
    assert_eq!(registry.shelf.asked.load(Ordering::SeqCst), asked + 1, "signed again: nothing to fetch");
    sync.stop().await;
}

#[tokio::test]
async fn a_node_goes_on_while_the_registry_is_away_and_catches_up_after() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let mut registry = Registry::start(&bus).await;
    let anchor = registry.anchor(&bus);
    let (handle, sync) = node(place.path(), anchor.clone(), &journal).await.unwrap();
    let mut status = handle.status_changes();
    status.wait_for(|s| s.connected).await.unwrap();
    registry.close().await;
    status.wait_for(|s| !s.connected && s.last_error.is_some()).await.unwrap();
    assert_eq!(handle.current().version(), 1);
    sync.stop().await;

    // Another start, the registry still away: from the cache.
    let (mut handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    assert_eq!(handle.current().version(), 1);
    bus.head.version = 2;
    registry.show(&bus);
    registry.open().await;
    while handle.current().version() < 2 {
        assert!(handle.changed().await);
    }
    sync.stop().await;
    registry.close().await;
}

#[tokio::test]
async fn a_server_with_another_certificate_is_not_spoken_to() {
    let (bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let mut anchor = registry.anchor(&bus);
    anchor.registry[0].tls_certificate = Fingerprint([5; 32]);
    let error = node(place.path(), anchor.clone(), &journal).await.unwrap_err();
    assert!(matches!(&error, SyncError::None { why, .. } if why.contains("anchor pins")), "{error}");
    assert_eq!(registry.shelf.asked.load(Ordering::SeqCst), 0);

    // A second address that does fit is tried in turn.
    let good = RegistryAddress {
        tls_certificate: registry.anchor(&bus).registry[0].tls_certificate,
        ..anchor.registry[0].clone()
    };
    anchor.registry.push(good);
    let (handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    assert_eq!(handle.current().version(), 1);
    sync.stop().await;
}

#[tokio::test]
async fn an_older_directory_is_refused_loudly() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    bus.head.version = 5;
    let registry = Registry::start(&bus).await;
    let (handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    let mut status = handle.status_changes();
    status.wait_for(|s| s.connected).await.unwrap();
    bus.head.version = 4;
    registry.show(&bus);
    let alarm = status.wait_for(|s| s.alarm.is_some()).await.unwrap().alarm.clone().unwrap();
    assert!(alarm.contains("older"), "{alarm}");
    assert_eq!(handle.current().version(), 5);
    sync.stop().await;
}

#[tokio::test]
async fn two_directories_under_one_number_are_an_alarm() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let registry = Registry::start(&bus).await;
    let (handle, sync) = node(place.path(), registry.anchor(&bus), &journal).await.unwrap();
    let mut status = handle.status_changes();
    status.wait_for(|s| s.connected).await.unwrap();
    let before = handle.current().head_digest();
    bus.head.audit_log.sequence += 1;
    registry.show(&bus);
    let alarm = status.wait_for(|s| s.alarm.is_some()).await.unwrap().alarm.clone().unwrap();
    assert!(alarm.starts_with("ALARM"), "{alarm}");
    assert_eq!(handle.current().head_digest(), before);
    sync.stop().await;
}

#[tokio::test]
async fn the_journal_outranks_the_cache() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    let mut registry = Registry::start(&bus).await;
    let anchor = registry.anchor(&bus);
    node(place.path(), anchor.clone(), &journal).await.unwrap().1.stop().await;
    let mut seen = journal.0.lock().unwrap().unwrap();
    (seen.version, seen.digest) = (7, truc_model::Digest([1; 32]));
    *journal.0.lock().unwrap() = Some(seen);
    // Neither the cache, put back to version 1, nor a registry that offers it is believed.
    let error = node(place.path(), anchor.clone(), &journal).await.unwrap_err();
    let expected = Rollback::Lower { epoch: 1, current: 7, candidate_epoch: 1, candidate: 1 };
    assert!(matches!(&error, SyncError::None { why, .. } if *why == expected.to_string()), "{error}");

    bus.head.version = 8;
    registry.show(&bus);
    let (handle, sync) = node(place.path(), anchor, &journal).await.unwrap();
    assert_eq!(handle.current().version(), 8);
    sync.stop().await;
    registry.close().await;
}

#[tokio::test]
async fn a_head_no_publishing_key_signed_is_refused_before_anything_but_roots_is_fetched() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    bus.publishing = Key::new(66);
    let registry = Registry::start(&bus).await;
    let error = node(place.path(), registry.anchor(&bus), &journal).await.unwrap_err();
    assert!(error.to_string().contains("publishing key"), "{error}");
    assert!(journal.0.lock().unwrap().is_none());
}

#[tokio::test]
async fn an_expired_directory_is_not_taken_from_the_registry() {
    let (mut bus, place, journal) = (Bus::new(), tempfile::tempdir().unwrap(), Arc::new(Journal::default()));
    bus.head.issued = at("2026-11-10T00:00:00.000Z");
    bus.head.expires = at("2026-11-12T00:00:00.000Z");
    let registry = Registry::start(&bus).await;
    let error = node(place.path(), registry.anchor(&bus), &journal).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}
