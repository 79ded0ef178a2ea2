//! Searching among 10 million records, or as many as `TRUC_BENCH_RECORDS` says: making the index, opening it, and each kind of question.
//! Half of the records are requests. The folder is removed afterwards; 10 million records need some 3 GB.
#![allow(clippy::unwrap_used, reason = "a measurement may stop where it stands")]
#![allow(clippy::print_stdout, reason = "a measurement tells its figures")]
#![allow(missing_docs, reason = "a measurement")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use truc_evidence::{KeyedHash, Outcome, Query};
use truc_model::{Digest, MessageId, ServiceId, SubsystemId, Timestamp};
use truc_stores::measuring::{IndexAlone, MadeUp};

const STEP: u64 = 256;
const OFFICERS: u64 = 20_000;
const SUBJECTS: u64 = 2_000_000;
const DOSSIERS: u64 = 3_000_000;
/// One request in so many has the rare purpose.
const RARE: u64 = 50_000;
/// The requests are spread over this time.
const SPAN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Numbers that are the same in every run (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn keyed(what: &str, number: u64) -> KeyedHash {
    KeyedHash { key_id: "index-1".into(), hash: Digest::of(format!("{what} {number}").as_bytes()) }
}

/// Few of many are asked often: the square leans towards the first.
fn leaning(random: u64, of: u64) -> u64 {
    let part = random % 10_000;
    part * part * of / 100_000_000
}

struct Bus {
    exchanges: u64,
    start: Timestamp,
    clients: Vec<SubsystemId>,
    services: Vec<ServiceId>,
}

impl Bus {
    fn new(records: u64) -> Self {
        let clients = (0..200).map(|n| format!("VN/GOV/H{}/mot-cua-so-{n}", n % 63).parse().unwrap());
        let services =
            (0..300).map(|n| format!("VN/GOV/G{}/csdl-{}/tra-cuu-{n}", n % 22, n % 40).parse().unwrap());
        let start = "2025-11-21T00:00:00.000Z".parse().unwrap();
        Self { exchanges: records / 2, start, clients: clients.collect(), services: services.collect() }
    }

    fn at(&self, n: u64) -> Timestamp {
        self.start.plus(Duration::from_millis(n * (SPAN.as_millis() as u64 / self.exchanges.max(1))))
    }

    fn id(&self, n: u64, answer: bool) -> MessageId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&mixed(n * 2 + u64::from(answer)).to_be_bytes());
        MessageId::new(self.at(n), random)
    }

    fn client(&self, n: u64) -> SubsystemId {
        self.clients[leaning(mixed(n ^ 1), 200) as usize].clone()
    }
    fn service(&self, n: u64) -> ServiceId {
        self.services[leaning(mixed(n ^ 2), 300) as usize].clone()
    }
    fn officer(n: u64) -> KeyedHash {
        keyed("officer", mixed(n ^ 3) % OFFICERS)
    }
    fn subject(n: u64) -> KeyedHash {
        keyed("subject", mixed(n ^ 4) % SUBJECTS)
    }
    fn dossier(n: u64) -> KeyedHash {
        keyed("dossier", mixed(n ^ 5) % DOSSIERS)
    }
    fn purpose(n: u64) -> String {
        if mixed(n ^ 6).is_multiple_of(RARE) {
            "hiếm".into()
        } else {
            format!("Mục đích {}", mixed(n ^ 7) % 100)
        }
    }

    fn record(&self, n: u64, answer: bool) -> MadeUp {
        let asked = |text: String| Some(text).filter(|_| !answer);
        MadeUp {
            message: self.id(n, answer),
            request: self.id(n, false),
            at: self.at(n),
            client: self.client(n),
            service: self.service(n),
            officer: Self::officer(n),
            subject: Some(Self::subject(n)).filter(|_| !answer),
            dossier: Self::dossier(n),
            agency: asked(format!("Cơ quan {}", mixed(n ^ 8) % 500)),
            purpose: asked(Self::purpose(n)),
            caller_id: asked(format!("ma-{n}")).filter(|_| n.is_multiple_of(3)),
            fault: Some("NO_RIGHT".to_owned()).filter(|_| answer && mixed(n ^ 9).is_multiple_of(100)),
        }
    }

    /// Questions of every kind, the `turn`th.
    fn questions(&self, turn: u64) -> Vec<(&'static str, Query)> {
        let n = mixed(turn) % self.exchanges;
        let q = || Query { limit: 100, ..Query::default() };
        let day = Duration::from_secs(24 * 3600);
        let one = |hash| Some(vec![hash]);
        vec![
            ("request id", Query { message: Some(self.id(n, false)), ..q() }),
            ("answer id", Query { message: Some(self.id(n, true)), ..q() }),
            ("caller's id", Query { caller_id: Some(format!("ma-{}", n / 3 * 3)), ..q() }),
            ("subject", Query { subject: one(Self::subject(n)), ..q() }),
            ("officer, last 100", Query { officer: one(Self::officer(n)), ..q() }),
            ("dossier", Query { dossier: one(Self::dossier(n)), ..q() }),
            ("client, last 100", Query { client: Some(self.client(n)), ..q() }),
            (
                "client, service, a day",
                Query {
                    client: Some(self.client(n)),
                    service: Some(self.service(n)),
                    since: Some(self.at(n).minus(day)),
                    until: Some(self.at(n)),
                    ..q()
                },
            ),
            (
                "service, fault, a month",
                Query {
                    service: Some(self.service(n)),
                    fault: Some("NO_RIGHT".into()),
                    since: Some(self.at(n).minus(30 * day)),
                    until: Some(self.at(n)),
                    ..q()
                },
            ),
            ("refused, last 100", Query { outcome: Some(Outcome::Refused), ..q() }),
            ("rare purpose", Query { purpose: Some("hiếm".into()), ..q() }),
            (
                "subject, officer",
                Query { subject: one(Self::subject(n)), officer: one(Self::officer(n)), ..q() },
            ),
            ("newest 100", q()),
        ]
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}

