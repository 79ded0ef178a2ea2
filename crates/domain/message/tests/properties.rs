//! Paths, queries and headers: what is accepted says one thing, and says it again when it is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use proptest::prelude::*;
use truc_message::{
    BodyInfo, CanonicalPath, CanonicalQuery, DirectoryRef, FieldValue, Header, HeaderField, InReplyTo, Kind,
    Leaf, hide, is_secret,
};
use truc_model::{Digest, MessageId, Timestamp};

/// One octet of a segment, as somebody may write it: plain, or encoded in either case.
fn written(octet: u8, form: u8) -> String {
    match form % 3 {
        0 if octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&octet) => {
            char::from(octet).to_string()
        }
        1 => format!("%{octet:02x}"),
        _ => format!("%{octet:02X}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However a client writes a path, it is one path; and what rights are matched on are the very characters meant.
    #[test]
    fn every_spelling_of_a_path_is_one_path(
        segments in prop::collection::vec("[^\u{0}-\u{1f}\u{7f}]{0,6}", 1..5), forms in prop::collection::vec(any::<(u8, u8)>(), 200),
    ) {
        let spell = |pick: fn(&(u8, u8)) -> u8| {
            let mut forms = forms.iter().cycle();
            segments
                .iter()
                .map(|s| format!("/{}", s.bytes().map(|b| written(b, forms.next().map_or(0, pick))).collect::<String>()))
                .collect::<String>()
        };
        let (one, other) = (CanonicalPath::parse(&spell(|f| f.0)), CanonicalPath::parse(&spell(|f| f.1)));
        prop_assert_eq!(&one, &other);
        if let Ok(path) = one {
            prop_assert_eq!(path.segments(), segments);
            prop_assert_eq!(CanonicalPath::from_canonical(path.as_str()), Ok(path));
        }
    }

    /// Decoded once: what an attacker encoded twice stays encoded, and never becomes a separator or a step.
    #[test]
    fn nothing_is_decoded_twice(inner in "(%2[eEfF]|%5[cC]|[a-z.;]){1,6}") {
        let twice = format!("/{}", inner.replace('%', "%25"));
        if let Ok(path) = CanonicalPath::parse(&twice) {
            prop_assert_eq!(path.segments(), vec![inner]);
            prop_assert_eq!(path.as_str().matches('/').count(), 1);
        }
    }

    #[test]
    fn any_text_is_a_canonical_path_or_refused(text in "[ -~\\PC]{0,40}") {
        let Ok(path) = CanonicalPath::parse(&text) else { return Ok(()) };
        prop_assert_eq!(path.as_str().matches('/').count(), text.matches('/').count());
        prop_assert_eq!(CanonicalPath::parse(path.as_str()), Ok(path.clone()));
        prop_assert!(!path.segments().iter().any(|s| s == "." || s == ".."));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/%-._~!$&'()*+,;=:@".contains(&b);
        prop_assert!(path.as_str().bytes().all(plain));
    }

    #[test]
    fn a_query_is_never_changed(text in "[ -~\\PC]{0,40}") {
        if let Ok(query) = CanonicalQuery::parse(&text) {
            prop_assert_eq!(query.as_str(), text.as_str());
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'#'), "it fits a request line");
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written(header in header()) {
        let bytes = header.to_bytes().unwrap();
        let read = Header::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    /// Another spelling of the same JSON is another signed text, but never another meaning.
    #[test]
    fn another_spelling_means_the_same_or_is_refused(header in header(), at: prop::sample::Index, with in "[ \\[\\]{}:,\"nul0-9\\\\]{1,2}") {
        let mut text = String::from_utf8(header.to_bytes().unwrap()).unwrap();
        let places: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        text.insert_str(places[at.index(places.len())], &with);
        if let Ok(read) = Header::parse(text.as_bytes()) {
            let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(seen, serde_json::to_value(&read).unwrap());
        }
    }

    #[test]
    fn a_field_keeps_its_value(name in "[a-z][a-z0-9-]{0,20}", value in prop::collection::vec(any::<u8>(), 0..40), salt: [u8; 16]) {
        let plain = HeaderField::plain(&name, &value);
        let kept = matches!(plain.content(), Some(FieldValue::Plain(v)) if v == value);
        prop_assert!(kept);
        let (field, secret) = hide(&name, &value, salt);
        let hidden = matches!(field.content(), Some(FieldValue::Hidden(_)));
        prop_assert!(hidden);
        let text = serde_json::to_string(&field).unwrap();
        prop_assert!(value.len() < 8 || !text.contains(&String::from_utf8_lossy(&value).into_owned()));
        prop_assert_eq!(secret.value, value);
    }
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[^\u{0}-\u{1f}\u{7f}-\u{9f}]{1,40}")
}

fn field() -> impl Strategy<Value = HeaderField> {
    ("[a-z0-9!#$%&'*+.^_`|~-]{1,20}", prop::collection::vec(any::<u8>(), 0..30), any::<bool>()).prop_map(
        |(name, mut value, hidden)| {
            value.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
            if hidden || is_secret(&name) {
                hide(&name, &value, [7; 16]).0
            } else {
                HeaderField::plain(&name, &value)
            }
        },
    )
}

fn header() -> impl Strategy<Value = Header> {
    let around = (any::<bool>(), 0i64..253_402_300_799_999, any::<[u8; 10]>(), any::<(u64, u64)>());
    let texts = (text(), text(), text(), text(), text());
    let call = (
        "[A-Z-]{1,32}",
        "(/[a-z;:@]{0,5}){0,3}",
        proptest::option::of("[a-z=&?%2F]{0,0}|a=%2F&b"),
        200u16..=599,
    );
    (around, texts, call, prop::collection::vec(field(), 0..5), proptest::option::of(text())).prop_map(
        |(
            (answers, millis, random, (epoch, version)),
            texts,
            (method, path, query, status),
            headers,
            body,
        )| {
            let sent = Timestamp::from_millis(millis);
            let id = MessageId::new(sent, random);
            Header {
                v: 1,
                kind: if answers { Kind::Response } else { Kind::Request },
                id,
                instance: "VN".into(),
                client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
                service: "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
                from: "VN/GOV/H26/ss1".parse().unwrap(),
                to: "VN/GOV/G01/ss1".parse().unwrap(),
                directory: DirectoryRef { epoch, version },
                sent,
                expires: sent.plus(std::time::Duration::from_secs(60)),
                method: (!answers).then_some(method),
                path: (!answers).then_some(path),
                query: query.filter(|_| !answers),
                headers,
                user_id: texts.0.clone(),
                agency: texts.1.clone(),
                purpose: texts.2.clone(),
                legal_basis: texts.3.clone(),
                consent: texts.4.clone(),
                represented_party: texts.4,
                issue: texts.3,
                client_message_id: texts.2,
                idempotency_key: texts.1,
                trace: texts.0,
                body: body.map(|media_type| BodyInfo { media_type, length: Some(epoch) }),
                status: answers.then_some(status),
                in_reply_to: answers.then_some(InReplyTo { id, digest: Digest([7; 32]) }),
                leaf: answers.then_some(Leaf { index: version, hash: Digest([9; 32]) }),
            }
        },
    )
}
