use std::time::Duration;

use bytes::Bytes;
use truc_evidence::{Batch, Proof, ProofStore as _, SegmentStore as _};
use truc_keeping::{KeepingError, TOMBSTONE, TombstoneText};

use crate::ground::{BODIES, Ground, JOURNAL, at, of};

/// The tombstones' texts.
async fn tombstones(ground: &Ground) -> Vec<TombstoneText> {
    let marks = ground.marks().await.into_iter();
    let notes = marks.filter_map(|mark| if let Proof::Tombstone(t) = mark { Some(t.note) } else { None });
    notes
        .map(|note| {
            let mut lines = note.lines();
            assert_eq!(lines.next(), Some(TOMBSTONE));
            let text = serde_json::from_str(lines.next().unwrap()).unwrap();
            assert_eq!(lines.next(), Some(""));
            text
        })
        .collect()
}

async fn november_is_gone(ground: &Ground) {
    let said = tombstones(ground).await;
    assert_eq!(said.len(), 1, "one tombstone");
    assert_eq!((&*said[0].class, &*said[0].month), ("default", "202611"));
    let files: Vec<_> = said[0].segments.iter().map(|s| s.file.as_str()).collect();
    assert_eq!(files, BODIES[..2]);
    assert_eq!(said[0].bytes, BODIES[..2].iter().map(|f| f.len() as u64 * 100).sum::<u64>());
    for segment in &said[0].segments {
        let bytes = segment.file.repeat(100);
        assert_eq!(segment.sha256, truc_model::Digest::of(bytes.as_bytes()));
    }
    assert!(!ground.segments.files().iter().any(|f| of("default", "202611").holds(f)));
    assert!(!ground.archive.objects().keys().any(|name| name.contains("202611")));
    let states = ground.segments.class_months().await.unwrap();
    let states: Vec<_> = states.into_iter().map(|s| s.of).collect();
    assert_eq!(states, [of("default", "202612")]);
}

#[tokio::test]
async fn bodies_expire_when_their_time_is_over_and_not_before() {
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("1y");
    ground.clock.set(at("2027-11-30T23:59:59.999Z"));
    assert_eq!(keeper.expire().await.unwrap(), []);
    assert!(ground.segments.readable(0));
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    assert_eq!(keeper.expire().await.unwrap(), [of("default", "202611")]);
    november_is_gone(&ground).await;
    assert!(!ground.segments.readable(0) && ground.segments.readable(99));
    assert_eq!(keeper.expire().await.unwrap(), []);
    assert_eq!(keeper.state().expired, 1);
    assert_eq!(ground.segments.files().len(), 4, "journal and December");

    ground.clock.advance(Duration::from_secs(365 * 24 * 3600 * 50));
    assert_eq!(ground.keeper("forever").expire().await.unwrap(), []);
}

/// Half of November lies in the archive when it expires.
#[tokio::test]
async fn expiry_reaches_into_the_archive() {
    let ground = Ground::new(0).await;
    ground.keeper("1y").move_closed().await.unwrap();
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    let without = ground.keeper_without_archive("1y").expire().await;
    assert_eq!(without, Err(KeepingError::NoArchive("default/202611".into())));
    assert_eq!(tombstones(&ground).await, []);
    ground.archive.always(Some(truc_testkit::ArchiveFault::Away));
    assert!(ground.keeper("1y").expire().await.is_err());
    assert_eq!(tombstones(&ground).await, [], "nothing is said to be gone that is not");
    ground.archive.always(None);
    ground.keeper("1y").expire().await.unwrap();
    november_is_gone(&ground).await;
    assert_eq!(ground.archive.objects().len(), JOURNAL.len() + 1);
}

/// The power goes between any two steps: what is held can be read at every moment, and the rest is gone and said to be in the end.
#[tokio::test]
async fn a_crash_at_every_step() {
    for archived in [false, true] {
        for count in 1.. {
            let ground = Ground::new(0).await;
            let keeper = ground.keeper("1y");
            keeper.hold("vụ-1", "điều tra", "ops", &[Ground::request(1)]).await.unwrap();
            if archived {
                keeper.move_closed().await.unwrap();
            }
            ground.clock.set(at("2027-12-01T00:00:00.000Z"));
            ground.crash.crash_after(count);
            let outcome = ground.keeper("1y").expire().await;
            let crashed = ground.crash.happened();
            assert_eq!(outcome.is_err(), crashed);
            ground.crash.restart();
            assert!(ground.segments.readable(2) && ground.segments.readable(3), "held, at {count}");
            if !tombstones(&ground).await.is_empty() {
                assert!(!ground.segments.readable(0), "said to be gone and is");
            }
            ground.keeper("1y").expire().await.unwrap();
            november_is_gone(&ground).await;
            assert!(ground.segments.readable(2) && !ground.segments.readable(0));
            if !crashed {
                assert!(count > 20, "the steps were counted");
                break;
            }
        }
    }
}

/// What is destroyed is gone for ever: a clock that is years ahead of the last time-stamp is not believed.
#[tokio::test]
async fn a_clock_that_runs_away_destroys_nothing() {
    let ground = Ground::new(0).await;
    let batch = |gen_time| {
        Proof::Batch(Batch {
            first: 0,
            next: 4,
            head: "head".into(),
            authority: "TSA".into(),
            gen_time,
            token: Bytes::from_static(b"token"),
        })
    };
    ground.store.prove(batch(at("2026-12-24T03:00:00.000Z"))).await.unwrap();
    ground.clock.set(at("2040-01-01T00:00:00.000Z"));
    assert_eq!(ground.keeper("1y").expire().await.unwrap(), []);
    assert!(ground.segments.readable(0));
    ground.store.prove(batch(at("2027-12-01T00:00:00.000Z"))).await.unwrap();
    assert_eq!(ground.keeper("1y").expire().await.unwrap(), [of("default", "202611")]);
}

