use std::sync::Arc;
use std::time::Duration;

use truc_directory::may_replace;
use truc_governance::*;
use truc_model::Clock as _;

use crate::office::{MemoryLog, MemoryParts, Office};

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    contract::part_store(&MemoryParts::default()).await.unwrap();
}

#[tokio::test]
async fn each_decision_makes_a_version_and_signing_again_makes_none() {
    let mut office = Office::furnished().await;
    let first = office.publish().await;
    assert_eq!(first.directory.version(), office.governance.decisions());
    office.clock.advance(RESIGN_EVERY);
    let again = office.publish().await;
    assert_eq!(again.directory.head_digest(), first.directory.head_digest());
    assert_eq!(again.directory.issued(), office.clock.now());
    may_replace(&first.directory.head_ref(), &again.directory.head_ref()).unwrap();

    office.admit("H49").await;
    let next = office.publish().await;
    assert!(next.directory.version() > again.directory.version());
    assert_eq!(next.directory.head().previous, Some(first.directory.head_digest()));
    assert_eq!(next.directory.expires().since(next.directory.issued()), Duration::from_secs(72 * 3600));
    for part in &first.directory.head().parts {
        assert!(office.parts.get(&part.digest).await.unwrap().is_some(), "{} is kept for ever", part.name);
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_version() {
    let mut office = Office::furnished().await;
    let before = office.publish().await;
    let mut office = office.reopened().await;
    let after = office.publish().await;
    assert_eq!(after.directory.head_ref(), before.directory.head_ref());
}

#[tokio::test]
async fn decisions_left_unpublished_or_a_lost_head_get_a_number_of_their_own() {
    let mut office = Office::furnished().await;
    let before = office.publish().await;
    office.admit("H49").await;
    let mut office = office.reopened().await;
    let after = office.publish().await;
    assert_eq!(
        after.directory.version(),
        before.directory.version() + 6,
        "five decisions and the resumption"
    );
    may_replace(&before.directory.head_ref(), &after.directory.head_ref()).unwrap();

    office.parts = Arc::default();
    let mut office = office.reopened().await;
    let recovered = office.publish().await;
    may_replace(&after.directory.head_ref(), &recovered.directory.head_ref()).unwrap();
    assert!(recovered.directory.version() > after.directory.version());
}

#[tokio::test]
async fn a_journal_behind_the_published_head_is_an_alarm() {
    let mut office = Office::furnished().await;
    office.publish().await;
    let shorter = MemoryLog::default();
    {
        let decisions = office.log.decisions.lock().unwrap();
        *shorter.decisions.lock().unwrap() = decisions[..decisions.len() - 1].to_vec();
    }
    office.log = Arc::new(shorter);
    let mut office = office.reopened().await;
    let refusal = office.publisher.publish(&mut office.governance).await.unwrap_err();
    assert!(matches!(refusal, PublishError::JournalBehind { .. }), "{refusal}");
}

#[tokio::test]
async fn a_journal_that_cannot_be_understood_is_refused_not_guessed() {
    let office = Office::furnished().await;
    office.log.decisions.lock().unwrap()[3].kind = "weather.changed".into();
    let clock = office.clock.clone();
    struct Nobody;
    impl CertificateInspector for Nobody {
        fn inspect(
            &self,
            _: &truc_directory::Der,
            _: truc_directory::Usage,
            _: &[truc_directory::ApprovedAuthority],
            _: truc_model::Timestamp,
        ) -> Result<CertificateHolder, String> {
            Err("nobody".into())
        }
    }
    let outcome = Governance::open(office.log, Arc::new(Nobody), clock).await;
    assert!(matches!(outcome, Err(GovernanceError::Journal(_))));
}
