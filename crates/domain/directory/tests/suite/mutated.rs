//! Whatever bytes arrive, reading them ends in a value or an error, and a changed directory is never believed.

use bytes::Bytes;
use proptest::prelude::*;
use truc_directory::*;

use crate::bus::{Bus, Key};

fn read_everything(bytes: &[u8]) {
    let _ = Anchor::parse(bytes);
    let _ = Endorsed::parse(bytes);
    let _ = Root::parse(bytes);
    let _ = TrustServices::parse(bytes);
    let _ = MemberEntry::parse(bytes);
    let _ = Groups::parse(bytes);
    let _ = Aliases::parse(bytes);
    let _ = Head::parse(bytes);
    let _ = SignedHead::parse(bytes);
    let _ = MemberIndex::parse(bytes);
    let _ = GroupIndex::parse(bytes);
    let _ = GroupPart::parse(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_everything(&bytes);
    }

    #[test]
    fn documents_with_a_changed_byte_are_read_without_a_panic(which in 0usize..8, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let bus = Bus::new();
        let documents = [bus.anchor.to_json(), bus.chain[0].clone(), bus.parts[0].1.clone(), bus.parts[1].1.clone(),
            bus.parts[2].1.clone(), bus.parts[3].1.clone(), bus.head.to_bytes(), bus.signed().to_bytes()];
        let mut bytes = documents[which].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        read_everything(&bytes);
    }

    #[test]
    fn a_changed_envelope_or_root_is_never_believed_as_something_else(root in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut bus = Bus::new();
        let good = bus.assemble().unwrap().head().clone();
        let store = bus.store();
        let mut signed = bus.signed().to_bytes().to_vec();
        let mut chain = bus.chain[0].to_vec();
        let target = if root { &mut chain } else { &mut signed };
        let at = at.index(target.len());
        target[at] ^= flip;
        bus.chain[0] = Bytes::from(chain);
        if let Ok(head) = SignedHead::parse(&signed)
            && let Ok(directory) = Directory::assemble(&bus.anchor, &bus.chain, &head, |d| store.get(d).cloned())
        {
            prop_assert_eq!(directory.head(), &good);
        }
    }
}

const ROUNDS: usize = 10_000;

fn read_as(part: &str, bytes: &[u8]) {
    let _ = match part {
        part::TRUST => Endorsed::parse(bytes).and_then(|e| TrustServices::parse(&e.payload)).err(),
        part::ALIASES => Aliases::parse(bytes).err(),
        part::GROUP_INDEX => GroupIndex::parse(bytes).err(),
        name if name.starts_with("group/") => GroupPart::parse(bytes).err(),
        name if name.starts_with("members/") => MemberIndex::parse(bytes).err(),
        _ => MemberEntry::parse(bytes).err(),
    };
}

/// The same numbers in every run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn mutated(&mut self, good: &[u8]) -> Bytes {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, b"{}[]\",:0a\\ \xff"[self.below(12)]),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => {
                    let end = at + self.below(bytes.len() - at + 1);
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ if !bytes.is_empty() => bytes[at] ^= 1 + u8::try_from(self.below(255)).unwrap(),
                _ => {}
            }
        }
        Bytes::from(bytes)
    }
}

/// Every document that comes from a registry, ten thousand times spoilt: read without a panic, and a directory with one of
/// them in it is refused, or is the very directory that was signed.
#[test]
fn ten_thousand_spoilt_documents_of_each_kind_are_refused_or_equal() {
    let before = Bus::indexed().assemble().unwrap();
    let trust = TrustServices { version: 2, ..TrustServices::empty("VN") };
    let trust = crate::bus::endorse(trust.to_bytes(), &[&Key::new(1)]);
    let aliases = Aliases { v: V1, instance: "VN".into(), aliases: vec![] };
    let mut groups = before.groups();
    groups.groups[0].name = "Khác".into();
    let mut entry = crate::bus::member("H26", 12);
    entry.status = MemberStatus::Suspended;
    let bucket = part::bucket(&entry.id);
    // Which part is changed, and which of the parts that change with it is spoilt.
    let kinds = [
        (part::TRUST, trust, part::TRUST),
        (part::ALIASES, aliases.to_bytes(), part::ALIASES),
        (part::GROUPS, groups.to_bytes(), part::GROUP_INDEX),
        (part::GROUPS, groups.to_bytes(), "group/mot-cua"),
        ("member/VN/GOV/H26", entry.to_bytes(), &bucket),
        ("member/VN/GOV/H26", entry.to_bytes(), "member/VN/GOV/H26"),
    ];
    let mut chance = Chance(0x7472_7563);
    for (changed, bytes, spoilt) in kinds {
        let mut bus = Bus::indexed();
        bus.head.version = 2;
        bus.set(changed, bytes);
        let (after, store) = (bus.assemble().unwrap(), bus.store());
        let good = after.raw().part(spoilt).unwrap().clone();
        let digest = truc_model::Digest::of(&good);
        let keys = &before.root().publishing_keys;
        let head = ParsedHead::parse(&bus.signed().to_bytes()).unwrap().check(keys).unwrap();
        for _ in 0..ROUNDS {
            let bad = chance.mutated(&good);
            read_as(spoilt, &bad);
            let find = |d: &truc_model::Digest| {
                if *d == digest { Some(bad.clone()) } else { store.get(d).cloned() }
            };
            if let Ok(made) = before.update_checked(&bus.chain, head.clone(), find) {
                assert_eq!((made.directory.head_ref(), &bad), (after.head_ref(), &good), "{spoilt}");
            }
        }
    }
    let mut bus = Bus::indexed();
    bus.head.version = 2;
    bus.relist();
    let (after, store, signed) = (bus.assemble().unwrap(), bus.store(), bus.signed());
    let envelope = signed.to_bytes();
    for _ in 0..ROUNDS {
        let bad = chance.mutated(&envelope);
        if let Ok(head) = SignedHead::parse(&bad)
            && let Ok(made) = before.update(&bus.chain, &head, |d| store.get(d).cloned())
        {
            assert_eq!(made.directory.head(), after.head());
        }
        let bad = [chance.mutated(&bus.chain[0])];
        if let Ok(made) = before.update(&bad, &signed, |d| store.get(d).cloned()) {
            assert_eq!((made.directory.root(), made.directory.head()), (after.root(), after.head()));
        }
    }
}

/// A bad head or part inside a good signature: a registry that errs.
#[test]
fn ten_thousand_spoilt_documents_under_a_good_signature_never_panic() {
    let before = Bus::indexed().assemble().unwrap();
    let (bucket, mut chance) = (part::bucket(&"VN/GOV/H26".parse().unwrap()), Chance(0x6261_6400));
    for name in [part::ALIASES, part::GROUP_INDEX, &bucket] {
        let mut bus = Bus::indexed();
        let good = before.raw().part(name).unwrap().clone();
        for _ in 0..ROUNDS / 10 {
            let bad = chance.mutated(&good);
            bus.parts.retain(|(n, _)| n != name);
            bus.spoil(name, bad);
            let (step, once) = (bus.update(&before), bus.assemble());
            assert_eq!(step.map(|u| u.directory.head_ref()), once.map(|d| d.head_ref()), "{name}");
        }
    }
}
