use truc_directory::{Rollback, may_replace};
use truc_model::Digest;

use crate::bus::{Bus, at};

#[test]
fn a_head_signed_again_keeps_its_version_and_may_replace() {
    let mut bus = Bus::new();
    let first = bus.assemble().unwrap();
    bus.head.issued = at("2026-11-21T03:01:00.000Z");
    bus.head.expires = at("2026-11-24T03:01:00.000Z");
    let again = bus.assemble().unwrap();
    assert_ne!(first.raw().signed_head(), again.raw().signed_head());
    assert_eq!(first.head_digest(), again.head_digest());
    may_replace(&first.head_ref(), &again.head_ref()).unwrap();
}

#[test]
fn versions_never_go_back_and_two_truths_are_an_alarm() {
    let mut bus = Bus::new();
    bus.head.version = 5;
    let current = bus.assemble().unwrap().head_ref();
    bus.head.version = 6;
    let next = bus.assemble().unwrap().head_ref();
    may_replace(&current, &next).unwrap();
    assert!(matches!(may_replace(&next, &current), Err(Rollback::Lower { .. })));

    bus.head.version = 5;
    bus.head.audit_log.sequence += 1;
    let other = bus.assemble().unwrap().head_ref();
    assert!(matches!(may_replace(&current, &other), Err(Rollback::TwoTruths { .. })));
    assert!(may_replace(&current, &other).unwrap_err().to_string().starts_with("ALARM"));
}

#[test]
fn a_new_epoch_counts_above_any_version() {
    let current = Bus::new().assemble().unwrap().head_ref();
    let mut next = current;
    (next.epoch, next.version, next.digest) = (2, 1, Digest([1; 32]));
    may_replace(&current, &next).unwrap();
    assert!(matches!(may_replace(&next, &current), Err(Rollback::Lower { .. })));
}

#[test]
fn an_older_root_or_trust_list_under_a_newer_number_is_refused() {
    let mut current = Bus::new().assemble().unwrap().head_ref();
    (current.root, current.trust) = (2, 2);
    let mut next = current;
    (next.version, next.root) = (9, 1);
    assert!(matches!(may_replace(&current, &next), Err(Rollback::OlderPart { what: "root", .. })));
    (next.root, next.trust) = (2, 1);
    assert!(matches!(may_replace(&current, &next), Err(Rollback::OlderPart { .. })));
}
