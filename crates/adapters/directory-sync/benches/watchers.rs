//! A thousand nodes watch one registry over TLS on this machine: how long from a decision until the last of them applies
//! it. `cargo bench -p truc-directory-sync` prints the table of `docs/performance.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench may stop where it stands"
)]
#![allow(clippy::print_stdout, missing_docs, reason = "it prints its table")]

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use truc_directory::{Anchor, Directory, HeadRef, MemberStatus, RegistryAddress, part};
use truc_directory_sync::{
    DirectoryHandle, DirectorySync, HighestSeen, Publication, RegistryServer, SyncConfig,
};
use truc_model::{Digest, Fingerprint, ManualClock};

use crate::bus::{Bus, at, member};

#[allow(dead_code, reason = "shared with the directory's own tests")]
#[path = "../../../domain/directory/tests/suite/bus.rs"]
mod bus;

const WATCHERS: usize = 1000;
const CHANGES: u64 = 40;
/// The registry's threads are called so.
const REGISTRY: &str = "registry";

#[derive(Default)]
struct Journal(Mutex<Option<HeadRef>>);

#[async_trait]
impl HighestSeen for Journal {
    async fn highest(&self) -> Result<Option<HeadRef>, String> {
        Ok(*self.0.lock().unwrap())
    }
    async fn record(&self, head: HeadRef) -> Result<(), String> {
        *self.0.lock().unwrap() = Some(head);
        Ok(())
    }
}

struct Shelf {
    heads: watch::Sender<Bytes>,
    parts: Mutex<HashMap<Digest, Bytes>>,
}

#[async_trait]
impl Publication for Shelf {
    fn heads(&self) -> watch::Receiver<Bytes> {
        self.heads.subscribe()
    }
    async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String> {
        Ok(self.parts.lock().unwrap().get(digest).cloned())
    }
}

/// One member in each of the 256 index parts, so that heads are as long as those of any large bus.
fn bus() -> Bus {
    let mut bus = Bus::indexed();
    let mut buckets = BTreeSet::new();
    let codes = (0..).map(|n| format!("X{n}")).filter(|code| {
        let id = format!("VN/GOV/{code}").parse().unwrap();
        buckets.insert(part::bucket(&id))
    });
    for code in codes.take(256) {
        let mut entry = member(&code, 0);
        (entry.nodes, entry.sign_certificates) = (vec![], vec![]);
        bus.parts.push((part::member(&entry.id), entry.to_bytes()));
    }
    bus.relist();
    bus
}

async fn node(folder: PathBuf, anchor: Anchor) -> (DirectoryHandle, DirectorySync) {
    let config = SyncConfig { first_deadline: Duration::from_secs(60), ..SyncConfig::new(folder, anchor) };
    let clock = Arc::new(ManualClock::new(at("2026-11-21T03:05:00.000Z")));
    let (handle, sync) = DirectorySync::start(config, Arc::<Journal>::default(), clock).await.unwrap();
    handle.status_changes().wait_for(|s| s.connected).await.unwrap();
    (handle, sync)
}

/// Another node's cache, without copying the parts.
fn like(template: &Path, folder: &Path) {
    std::fs::create_dir_all(folder.join("parts")).unwrap();
    for part in std::fs::read_dir(template.join("parts")).unwrap() {
        let part = part.unwrap();
        std::fs::hard_link(part.path(), folder.join("parts").join(part.file_name())).unwrap();
    }
    std::fs::copy(template.join("head.json"), folder.join("head.json")).unwrap();
}

/// Processor time so far: of the registry's threads, and of all others of this process, which are the nodes'.
fn worked() -> [Duration; 2] {
    let mut registry = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        // A thread may end meanwhile; the registry's do not.
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() == REGISTRY {
            let told = std::fs::read_to_string(task.join("schedstat")).unwrap();
            registry += Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap());
        }
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    let ticks: u64 = fields[11..13].iter().map(|f| f.parse::<u64>().unwrap()).sum();
    [registry, Duration::from_millis(ticks * 10).saturating_sub(registry)]
}

