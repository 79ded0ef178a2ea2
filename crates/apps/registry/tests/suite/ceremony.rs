//! Root keys that the registry never sees, keys that rotate under nodes, and epochs after a restore.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_directory::{Anchor, PublicKey};
use truc_directory_sync::{DirectoryHandle, DirectorySync, SyncConfig};
use truc_governance::{Draft, TrustChange};
use truc_registry::*;

use crate::{Ca, Journal, clock, new_registry};

/// A medium with a root key.
async fn medium(place: &Path, name: &str) -> (PathBuf, PublicKey) {
    let dir = place.join(name);
    let key = new_root_key(&dir).await.unwrap();
    (dir, key)
}

async fn signed(draft: &Draft, media: &[&Path]) -> Draft {
    let mut draft = Draft::parse(&draft.to_json().unwrap()).unwrap();
    for medium in media {
        sign_draft(&mut draft, medium, None).await.unwrap();
    }
    draft
}

fn options(folder: &Path) -> InitOptions {
    let any = "127.0.0.1:0".parse().unwrap();
    InitOptions {
        folder: folder.to_owned(),
        instance: "VN".into(),
        listen: any,
        public_address: "127.0.0.1:4001".into(),
        admin_listen: any,
    }
}

fn draft_in(file: &Path) -> Draft {
    Draft::parse(&std::fs::read(file).unwrap()).unwrap()
}

fn passphrase(place: &Path) -> PathBuf {
    let file = place.join("backup-passphrase");
    truc_keystores::Passphrase::from_file_or_create(&file).unwrap();
    file
}

fn member(code: &str) -> AddMember {
    AddMember { id: format!("VN/GOV/{code}"), name_vi: code.into(), name_en: code.into() }
}

async fn running(config: &Path) -> (Running, Door, RegistryConfig) {
    let config = RegistryConfig::load(config).unwrap();
    let running = start(&config, clock()).await.unwrap();
    let token = std::fs::read_to_string(&config.admin_token_file).unwrap().trim().to_owned();
    let door = Door::Api { address: running.admin, token };
    (running, door, config)
}

/// A node: its folder, its journal, the anchor of its first day.
struct Node {
    folder: PathBuf,
    journal: Arc<Journal>,
    anchor: PathBuf,
}

impl Node {
    async fn follows(&self, registry: &Running) -> (DirectoryHandle, DirectorySync) {
        let mut anchor = Anchor::parse(&std::fs::read(&self.anchor).unwrap()).unwrap();
        anchor.registry[0].address = registry.listen.to_string();
        let sync = SyncConfig::new(self.folder.clone(), anchor);
        DirectorySync::start(sync, self.journal.clone(), clock()).await.unwrap()
    }
}

async fn comes_to(handle: &mut DirectoryHandle, number: (u64, u64)) {
    while (handle.current().epoch(), handle.current().version()) < number {
        assert!(handle.changed().await);
    }
    assert_eq!(handle.status().alarm, None);
}

