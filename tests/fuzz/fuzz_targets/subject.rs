//! Whom a request is about: a line with the place, a line with the path, a line with the query, then the body.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use truc_message::{CanonicalPath, CanonicalQuery, Header};
use truc_policy::{EvidenceSettings, NoSubject, SubjectPlace};

static HEADER: LazyLock<Header> = LazyLock::new(|| {
    let golden = include_bytes!("../../../crates/domain/message/tests/golden/request-header-v1.json");
    Header::parse(golden).expect("the golden header")
});

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |b| *b == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let Ok(place) = serde_json::from_slice::<SubjectPlace>(next()) else {
        let _ = serde_json::from_slice::<EvidenceSettings>(bytes);
        return;
    };
    let [path, query] = [next(), next()].map(|text| std::str::from_utf8(text).unwrap_or_default());
    let body = next();
    let written = serde_json::to_vec(&place).expect("written");
    assert_eq!(serde_json::from_slice::<SubjectPlace>(&written).expect("read back"), place);
    let mut header = HEADER.clone();
    // As they are in a header that was received: checked and canonical.
    header.path = CanonicalPath::parse(path).ok().map(|path| path.as_str().to_owned());
    header.query = CanonicalQuery::parse(query).ok().map(|query| query.as_str().to_owned());
    let found = place.find(&header, Some(body));
    if let Ok(text) = &found {
        assert!((1..=200).contains(&text.len()));
    }
    match &place {
        SubjectPlace::JsonPointer(pointer) => {
            assert_eq!(place.find(&header, None), Err(NoSubject::TooLong));
            // Where it says somebody, whoever else reads this JSON sees the same.
            if let (Ok(text), Ok(json)) = (&found, serde_json::from_slice::<Value>(body)) {
                let seen = json.pointer(&pointer.to_string()).map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                assert_eq!(seen.as_ref(), Some(text));
            }
        }
        SubjectPlace::PathSegment(_) | SubjectPlace::Query(_) => {
            assert_eq!(place.find(&header, None), found, "the body has no part in it");
        }
    }
});
