use bytes::Bytes;
use truc_archives::{FolderArchive, OpenError};
use truc_evidence::{ArchiveError, ArchiveStore as _};

#[tokio::test]
async fn the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("disk/archive");
    let archive = FolderArchive::open(&root, true).unwrap();
    truc_evidence::contract::archive(&archive).await.unwrap();
    let again = FolderArchive::open(&root, false).unwrap();
    truc_evidence::contract::archive(&again).await.unwrap();
}

/// A disk that is not mounted looks like an empty folder: nothing there is missing, and nothing is put beside the disk.
#[tokio::test]
async fn an_empty_mount_point_is_no_archive() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("archive");
    let archive = FolderArchive::open(&root, true).unwrap();
    archive.put("a.seg", Bytes::from_static(b"a")).await.unwrap();
    let away = dir.path().join("unmounted");
    std::fs::rename(&root, &away).unwrap();
    std::fs::create_dir(&root).unwrap();
    assert!(matches!(archive.get("a.seg").await, Err(ArchiveError::Away(_))));
    assert!(matches!(archive.list("").await, Err(ArchiveError::Away(_))));
    assert!(matches!(archive.put("b.seg", Bytes::new()).await, Err(ArchiveError::Away(_))));
    assert!(matches!(FolderArchive::open(&root, false), Err(OpenError::Archive(ArchiveError::Away(_)))));
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&away, &root).unwrap();
    assert_eq!(archive.get("a.seg").await.unwrap(), "a");
}

#[tokio::test]
async fn a_folder_of_something_else_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letters.txt"), "dear").unwrap();
    let error = FolderArchive::open(dir.path(), true).unwrap_err().to_string();
    assert!(error.contains("letters.txt"), "{error}");
}

/// What a crash left half written is in no list and in nobody's way.
#[tokio::test]
async fn a_leftover_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FolderArchive::open(dir.path(), true).unwrap();
    std::fs::write(dir.path().join(".a.seg.tmp"), "hal").unwrap();
    assert_eq!(archive.list("").await.unwrap(), []);
    archive.put("a.seg", Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(archive.get("a.seg").await.unwrap(), "half");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "the mark and the object");
}