fn many_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    many_files();
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let place = tempfile::tempdir_in(place).unwrap();

    let mut bus = bus();
    let shelf = Arc::new(Shelf { heads: watch::Sender::new(Bytes::new()), parts: Mutex::default() });
    let show = |bus: &Bus| {
        let mut parts = shelf.parts.lock().unwrap();
        parts.extend(bus.store());
        parts.extend(bus.chain.iter().map(|b| (Digest::of(b), b.clone())));
        drop(parts);
        shelf.heads.send_replace(bus.signed().to_bytes());
    };
    show(&bus);
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["registry".into()]).unwrap().self_signed(&pair).unwrap();
    let certificate = certificate.der().clone();
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(REGISTRY)
        .enable_all()
        .build()
        .unwrap();
    let listener = own.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
    let address = RegistryAddress {
        address: listener.local_addr().unwrap().to_string(),
        tls_certificate: Fingerprint::of(&certificate),
    };
    let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
    let server = RegistryServer::new(certificate, key.into(), shelf.clone()).unwrap();
    let stop = CancellationToken::new();
    let serving = own.spawn(server.serve(listener, stop.clone()));
    let anchor = Anchor { registry: vec![address], ..bus.anchor.clone() };

    let template = place.path().join("template");
    let (first, sync) = node(template.clone(), anchor.clone()).await;
    sync.stop().await;
    let mut directory: Arc<Directory> = first.current();
    let mut nodes = Vec::new();
    while nodes.len() < WATCHERS {
        let mut wave = JoinSet::new();
        for n in nodes.len()..(nodes.len() + 50).min(WATCHERS) {
            let folder = place.path().join(n.to_string());
            like(&template, &folder);
            wave.spawn(node(folder, anchor.clone()));
        }
        nodes.extend(wave.join_all().await);
    }

    let (mut all, mut last) = (Vec::new(), Vec::new());
    let before = worked();
    for change in 1..=CHANGES {
        let mut applying = JoinSet::new();
        for (handle, _) in &nodes {
            let mut handle = handle.clone();
            applying.spawn(async move {
                while handle.current().version() <= change {
                    assert!(handle.changed().await);
                }
                Instant::now()
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let decided = Instant::now();
        let mut entry = member("H26", 12);
        entry.nodes[0].suspended = change % 2 == 1;
        entry.status = if change % 3 == 0 { MemberStatus::Suspended } else { MemberStatus::Active };
        entry.name_en = format!("change {change}");
        bus.head.version = change + 1;
        bus.set("member/VN/GOV/H26", entry.to_bytes());
        // As the registry does it: nothing is published that a node would refuse.
        directory = Arc::new(bus.update(&directory).unwrap().directory);
        show(&bus);
        let times: Vec<Duration> = applying.join_all().await.into_iter().map(|t| t - decided).collect();
        last.push(*times.iter().max().unwrap());
        all.extend(times);
    }
    for (what, (now, before)) in ["registry", "all nodes"].iter().zip(worked().into_iter().zip(before)) {
        let each = (now.saturating_sub(before)) / u32::try_from(CHANGES).unwrap();
        println!("processor time for one change, {what}: {} ms", each.as_millis());
    }
    println!("{WATCHERS} watchers, {CHANGES} changes, head {} KiB\n", bus.signed().to_bytes().len() / 1024);
    println!("| ms from the decision until | p50 | p99 | max |\n|---|---|---|---|");
    for (what, mut times) in [("a node applies it", all), ("the last node applies it", last)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).ceil() as usize].as_millis();
        println!("| {what} | {} | {} | {} |", at(0.5), at(0.99), at(1.0));
    }
    let mut stopping = JoinSet::new();
    for (_, sync) in nodes {
        stopping.spawn(sync.stop());
    }
    stopping.join_all().await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    own.shutdown_background();
}
