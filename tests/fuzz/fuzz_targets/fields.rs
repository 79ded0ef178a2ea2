//! The header fields at the edge: what is taken can be sealed, and nothing travels on that must not.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use truc_edge::fuzzing::{Sorted, sort};
use truc_message::{
    BodyInfo, DirectoryRef, FieldValue, Header, HeaderField, Kind, MalformedHeader, as_read, hide,
    is_of_a_connection, is_secret,
};
use truc_model::{MessageId, Timestamp};

/// The header that a node makes of it (consumer.rs).
fn header(taken: &Sorted) -> Header {
    let sent = Timestamp::from_millis(1_795_230_245_678);
    let at = |text: &str| text.parse().expect("an id");
    let field = |(name, value): &(String, Vec<u8>)| match is_secret(name) {
        true => hide(name, value, [7; 16]).0,
        false => HeaderField::plain(name, value),
    };
    let context = taken.context.clone();
    Header {
        v: 1,
        kind: Kind::Request,
        id: MessageId::new(sent, [7; 10]),
        instance: taken.client.instance().to_owned(),
        service: taken.client.service("x").expect("a service"),
        from: taken.client.member().node("ss1").expect("a node"),
        to: taken.client.member().node("ss2").expect("a node"),
        client: taken.client.clone(),
        directory: DirectoryRef { epoch: 1, version: 7 },
        sent,
        expires: at("2026-11-21T03:05:05.678Z"),
        method: Some("GET".into()),
        path: Some(String::new()),
        query: None,
        headers: taken.forwarded.iter().map(field).collect(),
        user_id: context.user_id,
        agency: context.agency,
        purpose: context.purpose,
        legal_basis: context.legal_basis,
        consent: context.consent,
        represented_party: context.represented_party,
        issue: context.issue,
        client_message_id: context.client_message_id,
        idempotency_key: context.idempotency_key,
        trace: context.trace,
        body: Some(BodyInfo { media_type: taken.media_type.clone(), length: Some(0) }),
        status: None,
        in_reply_to: None,
        leaf: None,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        let Some(at) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(&line[at + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    for split_cookies in [false, true] {
        let Ok(taken) = sort(&headers, split_cookies) else { continue };
        for (name, value) in &taken.forwarded {
            let read = as_read(name);
            assert!(!is_of_a_connection(&read), "{name}");
            assert!(
                !["x-road-request-id", "x-road-error", "x-road-client", "truc-purpose"].contains(&&*read)
            );
            assert!(taken.surviving.iter().any(|(n, v)| n == name && v == value));
        }
        match header(&taken).to_bytes() {
            Ok(bytes) => {
                let read = Header::parse(&bytes).expect("what is sealed is read");
                for (field, (name, value)) in read.headers.iter().zip(&taken.forwarded) {
                    assert_eq!(&field.name, name);
                    match field.content().expect("a value") {
                        FieldValue::Plain(read) => assert_eq!(&read, value),
                        FieldValue::Hidden(_) => assert!(is_secret(name)),
                    }
                }
            }
            Err(MalformedHeader::TooLong(_)) => {}
            Err(why) => panic!("the edge took what cannot be sealed: {why}"),
        }
    }
});
