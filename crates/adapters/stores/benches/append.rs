//! Durable appends by 1, 16 and 64 writers, 2 KiB bodies.
#![allow(clippy::unwrap_used, reason = "a measurement may stop where it stands")]
#![allow(missing_docs, reason = "a measurement")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use truc_evidence::EvidenceStore as _;
use truc_evidence::contract::Sample;
use truc_model::MemberId;
use truc_stores::{EvidenceJournal, JournalOptions, RecordKey, RecordKeys};
use zeroize::Zeroizing;

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn by_id(&self, _: &str) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([2; 32]))
    }
}

fn append(c: &mut Criterion) {
    // In the target folder, not in a tmpfs: the disk is what is measured.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store =
        Arc::new(EvidenceJournal::open(dir.path(), Arc::new(Keys), JournalOptions::default()).unwrap());
    let number = Arc::new(AtomicU64::new(0));
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    for writers in [1_u64, 16, 64] {
        group.bench_function(format!("{writers} writers"), |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                runtime.block_on(async {
                    let tasks = (0..writers).map(|w| {
                        let (store, number) = (Arc::clone(&store), Arc::clone(&number));
                        tokio::spawn(async move {
                            for _ in 0..(rounds / writers + u64::from(w < rounds % writers)) {
                                let sample =
                                    Sample::new(number.fetch_add(1, Ordering::Relaxed) % 1000).unwrap();
                                store.append(sample.request(&[5; 2048]).unwrap(), None).await.unwrap();
                            }
                        })
                    });
                    for task in tasks.collect::<Vec<_>>() {
                        task.await.unwrap();
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
