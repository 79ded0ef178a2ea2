//! One node's stamping, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use truc_evidence::contract::Sample;
use truc_evidence::ers::{EvidenceRecord, Tree};
use truc_evidence::{Batch, EvidenceStore, Proof, ProofStore as _};
use truc_model::{Clock, Digest, Fingerprint, Timestamp};
use truc_stamping::{Authorities, HeadSigner, HeadUnsigned, Ports, Settings, Stamper, Statuses};
use truc_testkit::memory_store::MemoryStore;
use truc_testkit::tsa::{Flaw, Tsas};
use truc_trust::timestamp::{TimeStampAuthority, TimeStampSource, judge_token};
use truc_trust::{Certificate, KnownStatus};

/// Wall time that follows tokio's, and can be set wrong.
pub(crate) struct TestClock {
    begun: Instant,
    start: Timestamp,
    wrong: Mutex<i64>,
}

impl TestClock {
    pub(crate) fn set_wrong(&self, seconds: i64) {
        *self.wrong.lock().unwrap() = seconds * 1000;
    }
    pub(crate) fn right(&self) -> Timestamp {
        self.start.plus(self.begun.elapsed())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.right().millis() + *self.wrong.lock().unwrap())
    }
}

/// The authorities' clock is always right.
struct RightClock(Arc<TestClock>);

impl Clock for RightClock {
    fn now(&self) -> Timestamp {
        self.0.right()
    }
}

#[derive(Default)]
pub(crate) struct Listed(Mutex<Vec<TimeStampAuthority>>);

impl Authorities for Listed {
    fn current(&self) -> Vec<TimeStampAuthority> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Default)]
pub(crate) struct Heads(Mutex<bool>);

#[async_trait]
impl HeadSigner for Heads {
    async fn head(&self, size: u64, root: Digest) -> Result<String, HeadUnsigned> {
        if *self.0.lock().unwrap() {
            return Err(HeadUnsigned("the token is away".into()));
        }
        Ok(format!("NODE:VN/GOV/H26/ss1\n{size}\n{root}\n\n— signed\n"))
    }
}

impl Heads {
    pub(crate) fn set_down(&self, down: bool) {
        *self.0.lock().unwrap() = down;
    }
}

/// Statuses as traffic brings them, and a responder that answers when it is asked.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) newest: Mutex<HashMap<Fingerprint, Arc<KnownStatus>>>,
    pub(crate) answers: Mutex<HashMap<Fingerprint, Arc<KnownStatus>>>,
    pub(crate) asked: Mutex<usize>,
}

#[async_trait]
impl Statuses for Known {
    fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.newest.lock().unwrap().get(certificate).cloned()
    }
    async fn renew(&self, certificate: &Certificate, _: &[Certificate]) {
        *self.asked.lock().unwrap() += 1;
        let answer = self.answers.lock().unwrap().get(&certificate.fingerprint()).cloned();
        if let Some(answer) = answer {
            self.newest.lock().unwrap().insert(certificate.fingerprint(), answer);
        }
    }
}

pub(crate) struct Bench {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) tsas: Arc<Tsas>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) known: Arc<Known>,
    pub(crate) settings: Settings,
}

/// A follower that runs.
pub(crate) struct Running {
    pub(crate) stamper: Arc<Stamper>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl Bench {
    /// With authorities of these names.
    pub(crate) fn new(names: &[&str]) -> Self {
        let start = Sample::new(0).unwrap().at;
        let clock = Arc::new(TestClock { begun: Instant::now(), start, wrong: Mutex::default() });
        let tsas = Arc::new(Tsas::new(Arc::new(RightClock(Arc::clone(&clock)))));
        let listed = Arc::new(Listed::default());
        let bench = Self {
            store: Arc::default(),
            clock,
            tsas,
            listed,
            heads: Arc::default(),
            known: Arc::default(),
            settings: Settings::default(),
        };
        names.iter().for_each(|name| bench.list(name, Flaw::None));
        bench
    }

    pub(crate) fn list(&self, name: &str, flaw: Flaw) {
        let authority = self.tsas.add(name, flaw);
        self.listed.0.lock().unwrap().push(authority);
    }

    /// The directory lists them no more.
    pub(crate) fn delist(&self, name: &str) {
        self.listed.0.lock().unwrap().retain(|authority| authority.name != name);
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            records: Arc::clone(&self.store) as _,
            proofs: Arc::clone(&self.store) as _,
            source: Arc::clone(&self.tsas) as Arc<dyn TimeStampSource>,
            authorities: Arc::clone(&self.listed) as _,
            heads: Arc::clone(&self.heads) as _,
            statuses: Arc::clone(&self.known) as _,
            clock: Arc::clone(&self.clock) as _,
        }
    }

    pub(crate) async fn run(&self) -> Running {
        let stamper = Arc::new(Stamper::new(self.ports(), self.settings.clone(), Digest([1; 32])));
        stamper.look().await.unwrap();
        let stop = CancellationToken::new();
        let task = {
            let (stamper, stop) = (Arc::clone(&stamper), stop.clone());
            tokio::spawn(async move { stamper.run(stop).await })
        };
        Running { stamper, stop, task }
    }

    /// Appends `count` records as of now.
    pub(crate) async fn append(&self, count: u64) {
        for _ in 0..count {
            let number = self.store.len() as u64;
            let mut record = Sample::new(number).unwrap().request(b"").unwrap();
            record.local.at = self.clock.right();
            EvidenceStore::append(&*self.store, record, None).await.unwrap();
        }
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        let batch = |proof| if let Proof::Batch(batch) = proof { Some(batch) } else { None };
        self.store.proofs().into_iter().filter_map(batch).collect()
    }

    /// The batches follow each other without a gap, and every record of them is proved by an evidence record.
    pub(crate) async fn check(&self) -> u64 {
        let mut next = 0;
        for batch in self.batches() {
            assert_eq!(batch.first, next, "nothing twice, nothing left out");
            next = batch.next;
            self.check_batch(&batch).await;
        }
        next
    }

    async fn check_batch(&self, batch: &Batch) {
        let root = self.store.root(batch.next).await.unwrap();
        assert_eq!(batch.head, format!("NODE:VN/GOV/H26/ss1\n{}\n{root}\n\n— signed\n", batch.next));
        let groups = self.store.groups(batch.first, batch.next).await.unwrap();
        let mut leaves: Vec<Digest> = groups.iter().copied().flatten().collect();
        leaves.push(Digest::of(batch.head.as_bytes()));
        let tree = Tree::new(leaves).unwrap();
        let listed = self.listed.current();
        let authority = listed.iter().find(|authority| authority.name == batch.authority).unwrap();
        let stamp = judge_token(&batch.token, tree.root(), authority).unwrap();
        assert_eq!(stamp.gen_time, batch.gen_time);
        let mut leaf = 0;
        for sequence in batch.first..batch.next {
            let record = self.store.read(sequence).await.unwrap();
            if groups[usize::try_from(sequence - batch.first).unwrap()].is_none() {
                continue;
            }
            let mut group = vec![record.manifest_digest, Digest::of(&record.cms)];
            group.extend(&record.statuses);
            let evidence = EvidenceRecord::new(&group, &tree.path(leaf).unwrap(), &batch.token).unwrap();
            assert_eq!(evidence.verify(&group).unwrap(), stamp.imprint);
            leaf += 1;
        }
    }
}

pub(crate) async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

pub(crate) async fn millis(count: u64) {
    sleep(Duration::from_millis(count)).await;
}
