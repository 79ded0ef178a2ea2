//! Our judgement of certificate paths against rustls-webpki's: whatever webpki refuses, we refuse.
//!
//! Chains are written by hand, byte by byte, so that every flaw can be expressed, and signed anew after it is made (`build.rs`). Each flaw
//! (`flaws.rs`) says what must come of it: refused by both, refused by us alone and why, or harmless. webpki is asked as its users ask
//! it: all its algorithms, its own rules for extended key usage, the anchors as they are. `TRUC_ROUNDS` makes more random mixtures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

mod build;
mod flaws;
mod reference;

use std::collections::BTreeMap;

use build::{Chain, Keys, Rng};
use flaws::{FLAWS, Fate, Flaw};
use truc_trust::{Certificate, Purpose, check_path};

const PURPOSES: [Purpose; 3] = [Purpose::Auth, Purpose::Sign, Purpose::TimeStamping];
/// Certificates below the anchor.
const DEPTHS: [usize; 4] = [1, 2, 3, 4];
/// Random mixtures in one round.
const MIXTURES: u64 = 2500;
/// Chains with random octets changed in one round.
const SCRAMBLED: u64 = 2500;

fn rounds() -> u64 {
    std::env::var("TRUC_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// What the two make of one chain.
struct Opinions {
    ours: Result<(), String>,
    webpki: Result<(), String>,
}

fn judge(chain: &Chain, keys: &Keys) -> Opinions {
    let ders = chain.build(keys);
    let read =
        |list: &[Vec<u8>]| list.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>();
    let ours = || -> Result<(), String> {
        let end = Certificate::from_der(&ders.end).map_err(|e| e.to_string())?;
        let (between, anchors) = (
            read(&ders.between).map_err(|e| e.to_string())?,
            read(&ders.anchors).map_err(|e| e.to_string())?,
        );
        check_path(&end, &between, &anchors, chain.purpose, build::now()).map(drop).map_err(|e| e.to_string())
    };
    Opinions { ours: ours(), webpki: reference::judge(&ders, chain.purpose) }
}

/// Holds the property and what the flaws say against the opinions.
fn compare(chain: &Chain, flaws: &[&Flaw], keys: &Keys, case: &str) -> Opinions {
    let opinions = judge(chain, keys);
    let names: Vec<&str> = flaws.iter().map(|flaw| flaw.name).collect();
    let told = || {
        format!(
            "{case} {:?} depth {} {names:?}\n ours: {:?}\n webpki: {:?}",
            chain.purpose,
            chain.depth(),
            opinions.ours,
            opinions.webpki
        )
    };
    assert!(opinions.webpki.is_ok() || opinions.ours.is_err(), "we accept what webpki refuses: {}", told());
    let is = |fate: fn(&Fate) -> bool| flaws.iter().any(|flaw| fate(&flaw.fate));
    let (fatal, stricter) = (is(|f| matches!(f, Fate::Fatal)), is(|f| matches!(f, Fate::Stricter(_))));
    if fatal || stricter {
        assert!(opinions.ours.is_err(), "we accept a flaw: {}", told());
    } else {
        assert!(opinions.ours.is_ok(), "we refuse a chain without fault: {}", told());
    }
    if opinions.ours.is_err() && opinions.webpki.is_ok() {
        assert!(stricter, "stricter than webpki for no stated reason: {}", told());
    }
    opinions
}

#[test]
fn each_flaw_alone_has_the_fate_it_is_said_to_have() {
    let keys = Keys::new();
    let mut met: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (index, flaw) in FLAWS.iter().enumerate() {
        for purpose in PURPOSES {
            for depth in DEPTHS {
                let mut rng = Rng::new(index as u64 * 1000 + depth as u64);
                let mut chain = Chain::sound(depth, purpose);
                if !(flaw.make)(&mut chain, &mut rng) {
                    continue;
                }
                let opinions = compare(&chain, &[flaw], &keys, "alone");
                let met = met.entry(flaw.name).or_default();
                met.0 += 1;
                met.1 += u32::from(opinions.webpki.is_ok());
            }
        }
    }
    for flaw in FLAWS {
        let (cases, accepted) = met.get(flaw.name).copied().unwrap_or_default();
        assert!(cases > 0, "{} was never made", flaw.name);
        match flaw.fate {
            // A flaw that webpki refuses too is not one of those where we are stricter: keep the list honest.
            Fate::Stricter(_) => assert!(accepted > 0, "{}: webpki never accepts it", flaw.name),
            Fate::Fatal => {
                assert_eq!(accepted, 0, "{}: webpki accepts it, so we are the stricter ones", flaw.name)
            }
            Fate::Harmless(_) => assert_eq!(accepted, cases, "{}", flaw.name),
        }
    }
}

#[test]
fn mixtures_of_flaws_are_never_believed_more_than_by_webpki() {
    let keys = Keys::new();
    let (mut both, mut only_webpki, mut refused) = (0u32, 0u32, 0u32);
    for seed in 0..MIXTURES * rounds() {
        let mut rng = Rng::new(seed);
        let mut chain = Chain::sound(DEPTHS[rng.below(4)], PURPOSES[rng.below(3)]);
        let mut made = Vec::new();
        for _ in 0..rng.below(4) {
            let flaw = &FLAWS[rng.below(FLAWS.len())];
            let mut tried = chain.clone();
            // Two flaws in one place may undo each other; what is left is judged as what it then is.
            if !chain.touches(flaw.place) && (flaw.make)(&mut tried, &mut rng) {
                chain = tried;
                chain.touch(flaw.place);
                made.push(flaw);
            }
        }
        let opinions = compare(&chain, &made, &keys, &format!("seed {seed}"));
        match (opinions.ours.is_ok(), opinions.webpki.is_ok()) {
            (true, _) => both += 1,
            (false, true) => only_webpki += 1,
            (false, false) => refused += 1,
        }
    }
    // The mixture is worth something only while all three ends come up.
    assert!(both > 100 && only_webpki > 50 && refused > 300, "{both} {only_webpki} {refused}");
}

/// What no flaw above thought of: a few octets of what is signed are changed, and it is signed again.
#[test]
fn scrambled_certificates_are_never_believed_more_than_by_webpki() {
    let keys = Keys::new();
    let (mut accepted, mut refused) = (0u32, 0u32);
    for seed in 0..SCRAMBLED * rounds() {
        let mut rng = Rng::new(!seed);
        let mut chain = Chain::sound(1 + rng.below(3), PURPOSES[rng.below(3)]);
        let at = rng.below(chain.certs.len());
        for _ in 0..=rng.below(3) {
            let change = (rng.below(4096), u8::try_from(rng.below(256)).unwrap());
            chain.certs[at].scramble.push(change);
        }
        let opinions = judge(&chain, &keys);
        let told = || format!("seed {seed}: ours {:?}, webpki {:?}", opinions.ours, opinions.webpki);
        assert!(
            opinions.webpki.is_ok() || opinions.ours.is_err(),
            "we accept what webpki refuses: {}",
            told()
        );
        accepted += u32::from(opinions.ours.is_ok());
        refused += u32::from(opinions.ours.is_err());
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn every_flaw_has_a_name_and_a_reason() {
    for flaw in FLAWS {
        if let Fate::Stricter(why) | Fate::Harmless(why) = flaw.fate {
            assert!(!why.is_empty(), "{} gives no reason", flaw.name);
        }
    }
    let mut names: Vec<&str> = FLAWS.iter().map(|f| f.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two flaws have one name");
}
