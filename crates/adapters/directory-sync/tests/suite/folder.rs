use bytes::Bytes;
use truc_directory_sync::{DirectoryFolder, FolderError};
use truc_model::Digest;

use crate::bus::{Bus, at};

fn keep(folder: &DirectoryFolder, bus: &Bus) {
    for part in bus.store().values().chain(&bus.chain) {
        folder.put(part).unwrap();
    }
    folder.set_head(&bus.signed().to_bytes()).unwrap();
}

#[test]
fn a_folder_gives_back_what_it_holds_and_remembers_versions() {
    let place = tempfile::tempdir().unwrap();
    let folder = DirectoryFolder::open(place.path()).unwrap();
    let mut bus = Bus::new();
    assert!(folder.load(&bus.anchor).unwrap().is_none());
    keep(&folder, &bus);
    bus.head.version = 2;
    bus.head.issued = at("2026-11-21T03:01:00.000Z");
    keep(&folder, &bus);
    let folder = DirectoryFolder::open(place.path()).unwrap();
    assert_eq!(folder.load(&bus.anchor).unwrap().unwrap().version(), 2);
    assert_eq!(folder.load_version(&bus.anchor, 1, 1).unwrap().unwrap().version(), 1);
    assert!(folder.load_version(&bus.anchor, 1, 9).unwrap().is_none());
}

#[test]
fn a_damaged_part_is_not_served_and_is_mended_by_the_next_put() {
    let place = tempfile::tempdir().unwrap();
    let folder = DirectoryFolder::open(place.path()).unwrap();
    let bus = Bus::new();
    keep(&folder, &bus);
    let part = bus.parts[3].1.clone();
    let digest = Digest::of(&part);
    std::fs::write(place.path().join("parts").join(digest.to_string()), b"bent").unwrap();
    assert_eq!(folder.get(&digest).unwrap(), None);
    assert!(matches!(folder.load(&bus.anchor), Err(FolderError::Directory { .. })));
    folder.put(&part).unwrap();
    assert!(folder.load(&bus.anchor).unwrap().is_some());
    assert!(folder.set_head(&Bytes::from_static(b"no head")).is_err());
}
