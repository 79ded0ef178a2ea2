use truc_evidence::{EvidenceStore as _, SegmentStore as _};
use truc_keeping::KeepingError;
use truc_model::MessageId;

use crate::ground::{Ground, at};

#[tokio::test]
async fn a_held_body_lives_until_the_last_hold_is_released() {
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("1y");
    keeper.hold("vụ-1", "điều tra", "ops", &[Ground::request(0), Ground::request(1)]).await.unwrap();
    keeper.hold("vụ-2", "kiểm toán", "ops", &[Ground::request(1)]).await.unwrap();
    assert!(ground.segments.held().await.unwrap().is_empty(), "nothing is copied before the month expires");
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    keeper.expire().await.unwrap();
    assert_eq!(ground.segments.held().await.unwrap(), [0, 1, 2, 3]);

    keeper.release("vụ-1", "xong", "ops").await.unwrap();
    assert_eq!(ground.segments.held().await.unwrap(), [2, 3], "the other case still holds these");
    assert_eq!(keeper.holds().await.unwrap().iter().map(|h| h.case.as_str()).collect::<Vec<_>>(), ["vụ-2"]);
    let again = keeper.release("vụ-1", "xong", "ops").await;
    assert_eq!(again, Err(KeepingError::NoSuchCase("vụ-1".into())));
    keeper.release("vụ-2", "xong", "ops").await.unwrap();
    assert!(ground.segments.held().await.unwrap().is_empty());
    assert!((0..4).all(|sequence| !ground.segments.readable(sequence)));
}

#[tokio::test]
async fn what_cannot_be_held_is_told() {
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("1y");
    let unknown = MessageId::new(at("2026-11-21T03:00:00.000Z"), [9; 10]);
    let held = keeper.hold("vụ", "lý do", "ops", &[Ground::request(0), unknown]).await;
    assert_eq!(held, Err(KeepingError::UnknownRequests(vec![unknown])));
    assert!(keeper.holds().await.unwrap().is_empty(), "all or nothing");
    for (case, reason) in [("", "lý do"), ("vụ", " "), ("a\nb", "lý do"), (&*"a".repeat(101), "lý do")] {
        let held = keeper.hold(case, reason, "ops", &[Ground::request(0)]).await;
        assert!(matches!(held, Err(KeepingError::Invalid(_))), "{case:?} {reason:?}");
    }
    assert!(matches!(keeper.hold("vụ", "lý do", "ops", &[]).await, Err(KeepingError::Invalid(_))));

    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    keeper.expire().await.unwrap();
    let late = keeper.hold("vụ", "lý do", "ops", &[Ground::request(0)]).await.unwrap();
    assert_eq!(late.gone, [Ground::request(0)], "what has expired is gone, and the hold says so");
    let body = ground.store.exchange(Ground::request(0)).await.unwrap();
    assert_eq!(body.len(), 2);
}

/// A body that is held and cannot be copied keeps its whole month.
#[tokio::test]
async fn no_hold_is_broken_for_an_expiry() {
    let ground = Ground::new(0).await;
    let keeper = ground.keeper("1y");
    keeper.hold("vụ", "lý do", "ops", &[Ground::request(0)]).await.unwrap();
    ground.clock.set(at("2027-12-01T00:00:00.000Z"));
    ground.segments.refuse_copies(true);
    assert!(keeper.expire().await.is_err());
    assert!((0..4).all(|sequence| ground.segments.readable(sequence)));
    ground.segments.refuse_copies(false);
    keeper.expire().await.unwrap();
    assert!(ground.segments.readable(0) && !ground.segments.readable(2));
}
