//! Path patterns against the plain definition in the manual, and addresses that have one spelling.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use proptest::prelude::*;
use serde_json::Value;
use truc_message::CanonicalPath;
use truc_policy::{EvidenceSettings, PathGlob, ServiceUrl, SubjectPlace};

/// X-Road ug-ss 6.7 word for word, over characters: `*` any run within a segment, `**` any number of segments.
fn by_the_book(pattern: &[String], path: &[String]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return path.is_empty() };
    if first == "**" {
        return (0..=path.len()).any(|n| by_the_book(rest, &path[n..]));
    }
    let Some((segment, more)) = path.split_first() else { return false };
    let (first, segment): (Vec<char>, Vec<char>) = (first.chars().collect(), segment.chars().collect());
    run(&first, &segment) && by_the_book(rest, more)
}

fn run(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        // A character that was %2F is never eaten by a star.
        Some(('*', rest)) => {
            let most = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            (0..=most).any(|n| run(rest, &text[n..]))
        }
        Some((c, rest)) => text.split_first().is_some_and(|(t, text)| t == c && run(rest, text)),
    }
}

/// JSON whose names come from the same few that the pointers have, so that they meet.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9đ]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a1/~0]{0,1}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn header(query: &str) -> truc_message::Header {
    let json = serde_json::json!({
        "v": 1, "kind": "request", "id": "01934c00-0000-7000-8000-000000000000", "instance": "VN",
        "client": "SUBSYSTEM:VN/GOV/H26/mot-cua", "service": "SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu",
        "from": "NODE:VN/GOV/H26/ss1", "to": "NODE:VN/GOV/G01/ss1", "directory": {"epoch": 1, "version": 1},
        "sent": "2026-11-21T03:04:05.678Z", "expires": "2026-11-21T03:05:05.678Z",
        "method": "POST", "path": "/a", "query": query, "headers": [],
    });
    serde_json::from_value(json).unwrap()
}

fn place(json: Value) -> SubjectPlace {
    serde_json::from_value::<EvidenceSettings>(serde_json::json!({"subject": json})).unwrap().subject.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pattern_matches_what_the_manual_says(
        pattern in prop::collection::vec("\\*\\*|[aạ*]{0,3}", 1..5), path in "(/([aạ]|%2F|%2a){0,3}){0,5}",
    ) {
        let text: String = pattern.iter().map(|s| format!("/{s}")).collect();
        let raw = path.replace('ạ', "%E1%BA%A1");
        let segments = CanonicalPath::parse(&raw).unwrap().segments();
        if let Ok(glob) = text.parse::<PathGlob>() {
            prop_assert_eq!(glob.matches(&segments), by_the_book(&pattern, &segments), "{} {}", text, raw);
        }
    }

    /// A pattern sees the decoded path: every spelling of one path is allowed or refused alike.
    #[test]
    fn a_right_does_not_depend_on_the_spelling(pattern in "(/[a-c*]{1,3}){1,3}", path in "(/[a-c]{1,3}){1,3}") {
        let encoded: String =
            path.chars().map(|c| if c == '/' { "/".to_owned() } else { format!("%{:02x}", u32::from(c)) }).collect();
        let (plain, encoded) = (CanonicalPath::parse(&path).unwrap(), CanonicalPath::parse(&encoded).unwrap());
        prop_assert_eq!(&plain, &encoded);
        if let Ok(glob) = pattern.parse::<PathGlob>() {
            prop_assert_eq!(glob.matches(&plain.segments()), glob.matches(&encoded.segments()));
        }
    }

    /// As serde_json's own pointer sees it, which is written by others.
    #[test]
    fn a_subject_is_what_stands_at_the_pointer(json in json(), pointer in "(/(a|1|~1|~0|0|)){0,4}") {
        let body = serde_json::to_vec(&json).unwrap();
        let expected = match json.pointer(&pointer) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        };
        let place = place(serde_json::json!({"jsonPointer": pointer}));
        prop_assert_eq!(place.find(&header(""), Some(&body)).ok(), expected, "{}", json);
        prop_assert!(place.find(&header(""), None).is_err());
    }

    /// Whatever text is written into a query is found again, unless it is there twice.
    #[test]
    fn a_subject_in_a_query_is_decoded(text in "\\PC{1,20}", before in "(b=[a-z]{0,3}&){0,2}", twice in any::<bool>()) {
        let coded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        let query = format!("{before}số={coded}{}", if twice { "&số=x" } else { "" }).replace("số", "s%E1%BB%91");
        let found = place(serde_json::json!({"query": "số"})).find(&header(&query), None);
        prop_assert_eq!(found.ok(), (!twice).then_some(text));
    }

    #[test]
    fn addresses_have_one_spelling(text in "https?://([a-z0-9.\\[\\]:@-]{0,12}|x)(/([a-z.]|%2F|%2f|%61){0,3}){0,4}") {
        if let Ok(url) = text.parse::<ServiceUrl>() {
            prop_assert_eq!(url.to_string().parse::<ServiceUrl>(), Ok(url));
        }
    }
}
