//! The directory at the size of a country: look-ups, one member's change, memory. `cargo bench -p truc-directory`
//! prints the tables of `docs/performance.md`. All data are synthetic and the same in every run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench may stop where it stands"
)]
#![allow(clippy::print_stdout, missing_docs, reason = "it prints its tables")]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::*;
use truc_model::{Digest, Fingerprint, MemberId, SubsystemId, Timestamp};

/// Subsystems of each member; each member has one node, which serves them all.
const SYSTEMS: usize = 10;
/// About the size of a seal's certificate.
const CERTIFICATE: usize = 900;
/// Changes timed at each size.
const CHANGES: u64 = 400;
const LOOK_UPS: usize = 200_000;

struct Key(Ed25519KeyPair);

impl Key {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
    fn public(&self) -> PublicKey {
        PublicKey::from_slice(self.0.public_key().as_ref()).unwrap()
    }
    fn sign(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(self.0.sign(bytes).as_ref())
    }
    fn endorse(&self, payload: Bytes) -> Bytes {
        let signatures = vec![Endorsement { key: self.public().id(), signature: self.sign(&payload) }];
        Endorsed { v: V1, payload, signatures }.to_bytes()
    }
}

fn start() -> Timestamp {
    "2026-11-21T03:00:00.000Z".parse().unwrap()
}

fn id(n: usize) -> MemberId {
    format!("VN/GOV/H{n:05}").parse().unwrap()
}

fn system(n: usize) -> SubsystemId {
    id(n / SYSTEMS).subsystem(&format!("he-thong-{}", n % SYSTEMS)).unwrap()
}

/// Bytes that look like chance and are not.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(length + 32);
    for n in 0u32.. {
        if all.len() >= length {
            break;
        }
        all.extend_from_slice(Digest::of(format!("{seed} {n}").as_bytes()).as_bytes());
    }
    all.truncate(length);
    all
}

fn tls(n: usize, change: u64) -> Fingerprint {
    Fingerprint(Digest::of(format!("tls {n} {change}").as_bytes()).0)
}

fn member(n: usize, change: u64) -> MemberEntry {
    let id = id(n);
    let der = Der::from(noise(&format!("seal {n}"), CERTIFICATE));
    let systems = || (0..SYSTEMS).map(|s| system(n * SYSTEMS + s));
    MemberEntry {
        v: V1,
        name_vi: format!("Ủy ban nhân dân xã số {n}, lần sửa {change}"),
        name_en: format!("People's committee of commune {n}, change {change}"),
        valid_from: start(),
        valid_to: None,
        status: MemberStatus::Active,
        succession: None,
        subsystems: systems()
            .map(|s| SubsystemEntry {
                code: s.code().to_owned(),
                name: format!("Hệ thống {}", s.code()),
                disabled: false,
            })
            .collect(),
        sign_certificates: vec![SignCertificate { fingerprint: der.fingerprint(), der: Some(der) }],
        nodes: vec![NodeEntry {
            id: id.node("ss1").unwrap(),
            address: format!("ss{n}.example.vn:5500"),
            auth_certificates: vec![tls(n, change)],
            log_key: Key::new(9).public(),
            versions: vec![1],
            serves: systems().collect(),
            suspended: false,
            maintenance: None,
        }],
        id,
    }
}

/// A registry's documents.
struct Bus {
    anchor: Anchor,
    chain: Vec<Bytes>,
    parts: HashMap<Digest, Bytes>,
    buckets: BTreeMap<String, BTreeMap<MemberId, MemberRef>>,
    groups: BTreeMap<String, GroupRef>,
    top: BTreeMap<String, PartRef>,
    version: u64,
}

impl Bus {
    fn new(members: usize, groups: usize, memberships: usize) -> Self {
        let root_key = Key::new(1);
        let root = Root {
            v: V1,
            instance: "VN".into(),
            version: 1,
            epoch: 1,
            threshold: 1,
            root_keys: vec![root_key.public()],
            publishing_keys: vec![Key::new(2).public()],
            issued: start(),
        };
        let address =
            RegistryAddress { address: "127.0.0.1:1".into(), tls_certificate: Fingerprint([0; 32]) };
        let anchor = Anchor {
            v: V1,
            instance: "VN".into(),
            epoch: None,
            threshold: 1,
            root_keys: vec![root_key.public()],
            registry: vec![address],
        };
        let mut bus = Self {
            anchor,
            chain: vec![root_key.endorse(root.to_bytes())],
            parts: HashMap::new(),
            buckets: BTreeMap::new(),
            groups: BTreeMap::new(),
            top: BTreeMap::new(),
            version: 1,
        };
        bus.list("root/1", bus.chain[0].clone());
        bus.list(part::TRUST, root_key.endorse(TrustServices::empty("VN").to_bytes()));
        bus.list(part::ALIASES, Aliases { v: V1, instance: "VN".into(), aliases: vec![] }.to_bytes());
        for n in 0..members {
            bus.set_member(&member(n, 0));
        }
        for bucket in bus.buckets.keys().cloned().collect::<Vec<_>>() {
            bus.list_bucket(&bucket);
        }
        for g in 0..groups {
            bus.set_group(g, memberships / groups, members * SYSTEMS, 0);
        }
        bus.list_groups();
        bus
    }

