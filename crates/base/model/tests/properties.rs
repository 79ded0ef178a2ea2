//! Identifiers, digests and times: one spelling each, and no kind is read as another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;
use truc_model::{Digest, Fingerprint, MemberId, MessageId, NodeId, ServiceId, SubsystemId, Timestamp};

/// X-Road's allowed characters, as protocol P10.2 lists them.
const ALLOWED: &str = "[A-Za-z0-9'()+,.=?-]{1,64}";

fn part() -> impl Strategy<Value = String> {
    ALLOWED.prop_filter("a path would eat it", |p| p != "." && p != "..")
}

fn one_spelling<T: FromStr + Display>(text: &str) -> Result<bool, TestCaseError> {
    let Ok(read) = text.parse::<T>() else { return Ok(false) };
    prop_assert_eq!(read.to_string(), text);
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_identifier_within_the_rules_round_trips(parts in prop::collection::vec(part(), 5)) {
        let text = parts.join("/");
        let service: ServiceId = text.parse().unwrap();
        prop_assert_eq!(service.to_string(), text);
        prop_assert_eq!(service.parts(), parts.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(&ServiceId::new(&parts[0], &parts[1], &parts[2], &parts[3], &parts[4]).unwrap(), &service);
        prop_assert_eq!((service.code(), service.instance()), (parts[4].as_str(), parts[0].as_str()));
        prop_assert_eq!(service.subsystem().to_string(), parts[..4].join("/"));
        prop_assert_eq!(service.subsystem().service(&parts[4]), Ok(service.clone()));
        prop_assert_eq!(service.member().subsystem(&parts[3]), Ok(service.subsystem()));
        prop_assert_eq!(service.member().to_string(), parts[..3].join("/"));
        prop_assert_eq!(ServiceId::from_tagged(&service.tagged()), Ok(service.clone()));
        let json = serde_json::to_string(&service).unwrap();
        prop_assert_eq!(serde_json::from_str::<ServiceId>(&json).unwrap(), service);
    }

    #[test]
    fn a_tag_keeps_every_kind_apart(parts in prop::collection::vec(part(), 3..6)) {
        let text = parts.join("/");
        let tagged = [
            text.parse::<MemberId>().map(|i| i.tagged()).ok(),
            text.parse::<SubsystemId>().map(|i| i.tagged()).ok(),
            text.parse::<NodeId>().map(|i| i.tagged()).ok(),
            text.parse::<ServiceId>().map(|i| i.tagged()).ok(),
        ];
        for tagged in tagged.into_iter().flatten() {
            let readers = [
                MemberId::from_tagged(&tagged).is_ok(),
                SubsystemId::from_tagged(&tagged).is_ok(),
                NodeId::from_tagged(&tagged).is_ok(),
                ServiceId::from_tagged(&tagged).is_ok(),
            ];
            prop_assert_eq!(readers.iter().filter(|r| **r).count(), 1, "{}", tagged);
            prop_assert!(tagged.parse::<SubsystemId>().is_err(), "a colon is not a character of an identifier");
        }
    }

    #[test]
    fn one_character_outside_the_rules_spoils_an_identifier(
        parts in prop::collection::vec(part(), 4), which in 0usize..4, at: prop::sample::Index, bad in any::<char>(),
    ) {
        prop_assume!(!(bad.is_ascii_alphanumeric() || "'()+,-.=?".contains(bad)));
        let mut parts = parts;
        let at = at.index(parts[which].len() + 1);
        parts[which].insert(at, bad);
        prop_assert!(parts.join("/").parse::<SubsystemId>().is_err(), "{:?}", bad);
        prop_assert!(NodeId::new(&parts[0], &parts[1], &parts[2], &parts[3]).is_err(), "{:?}", bad);
    }

    #[test]
    fn whatever_is_read_has_one_spelling(text in "\\PC{0,70}") {
        one_spelling::<MemberId>(&text)?;
        one_spelling::<SubsystemId>(&text)?;
        one_spelling::<ServiceId>(&text)?;
        one_spelling::<Digest>(&text)?;
        one_spelling::<Timestamp>(&text)?;
        one_spelling::<MessageId>(&text)?;
    }

    #[test]
    fn digests_are_64_lower_case_digits(bytes: [u8; 32], at in 0usize..64) {
        let text = Digest(bytes).to_string();
        prop_assert!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        prop_assert_eq!(text.parse(), Ok(Digest(bytes)));
        prop_assert_eq!(text.parse(), Ok(Fingerprint(bytes)));
        let mut upper = text.clone();
        upper.replace_range(at..=at, &text[at..=at].to_uppercase());
        prop_assert_eq!(upper.parse::<Digest>().is_ok(), upper == text);
        prop_assert!(text[..at].parse::<Digest>().is_err());
        let longer = format!("{text}00").parse::<Digest>();
        prop_assert!(longer.is_err());
        prop_assert_eq!(Digest::from_slice(&bytes[..at.min(31)]), None);
    }

    #[test]
    fn times_keep_their_order_in_their_text(a in 0i64..253_402_300_800_000, b in 0i64..253_402_300_800_000) {
        let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.since(b).as_millis() + b.since(a).as_millis(), u128::from(a.millis().abs_diff(b.millis())));
        prop_assert_eq!(a.whole_second().seconds(), a.seconds());
        prop_assert!(a.plus(Duration::from_millis(1)) >= a && a.minus(Duration::from_millis(1)) <= a);
    }

    #[test]
    fn times_are_clamped_never_wrapped(millis: i64, more: u64) {
        let at = Timestamp::from_millis(millis);
        prop_assert_eq!(at.to_string().parse(), Ok(at));
        let (later, earlier) = (at.plus(Duration::from_millis(more)), at.minus(Duration::from_millis(more)));
        prop_assert!(later >= at && earlier <= at);
        prop_assert_eq!(later.to_string().parse(), Ok(later));
        prop_assert_eq!(earlier.to_string().parse(), Ok(earlier));
    }

    #[test]
    fn message_ids_carry_their_time(millis in 0i64..(1 << 47), random: [u8; 10]) {
        let id = MessageId::new(Timestamp::from_millis(millis), random);
        prop_assert_eq!(id.made_at(), Timestamp::from_millis(millis));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert!(id.to_string().replace('-', "").parse::<MessageId>().is_err());
        for other in [format!("{{{id}}}"), format!("urn:uuid:{id}")] {
            prop_assert!(other.parse::<MessageId>().is_err());
        }
    }
}

/// RFC 3339 allows more than our one spelling: other digits, a leap second, another offset.
#[test]
fn other_spellings_of_a_time_are_refused() {
    for bad in [
        "2026-11-21t03:04:05.678Z",
        "2026-11-21T03:04:05.678z",
        "2026-11-21T03:04:60.678Z",
        "2016-12-31T23:59:60.000Z",
        "2026-11-21T24:00:00.000Z",
        "2026-02-29T00:00:00.000Z",
        "2026-11-21T03:04:5.6789Z",
        "2026-11-21T03:04:05,678Z",
        "1969-12-31T23:59:59.999Z",
        "-026-11-21T03:04:05.678Z",
        "2026-11-21T03:04:05.67\u{661}",
    ] {
        assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
    }
}
