//! Whatever comes from a registry, a node ends with the directory it had or with the one that was signed.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use truc_directory::PartRef;
use truc_model::{Digest, ManualClock};
use truc_wire::registry::Part;

use super::*;
use crate::remote::checked;
use crate::update::Source;
use bus::{Bus, at, member};

#[allow(dead_code, reason = "shared with the directory's own tests")]
#[path = "../../../../domain/directory/tests/suite/bus.rs"]
mod bus;

const ROUNDS: usize = 10_000;

/// The same numbers in every run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn mutated(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => {
                    let end = at + self.below(bytes.len() - at + 1);
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ if !bytes.is_empty() => bytes[at] ^= 1 + self.below(255) as u8,
                _ => {}
            }
        }
        bytes
    }
}

struct Memory(std::sync::Mutex<Option<truc_directory::HeadRef>>);

#[async_trait]
impl HighestSeen for Memory {
    async fn highest(&self) -> Result<Option<truc_directory::HeadRef>, String> {
        Ok(*self.0.lock().unwrap())
    }
    async fn record(&self, _: truc_directory::HeadRef) -> Result<(), String> {
        Ok(())
    }
}

struct Nothing;

#[async_trait]
impl Source for Nothing {
    async fn fetch(&self, _: &[PartRef]) -> Result<HashMap<Digest, Bytes>, String> {
        Err("there is no registry".to_owned())
    }
}

#[tokio::test]
async fn ten_thousand_spoilt_updates_change_nothing_but_what_was_signed() {
    let place = tempfile::tempdir().unwrap();
    let mut bus = Bus::indexed();
    let before = bus.assemble().unwrap();
    bus.head.version = 2;
    bus.set("member/VN/GOV/H26", member("H26", 12).to_bytes());
    let mut changed = member("H26", 12);
    changed.nodes[0].suspended = true;
    bus.set("member/VN/GOV/H26", changed.to_bytes());
    let after = bus.assemble().unwrap();
    let new: Vec<Part> = after
        .raw()
        .parts()
        .filter(|(name, digest, _)| before.raw().part(name).is_none_or(|b| Digest::of(b) != **digest))
        .map(|(_, digest, content)| Part {
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            content: content.clone(),
        })
        .collect();
    assert_eq!(new.len(), 2, "an index part and a member's part");
    let good = HeadUpdate { signed_head: bus.signed().to_bytes(), parts: new }.encode_to_vec();
    let mut desk = Desk {
        anchor: bus.anchor.clone(),
        folder: DirectoryFolder::open(place.path()).unwrap(),
        highest: Arc::new(Memory(std::sync::Mutex::new(Some(before.head_ref())))),
        clock: Arc::new(ManualClock::new(at("2026-11-21T03:05:00.000Z"))),
        litter: Litter::default(),
    };
    let (mut chance, mut taken) = (Chance(0x7472_7563), 0);
    for round in 0..ROUNDS {
        let bytes = if round == 0 { good.clone() } else { chance.mutated(&good) };
        let Ok(update) = HeadUpdate::decode(bytes.as_slice()) else { continue };
        if let Ok(Some(directory)) = desk.consider(offer(update), Some(&before), &Nothing).await {
            taken += 1;
            assert_eq!(directory.head_ref(), after.head_ref());
            assert!(directory.members().eq(after.members()));
            // What was kept must not help the next round.
            for (_, digest, _) in after.raw().parts() {
                desk.folder.remove(digest).unwrap();
            }
        }
    }
    assert!(taken >= 1);
}

#[test]
fn ten_thousand_spoilt_parts_are_refused_or_equal() {
    let content = member("H26", 12).to_bytes();
    let expected = PartRef { name: "x".into(), digest: Digest::of(&content), size: content.len() as u64 };
    let digest = Bytes::copy_from_slice(expected.digest.as_bytes());
    let good = Part { digest, content: content.clone() }.encode_to_vec();
    let mut chance = Chance(0x7061_7274);
    for _ in 0..ROUNDS {
        if let Ok(part) = Part::decode(chance.mutated(&good).as_slice())
            && let Ok(taken) = checked(&expected, &part.content)
        {
            assert_eq!(taken, content);
        }
    }
}