#[tokio::test]
async fn a_registry_opens_when_enough_root_keys_that_it_never_saw_have_signed() {
    let place = tempfile::tempdir().unwrap();
    let (an, a) = medium(place.path(), "an").await;
    let (binh, b) = medium(place.path(), "binh").await;
    let (_, c) = medium(place.path(), "chi").await;
    assert!(new_root_key(&an).await.is_err(), "a root key is never replaced");
    let folder = place.path().join("registry");
    let twice = init_offline(options(&folder), 2, vec![a, a], clock()).await;
    assert!(twice.unwrap_err().to_string().contains("twice") && !folder.exists());
    let made = init_offline(options(&folder), 2, vec![a, b, c], clock()).await.unwrap();
    assert!(!folder.join("root").exists() && !folder.join("anchor.json").exists());

    let config = RegistryConfig::load(&made.config).unwrap();
    let closed = start(&config, clock()).await.err().unwrap();
    assert!(matches!(closed, RegistryError::AwaitsRoot(_)), "{closed}");
    let (out, secret) = (place.path().join("backup.truc"), passphrase(place.path()));
    backup(&made.config, &out, &secret, clock()).await.unwrap();
    restore(&out, &place.path().join("copy"), &secret, clock()).await.unwrap();
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    let one = signed(&draft_in(&made.draft), &[&an]).await;
    let short = door.install_draft(one.clone()).await.unwrap_err().to_string();
    assert!(short.contains("1 missing"), "{short}");
    let (stranger, _) = medium(place.path(), "stranger").await;
    let mut foreign = one.clone();
    assert!(sign_draft(&mut foreign, &stranger, None).await.is_err());
    let whole = signed(&one, &[&binh]).await;
    let opened = door.install_draft(whole.clone()).await.unwrap();
    assert_eq!(opened, Installed::Opened { anchor: folder.join("anchor.json") });
    let again = door.install_draft(whole).await.unwrap_err().to_string();
    assert!(again.contains("already holds"), "{again}");

    // A CA is approved by a file that travels too.
    let draft = door.draft_trust(TrustChange::AddAuthority(Ca::new().approved())).await.unwrap();
    let outcome = door.install_draft(signed(&draft, &[&binh, &an]).await).await.unwrap();
    assert!(matches!(outcome, Installed::Published(_)), "{outcome:?}");
    drop(door);
    let (registry, _, _) = running(&made.config).await;
    let anchor = folder.join("anchor.json");
    let node = Node { folder: place.path().join("node"), journal: Arc::default(), anchor };
    let (handle, task) = node.follows(&registry).await;
    assert_eq!((handle.current().root().threshold, handle.current().authorities().len()), (2, 1));
    task.stop().await;
    registry.stop().await.unwrap();
}

#[tokio::test]
async fn an_opening_that_was_cut_short_is_finished() {
    let place = tempfile::tempdir().unwrap();
    let (an, a) = medium(place.path(), "an").await;
    let folder = place.path().join("registry");
    let made = init_offline(options(&folder), 1, vec![a], clock()).await.unwrap();
    let whole = signed(&draft_in(&made.draft), &[&an]).await;
    let config = RegistryConfig::load(&made.config).unwrap();
    // Killed after the decision, before the anchor.
    let mut office = Office::open(&config, clock()).await.unwrap();
    office.execute(whole.clone().command().unwrap(), "ceremony").await.unwrap();
    drop(office);
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    assert!(matches!(door.install_draft(whole).await.unwrap(), Installed::Opened { .. }));
    assert!(folder.join("anchor.json").exists());
}

