//! Services that are declared immediate wait for a stamp.

use std::sync::Arc;
use std::time::Duration;

use truc_stamping::NotStamped;
use truc_testkit::tsa::Mood;

use crate::bench::{Bench, millis, seconds};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_stamped_at_once() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    millis(100).await;
    bench.append(2).await;
    let begun = tokio::time::Instant::now();
    running.stamper.stamped(0, LONG).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.check().await, 2, "the others of that moment go along");
    running.stamper.stamped(1, LONG).await.unwrap();
    assert_eq!(bench.tsas.asked("tsa"), 1);
    running.stop().await;
}

/// While one request is on its way, what arrives shares the next one.
#[tokio::test(start_paused = true)]
async fn waiters_share_a_token() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    millis(100).await;
    bench.tsas.set("tsa", Mood::Gated);
    bench.append(1).await;
    let wait = |sequence| {
        let stamper = Arc::clone(&running.stamper);
        tokio::spawn(async move { stamper.stamped(sequence, LONG).await })
    };
    let first = wait(0);
    millis(100).await;
    assert_eq!(bench.tsas.asked("tsa"), 1);
    bench.append(20).await;
    let others: Vec<_> = (1..21).chain(5..15).map(wait).collect();
    millis(100).await;
    assert_eq!(bench.tsas.asked("tsa"), 1, "one request at a time");
    bench.tsas.open();
    first.await.unwrap().unwrap();
    millis(100).await;
    bench.tsas.open();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(bench.tsas.asked("tsa"), 2);
    assert_eq!(bench.check().await, 21);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_in_time_and_the_stamp_comes_later() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    bench.tsas.set("tsa", Mood::Away);
    bench.append(1).await;
    let begun = tokio::time::Instant::now();
    let outcome = running.stamper.stamped(0, LONG).await.unwrap_err();
    assert_eq!(begun.elapsed(), LONG);
    assert!(
        matches!(&outcome, NotStamped::TooLate { why, .. } if why.contains("nobody is there")),
        "{outcome}"
    );
    let asked = bench.tsas.asked("tsa");
    assert!((4..12).contains(&asked), "it is tried again while somebody waits: {asked}");
    bench.tsas.set("tsa", Mood::Good);
    seconds(61).await;
    assert_eq!(bench.check().await, 1);
    running.stamper.stamped(0, LONG).await.unwrap();
    running.stop().await;
}

/// An authority that comes back within the wait is noticed within it.
#[tokio::test(start_paused = true)]
async fn an_authority_that_comes_back_serves_who_waits() {
    let bench = Bench::new(&["tsa"]);
    bench.tsas.set("tsa", Mood::Away);
    bench.append(1).await;
    let running = bench.run().await;
    seconds(600).await;
    bench.append(1).await;
    let waiting = {
        let stamper = Arc::clone(&running.stamper);
        tokio::spawn(async move { stamper.stamped(1, LONG).await })
    };
    seconds(10).await;
    bench.tsas.set("tsa", Mood::Good);
    waiting.await.unwrap().unwrap();
    assert_eq!(bench.check().await, 2);
    running.stop().await;
}

/// Somebody waits for a record that never comes, gives up, and nobody works for it any more.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_is_forgotten() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    bench.append(1).await;
    let outcome = running.stamper.stamped(99, Duration::from_secs(2)).await;
    assert!(matches!(outcome, Err(NotStamped::TooLate { .. })));
    assert_eq!(bench.check().await, 1);
    seconds(61).await;
    bench.append(1).await;
    millis(500).await;
    assert_eq!(bench.check().await, 1, "the next one waits for its minute");
    seconds(61).await;
    assert_eq!(bench.check().await, 2);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_waiters_are_told_so() {
    let bench = Bench::new(&["tsa"]);
    bench.tsas.set("tsa", Mood::Away);
    let running = bench.run().await;
    let wait = |sequence| {
        let stamper = Arc::clone(&running.stamper);
        tokio::spawn(async move { stamper.stamped(sequence, LONG).await })
    };
    let waiting: Vec<_> = (0..10_000).map(wait).collect();
    millis(10).await;
    assert_eq!(running.stamper.stamped(5, LONG).await, Err(NotStamped::Busy));
    for waiter in waiting {
        assert!(waiter.await.unwrap().is_err());
    }
    assert!(matches!(
        running.stamper.stamped(5, Duration::from_millis(1)).await,
        Err(NotStamped::TooLate { .. })
    ));
    running.stop().await;
}
