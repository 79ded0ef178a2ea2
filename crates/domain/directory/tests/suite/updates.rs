//! However a directory came about, by changes or at once, it is the same: also where it is refused.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use truc_directory::*;
use truc_model::{Digest, Fingerprint, SubsystemId};

use crate::bus::{Bus, Key, at, endorse, member};

const CODES: [&str; 6] = ["G01", "H26", "H49", "H50", "H51", "H52"];

/// One decision of a registry, good or bad.
#[derive(Debug, Clone)]
enum Change {
    Admit(usize),
    Remove(usize),
    Rename(usize, u8),
    Status(usize, u8),
    Suspend(usize, bool),
    Subsystem(usize, u8),
    Disable(usize),
    Seal(usize, u8),
    Tls(usize, u8),
    Host(usize, usize),
    Group(u8, usize),
    Ungroup(u8),
    Alias(u8, usize),
    Trust(u8),
    Form(bool),
    Again,
}

fn change() -> impl Strategy<Value = Change> {
    let who = 0..CODES.len();
    prop_oneof![
        who.clone().prop_map(Change::Admit),
        who.clone().prop_map(Change::Remove),
        (who.clone(), any::<u8>()).prop_map(|(m, n)| Change::Rename(m, n)),
        (who.clone(), 0u8..3).prop_map(|(m, n)| Change::Status(m, n)),
        (who.clone(), any::<bool>()).prop_map(|(m, n)| Change::Suspend(m, n)),
        (who.clone(), 0u8..3).prop_map(|(m, n)| Change::Subsystem(m, n)),
        who.clone().prop_map(Change::Disable),
        // Few fingerprints, so that two members often claim one.
        (who.clone(), 0u8..12).prop_map(|(m, n)| Change::Seal(m, n)),
        (who.clone(), 0u8..12).prop_map(|(m, n)| Change::Tls(m, n)),
        (who.clone(), who.clone()).prop_map(|(m, n)| Change::Host(m, n)),
        (0u8..3, who.clone()).prop_map(|(m, n)| Change::Group(m, n)),
        (0u8..3).prop_map(Change::Ungroup),
        (0u8..3, who).prop_map(|(m, n)| Change::Alias(m, n)),
        (2u8..9).prop_map(Change::Trust),
        any::<bool>().prop_map(Change::Form),
        Just(Change::Again),
    ]
}

/// What the registry knows.
#[derive(Clone)]
struct State {
    members: BTreeMap<usize, MemberEntry>,
    groups: BTreeMap<u8, BTreeSet<GroupMember>>,
    aliases: BTreeMap<u8, usize>,
    trust: u8,
    indexed: bool,
}

fn subsystem(who: usize, n: u8) -> SubsystemId {
    format!("VN/GOV/{}/s{n}", CODES[who]).parse().unwrap()
}

impl State {
    fn apply(&mut self, change: &Change) {
        let seed = |who: usize| u8::try_from(who).unwrap() + 20;
        match *change {
            Change::Admit(who) => {
                self.members.entry(who).or_insert_with(|| member(CODES[who], seed(who)));
            }
            Change::Remove(who) => drop(self.members.remove(&who)),
            Change::Group(code, who) => {
                let members = self.groups.entry(code).or_default();
                members.insert(GroupMember::Subsystem(subsystem(who, code)));
                members.insert(GroupMember::Member(subsystem(who, 0).member()));
            }
            Change::Ungroup(code) => drop(self.groups.remove(&code)),
            Change::Alias(alias, who) => drop(self.aliases.insert(alias, who)),
            Change::Trust(version) => self.trust = version,
            Change::Form(indexed) => self.indexed = indexed,
            Change::Again => {}
            Change::Rename(who, ..)
            | Change::Status(who, ..)
            | Change::Suspend(who, ..)
            | Change::Subsystem(who, ..)
            | Change::Disable(who)
            | Change::Seal(who, ..)
            | Change::Tls(who, ..)
            | Change::Host(who, ..) => {
                if let Some(entry) = self.members.get_mut(&who) {
                    alter(entry, who, change);
                }
            }
        }
    }

    fn bus(&self, version: u64) -> Bus {
        let mut bus = Bus::new();
        let trust = TrustServices { version: self.trust.into(), ..TrustServices::empty("VN") };
        let group = |(code, members): (&u8, &BTreeSet<GroupMember>)| Group {
            code: format!("g{code}"),
            name: format!("Nhóm {code}"),
            members: members.iter().cloned().collect(),
        };
        let groups = self.groups.iter().map(group).collect();
        let alias = |(alias, who): (&u8, &usize)| Alias {
            alias: format!("000.{alias}"),
            member: subsystem(*who, 0).member(),
        };
        let aliases = self.aliases.iter().map(alias).collect();
        bus.parts = vec![
            (part::TRUST.to_owned(), endorse(trust.to_bytes(), &[&Key::new(1)])),
            (part::GROUPS.to_owned(), Groups { v: V1, instance: "VN".into(), groups }.to_bytes()),
            (part::ALIASES.to_owned(), Aliases { v: V1, instance: "VN".into(), aliases }.to_bytes()),
        ];
        bus.parts.extend(self.members.values().map(|m| (part::member(&m.id), m.to_bytes())));
        bus.head.version = version;
        bus.head.issued = at("2026-11-21T03:00:00.000Z").plus(std::time::Duration::from_secs(version));
        bus.indexed = self.indexed;
        bus.relist();
        bus
    }
}

