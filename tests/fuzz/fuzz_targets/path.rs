//! Paths, queries and path patterns: one spelling, never a step aside, what is authorised is what is forwarded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_message::{CanonicalPath, CanonicalQuery};
use truc_policy::{PathGlob, ServiceUrl};

fuzz_target!(|text: &str| {
    if let Ok(path) = CanonicalPath::parse(text) {
        let canonical = path.as_str();
        assert_eq!(CanonicalPath::parse(canonical).as_ref(), Ok(&path), "idempotent");
        assert_eq!(CanonicalPath::from_canonical(canonical).as_ref(), Ok(&path));
        assert!(canonical.is_empty() || canonical.starts_with('/'));
        assert_eq!(canonical.matches('/').count(), text.matches('/').count(), "no separator comes or goes");
        assert_eq!(path.segments().len(), canonical.matches('/').count());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/%-._~!$&'()*+,;=:@".contains(&b);
        assert!(canonical.bytes().all(plain));
        for segment in path.segments() {
            // The most lenient backend: backslashes and encoded slashes separate, parameters are cut.
            for piece in segment.split(['/', '\\']) {
                assert!(!matches!(piece.split(';').next(), Some("." | "..")), "{canonical}");
            }
            assert!(!segment.bytes().any(|b| b < 0x20 || b == 0x7f));
        }
        assert!(PathGlob::every().matches(&path.segments()));
        // Every path, written as a pattern that stands for itself, matches itself.
        let escaped: String = path
            .segments()
            .iter()
            .map(|s| format!("/{}", s.chars().flat_map(|c| ['\\', c]).collect::<String>()))
            .collect();
        if let Ok(glob) = escaped.parse::<PathGlob>() {
            assert!(glob.matches(&path.segments()), "{canonical}");
        }
        if let Ok(glob) = text.parse::<PathGlob>() {
            let _ = glob.matches(&path.segments());
        }
    }
    if let Ok(query) = CanonicalQuery::parse(text) {
        assert_eq!(query.as_str(), text, "a query passes unchanged");
        assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
    }
    if let Ok(glob) = text.parse::<PathGlob>() {
        assert_eq!(glob.to_string().parse::<PathGlob>().as_ref(), Ok(&glob));
        assert!(PathGlob::every().covers(&glob) && glob.covers(&glob));
    }
    if let Ok(url) = text.parse::<ServiceUrl>() {
        assert_eq!(url.to_string().parse::<ServiceUrl>().as_ref(), Ok(&url), "idempotent");
        assert!(http::Uri::try_from(url.call("/x", Some("a=1"))).is_ok(), "{url}");
    }
});
