//! A message's header: what is accepted says one thing only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use truc_message::{CanonicalPath, FieldValue, HEADER_LIMIT, Header, MalformedHeader, is_secret};

fn holds_null_or_deep(value: &Value, depth: usize) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => depth > 1 || list.iter().any(|v| holds_null_or_deep(v, depth + 1)),
        Value::Object(map) => depth > 2 || map.values().any(|v| holds_null_or_deep(v, depth + 1)),
        _ => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::parse(bytes) else { return };
    assert!(bytes.len() <= HEADER_LIMIT);
    // Any other reader of JSON sees the same keys, and no null that one could take for absent.
    let seen: Value = serde_json::from_slice(bytes).expect("JSON");
    assert!(!holds_null_or_deep(&seen, 0), "{seen}");
    assert_eq!(seen, serde_json::to_value(&header).expect("a header is JSON"));
    match header.to_bytes() {
        Ok(written) => {
            assert_eq!(Header::parse(&written).as_ref(), Ok(&header));
            assert_eq!(header.to_bytes().as_ref(), Ok(&written));
        }
        // Escapes that a writer chooses can be longer than those that it read.
        Err(MalformedHeader::TooLong(_)) => {}
        Err(why) => panic!("read, but cannot be written: {why}"),
    }
    if let Some(path) = &header.path
        && header.method.is_some()
        && header.status.is_none()
        && !matches!(header.kind.as_str(), "document" | "receipt" | "event" | "management")
    {
        assert!(CanonicalPath::from_canonical(path).is_ok());
    }
    for field in &header.headers {
        match field.content().expect("one value") {
            FieldValue::Plain(value) => {
                assert!(!is_secret(&field.name) && !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
            FieldValue::Hidden(_) => {}
        }
    }
});
