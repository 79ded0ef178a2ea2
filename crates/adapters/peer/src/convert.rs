//! Between the flow's words and the wire's: the one file of this door that maps faults to the wire.

use std::time::Duration;

use bytes::Bytes;
use truc_exchange::ports::{Beginning, OnRecord};
use truc_message::{Body, Leaf, Parts, Secret, Signature};
use truc_model::{Digest, Fault, FaultCode};
use truc_wire::peer as wire;

use crate::SMALL_BODY;

/// What a peer sent that version 1 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    #[error("a digest is not 32 bytes")]
    Digest,
    #[error("a salt is not 16 bytes")]
    Salt,
    #[error("a frame has no content")]
    Empty,
    #[error("frames came in an order that the protocol does not have")]
    Order,
    #[error("batch signatures are not accepted by this version")]
    Batch,
    #[error("a body on the shared stream is larger than 64 KiB, or another length than announced")]
    Length,
}

pub(crate) fn fault_to_wire(fault: &Fault) -> wire::Fault {
    wire::Fault {
        code: fault.code.as_str().to_owned(),
        detail: fault.detail.clone(),
        retry_after_ms: fault.retry_after.and_then(|d| u64::try_from(d.as_millis()).ok()).unwrap_or(0),
        successor: fault.successor.as_ref().map(ToString::to_string).unwrap_or_default(),
        successor_subsystem: fault.successor_subsystem.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// A code that this version does not know becomes INTERNAL, with its name in the detail.
pub(crate) fn fault_from_wire(fault: wire::Fault) -> Fault {
    let detail: String = fault.detail.chars().filter(|c| !c.is_control()).take(500).collect();
    let mut read = match FaultCode::from_name(&fault.code) {
        Some(code) => Fault::provider(code, detail),
        None => Fault::provider(FaultCode::Internal, "the peer told a fault that this version does not know"),
    };
    if fault.retry_after_ms > 0 {
        read.retry_after = Some(Duration::from_millis(fault.retry_after_ms.min(3_600_000)));
    }
    read.successor = fault.successor.parse().ok();
    read.successor_subsystem = fault.successor_subsystem.parse().ok();
    read
}

pub(crate) fn leaf_to_wire(leaf: Leaf) -> wire::Recorded {
    wire::Recorded { leaf_index: leaf.index, leaf_hash: Bytes::copy_from_slice(leaf.hash.as_bytes()) }
}

pub(crate) fn leaf_from_wire(recorded: &wire::Recorded) -> Result<Leaf, BadFrame> {
    let hash = Digest::from_slice(&recorded.leaf_hash).ok_or(BadFrame::Digest)?;
    Ok(Leaf { index: recorded.leaf_index, hash })
}

pub(crate) fn on_record_to_wire(named: OnRecord) -> wire::OnRecord {
    let digest = Bytes::copy_from_slice(named.digest.as_bytes());
    wire::OnRecord { digest, recorded: Some(leaf_to_wire(named.leaf)) }
}

pub(crate) fn on_record_from_wire(named: &wire::OnRecord) -> Result<OnRecord, BadFrame> {
    let digest = Digest::from_slice(&named.digest).ok_or(BadFrame::Digest)?;
    let leaf = leaf_from_wire(named.recorded.as_ref().ok_or(BadFrame::Empty)?)?;
    Ok(OnRecord { digest, leaf })
}

/// The `open` frame of a message; statuses travel whole here and are thinned out when the stream writes them.
pub(crate) fn open_to_wire(parts: &Parts) -> wire::Open {
    beginning_to_wire(Beginning {
        header: parts.header.clone(),
        secrets: parts.secrets.clone(),
        statuses: parts.statuses.clone(),
        announced: Some(parts.body.len()),
    })
}

/// The `open` frame of a message whose body follows as it comes.
pub(crate) fn beginning_to_wire(beginning: Beginning) -> wire::Open {
    let Beginning { header, secrets, statuses, announced } = beginning;
    wire::Open {
        header,
        secrets: secrets
            .iter()
            .map(|s| wire::Secret {
                salt: Bytes::copy_from_slice(&s.salt),
                value: Bytes::copy_from_slice(&s.value),
            })
            .collect(),
        status_digests: statuses.iter().map(|s| Bytes::copy_from_slice(Digest::of(s).as_bytes())).collect(),
        statuses,
        body_length: announced.unwrap_or_default(),
        length_unknown: announced.is_none(),
    }
}

pub(crate) fn signature_to_wire(signature: &Signature) -> wire::Signature {
    wire::Signature { kind: Some(wire::signature::Kind::Single(signature.cms().clone())) }
}

pub(crate) fn signature_from_wire(signature: Option<wire::Signature>) -> Result<Signature, BadFrame> {
    match signature.and_then(|s| s.kind) {
        Some(wire::signature::Kind::Single(cms)) => Ok(Signature::Single(cms)),
        Some(wire::signature::Kind::Batch(_)) => Err(BadFrame::Batch),
        None => Err(BadFrame::Empty),
    }
}

/// Puts a message together from its `open` frame, body and signature.
pub(crate) fn parts_from_wire(open: wire::Open, body: Body, signature: Signature) -> Result<Parts, BadFrame> {
    let secrets = open
        .secrets
        .iter()
        .map(|s| {
            let salt = s.salt.as_ref().try_into().map_err(|_| BadFrame::Salt)?;
            Ok(Secret { salt, value: s.value.to_vec() })
        })
        .collect::<Result<_, BadFrame>>()?;
    if !open.length_unknown && open.body_length != body.len() {
        return Err(BadFrame::Length);
    }
    Ok(Parts { header: open.header, body, secrets, signature, statuses: open.statuses })
}

/// A whole message in one frame, as refusals and recorded answers travel.
pub(crate) fn whole_to_wire(parts: &Parts) -> wire::Refusal {
    wire::Refusal {
        open: Some(open_to_wire(parts)),
        body: parts.body.bytes().cloned().unwrap_or_default(),
        signature: Some(signature_to_wire(&parts.signature)),
    }
}

pub(crate) fn whole_from_wire(refusal: wire::Refusal) -> Result<Parts, BadFrame> {
    let open = refusal.open.ok_or(BadFrame::Empty)?;
    if refusal.body.len() > SMALL_BODY {
        return Err(BadFrame::Length);
    }
    parts_from_wire(open, Body::new(refusal.body), signature_from_wire(refusal.signature)?)
}

pub(crate) fn frame(exchange: u64, kind: wire::frame::Kind) -> wire::Frame {
    wire::Frame { exchange, kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use truc_wire::peer::frame::Kind;

    use super::*;

    fn frames() -> Vec<(&'static str, Kind)> {
        let parts = Parts {
            header: Bytes::from_static(b"{\"v\":1}"),
            body: Body::new(Bytes::from_static(b"body")),
            secrets: vec![Secret { salt: [7; 16], value: b"secret".to_vec() }],
            signature: Signature::Single(Bytes::from_static(b"cms")),
            statuses: vec![Bytes::from_static(b"ocsp")],
        };
        let leaf = Leaf { index: 3, hash: Digest([9; 32]) };
        let successor = "VN/GOV/H19".parse().ok();
        let fault = Fault::provider(FaultCode::Moved, "closed").with_successor(successor);
        let fault = fault.with_retry_after(Duration::from_secs(2));
        vec![
            ("open", Kind::Open(open_to_wire(&parts))),
            ("data", Kind::Data(wire::Data { bytes: parts.body.bytes().cloned().unwrap() })),
            ("signature", Kind::Signature(signature_to_wire(&parts.signature))),
            ("recorded", Kind::Recorded(leaf_to_wire(leaf))),
            ("refusal", Kind::Refusal(whole_to_wire(&parts))),
            ("fault", Kind::Fault(fault_to_wire(&fault))),
            ("cancel", Kind::Cancel(wire::Cancel {})),
            ("ticket", Kind::Ticket(wire::Ticket { ticket: Bytes::from_static(&[5; 32]) })),
        ]
    }

    /// Every frame kind of version 1 keeps its bytes: field numbers and types hurt to change later.
    #[test]
    fn the_golden_frames_of_version_1() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let written: String = frames()
            .into_iter()
            .map(|(name, kind)| format!("{name} {}\n", hex(&frame(42, kind).encode_to_vec())))
            .collect();
        assert_eq!(written, include_str!("../tests/golden/frames-v1.txt"));
    }

    #[test]
    fn faults_and_whole_messages_come_back_as_they_were() {
        for (_, kind) in frames() {
            match kind {
                Kind::Fault(fault) => assert_eq!(fault_from_wire(fault.clone()).code.as_str(), fault.code),
                Kind::Refusal(refusal) => {
                    let parts = whole_from_wire(refusal).unwrap();
                    assert_eq!((parts.header.as_ref(), parts.body.len()), (b"{\"v\":1}".as_ref(), 4));
                }
                _ => {}
            }
        }
    }
}
