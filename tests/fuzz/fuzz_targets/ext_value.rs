//! RFC 8187 values, and the block that a request's hash covers: `value NUL body`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_edge::fuzzing::ext_value;
use truc_edge::request_hash::{BodyHash, block, request_hash};

/// As RFC 8187 §3.2.1 writes it.
fn coded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b);
    let letter = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    format!("UTF-8''{}", text.bytes().map(letter).collect::<String>())
}

fuzz_target!(|data: &[u8]| {
    let (raw, rest) = data.split_at(data.iter().position(|b| *b == 0).unwrap_or(data.len()));
    let body = rest.get(1..).unwrap_or_default();
    if let Some(text) = ext_value(raw) {
        assert!(text.len() <= raw.len());
        assert_eq!(ext_value(coded(&text).as_bytes()).as_deref(), Some(text.as_str()));
    }
    if let Ok(text) = std::str::from_utf8(raw) {
        assert_eq!(ext_value(coded(text).as_bytes()).as_deref(), Some(text), "every text can be written");
    }
    let fields = [("accept".to_owned(), raw.to_vec())];
    let block = block("GET", "/r1/VN/GOV/G01/a/b", &fields, "id", None);
    let hash = request_hash(&block, BodyHash::of(body));
    assert_eq!(hash.len(), 88);
    assert_eq!(hash == request_hash(&block, BodyHash::of(b"")), body.is_empty());
});