fn fill(folder: &Path, bus: &Bus) {
    let mut index = IndexAlone::open(folder).unwrap();
    let begun = Instant::now();
    for from in (0..bus.exchanges).step_by(STEP as usize) {
        let exchanges = from..(from + STEP).min(bus.exchanges);
        // Answers come after the other requests of the step, as under load.
        let requests = exchanges.clone().map(|n| bus.record(n, false));
        index.add(requests.chain(exchanges.map(|n| bus.record(n, true))).collect()).unwrap();
        if from.is_multiple_of(STEP * 2000) && from > 0 {
            println!("  {} records after {:.0?}", from * 2, begun.elapsed());
        }
    }
    println!("made in {:.1?}", begun.elapsed());
    let begun = Instant::now();
    drop(index);
    println!("closed in {:.1?}; {} MB on disk", begun.elapsed(), size(folder) >> 20);
}

fn main() {
    // cargo test runs benches with no argument, to see that they work.
    let full = std::env::args().any(|arg| arg == "--bench");
    let wanted = std::env::var("TRUC_BENCH_RECORDS").ok().and_then(|n| n.parse().ok());
    let bus = Bus::new(wanted.unwrap_or(if full { 10_000_000 } else { 20_000 }));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("{} records", bus.exchanges * 2);
    fill(dir.path(), &bus);
    let begun = Instant::now();
    let index = IndexAlone::open(dir.path()).unwrap();
    println!("opened in {:.1?}", begun.elapsed());
    let rounds = if full { 300 } else { 2 };
    let mut all: Vec<Duration> = Vec::new();
    let kinds = bus.questions(0).len();
    for kind in 0..kinds {
        let (mut times, mut hits, mut unended) = (Vec::new(), 0, 0);
        for turn in 0..rounds {
            let (_, query) = bus.questions(turn).swap_remove(kind);
            let begun = Instant::now();
            let found = black_box(index.list(&query).unwrap());
            times.push(begun.elapsed());
            hits += found.exchanges.len();
            unended += usize::from(found.next.is_some());
        }
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        let name = bus.questions(0).swap_remove(kind).0;
        let each = hits / times.len();
        println!(
            "{name:<26} median {:>9.0?}  p99 {:>9.0?}  found {each:>3} each, {unended} with more",
            at(50),
            at(99)
        );
        all.extend(times);
    }
    all.sort_unstable();
    println!("{:<26} median {:>9.0?}  p99 {:>9.0?}", "all", all[all.len() / 2], all[all.len() * 99 / 100]);
}