#[tokio::test]
async fn publishing_and_root_keys_rotate_while_nodes_follow_or_are_away() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let (registry, mut door, config) = running(&made.config).await;
    let here =
        Node { folder: place.path().join("here"), journal: Arc::default(), anchor: made.anchor.clone() };
    let away =
        Node { folder: place.path().join("away"), journal: Arc::default(), anchor: made.anchor.clone() };
    let (mut handle, task) = here.follows(&registry).await;
    away.follows(&registry).await.1.stop().await;
    let first = handle.current().root().publishing_keys[0];

    let clock = clock();
    let rotate = RootWishes { rotate_publishing: true, ..RootWishes::default() };
    let draft = door.draft_root(&config, rotate.clone(), clock.as_ref()).await.unwrap();
    let same = door.draft_root(&config, rotate, clock.as_ref()).await.unwrap();
    let keys = |d: &Draft| d.new_root().unwrap().unwrap().publishing_keys;
    assert_eq!(keys(&draft), keys(&same), "a key that was drafted and not installed is taken again");
    let unsigned = door.install_draft(draft.clone()).await.unwrap_err().to_string();
    assert!(unsigned.contains("1 missing"), "{unsigned}");
    let signed_draft = signed(&draft, &[&made.root]).await;
    let Installed::Published(outcome) = door.install_draft(signed_draft.clone()).await.unwrap() else {
        panic!()
    };
    comes_to(&mut handle, (1, outcome.version)).await;
    let signer = |handle: &DirectoryHandle| {
        truc_directory::SignedHead::parse(handle.current().raw().signed_head()).unwrap().key
    };
    let second = keys(&draft)[1];
    assert_eq!(signer(&handle), second.id(), "heads are signed with the new key");
    let again = door.install_draft(signed_draft).await.unwrap_err().to_string();
    assert!(again.contains("version 2 is in force"), "{again}");

    // The root key moves to another medium, and the old publishing key leaves.
    let (usb, key) = medium(place.path(), "usb").await;
    let wishes =
        RootWishes { retire_publishing: true, root_keys: Some((1, vec![key])), ..RootWishes::default() };
    let draft = door.draft_root(&config, wishes, clock.as_ref()).await.unwrap();
    let half = signed(&draft, &[&usb]).await;
    assert!(door.install_draft(half.clone()).await.is_err());
    let Installed::Published(outcome) = door.install_draft(signed(&half, &[&made.root]).await).await.unwrap()
    else {
        panic!()
    };
    comes_to(&mut handle, (1, outcome.version)).await;
    assert_eq!(handle.current().root().publishing_keys, [second]);
    assert_ne!(first, second);
    let (mut late, late_task) = away.follows(&registry).await;
    comes_to(&mut late, (1, outcome.version)).await;
    assert_eq!(late.current().root().version, 3);
    late_task.stop().await;
    task.stop().await;
    registry.stop().await.unwrap();

    // The old root key signs nothing any more; a root that no key of this registry could publish under is refused.
    let mut door = Door::open(&made.config, clock.clone()).await.unwrap();
    let change = TrustChange::AddAuthority(Ca::new().approved());
    let draft = door.draft_trust(change).await.unwrap();
    assert!(sign_draft(&mut draft.clone(), &made.root, None).await.is_err());
    let elsewhere = truc_governance::RootChange {
        publishing_keys: Some(vec![key]),
        ..truc_governance::RootChange::default()
    };
    let current = draft.current.clone().unwrap();
    let trust = truc_directory::TrustServices::empty("VN");
    let odd = truc_governance::draft_root(&current, &trust, elsewhere, clock.now()).unwrap();
    let refused = door.install_draft(signed(&odd, &[&usb]).await).await.unwrap_err();
    assert!(matches!(refused, RegistryError::NoPublishingKey), "{refused}");
}