    fn put(&mut self, bytes: Bytes) -> (Digest, u64) {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.parts.insert(digest, bytes);
        (digest, size)
    }

    fn list(&mut self, name: &str, bytes: Bytes) {
        let (digest, size) = self.put(bytes);
        self.top.insert(name.to_owned(), PartRef { name: name.to_owned(), digest, size });
    }

    fn set_member(&mut self, entry: &MemberEntry) -> String {
        let (digest, size) = self.put(entry.to_bytes());
        let (bucket, listed) = (part::bucket(&entry.id), MemberRef { id: entry.id.clone(), digest, size });
        self.buckets.entry(bucket.clone()).or_default().insert(entry.id.clone(), listed);
        bucket
    }

    fn list_bucket(&mut self, bucket: &str) {
        let members = self.buckets[bucket].values().cloned().collect();
        self.list(bucket, MemberIndex { v: V1, instance: "VN".into(), members }.to_bytes());
    }

    /// Its members are spread over all subsystems, beginning `shift` further on.
    fn set_group(&mut self, g: usize, size: usize, systems: usize, shift: usize) {
        let code = format!("nhom-{g:04}");
        let step = (systems / size.max(1)).max(1);
        let members = (0..size).map(|n| (g + shift + n * step) % systems);
        let part = GroupPart {
            v: V1,
            instance: "VN".into(),
            code: code.clone(),
            name: format!("Nhóm {g}"),
            members: members.map(|n| GroupMember::Subsystem(system(n))).collect(),
        };
        let (digest, size) = self.put(part.to_bytes());
        self.groups.insert(code.clone(), GroupRef { code, digest, size });
    }

    fn list_groups(&mut self) {
        let groups = self.groups.values().cloned().collect();
        self.list(part::GROUP_INDEX, GroupIndex { v: V1, instance: "VN".into(), groups }.to_bytes());
    }

