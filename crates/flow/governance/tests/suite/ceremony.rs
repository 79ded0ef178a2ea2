//! Root keys on other machines: drafts that travel, thresholds, rotation, epochs (protocol P6.1, P6.3).

use std::sync::Arc;

use truc_directory::{
    Anchor, DirectoryError, PublicKey, RegistryAddress, Rollback, V1, may_replace, roots_agree,
    verify_root_chain,
};
use truc_governance::*;
use truc_model::{Clock as _, Digest, Fingerprint};

use crate::office::{MemoryLog, Office, PUBLISHING, SeedKeys, label, public};

fn keys(seeds: &[u8]) -> Vec<PublicKey> {
    seeds.iter().map(|s| public(*s)).collect()
}

/// The draft as it comes back from machines that each hold one key: through its file, every time.
async fn carried(draft: &Draft, seeds: &[u8]) -> Draft {
    let mut draft = Draft::parse(&draft.to_json().unwrap()).unwrap();
    for seed in seeds {
        draft = Draft::parse(&draft.to_json().unwrap()).unwrap();
        assert_eq!(draft.sign(&SeedKeys(vec![*seed]), &label(*seed)).await.unwrap(), public(*seed));
    }
    draft
}

/// Opens an instance whose root keys are 11, 12 and 13, two of which must sign.
async fn opened() -> Office {
    let mut office = Office::empty().await;
    let root = first_root("VN", 2, keys(&[11, 12, 13]), keys(&[PUBLISHING]), office.clock.now());
    let draft = carried(&draft_first_root(&root), &[13, 11]).await;
    office.run(draft.command().unwrap()).await.unwrap();
    office
}

async fn next(office: &Office, change: RootChange) -> Draft {
    let state = office.governance.state().unwrap();
    draft_root(state.root(), state.trust_services(), change, office.clock.now()).unwrap()
}

async fn install(office: &mut Office, change: RootChange, seeds: &[u8]) -> Result<(), String> {
    let draft = carried(&next(office, change).await, seeds).await;
    let command = draft.command().map_err(|e| e.to_string())?;
    office.run(command).await.map(drop).map_err(|e| e.to_string())
}

fn publishing(seeds: &[u8]) -> RootChange {
    RootChange { publishing_keys: Some(keys(seeds)), ..RootChange::default() }
}

