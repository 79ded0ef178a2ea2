//! Authorities that fail, a journal that is full, a clock that is wrong, a stop at a bad moment.

use std::time::Duration;

use truc_testkit::tsa::{Flaw, Mood};

use crate::bench::{Bench, millis, seconds};

const HOUR: u64 = 3600;

#[tokio::test(start_paused = true)]
async fn the_next_authority_is_asked_and_the_failed_one_last() {
    let bench = Bench::new(&["one", "two"]);
    bench.tsas.set("one", Mood::Away);
    bench.append(1).await;
    let running = bench.run().await;
    millis(100).await;
    assert_eq!((bench.tsas.asked("one"), bench.tsas.asked("two")), (1, 1));
    for _ in 0..5 {
        bench.append(1).await;
        seconds(60).await;
    }
    assert_eq!(
        (bench.tsas.asked("one"), bench.tsas.asked("two")),
        (1, 6),
        "it is not asked while it is last"
    );
    assert_eq!(bench.check().await, 6);
    bench.tsas.set("one", Mood::Good);
    seconds(10 * 60).await;
    bench.append(1).await;
    seconds(61).await;
    assert_eq!(bench.batches().last().unwrap().authority, "one", "first again after 10 minutes");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_authority_is_left_after_ten_seconds() {
    let bench = Bench::new(&["slow", "two"]);
    bench.tsas.set("slow", Mood::Silent);
    bench.append(1).await;
    let running = bench.run().await;
    seconds(9).await;
    assert_eq!(bench.batches().len(), 0);
    seconds(2).await;
    assert_eq!(bench.batches()[0].authority, "two");
    bench.append(1).await;
    seconds(60).await;
    assert_eq!((bench.check().await, bench.tsas.asked("slow")), (2, 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_lies_is_not_believed() {
    let lies = [
        (Mood::OtherDigest, "another digest"),
        (Mood::OtherNonce, "nonce"),
        (Mood::Refuses, "refused"),
        (Mood::Ahead, "clock"),
        (Mood::Nonsense, "DER"),
    ];
    for (mood, words) in lies {
        let bench = Bench::new(&["liar"]);
        bench.tsas.set("liar", mood);
        bench.append(2).await;
        let running = bench.run().await;
        seconds(5).await;
        assert!(bench.batches().is_empty(), "{mood:?}");
        let why = running.stamper.state(bench.clock.right()).failing.unwrap();
        assert!(why.contains(words), "{mood:?}: {why}");
        bench.tsas.set("liar", Mood::Good);
        seconds(61).await;
        assert_eq!(bench.check().await, 2, "{mood:?}");
        assert_eq!(running.stamper.state(bench.clock.right()).failing, None);
        running.stop().await;
    }
    for (flaw, words) in [
        (Flaw::Expired, "not valid"),
        (Flaw::ManyUsages, "for time-stamping alone"),
        (Flaw::NotCritical, "for time-stamping alone"),
    ] {
        let bench = Bench::new(&[]);
        bench.list("flawed", flaw);
        bench.append(1).await;
        let running = bench.run().await;
        seconds(5).await;
        assert!(bench.batches().is_empty(), "{flaw:?}");
        let why = running.stamper.state(bench.clock.right()).failing.unwrap();
        assert!(why.contains(words), "{flaw:?}: {why}");
        bench.list("good", Flaw::None);
        seconds(61).await;
        assert_eq!(bench.check().await, 1, "the other one is asked");
        running.stop().await;
    }
}

/// An authority that lost its place in the directory is asked no more, and its key counts for nothing under its old name.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_authority_is_not_asked() {
    let bench = Bench::new(&["tsa"]);
    bench.append(1).await;
    let running = bench.run().await;
    millis(100).await;
    assert_eq!(bench.check().await, 1);
    bench.delist("tsa");
    bench.append(1).await;
    seconds(120).await;
    assert_eq!((bench.batches().len(), bench.tsas.asked("tsa")), (1, 1));
    let why = running.stamper.state(bench.clock.right()).failing.unwrap();
    assert!(why.contains("no time-stamp authority to ask"), "{why}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn past_the_grace_it_is_overdue_until_a_stamp_comes() {
    let bench = Bench::new(&["one", "two"]);
    bench.tsas.set("one", Mood::Away);
    bench.tsas.set("two", Mood::Refuses);
    bench.append(3).await;
    let running = bench.run().await;
    let overdue = || running.stamper.overdue(bench.clock.right());
    seconds(48 * HOUR - 120).await;
    assert!(!overdue());
    let asked = bench.tsas.asked("one");
    assert!(asked > 48 * 60 && asked < 49 * 60 * 3, "about once a minute, not more: {asked}");
    seconds(240).await;
    assert!(overdue());
    let state = running.stamper.state(bench.clock.right());
    assert_eq!(state.backlog, 3);
    assert!(state.oldest.unwrap() > Duration::from_secs(48 * HOUR));
    // It is known right after a restart too.
    running.stop().await;
    let running = bench.run().await;
    assert!(running.stamper.overdue(bench.clock.right()));
    bench.append(2).await;
    bench.tsas.set("two", Mood::Good);
    seconds(61).await;
    assert!(!running.stamper.overdue(bench.clock.right()), "one token ends it");
    assert_eq!(bench.check().await, 5);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_it_is_never_overdue() {
    let mut bench = Bench::new(&[]);
    bench.settings.grace = None;
    bench.append(1).await;
    let running = bench.run().await;
    seconds(5 * 24 * HOUR).await;
    assert!(!running.stamper.overdue(bench.clock.right()));
    running.stop().await;
}

/// The token was given and the journal had no room for it: it is lost, and the records are stamped again.
#[tokio::test(start_paused = true)]
async fn a_token_that_could_not_be_kept_is_asked_for_again() {
    let bench = Bench::new(&["tsa"]);
    bench.append(2).await;
    bench.store.set_full(true);
    let running = bench.run().await;
    seconds(5).await;
    assert!(bench.batches().is_empty() && bench.tsas.asked("tsa") > 0);
    running.stop().await;
    bench.store.set_full(false);
    bench.append(1).await;
    let running = bench.run().await;
    seconds(1).await;
    assert_eq!((bench.check().await, bench.batches().len()), (3, 1));
    running.stop().await;
}

/// Stopped while the authority thinks; nothing is stamped twice in the journal and nothing left out.
#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_leaves_nothing_out() {
    let bench = Bench::new(&["tsa"]);
    bench.tsas.set("tsa", Mood::Gated);
    bench.append(2).await;
    let running = bench.run().await;
    seconds(1).await;
    assert_eq!(bench.tsas.asked("tsa"), 1);
    running.stop().await;
    bench.tsas.set("tsa", Mood::Good);
    bench.append(1).await;
    let running = bench.run().await;
    seconds(1).await;
    assert_eq!(bench.check().await, 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_cannot_be_signed_is_tried_again() {
    let bench = Bench::new(&["tsa"]);
    bench.heads.set_down(true);
    bench.append(1).await;
    let running = bench.run().await;
    seconds(5).await;
    let why = running.stamper.state(bench.clock.right()).failing.unwrap();
    assert!(why.contains("head of the log") && bench.tsas.asked("tsa") == 0, "{why}");
    bench.heads.set_down(false);
    seconds(61).await;
    assert_eq!(bench.check().await, 1);
    running.stop().await;
}

/// Our clock is set back by a day: good tokens look like from the future and are refused, the age of what waits goes on
/// growing, and all is well when the clock is right again.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_makes_nothing_younger() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    seconds(HOUR).await;
    bench.append(1).await;
    bench.tsas.set("tsa", Mood::Away);
    seconds(HOUR).await;
    bench.clock.set_wrong(-24 * 3600);
    bench.tsas.set("tsa", Mood::Good);
    seconds(48 * HOUR).await;
    let wrong = truc_model::Clock::now(bench.clock.as_ref());
    assert!(bench.batches().is_empty());
    let state = running.stamper.state(wrong);
    assert!(state.failing.unwrap().contains("clock"));
    assert!(state.oldest.unwrap() > Duration::from_secs(48 * HOUR), "{:?}", state.oldest);
    assert!(running.stamper.overdue(wrong));
    bench.clock.set_wrong(0);
    seconds(61).await;
    assert_eq!(bench.check().await, 1);
    assert!(!running.stamper.overdue(bench.clock.right()));
    running.stop().await;
}
