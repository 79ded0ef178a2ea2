//! Services that misbehave: each way has a stated outcome, signed and on record at both nodes, and is never tried again.

use std::time::{Duration, Instant};

use truc_directory::Anchor;
use truc_evidence::{Outcome, RecordKind, container};
use truc_model::{FaultCode, MessageId};
use truc_policy::ServiceDefinition;

use crate::invariants::{self, NODES};
use crate::process_ground::{at_once, free_port};
use crate::service_fake::Fake;
use crate::support::{Bus, DESK, run};

/// How long the services of this test may take, and a call of theirs altogether: the rest is for a busy machine.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(3);
const CALL: Duration = Duration::from_secs(30);

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    /// The service's own answer.
    Answer(u16, &'static str),
    /// A signed refusal.
    Fault(FaultCode),
}
use FaultCode::{ServiceFailed, Timeout};
use Stated::{Answer, Fault};

/// Each way to misbehave, and what it comes to.
const WAYS: [(&str, Stated); 30] = [
    ("slow-head", Fault(Timeout)),
    ("slow-body", Fault(Timeout)),
    ("slow-fields", Fault(Timeout)),
    ("stops-within-the-body", Fault(Timeout)),
    ("hints-without-end", Fault(Timeout)),
    ("hints-then-an-answer", Answer(200, "right")),
    ("fields-without-end", Fault(ServiceFailed)),
    ("dies-within-the-body", Fault(ServiceFailed)),
    ("dies-within-a-chunk", Fault(ServiceFailed)),
    ("dies-between-chunks", Fault(ServiceFailed)),
    ("no-number-of-a-chunk", Fault(ServiceFailed)),
    // What was announced is what counts; the rest is nobody's answer.
    ("says-more-than-its-length", Answer(200, "right")),
    // RFC 9112 6.3: chunks count, not the length.
    ("length-and-chunks", Answer(200, "right")),
    ("two-lengths", Fault(ServiceFailed)),
    ("closes", Fault(ServiceFailed)),
    ("half-a-head", Fault(ServiceFailed)),
    ("no-http", Fault(ServiceFailed)),
    ("body-alone", Fault(ServiceFailed)),
    ("no-status", Fault(ServiceFailed)),
    ("switches", Fault(ServiceFailed)),
    ("a-nul-in-a-field", Fault(ServiceFailed)),
    ("too-many-fields", Fault(ServiceFailed)),
    ("a-huge-field", Fault(ServiceFailed)),
    ("more-fields-than-a-header-holds", Fault(ServiceFailed)),
    ("http-1.0", Answer(200, "right")),
    ("empty", Answer(200, "")),
    ("nothing-to-say", Answer(204, "")),
    ("answers-before-the-body", Answer(403, "no!")),
    ("no-listener", Fault(ServiceFailed)),
    ("no-tls", Fault(ServiceFailed)),
];

#[test]
fn a_service_that_misbehaves_has_a_stated_outcome_on_both_records_and_is_called_once() {
    run(async {
        let bus = Bus::start().await;
        let fake = Fake::start().await;
        for (name, url) in [
            ("hong", format!("http://127.0.0.1:{}", fake.port)),
            ("vang", format!("http://127.0.0.1:{}", free_port())),
            ("la", format!("https://127.0.0.1:{}", fake.no_tls)),
        ] {
            let id = format!("VN/GOV/G01/csdl-dancu/{name}");
            let mut service = ServiceDefinition::rest(id.parse().unwrap(), url.parse().unwrap());
            service.timeout = SERVICE_TIMEOUT;
            bus.admin("G01").add_service(&service).await.unwrap();
            bus.grant(DESK, &id, "*", "/**").await;
        }
        // All at once: a service that is slow holds up nobody else's call.
        let calls = WAYS.map(|(way, stated)| call(&bus, &fake, way, stated));
        let began = Instant::now();
        let ids = Box::pin(at_once(calls)).await;
        assert!(began.elapsed() < CALL, "all of them took {:?}", began.elapsed());
        assert_eq!(fake.greeted(), 1, "a failed handshake is not tried again");
        let anchor = Anchor::parse(&std::fs::read(bus.layout.anchor()).unwrap()).unwrap();
        for ((way, stated), id) in WAYS.into_iter().zip(ids) {
            on_both_records(&bus, way, stated, id, &anchor).await;
        }
        invariants::finish(&bus, "services that misbehave").await;
    });
}

async fn call(bus: &Bus, fake: &Fake, way: &str, stated: Stated) -> MessageId {
    let service = match way {
        "no-listener" => "vang",
        "no-tls" => "la",
        _ => "hong",
    };
    let body = if way == "answers-before-the-body" { vec![b'x'; 1 << 20] } else { b"ghi".to_vec() };
    let answer = bus.call("POST", &format!("VN/GOV/G01/csdl-dancu/{service}/{way}"), &[], body).await;
    let told = answer.json();
    let id = answer.header("x-road-request-id").or_else(|| told["requestId"].as_str());
    let id = id.unwrap_or_else(|| panic!("{way}: no id: {:?}", answer.body)).to_owned();
    match stated {
        Answer(status, body) => {
            assert_eq!(answer.status.as_u16(), status, "{way}: {:?}", answer.body);
            assert_eq!(answer.body, body, "{way}");
            assert_eq!(answer.header("x-road-error"), None, "{way}");
        }
        Fault(code) => {
            assert_eq!(told["code"], code.as_str(), "{way}: {}", String::from_utf8_lossy(&answer.body));
            assert_eq!(answer.status.as_u16(), code.http_status(), "{way}");
            assert_eq!(told["retry"], "ask-first", "{way}: it may have been carried out");
            assert_eq!(told["blame"], "provider", "{way}");
        }
    }
    let times = u32::from(service == "hong");
    assert_eq!(fake.came(&id), times, "{way}: called once, never again");
    id.parse().unwrap()
}

/// The same two messages at both nodes, the second one a signed refusal where there was no answer.
async fn on_both_records(bus: &Bus, way: &str, stated: Stated, id: MessageId, anchor: &Anchor) {
    let (kind, outcome, fault) = match stated {
        Answer(..) => (RecordKind::Response, Outcome::Ok, None),
        Fault(Timeout) => (RecordKind::Refusal, Outcome::Unknown, Some(Timeout)),
        Fault(code) => (RecordKind::Refusal, Outcome::Failed, Some(code)),
    };
    let mut digests = Vec::new();
    for member in NODES {
        let records = bus.admin(member).evidence_show(id, false).await.unwrap().records;
        let kinds: Vec<RecordKind> = records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [RecordKind::Request, kind], "{way}, {member}");
        assert_eq!(records[1].local.outcome, Some(outcome), "{way}, {member}");
        assert_eq!(records[1].local.fault.as_deref(), fault.map(FaultCode::as_str), "{way}, {member}");
        digests.push(records.iter().map(|record| record.digest).collect::<Vec<_>>());
        let bytes = bus.admin(member).evidence_container(id).await.unwrap();
        let report = container::verify(&bytes, anchor).unwrap();
        assert!(report.failed().next().is_none(), "{way}, {member}: {report}");
    }
    assert_eq!(digests[0], digests[1], "{way}: both nodes hold the same");
}
