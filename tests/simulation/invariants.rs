//! What must hold after every seed, whatever happened.

use std::collections::BTreeMap;
use std::time::Duration;

use truc_evidence::{RecordKind, Role, StoredRecord};
use truc_model::{FaultCode, MessageId, Retry};

use crate::papers::{NODES, PROVIDERS, SERVICES};
use crate::world::{State, Told, World};

/// Longest time that a caller may be kept waiting: a call lives 300 s.
const LONGEST_WAIT: Duration = Duration::from_secs(310);

/// Whether every caller has been told and no node has an open exchange.
pub(crate) fn settled(world: &World) -> bool {
    world.calls().iter().all(|call| call.state == State::Done)
        && (0..NODES.len()).all(|node| open(&world.records(node)).is_empty())
}

/// Requests without an end, by the half of the node that has them.
fn open(records: &[StoredRecord]) -> Vec<(Role, MessageId)> {
    let mut open = Vec::new();
    for record in records {
        let key = (record.local.role, record.local.request);
        if record.kind == RecordKind::Request {
            open.push(key);
        } else {
            open.retain(|other| *other != key);
        }
    }
    open
}

/// While the simulation runs: nobody waits for ever.
pub(crate) fn nobody_waits_too_long(world: &World, now: Duration) -> Result<(), String> {
    let calls = world.calls();
    let late = calls.iter().position(
        |call| matches!(call.state, State::Waiting(since) if now.saturating_sub(since) > LONGEST_WAIT),
    );
    late.map_or(Ok(()), |number| Err(format!("call-{number} has waited for more than {LONGEST_WAIT:?}")))
}

/// At the end.
pub(crate) fn check(world: &World) -> Vec<String> {
    let mut wrong = world.journal.violations();
    none_is_carried_out_twice(world, &mut wrong);
    callers_were_told_the_truth(world, &mut wrong);
    all_is_well_at_the_end(world, &mut wrong);
    for (node, id) in NODES.iter().enumerate() {
        for (role, request) in open(&world.records(node)) {
            let name = world.journal.name_of(request);
            wrong.push(format!("{name} is still open at {id} as {role:?}"));
        }
    }
    for node in PROVIDERS..NODES.len() {
        both_sides_agree(world, node, &mut wrong);
    }
    wrong
}

fn none_is_carried_out_twice(world: &World, wrong: &mut Vec<String>) {
    let (mut by_request, mut by_call) = (BTreeMap::new(), BTreeMap::new());
    for execution in world.executed().iter() {
        *by_request.entry(execution.request).or_insert(0_usize) += 1;
        *by_call.entry(execution.call).or_insert(0_usize) += 1;
    }
    wrong.extend(by_request.iter().filter(|(_, times)| **times > 1).map(|(request, times)| {
        format!("{} was carried out {times} times", world.journal.name_of(*request))
    }));
    // A caller tries again only when told "not carried out".
    wrong.extend(
        by_call
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(call, times)| format!("call-{call} was carried out {times} times over its attempts")),
    );
}

fn callers_were_told_the_truth(world: &World, wrong: &mut Vec<String>) {
    let executed = world.executed();
    for (number, call) in world.calls().iter().enumerate() {
        for (index, told) in call.attempts.iter().enumerate() {
            let name = format!("call-{number}.{}", index + 1);
            let work = executed.iter().find(|execution| execution.name == name);
            match told {
                Told::Nothing => {}
                Told::Answer(request) => match work {
                    Some(work) if work.request == *request => {
                        is_on_record(
                            world,
                            *request,
                            &name,
                            (world.plan.calls[number].node, work.node),
                            wrong,
                        );
                    }
                    _ => wrong.push(format!("{name} was answered and never carried out")),
                },
                Told::Fault(code) => {
                    if code.retry() != Retry::AskFirst && work.is_some() {
                        wrong.push(format!("{name} was told {code}, and was carried out"));
                    }
                    if !expected(*code, world.plan.calls[number].fails) {
                        wrong.push(format!("{name} was told {code}, which nothing here calls for"));
                    }
                }
            }
        }
    }
}

/// What bad luck with nodes and networks may end in.
fn expected(code: FaultCode, fails: bool) -> bool {
    match code {
        FaultCode::Unavailable | FaultCode::OutcomeUnknown | FaultCode::Busy => true,
        FaultCode::ServiceFailed => fails,
        _ => false,
    }
}

/// Both nodes hold the request and the same answer.
fn is_on_record(
    world: &World,
    request: MessageId,
    name: &str,
    nodes: (usize, usize),
    wrong: &mut Vec<String>,
) {
    let of = |node: usize, role: Role| {
        let records = world.exchange(node, request);
        let ours = records.into_iter().filter(move |record| record.local.role == role);
        ours.map(|r| (r.kind, r.manifest_digest, r.header)).collect::<Vec<_>>()
    };
    let (ours, theirs) = (of(nodes.0, Role::Consumer), of(nodes.1, Role::Provider));
    let kinds: Vec<RecordKind> = ours.iter().map(|record| record.0).collect();
    if kinds != [RecordKind::Request, RecordKind::Response] || ours != theirs {
        wrong.push(format!("{name} was answered, and the nodes do not hold the same two records of it"));
    }
}

/// Of every request: what the consumer's node has on record as its end, the provider's bears out.
fn both_sides_agree(world: &World, node: usize, wrong: &mut Vec<String>) {
    let executed = world.executed();
    for record in world.records(node) {
        let (local, name) = (&record.local, world.journal.name_of(record.local.request));
        if local.role != Role::Consumer || record.kind == RecordKind::Request {
            continue;
        }
        let theirs = world.exchange(World::index_of(local.peer.as_str()), local.request);
        match record.kind {
            RecordKind::Unsigned => {
                let code = local.fault.as_deref().and_then(FaultCode::from_name);
                let carried_out = executed.iter().any(|work| work.request == local.request);
                if carried_out && code.is_none_or(|code| code.retry() != Retry::AskFirst) {
                    wrong.push(format!("{name} is on record as {code:?}, and was carried out"));
                }
            }
            kind => {
                let same = |r: &&StoredRecord| r.kind == kind && r.manifest_digest == record.manifest_digest;
                if !theirs.iter().any(|r| same(&r)) {
                    // The provider may have crashed before its answer was durable; then the caller was not given it.
                    let given =
                        world.calls().iter().any(|call| call.attempts.contains(&Told::Answer(local.request)));
                    let closed = theirs.iter().any(|r| r.local.fault.as_deref() == Some("OUTCOME_UNKNOWN"));
                    if given || !closed {
                        wrong.push(format!(
                            "{name} has an answer on record that its provider's node does not have"
                        ));
                    }
                }
            }
        }
    }
}

/// The last calls were made when all was well.
fn all_is_well_at_the_end(world: &World, wrong: &mut Vec<String>) {
    let calls = world.calls();
    let last = (NODES.len() - PROVIDERS) * SERVICES.len();
    for (number, call) in calls.iter().enumerate().skip(calls.len() - last) {
        if !matches!(call.attempts.as_slice(), [Told::Answer(_)]) {
            wrong.push(format!("call-{number}, when all was well again, was told {:?}", call.attempts));
        }
    }
}
