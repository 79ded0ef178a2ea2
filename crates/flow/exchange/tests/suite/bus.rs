//! The bus of these tests, and exchanges by hand.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use truc_evidence::{RecordKind, StoredRecord};
use truc_exchange::Reply;
use truc_exchange::ports::Turn;
use truc_message::{Body, Header, Kind, Leaf, Parts};
use truc_model::{Digest, FaultCode, MemberId, MessageId};
use truc_testkit::{Bus, Federation, TestNode, draft};

pub(crate) const CLIENT: &str = "VN/GOV/H26/mot-cua";
pub(crate) const SIBLING: &str = "VN/GOV/H27/xa-1";
pub(crate) const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";
pub(crate) const STRICT: &str = "VN/GOV/G01/csdl-dancu/can-cu";
pub(crate) const CONSUMER: &str = "VN/GOV/H26/ss1";
pub(crate) const PROVIDER: &str = "VN/GOV/G01/ss1";
pub(crate) const STRANGER: &str = "VN/GOV/H28/ss1";

/// G01 offers two services; H26 may call them and hosts H27, which may call nothing; H28 has a node of its own.
pub(crate) async fn bus() -> Bus {
    Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .service("tra-cuu")
        .service("can-cu")
        .with(|service| (service.require_officer, service.require_purpose) = (true, true))
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .member("VN/GOV/H27")
        .hosted_by(CONSUMER)
        .subsystem("xa-1")
        .member("VN/GOV/H28")
        .subsystem("khac")
        .right(CLIENT, SERVICE)
        .right(CLIENT, STRICT)
        .right("VN/GOV/H28/khac", SERVICE)
        .start()
        .await
}

pub(crate) async fn call(bus: &Bus) -> Result<Reply, (Option<MessageId>, FaultCode)> {
    let reply = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await;
    reply.map_err(|failed| (failed.request, failed.fault.code))
}

/// The fault of a call that must fail, and the exchange's id.
pub(crate) async fn failed(bus: &Bus) -> (MessageId, FaultCode) {
    let (request, code) = call(bus).await.unwrap_err();
    (request.unwrap(), code)
}

pub(crate) fn kinds(records: &[StoredRecord]) -> Vec<RecordKind> {
    records.iter().map(|record| record.kind).collect()
}

pub(crate) fn leaf() -> Leaf {
    Leaf { index: 0, hash: Digest([0; 32]) }
}

/// What a peer's node answers to a message made by hand.
#[derive(Debug)]
pub(crate) enum Told {
    /// An unsigned fault.
    Fault(FaultCode),
    /// A signed answer.
    Answer(Box<Header>, Bytes),
}

impl Told {
    pub(crate) fn fault(&self) -> FaultCode {
        match self {
            Self::Fault(code) => *code,
            Self::Answer(header, _) => panic!("an unsigned fault was expected, not a {:?}", header.kind),
        }
    }
    pub(crate) fn answer(self) -> (Box<Header>, Bytes) {
        match self {
            Self::Fault(code) => panic!("an answer was expected, not {code}"),
            Self::Answer(header, body) => (header, body),
        }
    }
    /// The code of a signed refusal.
    pub(crate) fn refusal(self) -> FaultCode {
        let (header, body) = self.answer();
        assert_eq!(header.kind, Kind::Refusal);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        FaultCode::from_name(json["code"].as_str().unwrap()).unwrap()
    }
}

/// A good request of the client, as parts, changed by `change` before it is signed.
pub(crate) async fn request(bus: &Bus, change: impl FnOnce(&mut Header)) -> Parts {
    signed_by(bus.node(CONSUMER), bus.node(PROVIDER), "VN/GOV/H26", Body::empty(), change).await
}

pub(crate) async fn signed_by(
    node: &TestNode,
    to: &TestNode,
    member: &str,
    body: Body,
    change: impl FnOnce(&mut Header),
) -> Parts {
    let member: MemberId = member.parse().unwrap();
    let mut draft = draft(CLIENT, SERVICE);
    draft.body = body.clone().into();
    let mut header = node.header(&draft, &to.id);
    change(&mut header);
    let signed = node.sign(&member, header, body, vec![]).await;
    node.parts(&member, &signed)
}

/// Sends parts from one node to another, as the node's own consumer side would.
pub(crate) async fn send_from(node: &TestNode, to: &TestNode, parts: Parts) -> Told {
    let mut c = node.open(to).await;
    let at = truc_model::Timestamp::from_millis(0);
    c.say(Turn::Message(Box::new(parts), at)).await.unwrap();
    // The other end may have refused already.
    drop(c.say(Turn::Recorded(leaf())).await);
    match timeout(Duration::from_secs(600), c.hear()).await.unwrap().unwrap() {
        Turn::Fault(fault) => Told::Fault(fault.code),
        Turn::Message(parts, _) => {
            let header = Header::parse(&parts.header).unwrap();
            assert!(matches!(c.hear().await.unwrap(), Turn::Recorded(_)));
            Told::Answer(Box::new(header), parts.body.bytes().unwrap().clone())
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn send(bus: &Bus, parts: Parts) -> Told {
    send_from(bus.node(CONSUMER), bus.node(PROVIDER), parts).await
}

/// The message is refused unsigned with this code, the provider has no record of it, and nothing was called.
pub(crate) async fn refused(bus: &Bus, parts: Parts, code: FaultCode, why: &str) {
    assert_eq!(send(bus, parts).await.fault(), code, "{why}");
    assert!(bus.node(PROVIDER).memory.as_ref().unwrap().is_empty(), "{why}: recorded");
    assert_eq!(bus.node(PROVIDER).services.count(), 0, "{why}: called");
}

/// Lets every other task run until `done`.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}
