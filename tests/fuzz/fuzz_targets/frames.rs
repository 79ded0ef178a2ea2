//! What a peer may send: frames, body chunks, outcomes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use truc_message::{Peer, Received};
use truc_model::Timestamp;
use truc_peer::fuzzing;
use truc_wire::peer as wire;
use wire::frame::Kind;
use wire::outcome_reply::Kind as Outcome;

/// What was decoded is written and read again as the same.
fn stable<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let read = M::decode(bytes).ok()?;
    let again = M::decode(read.encode_to_vec().as_slice()).expect("what is written is read");
    assert!(again == read, "{read:?}");
    Some(read)
}

fn message(refusal: wire::Refusal) {
    let Some(parts) = fuzzing::message(refusal) else { return };
    let again = fuzzing::message(fuzzing::message_to_wire(&parts)).expect("one form");
    assert_eq!(
        (&again.header, &again.secrets, &again.signature),
        (&parts.header, &parts.secrets, &parts.signature)
    );
    assert_eq!((again.statuses == parts.statuses, again.body.len()), (true, parts.body.len()));
    let peer = Peer::new(bytes::Bytes::from_static(b"certificate"), vec![]);
    let _ = Received::parse(parts, peer, Timestamp::from_millis(1_795_230_245_678));
}

fn fault(fault: wire::Fault) {
    let read = fuzzing::fault(fault);
    assert!(read.detail.chars().count() <= 500 && !read.detail.chars().any(char::is_control));
    let again = fuzzing::fault(fuzzing::fault_to_wire(&read));
    assert_eq!((again.code, again.successor), (read.code, read.successor));
    assert_eq!(again.retry_after, read.retry_after);
}

fuzz_target!(|data: &[u8]| {
    match stable::<wire::Frame>(data).and_then(|f| f.kind) {
        Some(Kind::Refusal(refusal)) => message(refusal),
        Some(Kind::Fault(told)) => fault(told),
        Some(Kind::Recorded(recorded)) => {
            if let Some(leaf) = fuzzing::leaf(&recorded) {
                assert_eq!(fuzzing::leaf_to_wire(leaf), recorded);
            }
        }
        Some(Kind::Open(open)) => {
            let signature = Some(wire::Signature { kind: Some(wire::signature::Kind::Single("cms".into())) });
            message(wire::Refusal { open: Some(open), body: bytes::Bytes::new(), signature });
        }
        _ => {}
    }
    match stable::<wire::OutcomeReply>(data).and_then(|r| r.kind) {
        Some(Outcome::Answered(answered)) => {
            if let Some(refusal) = answered.message {
                message(refusal);
            }
        }
        Some(Outcome::Fault(told)) => fault(told),
        _ => {}
    }
    let _ = stable::<wire::OutcomeRequest>(data);
    let _ = stable::<wire::BodyChunk>(data);
    let _ = stable::<wire::BodyReceived>(data);
    let _ = stable::<wire::FetchRequest>(data);
});
