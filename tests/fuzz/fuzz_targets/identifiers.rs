//! Identifiers, digests, message ids and times: one spelling each, and none is read as another kind.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use truc_directory::{PublicKey, check_address};
use truc_keys::KeyLabel;
use truc_model::{Digest, Fingerprint, MemberId, MessageId, NodeId, ServiceId, SubsystemId, Timestamp};

fn one_spelling<T: FromStr + Display + PartialEq>(text: &str) -> bool {
    let Ok(read) = text.parse::<T>() else { return false };
    assert_eq!(read.to_string(), text);
    true
}

fuzz_target!(|text: &str| {
    let member = one_spelling::<MemberId>(text);
    let four = (one_spelling::<SubsystemId>(text), one_spelling::<NodeId>(text));
    let service = one_spelling::<ServiceId>(text);
    assert_eq!(four.0, four.1, "a subsystem and a node have one shape");
    assert!(u8::from(member) + u8::from(four.0) + u8::from(service) <= 1);
    if member || four.0 || service {
        assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b"%\\:;&<>\"#".contains(&b)));
        assert!(text.split('/').all(|p| !p.is_empty() && p.len() <= 64 && p != "." && p != ".."));
    }
    let tagged = [
        MemberId::from_tagged(text).map(|i| i.tagged()).ok(),
        SubsystemId::from_tagged(text).map(|i| i.tagged()).ok(),
        NodeId::from_tagged(text).map(|i| i.tagged()).ok(),
        ServiceId::from_tagged(text).map(|i| i.tagged()).ok(),
    ];
    assert!(tagged.iter().flatten().count() <= 1, "a tag tells one kind from another");
    assert!(tagged.iter().flatten().all(|t| t == text));
    if one_spelling::<MessageId>(text) {
        let id: MessageId = text.parse().expect("just read");
        assert_eq!(MessageId::from_str(&id.to_string()), Ok(id));
    }
    one_spelling::<Digest>(text);
    one_spelling::<Fingerprint>(text);
    one_spelling::<Timestamp>(text);
    if let Ok(label) = KeyLabel::new(text) {
        // It becomes the name of a file.
        assert!(label.as_str() == text && !text.contains(['/', '\\', '\0']) && !text.starts_with('.'));
    }
    if let Ok(key) = serde_json::from_str::<PublicKey>(text) {
        assert_eq!(
            serde_json::to_value(key).expect("written"),
            serde_json::from_str::<serde_json::Value>(text).expect("JSON")
        );
    }
    if check_address(text).is_ok() {
        assert!(text.parse::<http::uri::Authority>().is_ok(), "{text}");
    }
});
