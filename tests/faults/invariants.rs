//! What must hold after every fault, whatever it was: of every call that was made, and of both nodes' journals.
//!
//! 1. A call that was answered was carried out once, and both nodes hold the same two records of it, which a stranger can verify.
//! 2. Nothing is carried out twice.
//! 3. What was told as not carried out was not; what may have been is told as unknown, with a true status.
//! 4. The service is called only for a request that both nodes have on record.
//! 5. Nothing stays open for ever, nor without a time-stamp, and both journals are whole.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use truc_admin::{EvidenceFilter, EvidenceRecord};
use truc_directory::Anchor;
use truc_evidence::container::{CheckName, Report, State, Verdict};
use truc_evidence::{Outcome, container};
use truc_model::{FaultCode, MessageId, Retry, Timestamp};

use crate::load::{Called, Told};
use crate::office::health;
use crate::process_ground::at_once;
use crate::support::{Bus, arg, truc, until};

/// An authority that was away is asked again within a minute; then everything that waited is stamped.
const STAMPED_WITHIN: Duration = Duration::from_secs(150);

/// An index is made again within this.
const INDEX_WITHIN: Duration = Duration::from_secs(60);
/// So many exchanges are looked at at the same time.
const AT_ONCE: usize = 6;
/// Of how many exchanges of one round the containers are verified, about.
const VERIFIED: usize = 30;

/// The nodes that hold each exchange: the consumer's, the provider's.
pub(crate) const NODES: [&str; 2] = ["H26", "G01"];

/// Checks the calls of one round while both nodes run. `about` says which fault and round it was.
pub(crate) async fn check(bus: &Bus, about: &str, called: &[Called]) {
    let anchor = Anchor::parse(&std::fs::read(bus.layout.anchor()).unwrap()).unwrap();
    nothing_twice(bus, about);
    let mut answered = Vec::new();
    for call in called {
        let times = bus.echo.asked(&call.own);
        match &call.told {
            Told::Answered { id, whole, .. } => {
                assert_eq!(times, 1, "{about}: {} was answered, but carried out {times} times", call.own);
                assert!(whole, "{about}: the answer to {} came back changed", call.own);
                answered.push(*id);
            }
            Told::Fault { status, code, id, text } => {
                let code = FaultCode::ALL.iter().find(|known| known.as_str() == code);
                let code = code.unwrap_or_else(|| panic!("{about}: an unstated fault: {status} {text}"));
                assert_eq!(*status, code.http_status(), "{about}: {text}");
                let unknown = code.retry() == Retry::AskFirst;
                assert!(
                    times == 0 || unknown,
                    "{about}: {} ({id:?}) was carried out, but told {text}",
                    call.own
                );
            }
            // Nobody was there to tell anything: it may have been carried out, once.
            Told::Nothing(why) => {
                assert!(times <= 1, "{about}: {} ({why}) was carried out {times} times", call.own)
            }
        }
    }
    for some in answered.chunks(AT_ONCE) {
        at_once(some.iter().map(|id| on_record(bus, about, *id))).await;
    }
    // Verifying costs: every eighth, some of very many, and always those next to the end.
    let step = answered.len().div_ceil(VERIFIED).max(8);
    let last = answered.len().saturating_sub(3);
    let (early, late) = answered.split_at(last);
    let some: Vec<_> = early.iter().step_by(step).chain(late).collect();
    for some in some.chunks(AT_ONCE) {
        at_once(some.iter().map(|id| verifies(bus, about, **id, &anchor))).await;
    }
    executed_are_on_record(bus, about, &answered.into_iter().collect()).await;
}

/// No id was carried out more than once, neither the bus's nor the caller's own.
fn nothing_twice(bus: &Bus, about: &str) {
    for (kind, calls) in [("request", &bus.echo.calls), ("call", &bus.echo.asked)] {
        let calls = calls.lock().unwrap();
        let twice: Vec<_> = calls.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{about}: {kind}s carried out more than once: {twice:?}");
    }
}

/// Both nodes hold the request and the same answer.
async fn on_record(bus: &Bus, about: &str, id: MessageId) {
    let seen = NODES.map(|member| async move {
        let records = records(bus, about, member, id).await;
        records.iter().map(|record| (record.kind, record.digest)).collect::<Vec<_>>()
    });
    let seen = at_once(seen).await;
    assert!(
        seen[0].len() == 2 && seen[0] == seen[1],
        "{about}: of the answered {id} the nodes {NODES:?} hold {seen:?}"
    );
}

async fn records(bus: &Bus, about: &str, member: &str, id: MessageId) -> Vec<EvidenceRecord> {
    let began = Instant::now();
    loop {
        match bus.admin(member).evidence_show(id, false).await {
            Ok(shown) => return shown.records,
            // An index that broke on a full disk is made again meanwhile.
            Err(error) if error.to_string().contains("ask later") && began.elapsed() < INDEX_WITHIN => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{about}: {member} holds nothing of {id}: {error}"),
        }
    }
}

