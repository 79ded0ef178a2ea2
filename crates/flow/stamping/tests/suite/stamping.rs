//! The ordinary course: each minute, in order.

use truc_evidence::EvidenceStore as _;
use truc_evidence::contract::Sample;

use crate::bench::{Bench, millis, seconds};

#[tokio::test(start_paused = true)]
async fn every_minute_makes_a_batch() {
    let bench = Bench::new(&["tsa"]);
    bench.append(5).await;
    let running = bench.run().await;
    millis(100).await;
    assert_eq!(bench.check().await, 5, "what waited at the start is stamped at once");
    bench.append(3).await;
    seconds(30).await;
    assert_eq!(bench.check().await, 5);
    seconds(31).await;
    assert_eq!(bench.check().await, 8);
    seconds(300).await;
    assert_eq!(bench.batches().len(), 2, "without new records there is no new batch");
    bench.append(1).await;
    let unsigned = Sample::new(77).unwrap().unsigned("TIMEOUT", None).unwrap();
    bench.store.append(unsigned, None).await.unwrap();
    bench.append(1).await;
    seconds(61).await;
    assert_eq!(
        bench.check().await,
        11,
        "a record without a signed message is passed over by the tree, not by the batch"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_state_tells_how_far_it_is() {
    let bench = Bench::new(&["one", "two"]);
    let running = bench.run().await;
    millis(100).await;
    let state = |running: &crate::bench::Running| running.stamper.state(bench.clock.right());
    assert_eq!((state(&running).backlog, state(&running).oldest, state(&running).last), (0, None, None));
    bench.append(4).await;
    seconds(61).await;
    let told = state(&running);
    let last = told.last.unwrap();
    assert_eq!((told.backlog, told.oldest, last.authority.as_str()), (0, None, "one"));
    assert_eq!(last.gen_time, bench.batches()[0].gen_time);
    let names: Vec<_> = told.authorities.iter().map(|authority| authority.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(told.authorities[0].standing.answered_at.is_some() && told.failing.is_none());
    running.stop().await;
}

/// What is stamped is known again after a restart, and before the follower runs.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was() {
    let bench = Bench::new(&["tsa"]);
    bench.append(3).await;
    let running = bench.run().await;
    millis(100).await;
    running.stop().await;
    bench.append(2).await;
    let running = bench.run().await;
    assert_eq!(running.stamper.state(bench.clock.right()).backlog, 2);
    millis(100).await;
    assert_eq!(bench.check().await, 5);
    assert_eq!(bench.batches().len(), 2);
    running.stop().await;
}