#[tokio::test]
async fn a_class_that_is_not_configured_is_kept() {
    let ground = Ground::new(0).await;
    ground.segments.add_body(7, &of("ho-tich", "199901"));
    ground.clock.set(at("2040-01-01T00:00:00.000Z"));
    let gone = ground.keeper("1y").expire().await.unwrap();
    assert_eq!(gone, [of("default", "202611"), of("default", "202612")]);
    assert!(ground.segments.readable(7));
}

/// A round that fails is tried again; expiry runs once a day.
#[tokio::test]
async fn rounds() {
    let ground = Ground::new(0).await;
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    let keeper = ground.keeper("1y");
    let mut day = None;
    ground.archive.always(Some(truc_testkit::ArchiveFault::Away));
    keeper.round(&mut day).await;
    assert!(day.is_none() && keeper.state().failing.unwrap().contains("away"));
    ground.archive.always(None);
    keeper.round(&mut day).await;
    assert!(day.is_some() && keeper.state().failing.is_none() && keeper.state().well_at.is_some());
    november_is_gone(&ground).await;
    assert_eq!(ground.segments.files(), Vec::<String>::new(), "the rest was moved");
}

/// Whoever can write into the folder has no key of the log: the node must not sign for him, nor destroy before the time.
#[tokio::test]
async fn a_plan_that_somebody_else_wrote_destroys_and_signs_nothing() {
    let november = of("default", "202611");
    let tombstone = |class: &str, file: &str| {
        let digest = truc_model::Digest([7; 32]);
        format!(
            r#"{TOMBSTONE}\n{{\"class\":\"{class}\",\"month\":\"202611\",\"segments\":[{{\"file\":\"{file}\",\"sha256\":\"{digest}\"}}],\"bytes\":1,\"at\":\"2027-12-01T00:00:00.000Z\"}}\n"#
        )
    };
    let plan = |text: String| Bytes::from(format!(r#"{{"v":1,"texts":["{text}"]}}"#));
    let good = tombstone("default", BODIES[0]);
    let forged = [
        r"NODE:VN/GOV/H26/ss1\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".to_owned(),
        format!(r"{good}NODE:VN/GOV/H26/ss1\n"),
        tombstone("other", BODIES[0]),
        tombstone("default", BODIES[2]),
        format!(r"{TOMBSTONE}\n{{}}\n"),
    ];
    for text in forged {
        let ground = Ground::new(0).await;
        ground.segments.begin_expiry(&november, plan(text.clone())).await.unwrap();
        ground.clock.set(at("2027-12-01T00:00:00.000Z"));
        let outcome = ground.keeper("1y").expire().await;
        assert_eq!(outcome, Err(KeepingError::Plan("default/202611".into())), "{text}");
        assert!(ground.segments.readable(0), "{text}");
        assert_eq!(ground.marks().await, [], "{text}");
    }
    // In the right form, of other segments than those that lie there.
    let ground = Ground::new(0).await;
    ground.segments.begin_expiry(&november, plan(good.clone())).await.unwrap();
    for retention in ["1y", "forever"] {
        let outcome = ground.keeper(retention).expire().await;
        assert_eq!(outcome, Err(KeepingError::Early("default/202611".into())));
        assert!(ground.segments.readable(0));
    }
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    let outcome = ground.keeper("1y").expire().await;
    assert_eq!(outcome, Err(KeepingError::Plan("default/202611".into())));
    assert!(ground.segments.readable(0));
}

/// A plan that names no segment.
fn tombstone_of(of: &truc_evidence::ClassMonth, at: &str) -> Bytes {
    let (class, month) = (of.class.to_string(), of.month.to_string());
    let line = format!(
        r#"{{\"class\":\"{class}\",\"month\":\"{month}\",\"segments\":[],\"bytes\":0,\"at\":\"{at}\"}}"#
    );
    Bytes::from(format!(r#"{{"v":1,"texts":["{TOMBSTONE}\n{line}\n"]}}"#))
}

/// Nor does the node say that it made expire what somebody else destroyed: before the time, or against a hold.
#[tokio::test]
async fn what_somebody_else_destroyed_is_not_called_expired() {
    let november = of("default", "202611");
    let ground = Ground::new(0).await;
    ground.segments.destroy_key(&november).await.unwrap();
    let plan = tombstone_of(&november, "2020-12-01T00:00:00.000Z");
    ground.segments.begin_expiry(&november, plan).await.unwrap();
    for (retention, time, expected) in [
        ("forever", "2040-01-01T00:00:00.000Z", KeepingError::Early("default/202611".into())),
        ("1y", "2027-11-30T00:00:00.000Z", KeepingError::Early("default/202611".into())),
        ("1y", "2027-12-01T00:00:00.000Z", KeepingError::Plan("default/202611".into())),
    ] {
        ground.clock.set(at(time));
        assert_eq!(ground.keeper(retention).expire().await, Err(expected));
        assert_eq!(ground.marks().await, []);
    }
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("1y");
    keeper.hold("vụ-1", "điều tra", "ops", &[Ground::request(0)]).await.unwrap();
    ground.segments.destroy_key(&november).await.unwrap();
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    assert_eq!(keeper.expire().await, Err(KeepingError::KeyLost("default/202611".into())));
    let text = tombstone_of(&november, "2027-12-01T00:00:00.000Z");
    ground.segments.begin_expiry(&november, text).await.unwrap();
    assert_eq!(keeper.expire().await, Err(KeepingError::HeldLost("default/202611".into(), 0)));
    assert_eq!(ground.marks().await.len(), 1, "the hold alone");
}
