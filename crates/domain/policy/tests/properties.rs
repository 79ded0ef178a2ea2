//! Path patterns against the plain definition in the manual, and addresses that have one spelling.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use proptest::prelude::*;
use truc_message::CanonicalPath;
use truc_policy::{PathGlob, ServiceUrl};

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

    #[test]
    fn addresses_have_one_spelling(text in "https?://([a-z0-9.\\[\\]:@-]{0,12}|x)(/([a-z.]|%2F|%2f|%61){0,3}){0,4}") {
        if let Ok(url) = text.parse::<ServiceUrl>() {
            prop_assert_eq!(url.to_string().parse::<ServiceUrl>(), Ok(url));
        }
    }
}