#[tokio::test]
async fn a_restored_registry_stays_closed_until_an_epoch_opens_and_nodes_follow_it() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let (registry, mut door, config) = running(&made.config).await;
    door.apply(member("G01")).await.unwrap();
    let node = Node { folder: place.path().join("node"), journal: Arc::default(), anchor: made.anchor };
    let (mut handle, task) = node.follows(&registry).await;
    let (out, secret) = (place.path().join("backup.truc"), passphrase(place.path()));
    let inside = config.data.join("backup.truc");
    assert!(backup(&made.config, &inside, &secret, clock()).await.is_err(), "not among what is backed up");
    let manifest = backup(&made.config, &out, &secret, clock()).await.unwrap();
    assert_eq!((manifest.holder.as_str(), manifest.head.unwrap().epoch), ("VN", 1));
    // Lost with the machine: a root, a list of trust services, a member.
    let rotate = RootWishes { rotate_publishing: true, ..RootWishes::default() };
    let root_2 = door.draft_root(&config, rotate, clock().as_ref()).await.unwrap();
    let root_2 = signed(&root_2, &[&made.root]).await;
    door.install_draft(root_2.clone()).await.unwrap();
    let ca = Ca::new();
    door.change_trust(&made.root, TrustChange::AddAuthority(ca.approved())).await.unwrap();
    for code in ["H01", "H02", "H04"] {
        door.apply(member(code)).await.unwrap();
    }
    let lost = door.apply(member("H26")).await.unwrap().version;
    comes_to(&mut handle, (1, lost)).await;
    task.stop().await;
    registry.stop().await.unwrap();
    let (seen, roots) = head_number(&std::fs::read(node.folder.join("head.json")).unwrap()).unwrap();
    assert_eq!((seen, roots), (HeadNumber { epoch: 1, version: lost }, 2));

    let dir = place.path().join("elsewhere/registry");
    let restored = restore(&out, &dir, &secret, clock()).await.unwrap();
    assert_eq!(restored.manifest, manifest);
    assert!(!dir.join("root").exists(), "root keys are kept apart");
    let config = RegistryConfig::load(&restored.config).unwrap();
    let closed = start(&config, clock()).await.err().unwrap();
    assert!(matches!(closed, RegistryError::Restored { .. }), "{closed}");
    let mut door = Door::open(&restored.config, clock()).await.unwrap();
    assert!(matches!(door.apply(member("H49")).await, Err(RegistryError::Restored { .. })));
    // The lost root comes first, from the file that was signed then. The publishing key that it brought is lost too, but the one
    // before it still counts, and that is here; from the next root on it is the only one.
    assert_eq!(door.install_draft(root_2).await.unwrap(), Installed::StillClosed);
    let wishes = RootWishes { new_epoch: Some(seen), retire_publishing: true, ..RootWishes::default() };
    let draft = door.draft_root(&config, wishes, clock().as_ref()).await.unwrap();
    let opened = door.install_draft(signed(&draft, &[&made.root]).await).await.unwrap();
    let Installed::Published(outcome) = opened else { panic!("{opened:?}") };
    assert!(outcome.version < lost, "numbers begin lower again: {outcome:?}");
    drop(door);

    let (registry, mut door, _) = running(&restored.config).await;
    let (mut handle, task) = node.follows(&registry).await;
    comes_to(&mut handle, (2, 1)).await;
    let directory = handle.current();
    assert_eq!(directory.root().publishing_keys.len(), 1);
    assert!(directory.member(&"VN/GOV/G01".parse().unwrap()).is_some());
    assert!(directory.member(&"VN/GOV/H26".parse().unwrap()).is_none(), "that decision is lost");
    let next = door.apply(member("H26")).await.unwrap().version;
    comes_to(&mut handle, (2, next)).await;
    task.stop().await;
    registry.stop().await.unwrap();
    // A backup of the restored one is no less a backup.
    let second = place.path().join("second.truc");
    assert_eq!(backup(&restored.config, &second, &secret, clock()).await.unwrap().head.unwrap().epoch, 2);
}

#[tokio::test]
async fn a_backup_is_restored_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let (out, secret) = (place.path().join("backup.truc"), passphrase(place.path()));
    backup(&made.config, &out, &secret, clock()).await.unwrap();
    let exists = backup(&made.config, &out, &secret, clock()).await.unwrap_err().to_string();
    assert!(exists.contains("exists already"), "{exists}");
    let dir = place.path().join("restored");
    let other = place.path().join("other-passphrase");
    truc_keystores::Passphrase::from_file_or_create(&other).unwrap();
    let wrong = restore(&out, &dir, &other, clock()).await.unwrap_err().to_string();
    assert!(wrong.contains("passphrase is wrong"), "{wrong}");
    let taken = restore(&out, &place.path().join("registry"), &secret, clock()).await.unwrap_err();
    assert!(taken.to_string().contains("not empty"), "{taken}");
    let mut bytes = std::fs::read(&out).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = place.path().join("damaged.truc");
    std::fs::write(&damaged, &bytes).unwrap();
    assert!(restore(&damaged, &dir, &secret, clock()).await.is_err());
    assert!(!dir.exists());
    restore(&out, &dir, &secret, clock()).await.unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    for secret in ["admin-token", "passphrase", "keys/publishing.key"] {
        let mode = std::fs::metadata(dir.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret}");
    }
}
