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
        fn certificate_key(&self, _: &truc_directory::Der) -> Result<SubjectKey, String> {
            Err("nobody".into())
        }
        fn request_key(
            &self,
            _: &truc_directory::Der,
            _: truc_directory::Usage,
            _: &str,
        ) -> Result<SubjectKey, String> {
            Err("nobody".into())
        }
    }
    let outcome = Governance::open(office.log, Arc::new(Nobody), clock).await;
    assert!(matches!(outcome, Err(GovernanceError::Journal(_))));
}

#[tokio::test]
async fn one_members_change_leaves_all_other_parts_as_they_lie() {
    let mut office = Office::furnished().await;
    let before = office.publish().await.directory;
    office.admit("H49").await;
    let after = office.publish().await.directory;
    let (same, raw) = ("VN/GOV/G01".parse().unwrap(), before.raw());
    let place = |d: &truc_directory::Directory| d.raw().member_part(&same).unwrap().as_ptr();
    assert_eq!(place(&before), place(&after), "neither written nor read again");
    let kept = after.raw().parts().filter(|(name, digest, _)| {
        raw.part(name).is_some_and(|old| truc_model::Digest::of(old) == **digest)
    });
    // H49's part and the index part that lists it.
    assert_eq!(kept.count(), after.raw().parts().count() - 2);
    let names: Vec<&str> = after.head().parts.iter().map(|p| p.name.as_str()).collect();
    assert!(names.contains(&"group-index") && !names.iter().any(|n| n.starts_with("member/")), "{names:?}");
}

#[tokio::test]
async fn a_group_has_a_part_of_its_own() {
    let mut office = Office::furnished().await;
    for code in ["mot-cua", "y-te"] {
        office.run(Command::CreateGroup { code: code.into(), name: code.into() }).await.unwrap();
    }
    let before = office.publish().await.directory;
    let member = truc_directory::GroupMember::Member("VN/GOV/H26".parse().unwrap());
    office.run(Command::AddToGroup { code: "y-te".into(), member }).await.unwrap();
    let after = office.publish().await.directory;
    assert_eq!(before.raw().part("group/mot-cua"), after.raw().part("group/mot-cua"));
    assert_ne!(before.raw().part("group/y-te"), after.raw().part("group/y-te"));
    assert!(after.in_group("y-te", &"VN/GOV/H26/he-thong".parse().unwrap()));
}

/// A registry that was upgraded signs what it published before in the form it had, and takes the new form with the next
/// decision.
#[tokio::test]
async fn a_version_keeps_the_form_in_which_it_was_published() {
    use truc_directory::{Head, PartRef, SignedHead, part};
    let mut office = Office::furnished().await;
    let today = office.publish().await.directory;
    let mut documents = vec![
        (part::TRUST.to_owned(), today.raw().trust_part().unwrap().clone()),
        (part::ALIASES.to_owned(), today.raw().part(part::ALIASES).unwrap().clone()),
        (part::GROUPS.to_owned(), today.groups().to_bytes()),
        (part::root(1), today.raw().root_chain()[0].clone()),
    ];
    documents.extend(today.members().map(|m| (part::member(&m.id), m.to_bytes())));
    let mut parts = vec![];
    for (name, bytes) in documents {
        let size = bytes.len() as u64;
        parts.push(PartRef { name, digest: office.parts.put(bytes).await.unwrap(), size });
    }
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    let old = Head { parts, ..today.head().clone() };
    let key = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[crate::office::PUBLISHING; 32]).unwrap();
    let (head, id) = (old.to_bytes(), crate::office::public(crate::office::PUBLISHING).id());
    let signature = bytes::Bytes::copy_from_slice(key.sign(&head).as_ref());
    let signed = SignedHead { v: truc_directory::V1, head, key: id, signature };
    office.parts.set_head(signed.to_bytes()).await.unwrap();

    let mut office = office.reopened().await;
    let again = office.publish().await.directory;
    assert_eq!(again.head_digest(), old.content_digest());
    office.admit("H49").await;
    let next = office.publish().await.directory;
    assert_eq!(next.head().previous, Some(old.content_digest()));
    assert!(next.head().part(part::GROUPS).is_none() && next.head().part(part::GROUP_INDEX).is_some());
    assert!(next.members().count() == today.members().count() + 1);
}
