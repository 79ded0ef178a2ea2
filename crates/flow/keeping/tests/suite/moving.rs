use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use truc_evidence::{ArchiveError, ArchiveStore, ArchivedObject, Proof, object_name};
use truc_keeping::Moved;
use truc_model::Digest;
use truc_testkit::{ArchiveFault, MemoryArchive};

use crate::ground::{BODIES, Ground, JOURNAL};

async fn all_is_moved(ground: &Ground) {
    ground.nothing_is_lost().await;
    assert_eq!(ground.segments.files(), Vec::<String>::new());
    let mut proofs: BTreeMap<String, usize> = BTreeMap::new();
    for mark in ground.marks().await {
        let Proof::Archived(archived) = mark else { panic!("{mark:?}") };
        *proofs.entry(archived.file).or_default() += 1;
    }
    assert_eq!(proofs.len(), 6);
    assert!(proofs.values().all(|n| *n == 1), "one proof each: {proofs:?}");
    assert_eq!(ground.archive.objects().len(), 6, "and nothing else in the archive");
}

#[tokio::test]
async fn closed_segments_move_in_order() {
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("10y");
    let moved = keeper.move_closed().await.unwrap();
    let bytes = JOURNAL.iter().chain(&BODIES).map(|file| file.len() as u64 * 100).sum();
    assert_eq!(moved, Moved { segments: 6, bytes });
    all_is_moved(&ground).await;
    let marks = ground.marks().await.into_iter();
    let files = marks.map(|mark| match mark {
        Proof::Archived(archived) => archived.file,
        other => panic!("{other:?}"),
    });
    let files: Vec<_> = files.collect();
    assert_eq!(files, [JOURNAL, BODIES].concat());
    assert_eq!(keeper.move_closed().await.unwrap(), Moved::default());
    assert_eq!((keeper.state().moved, keeper.state().waiting), (6, 0));
    assert!(ground.keeper_without_archive("10y").move_closed().await.is_ok());
}

/// Whatever the archive does to a call, nothing is removed here before it is safe there, and the next round goes on.
#[tokio::test]
async fn every_fault_of_the_archive() {
    use ArchiveFault::{AnswerLost, Away, Lies, None, Refuses, Truncates};
    for fault in [Away, AnswerLost, Truncates, Lies, Refuses] {
        for call in 0..12 {
            let ground = Ground::new(0).await;
            ground.archive.next((0..call).map(|_| None).chain([fault]));
            let keeper = ground.keeper("10y");
            let first = keeper.move_closed().await;
            ground.nothing_is_lost().await;
            assert!(first.is_err(), "{fault:?} at call {call} is noticed");
            assert!(keeper.state().waiting > 0);
            keeper.move_closed().await.unwrap();
            all_is_moved(&ground).await;
        }
        let ground = Ground::new(0).await;
        ground.archive.always(Some(fault));
        for _ in 0..3 {
            assert!(ground.keeper("10y").move_closed().await.is_err());
            ground.nothing_is_lost().await;
            assert_eq!(ground.segments.files().len(), 6);
        }
        ground.archive.always(Option::None);
        ground.keeper("10y").move_closed().await.unwrap();
        all_is_moved(&ground).await;
    }
}

/// The power goes between any two steps; the node starts again and goes on.
#[tokio::test]
async fn a_crash_at_every_step() {
    for at in 1.. {
        let ground = Ground::new(at).await;
        let outcome = ground.keeper("10y").move_closed().await;
        let crashed = ground.crash.happened();
        assert_eq!(outcome.is_err(), crashed);
        ground.crash.restart();
        ground.nothing_is_lost().await;
        ground.keeper("10y").move_closed().await.unwrap();
        all_is_moved(&ground).await;
        if !crashed {
            assert!(at > 50, "the steps were counted");
            break;
        }
    }
}

/// What lies under the wanted name already, of a half-done earlier time, is not taken for the segment.
#[tokio::test]
async fn what_was_spoilt_there_is_not_counted_on() {
    let ground = Ground::new(0).await;
    let name = object_name(JOURNAL[0], Digest::of(JOURNAL[0].repeat(100).as_bytes()));
    // Put, and the answer lost.
    ground.archive.next([ArchiveFault::AnswerLost]);
    assert!(ground.keeper("10y").move_closed().await.is_err());
    ground.archive.spoil(&name);
    assert!(ground.keeper("10y").move_closed().await.is_err(), "other bytes are never overwritten");
    ground.nothing_is_lost().await;
    assert_eq!(ground.segments.files().len(), 6);
}

/// An archive that notes when it is asked to keep something.
struct Noting {
    archive: Arc<MemoryArchive>,
    since: Instant,
    asked: Mutex<Vec<u64>>,
}

#[async_trait]
impl ArchiveStore for Noting {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        self.asked.lock().unwrap().push(self.since.elapsed().as_secs());
        self.archive.put(name, bytes).await
    }
    async fn get(&self, name: &str) -> Result<Bytes, ArchiveError> {
        self.archive.get(name).await
    }
    async fn delete(&self, name: &str) -> Result<(), ArchiveError> {
        self.archive.delete(name).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ArchivedObject>, ArchiveError> {
        self.archive.list(prefix).await
    }
}

/// What was away for a minute is not behind for ten, and what is away for long is not pestered.
#[tokio::test(start_paused = true)]
async fn an_archive_that_is_away_is_asked_again_soon_and_then_more_rarely() {
    let ground = Ground::new(0).await;
    let (archive, since, asked) = (Arc::clone(&ground.archive), Instant::now(), Mutex::default());
    let noting = Arc::new(Noting { archive, since, asked });
    let asked = || noting.asked.lock().unwrap().split_off(0);
    let keeper = ground.keeper_without_archive("10y").with_archive(Arc::clone(&noting) as _);
    let (keeper, stop) = (Arc::new(keeper), CancellationToken::new());
    ground.archive.always(Some(ArchiveFault::Away));
    let running = tokio::spawn(Arc::clone(&keeper).run(stop.clone()));
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(asked(), [0, 30, 90, 210, 510, 1110, 1710]);
    assert!(keeper.state().failing.is_some());

    ground.archive.always(None);
    sleep(Duration::from_secs(600)).await;
    all_is_moved(&ground).await;
    assert_eq!((asked(), keeper.state().failing), (vec![2310; 6], None));
    // It begins with the shortest pause again.
    ground.archive.always(Some(ArchiveFault::Away));
    ground.segments.add("evidence-00000000000000000200-1.seg", b"more");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(asked(), [2910, 2940]);
    stop.cancel();
    running.await.unwrap();
}