fn hexadecimal(seed: u8) -> String {
    public(seed).0.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn a_first_root_waits_for_its_threshold_and_says_who_is_missing() {
    let mut office = Office::empty().await;
    let root = first_root("VN", 2, keys(&[11, 12, 13]), keys(&[PUBLISHING]), office.clock.now());
    let bare = draft_first_root(&root);
    let none = bare.clone().command().unwrap_err().to_string();
    assert!(none.contains("2 missing"), "{none}");
    let one = carried(&bare, &[12]).await;
    let short = one.clone().command().unwrap_err().to_string();
    assert!(short.contains("1 missing") && short.contains(&hexadecimal(11)), "{short}");
    assert!(!short.contains(&hexadecimal(12)), "who signed is not asked again: {short}");
    // The same key again counts once.
    assert_eq!(carried(&one, &[12]).await.command().unwrap_err().to_string(), short);
    let stranger = one.clone().sign(&SeedKeys(vec![14]), &label(14)).await.unwrap_err().to_string();
    assert!(stranger.contains(&hexadecimal(14)), "{stranger}");
    // Two copies, signed apart, become one.
    let mut other = carried(&bare, &[13]).await;
    other.merge(&one).unwrap();
    let needed = other.needed().unwrap();
    assert!(needed.iter().all(|n| n.missing() == 0 && n.signed == keys(&[12, 13])), "{needed:?}");
    office.run(other.command().unwrap()).await.unwrap();
    assert_eq!(office.publish().await.directory.root(), &root);
    // Another draft is no copy.
    let later = first_root("VN", 2, keys(&[11, 12, 13]), keys(&[3]), office.clock.now());
    assert!(draft_first_root(&later).merge(&one).is_err());
}

#[tokio::test]
async fn signatures_that_do_not_verify_count_for_nothing_and_are_not_published() {
    let office = opened().await;
    let mut draft = carried(&next(&office, publishing(&[2, 3])).await, &[11, 12]).await;
    let envelope = draft.root.as_mut().unwrap();
    let mut forged = envelope.signatures[1].clone();
    forged.key = public(13).id();
    envelope.signatures.push(forged.clone());
    envelope.signatures.push(truc_directory::Endorsement { key: Digest([9; 32]), ..forged });
    assert_eq!(draft.needed().unwrap()[0].signed, keys(&[11, 12]));
    let Command::InstallRoot { root, .. } = draft.clone().command().unwrap() else { panic!() };
    assert_eq!(root.signatures.len(), 2, "only what counts is kept");
    let envelope = draft.root.as_mut().unwrap();
    envelope.signatures.remove(0);
    assert!(draft.command().unwrap_err().to_string().contains("1 missing"));
}

#[tokio::test]
async fn keys_rotate_and_a_node_with_the_first_anchor_follows_three_roots() {
    let mut office = opened().await;
    let first = office.publish().await;
    let mut anchor = office.governance.state().unwrap().anchor().unwrap();
    // 2: a new publishing key joins. 3: other root keys, which the old ones hand over to. 4: the old publishing key leaves.
    install(&mut office, publishing(&[2, 3]), &[12, 13]).await.unwrap();
    let hand_over = || RootChange { root_keys: Some((2, keys(&[13, 14, 15]))), ..RootChange::default() };
    let short = install(&mut office, hand_over(), &[11, 12]).await.unwrap_err();
    assert!(short.contains("the new root keys") && short.contains("list of trust services"), "{short}");
    let short = install(&mut office, hand_over(), &[14, 15]).await.unwrap_err();
    assert!(short.contains("the root keys in force, 0 signed"), "{short}");
    install(&mut office, hand_over(), &[13, 14, 11]).await.unwrap();
    let before = office.publish().await;
    let skipping = {
        let state = office.governance.state().unwrap();
        let after = truc_directory::Root { version: 4, ..state.root().clone() };
        draft_root(&after, state.trust_services(), publishing(&[3]), office.clock.now()).unwrap()
    };
    let skipping = carried(&skipping, &[14, 15]).await.command().unwrap();
    let refused = office.run(skipping).await.unwrap_err().to_string();
    assert!(refused.contains("root 4 was due, root 5"), "{refused}");
    let old = install(&mut office, publishing(&[3]), &[13, 14]).await;
    assert_eq!(old, Ok(()));
    // The publishing key that left signs nothing that a node would take.
    let error = office.publisher.publish(&mut office.governance).await.unwrap_err();
    assert_eq!(error, PublishError::Refused(DirectoryError::HeadSignature));
    let now: Arc<dyn truc_model::Clock> = office.clock.clone();
    let signer = Arc::new(SeedKeys(vec![3]));
    office.publisher = Publisher::open(signer, label(3), office.parts.clone(), now).await.unwrap();
    let last = office.publish().await;

    let chain = last.directory.raw().root_chain();
    assert_eq!(chain.len(), 4);
    anchor.registry = vec![RegistryAddress {
        address: "registry.example.vn:4001".into(),
        tls_certificate: Fingerprint([0; 32]),
    }];
    let anchor = Anchor::parse(&anchor.to_json()).unwrap();
    assert_eq!(verify_root_chain(&anchor, chain).unwrap().version, 4);
    assert!(roots_agree(first.directory.raw().root_chain(), chain));
    // Root keys that were replaced sign another version 3: it verifies from the anchor, but no node that saw ours goes there.
    let second = draft_root(
        &truc_directory::Root::parse(&truc_directory::Endorsed::parse(&chain[1]).unwrap().payload).unwrap(),
        office.governance.state().unwrap().trust_services(),
        publishing(&[2, 3, 4]),
        office.clock.now(),
    );
    let fork = carried(&second.unwrap(), &[11, 12]).await.root.unwrap().to_bytes();
    let forked = [chain[0].clone(), chain[1].clone(), fork];
    assert_eq!(verify_root_chain(&anchor, &forked).unwrap().version, 3);
    assert!(!roots_agree(chain, &forked));
    may_replace(&first.directory.head_ref(), &before.directory.head_ref()).unwrap();
    may_replace(&before.directory.head_ref(), &last.directory.head_ref()).unwrap();
    assert!(last.directory.head_ref().trust > first.directory.head_ref().trust);
    // Neither a gap nor another order, nor a chain of another anchor.
    let gap = [chain[0].clone(), chain[2].clone(), chain[3].clone()];
    assert!(verify_root_chain(&anchor, &gap).is_err());
    assert!(verify_root_chain(&anchor, &chain[1..]).is_err());
    let foreign = Anchor { root_keys: keys(&[21, 22]), ..anchor };
    let error = verify_root_chain(&foreign, chain).unwrap_err();
    assert_eq!(error, DirectoryError::RootSignature { version: 1 });
}

#[tokio::test]
async fn a_changed_trust_list_is_signed_elsewhere_too() {
    let mut office = opened().await;
    let state = office.governance.state().unwrap();
    let change = TrustChange::AddAuthority(crate::office::authority());
    let draft = draft_trust_change(state.root(), state.trust_services(), change).unwrap();
    assert!(draft.clone().command().unwrap_err().to_string().contains("2 missing"));
    let Command::InstallTrustServices { trust } = carried(&draft, &[11, 13]).await.command().unwrap() else {
        panic!()
    };
    office.run(Command::InstallTrustServices { trust }).await.unwrap();
    assert_eq!(office.publish().await.directory.authorities().len(), 1);
}

#[tokio::test]
async fn a_registry_that_lost_decisions_opens_an_epoch_that_nodes_follow() {
    let mut office = opened().await;
    office.publish().await;
    let backup = office.log.decisions.lock().unwrap().clone();
    // After the backup: a member, and two changes of the list of trust services.
    for change in
        [TrustChange::AddAuthority(crate::office::authority()), TrustChange::Remove("Pilot CA".into())]
    {
        let state = office.governance.state().unwrap();
        let draft = draft_trust_change(state.root(), state.trust_services(), change).unwrap();
        office.run(carried(&draft, &[11, 13]).await.command().unwrap()).await.unwrap();
    }
    let id = "VN/GOV/H49".parse().unwrap();
    office.run(Command::AddMember { id, name_vi: "Quảng Ninh".into(), name_en: "QN".into() }).await.unwrap();
    let seen = office.publish().await.directory.head_ref();

    let log = Arc::new(MemoryLog::default());
    log.decisions.lock().unwrap().extend(backup);
    let mut restored = Office::over(log, Arc::default(), office.clock.clone()).await;
    // Under the old epoch nodes would call what it publishes a step back.
    let old = restored.publish().await.directory.head_ref();
    assert!(matches!(may_replace(&seen, &old), Err(Rollback::Lower { .. })));
    let decisions = restored.governance.decisions();
    let epoch = |epoch, version| RootChange {
        new_epoch: Some(NewEpoch { epoch, version, decisions }),
        ..RootChange::default()
    };
    install(&mut restored, epoch(1, seen.version), &[12, 13]).await.unwrap();
    let new = restored.publish().await.directory.head_ref();
    assert!(new.version < seen.version && new.epoch == 2, "{new:?}");
    may_replace(&seen, &new).unwrap();
    // What comes afterwards goes on as ever.
    restored.admit_member("H50").await;
    may_replace(&new, &restored.publish().await.directory.head_ref()).unwrap();
    // Nodes that have seen a higher epoch than the registry knows of: roots were lost too.
    let state = restored.governance.state().unwrap();
    let far = draft_root(state.root(), state.trust_services(), epoch(3, 1), restored.clock.now());
    assert!(far.unwrap_err().to_string().contains("install their files again"));
}

impl Office {
    async fn admit_member(&mut self, code: &str) {
        let id = format!("VN/GOV/{code}").parse().unwrap();
        self.run(Command::AddMember { id, name_vi: code.into(), name_en: code.into() }).await.unwrap();
    }
}

#[tokio::test]
async fn drafts_that_make_no_sense_are_refused_before_anybody_signs() {
    let office = opened().await;
    let state = office.governance.state().unwrap();
    let draft = |change| draft_root(state.root(), state.trust_services(), change, office.clock.now());
    assert!(draft(RootChange::default()).unwrap_err().to_string().contains("same"));
    let roots = |threshold, seeds: &[u8]| RootChange {
        root_keys: Some((threshold, keys(seeds))),
        ..RootChange::default()
    };
    for change in [roots(3, &[1, 2]), roots(0, &[1]), roots(1, &[1, 1]), publishing(&[])] {
        assert!(draft(change.clone()).is_err(), "{change:?}");
    }
    let good = draft(publishing(&[2, 3])).unwrap();
    let text = String::from_utf8(good.to_json().unwrap()).unwrap();
    for wrong in [
        text.replace("\"instance\": \"VN\"", "\"instance\": \"XX\""),
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replacen("\"v\": 1", "\"v\": 2", 1),
        text.replace("\"root\"", "\"other\""),
        "{}".to_owned(),
    ] {
        assert!(wrong != text && Draft::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let nothing = Draft { v: V1, root: None, trust: None, ..good };
    assert!(Draft::parse(&nothing.to_json().unwrap()).is_err());
    assert!(nothing.command().is_err());
}
