//! Searching among records in memory: every record is looked at, so that what it finds is right by reading it.

use truc_evidence::{
    ExchangeSummary, Found, Indexed, KeyedHash, Outcome, Query, RecordKind, Role, StoredRecord,
};

/// An exchange and its records.
struct Exchange<'a> {
    summary: ExchangeSummary,
    records: Vec<&'a StoredRecord>,
}

pub(crate) fn page(records: &[StoredRecord], query: &Query) -> Found {
    let mut exchanges: Vec<Exchange<'_>> = Vec::new();
    for record in records {
        let known = exchanges.iter().position(|e| e.summary.id == record.local.request);
        let place = known.unwrap_or_else(|| {
            exchanges.push(Exchange { summary: begin(record), records: Vec::new() });
            exchanges.len() - 1
        });
        let Some(exchange) = exchanges.get_mut(place) else { continue };
        exchange.records.push(record);
        exchange.summary.records.push(record.sequence);
        if let Some(outcome) = ends_as(record) {
            exchange.summary.outcome = outcome;
            exchange.summary.fault.clone_from(&record.local.fault);
        }
    }
    let first = |e: &ExchangeSummary| e.records.first().copied().unwrap_or_default();
    exchanges.retain(|e| matches(query, e) && query.after.is_none_or(|after| first(&e.summary) < after));
    let mut found: Vec<ExchangeSummary> = exchanges.into_iter().rev().map(|e| e.summary).collect();
    let more = found.len() > query.page();
    found.truncate(query.page());
    let next = found.last().map(first).filter(|_| more);
    Found { exchanges: found, next }
}

fn begin(record: &StoredRecord) -> ExchangeSummary {
    ExchangeSummary {
        id: record.local.request,
        time: record.local.at,
        role: record.local.role,
        client: record.local.client.clone(),
        service: record.local.service.clone(),
        outcome: Outcome::Unknown,
        fault: None,
        records: Vec::new(),
    }
}

fn ends_as(record: &StoredRecord) -> Option<Outcome> {
    match record.kind {
        RecordKind::Request => None,
        RecordKind::Response => Some(Outcome::Ok),
        RecordKind::Refusal => Some(record.local.outcome.unwrap_or(Outcome::Refused)),
        RecordKind::Unsigned => Some(record.local.outcome.unwrap_or(Outcome::Failed)),
    }
}

fn matches(query: &Query, exchange: &Exchange<'_>) -> bool {
    let e = &exchange.summary;
    let some = |holds: &dyn Fn(&StoredRecord) -> bool| exchange.records.iter().any(|record| holds(record));
    let header = |holds: &dyn Fn(Indexed) -> bool| some(&|r| holds(Indexed::of(r.kind, &r.header)));
    let text = |wanted: &Option<String>, of: fn(Indexed) -> Option<String>| {
        wanted.is_none() || header(&|indexed| of(indexed) == *wanted)
    };
    let hashed = |wanted: &Option<Vec<KeyedHash>>, of: fn(&StoredRecord) -> Option<&KeyedHash>| {
        wanted.as_ref().is_none_or(|any| some(&|record| of(record).is_some_and(|hash| any.contains(hash))))
    };
    let role = |role: Role| some(&|record| record.local.role == role);
    query.message.is_none_or(|id| id == e.id || header(&|indexed| indexed.id == Some(id)))
        && text(&query.caller_id, |indexed| indexed.caller_id)
        && text(&query.agency, |indexed| indexed.agency)
        && text(&query.purpose, |indexed| indexed.purpose)
        && hashed(&query.officer, |record| record.local.officer.as_ref())
        && hashed(&query.subject, |record| record.local.subject.as_ref())
        && hashed(&query.dossier, |record| record.local.dossier.as_ref())
        && query.owner.as_ref().is_none_or(|owner| some(&|record| record.owner == *owner))
        && query.client.as_ref().is_none_or(|c| *c == e.client)
        && query.service.as_ref().is_none_or(|s| *s == e.service)
        && (query.fault.is_none() || query.fault == e.fault)
        && query.outcome.is_none_or(|outcome| outcome == e.outcome)
        && query.role.is_none_or(role)
        && query.since.is_none_or(|t| e.time >= t)
        && query.until.is_none_or(|t| e.time < t)
}