    /// The head of the next version, signed.
    fn sign(&mut self) -> Bytes {
        self.version += 1;
        let issued = start().plus(Duration::from_secs(self.version));
        let head = Head {
            v: V1,
            instance: "VN".into(),
            epoch: 1,
            version: self.version,
            previous: None,
            parts: self.top.values().cloned().collect(),
            audit_log: AuditLogHead { sequence: self.version, chain: Digest([3; 32]) },
            issued,
            expires: issued.plus(HEAD_LIFETIME),
        };
        let (head, key) = (head.to_bytes(), Key::new(2));
        SignedHead { v: V1, key: key.public().id(), signature: key.sign(&head), head }.to_bytes()
    }
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// p50, p99 and max in ms.
fn spread(times: Vec<Duration>) -> String {
    let times = sorted(times);
    let at = |share: f64| micros(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    format!("{:.2} | {:.2} | {:.2}", at(0.5), at(0.99), at(1.0))
}

fn each(mut ask: impl FnMut(usize) -> bool) -> String {
    let begun = Instant::now();
    let mut found = 0;
    for n in 0..LOOK_UPS {
        found += usize::from(black_box(ask(n.wrapping_mul(7919))));
    }
    assert_eq!(found, LOOK_UPS);
    format!("{:.0}", begun.elapsed().as_secs_f64() * 1e9 / LOOK_UPS as f64)
}

fn look_ups(directory: &Directory, members: usize) -> String {
    let systems: Vec<SubsystemId> = (0..members * SYSTEMS).map(system).collect();
    let certificates: Vec<Fingerprint> = (0..members).map(|n| tls(n, 0)).collect();
    let subsystem = each(|n| directory.subsystem(&systems[n % systems.len()]).is_some());
    let serving = each(|n| directory.nodes_serving(&systems[n % systems.len()]).len() == 1);
    let node = each(|n| directory.node_of_auth_certificate(&certificates[n % members]).is_some());
    let group = each(|n| {
        black_box(directory.in_group("nhom-0000", &systems[n % systems.len()]));
        true
    });
    format!("{subsystem} | {serving} | {node} | {group}")
}

fn at_size(members: usize, groups: usize, memberships: usize) {
    let mut bus = Bus::new(members, groups, memberships);
    let signed = SignedHead::parse(&bus.sign()).unwrap();
    let begun = Instant::now();
    let mut directory =
        Directory::assemble(&bus.anchor, &bus.chain, &signed, |d| bus.parts.get(d).cloned()).unwrap();
    let whole = begun.elapsed();
    let answers = look_ups(&directory, members);
    let (mut one_member, mut one_group, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = |bus: &mut Bus, times: &mut Vec<Duration>| {
        let envelope = bus.sign();
        let begun = Instant::now();
        let signed = SignedHead::parse(&envelope).unwrap();
        let next = directory.update(&bus.chain, &signed, |d| bus.parts.get(d).cloned()).unwrap();
        // Letting go of the snapshot before belongs to it.
        directory = next.directory;
        times.push(begun.elapsed());
    };
    for change in 1..=CHANGES {
        let bucket = bus.set_member(&member(change as usize * 31 % members, change));
        bus.list_bucket(&bucket);
        turn(&mut bus, &mut one_member);
        turn(&mut bus, &mut again);
        bus.set_group(change as usize % groups, memberships / groups, members * SYSTEMS, change as usize);
        bus.list_groups();
        turn(&mut bus, &mut one_group);
    }
    let head = bus.sign().len() / 1024;
    println!(
        "| {} | {members} | {memberships} | {head} | {:.0} | {} | {} | {} | {answers} |",
        members * SYSTEMS,
        micros(whole) / 1000.0,
        spread(one_member),
        spread(one_group),
        spread(again),
    );
}

fn resident(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// A process of its own, that reads the parts from files as a node does, says what the directory takes.
fn memory_of(folder: &Path) {
    let read = |name: &str| std::fs::read(folder.join(name)).ok().map(Bytes::from);
    let anchor = Anchor::parse(&read("anchor").unwrap()).unwrap();
    let signed = SignedHead::parse(&read("head").unwrap()).unwrap();
    let chain = [read("root").unwrap()];
    let before = resident("VmRSS");
    let mut directory = Directory::assemble(&anchor, &chain, &signed, |d| read(&d.to_string())).unwrap();
    let after = resident("VmRSS");
    for n in 1.. {
        let Some(next) = read(&format!("head-{n}")) else { break };
        let signed = SignedHead::parse(&next).unwrap();
        directory = directory.update(&chain, &signed, |d| read(&d.to_string())).unwrap().directory;
    }
    let (later, peak) = (resident("VmRSS"), resident("VmHWM"));
    println!("| {} | {} | {} | {peak} |", directory.nodes().count(), after - before, later - before);
}

fn memory(members: usize, groups: usize, memberships: usize) {
    let folder = std::env::temp_dir().join(format!("truc-directory-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let mut bus = Bus::new(members, groups, memberships);
    write("anchor", &bus.anchor.to_json());
    write("root", &bus.chain[0]);
    let head = bus.sign();
    write("head", &head);
    for change in 1..=1000u64 {
        let bucket = bus.set_member(&member(change as usize * 31 % members, change));
        bus.list_bucket(&bucket);
        let head = bus.sign();
        write(&format!("head-{change}"), &head);
    }
    for (digest, bytes) in &bus.parts {
        write(&digest.to_string(), bytes);
    }
    drop(bus);
    let child =
        Command::new(std::env::current_exe().unwrap()).arg("--memory-of").arg(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    print!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--memory-of") {
        return memory_of(Path::new(&arguments[at + 1]));
    }
    println!("times in ms: p50 | p99 | max of {CHANGES} changes; look-ups in ns\n");
    println!(
        "| subsystems | nodes | memberships | head KiB | whole | member p50 | p99 | max | group p50 | p99 | max | signed again p50 | p99 | max | subsystem | nodes_serving | by certificate | in_group |"
    );
    println!("|{}", "---|".repeat(18));
    at_size(1, 1, 10);
    at_size(100, 10, 1000);
    at_size(1000, 100, 100_000);
    at_size(10_000, 1000, 1_000_000);
    println!("\n| nodes | directory MiB | after 1,000 changes | peak of the process |\n|---|---|---|---|");
    memory(10_000, 1000, 1_000_000);
}
