use std::collections::BTreeMap;

use truc_evidence::{Proof, object_name};
use truc_keeping::Moved;
use truc_model::Digest;
use truc_testkit::ArchiveFault;

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