fn alter(entry: &mut MemberEntry, who: usize, change: &Change) {
    match *change {
        Change::Rename(_, n) => entry.name_en = format!("Agency {n}"),
        Change::Status(_, n) => {
            entry.status =
                [MemberStatus::Active, MemberStatus::Suspended, MemberStatus::Closed][usize::from(n)];
        }
        Change::Suspend(_, on) => entry.nodes.iter_mut().for_each(|n| n.suspended = on),
        Change::Subsystem(_, n) => {
            let code = format!("s{n}");
            if entry.has_subsystem(&code) {
                entry.subsystems.retain(|s| s.code != code);
            } else {
                entry.subsystems.insert(0, SubsystemEntry { code, name: "S".into(), disabled: false });
                if !entry.nodes[0].serves.contains(&subsystem(who, n)) {
                    entry.nodes[0].serves.push(subsystem(who, n));
                }
            }
        }
        Change::Disable(_) => entry.subsystems.iter_mut().for_each(|s| s.disabled = !s.disabled),
        Change::Seal(_, n) => {
            let fingerprint = Fingerprint([n; 32]);
            if !entry.sign_certificates.iter().any(|c| c.fingerprint == fingerprint) {
                entry.sign_certificates.push(SignCertificate { fingerprint, der: None });
            }
        }
        Change::Tls(_, n) if !entry.nodes[0].auth_certificates.contains(&Fingerprint([n; 32])) => {
            entry.nodes[0].auth_certificates.push(Fingerprint([n; 32]));
        }
        Change::Host(_, guest) => {
            let served = subsystem(guest, 0);
            let serves = &mut entry.nodes[0].serves;
            match serves.iter().position(|s| *s == served) {
                Some(at) => drop(serves.remove(at)),
                None => serves.push(served),
            }
        }
        _ => {}
    }
}

/// Everything that can be asked of a directory.
fn answers(directory: &Directory) -> impl PartialEq + std::fmt::Debug {
    let mut nodes: Vec<NodeEntry> = directory.nodes().cloned().collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let mut look_ups = Vec::new();
    for who in 0..CODES.len() {
        let id = subsystem(who, 0).member();
        for code in ["he-thong", "s0", "s1", "s2"] {
            let subsystem = id.subsystem(code).unwrap();
            let serving: Vec<_> = directory.nodes_serving(&subsystem).iter().map(|n| n.id.clone()).collect();
            let groups: Vec<bool> =
                (0..3).map(|g| directory.in_group(&format!("g{g}"), &subsystem)).collect();
            look_ups.push(format!("{:?} {serving:?} {groups:?}", directory.subsystem(&subsystem)));
        }
        for seed in 0u8..140 {
            let certificate = Fingerprint([seed; 32]);
            let node = directory.node_of_auth_certificate(&certificate).map(|n| n.id.clone());
            let seal = directory.has_sign_certificate(&id, &certificate);
            look_ups.push(format!("{node:?} {seal}"));
        }
    }
    let mut raw: Vec<_> = directory.raw().parts().map(|(n, d, b)| (n, *d, b.clone())).collect();
    raw.sort_by(|a, b| a.0.cmp(&b.0));
    let members: Vec<MemberEntry> = directory.members().cloned().collect();
    let aliases: Vec<_> = (0..3).map(|n| directory.alias(&format!("000.{n}")).cloned()).collect();
    let whole = (directory.head_ref(), directory.head().clone(), directory.trust_services().clone());
    (members, nodes, look_ups, directory.groups(), aliases, raw, whole)
}

fn listed(directory: &Directory) -> BTreeMap<(String, Digest), u64> {
    directory.raw().parts().map(|(name, digest, bytes)| ((name, *digest), bytes.len() as u64)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn changed_step_by_step_it_is_the_directory_assembled_at_once(
        changes in proptest::collection::vec(proptest::collection::vec(change(), 1..4), 1..12)
    ) {
        let members = [0, 1].map(|who| (who, member(CODES[who], u8::try_from(who).unwrap() + 20)));
        let mut state = State {
            members: members.into(),
            groups: BTreeMap::new(),
            aliases: BTreeMap::new(),
            trust: 1,
            indexed: true,
        };
        let mut current = state.bus(1).assemble().unwrap();
        for (version, decisions) in (2..).zip(&changes) {
            let mut next = state.clone();
            decisions.iter().for_each(|decision| next.apply(decision));
            let bus = next.bus(version);
            let store = bus.store();
            let asked = std::cell::RefCell::new(BTreeSet::new());
            let find = |digest: &Digest| {
                asked.borrow_mut().insert(*digest);
                store.get(digest).cloned()
            };
            match (current.update(&bus.chain, &bus.signed(), find), bus.assemble()) {
                (Err(step), Err(once)) => prop_assert_eq!(step, once),
                (Ok(step), Ok(once)) => {
                    prop_assert_eq!(answers(&step.directory), answers(&once));
                    let (before, now) = (listed(&current), listed(&once));
                    let gone: BTreeMap<_, _> =
                        before.iter().filter(|(k, _)| !now.contains_key(*k)).map(|(k, v)| (k.clone(), *v)).collect();
                    let told: BTreeMap<_, _> =
                        step.gone.iter().map(|p| ((p.name.clone(), p.digest), p.size)).collect();
                    prop_assert_eq!(told, gone);
                    let new: BTreeSet<Digest> =
                        now.keys().filter(|k| !before.contains_key(*k)).map(|(_, d)| *d).collect();
                    prop_assert!(asked.borrow().is_subset(&new), "asked for a part that it has");
                    (current, state) = (step.directory, next);
                }
                (step, once) => prop_assert!(false, "{step:?} {once:?}"),
            }
        }
    }
}
