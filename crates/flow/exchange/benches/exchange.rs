//! One whole exchange between two nodes in one process: loopback TLS, evidence on disk at both ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench may stop where it stands"
)]
#![allow(missing_docs, reason = "a bench")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::join_all;
use tokio::runtime::Runtime;
use truc_testkit::{Bus, Federation, draft};

const CLIENT: &str = "VN/GOV/H26/mot-cua";
const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";

async fn bus() -> Bus {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .right(CLIENT, SERVICE)
        .over_tls()
        .on_disk()
        .in_real_time()
        .start()
        .await
}

/// `iterations` exchanges, `at_once` of them at a time; the time they took together.
async fn exchanges(bus: &Bus, iterations: u64, at_once: u64) -> Duration {
    let node = bus.node("VN/GOV/H26/ss1");
    let each = iterations.div_ceil(at_once);
    let lane = || async {
        for _ in 0..each {
            assert_eq!(node.call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
        }
    };
    let start = Instant::now();
    join_all((0..at_once).map(|_| lane())).await;
    start.elapsed().mul_f64(iterations as f64 / (each * at_once) as f64)
}

fn exchange(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let bus = runtime.block_on(bus());
    let mut group = c.benchmark_group("exchange");
    group.sample_size(10);
    for at_once in [1, 64] {
        group.bench_function(format!("{at_once} at once"), |b| {
            b.iter_custom(|iterations| runtime.block_on(exchanges(&bus, iterations, at_once)));
        });
    }
    group.finish();
    runtime.block_on(bus.close());
}

criterion_group!(benches, exchange);
criterion_main!(benches);