/// Each node's container of the exchange convinces a stranger, and soon with its time.
async fn verifies(bus: &Bus, about: &str, id: MessageId, anchor: &Anchor) {
    for member in NODES {
        let began = Instant::now();
        loop {
            let bytes = bus.admin(member).evidence_container(id).await.unwrap();
            let report = container::verify(&bytes, anchor).unwrap();
            assert_eq!(report.verdict, Verdict::Holds, "{about}, {member}, {id}: {report}");
            if is_stamped(&report) {
                break;
            }
            assert!(began.elapsed() < STAMPED_WITHIN, "{about}, {member}, {id}: no time-stamp: {report}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn is_stamped(report: &Report) -> bool {
    let mut stamps = report.checks.iter().filter(|check| check.name == CheckName::Timestamp).peekable();
    stamps.peek().is_some() && stamps.all(|check| check.state == State::Ok)
}

/// Waits until no record of the node waits for its time-stamp.
pub(crate) async fn stamped(bus: &Bus, about: &str, member: &str) {
    let (began, plan) = (Instant::now(), bus.layout.node(member).unwrap());
    loop {
        let told = health(bus, plan).await["timeStamps"].clone();
        if told["backlog"] == 0 && told["last"].is_string() {
            return;
        }
        assert!(began.elapsed() < STAMPED_WITHIN, "{about}, {member}: records stay without a stamp: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the node has a time-stamp that was made at `at` or later.
pub(crate) async fn stamped_since(bus: &Bus, about: &str, member: &str, at: Timestamp) {
    let plan = bus.layout.node(member).unwrap();
    until(&format!("{about}: {member} has a time-stamp of {at} or later"), || async {
        let last = health(bus, plan).await["timeStamps"]["last"].clone();
        last.as_str().and_then(|last| last.parse::<Timestamp>().ok()) >= Some(at)
    })
    .await;
}

/// Every request that reached the service is on record at both nodes, whatever its caller was told; `seen` are known to be.
async fn executed_are_on_record(bus: &Bus, about: &str, seen: &HashSet<MessageId>) {
    for id in bus.echo.take_new() {
        let id = id.parse().unwrap();
        for member in NODES.iter().filter(|_| !seen.contains(&id)) {
            let records = records(bus, about, member, id).await;
            assert!(!records.is_empty(), "{about}: {id} was carried out, and {member} has no record of it");
        }
    }
}

/// Waits until no exchange is open at either node: what a fault interrupted is closed by asking, or as unknown.
pub(crate) async fn settled(bus: &Bus, about: &str) {
    for member in NODES {
        let admin = bus.admin(member);
        let filter = EvidenceFilter { limit: Some(1000), ..EvidenceFilter::default() };
        until(&format!("{about}: no exchange stays open at {member}"), || async {
            let list = admin.evidence(&filter).await.unwrap_or_default();
            !list.is_empty()
                && list.iter().all(|entry| entry.outcome != Outcome::Unknown || entry.fault.is_some())
        })
        .await;
    }
}

/// Checks a stopped node's journals byte by byte; what was found.
pub(crate) async fn fsck(bus: &Bus, about: &str, member: &str) -> serde_json::Value {
    let config = bus.config(member);
    let ran = truc(&["evidence", "fsck", "--json", "--config", arg(&config)]).await;
    assert_eq!(ran.code, 0, "{about}, {member}: {}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The end of a test: after one more start nothing is open, everything is stamped, and both journals are whole. The nodes are
/// stopped afterwards.
pub(crate) async fn finish(bus: &Bus, about: &str) {
    restart(bus).await;
    settled(bus, about).await;
    at_once(NODES.map(|member| stopped_whole(bus, about, member))).await;
}

async fn stopped_whole(bus: &Bus, about: &str, member: &str) {
    for last in [false, true] {
        stamped(bus, about, member).await;
        let node = {
            let mut processes = bus.processes.lock().await;
            let node = processes.node(bus.layout.node(member).unwrap());
            processes.stop(&node.name).await.unwrap();
            node
        };
        let found = fsck(bus, about, member).await;
        // Records of archived segments are not read here, their batches' ends are known.
        let count = |name: &str| found[name].as_u64().unwrap();
        if count("stamped") >= count("records") {
            return;
        }
        assert!(!last, "{about}, {member}: {found}");
        // It was stopped between a record and the next look at what waits; at its start a node counts what it holds.
        bus.processes.lock().await.start(vec![node]).await.unwrap();
    }
}

/// Stops both nodes in good order, and starts them.
pub(crate) async fn restart(bus: &Bus) {
    let mut processes = bus.processes.lock().await;
    let nodes = NODES.map(|member| processes.node(bus.layout.node(member).unwrap()));
    for node in &nodes {
        processes.stop(&node.name).await.unwrap();
    }
    processes.start(nodes.into()).await.unwrap();
}
