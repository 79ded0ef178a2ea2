//! An exchange as the index keeps it: compact, without a text about a person.
//!
//! ```text
//! request 16 · time of its first record i64 · flags u8 · client u16+text · service u16+text · fault u8+text ·
//! records u32, each u64 · kept terms u16, each 13 bytes
//! ```
//!
//! An exchange whose records fell into several runs has a piece in each, under the sequence of its first record.

use truc_evidence::{ExchangeSummary, Outcome, Query, Role};
use truc_model::{MessageId, ServiceId, SubsystemId, Timestamp};

use super::terms::{self, TERM, Term};
use crate::evidence::record_format::Summary;
use crate::journal::format::Reader;

const CONSUMER_HALF: u8 = 1;
const PROVIDER_HALF: u8 = 2;
const BEGUN_BY_PROVIDER: u8 = 4;
/// How it ended, in three bits above the others; 0 while it has not.
const ENDING: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) request: MessageId,
    pub(super) time: Timestamp,
    /// Whose half recorded first.
    pub(super) role: Role,
    halves: u8,
    pub(super) client: SubsystemId,
    pub(super) service: ServiceId,
    pub(super) ending: Option<Outcome>,
    fault: Option<String>,
    pub(super) records: Vec<u64>,
    /// In ascending order.
    kept: Vec<Term>,
}

const fn half(role: Role) -> u8 {
    match role {
        Role::Consumer => CONSUMER_HALF,
        Role::Provider => PROVIDER_HALF,
    }
}

const fn ending_number(ending: Option<Outcome>) -> u8 {
    match ending {
        None => 0,
        Some(Outcome::Ok) => 1,
        Some(Outcome::Refused) => 2,
        Some(Outcome::Failed) => 3,
        Some(Outcome::Unknown) => 4,
    }
}

impl Exchange {
    /// What one record tells.
    pub(super) fn of(summary: &Summary, sequence: u64, terms: &[Term]) -> Self {
        let mut kept: Vec<Term> = terms.iter().filter(|term| terms::is_kept(term)).copied().collect();
        kept.sort_unstable();
        let ending = summary.ends_as();
        Self {
            request: summary.request,
            time: summary.at,
            role: summary.role,
            halves: half(summary.role),
            client: summary.client.clone(),
            service: summary.service.clone(),
            ending,
            fault: summary.fault.clone().filter(|_| ending.is_some()),
            records: vec![sequence],
            kept,
        }
    }

    /// Adds what a later piece tells.
    pub(super) fn absorb(&mut self, later: Self) {
        self.halves |= later.halves;
        self.records.extend(later.records);
        self.kept.extend(later.kept);
        self.kept.sort_unstable();
        self.kept.dedup();
        if later.ending.is_some() {
            self.ending = later.ending;
            self.fault = later.fault;
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.ending.unwrap_or(Outcome::Unknown)
    }

    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(self.request.as_bytes());
        out.extend_from_slice(&self.time.millis().to_be_bytes());
        let begun = if self.role == Role::Provider { BEGUN_BY_PROVIDER } else { 0 };
        out.push(self.halves | begun | (ending_number(self.ending) << ENDING));
        for text in [self.client.as_str(), self.service.as_str()] {
            out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        let fault = self.fault.as_deref().unwrap_or_default();
        out.push(u8::try_from(fault.len()).ok()?);
        out.extend_from_slice(fault.as_bytes());
        out.extend_from_slice(&u32::try_from(self.records.len()).ok()?.to_be_bytes());
        out.extend(self.records.iter().flat_map(|sequence| sequence.to_be_bytes()));
        out.extend_from_slice(&u16::try_from(self.kept.len()).ok()?.to_be_bytes());
        out.extend(self.kept.iter().flatten());
        Some(out)
    }

    /// The request's id in an entry.
    pub(super) fn request_of(bytes: &[u8]) -> Option<MessageId> {
        MessageId::from_bytes(bytes.get(..16)?.try_into().ok()?)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let request = MessageId::from_bytes(r.take(16)?.try_into().ok()?)?;
        let time = Timestamp::from_millis(i64::from_be_bytes(r.take(8)?.try_into().ok()?));
        let flags = r.u8()?;
        let mut text = || {
            let length = r.u16()?;
            std::str::from_utf8(r.take(usize::from(length))?).ok()
        };
        let (client, service) = (text()?.parse().ok()?, text()?.parse().ok()?);
        let length = r.u8()?;
        let fault = std::str::from_utf8(r.take(usize::from(length))?).ok()?;
        let count = r.u32()? as usize;
        let records = r.take(count.checked_mul(8)?)?.chunks_exact(8);
        let records = records.map(|b| Some(u64::from_be_bytes(b.try_into().ok()?))).collect::<Option<_>>()?;
        let count = usize::from(r.u16()?);
        let kept = r.take(count * TERM)?.chunks_exact(TERM);
        let kept = kept.map(|b| b.try_into().ok()).collect::<Option<_>>()?;
        let ending = match flags >> ENDING {
            0 => None,
            1 => Some(Outcome::Ok),
            2 => Some(Outcome::Refused),
            3 => Some(Outcome::Failed),
            4 => Some(Outcome::Unknown),
            _ => return None,
        };
        let role = if flags & BEGUN_BY_PROVIDER == 0 { Role::Consumer } else { Role::Provider };
        let halves = flags & (CONSUMER_HALF | PROVIDER_HALF);
        let fault = (!fault.is_empty()).then(|| fault.to_owned());
        let whole = r.0.is_empty();
        whole.then_some(Self { request, time, role, halves, client, service, ending, fault, records, kept })
    }

    /// Whether it is what the query asks for, term by term.
    pub(super) fn matches(&self, query: &Query, conditions: &[Vec<Term>]) -> bool {
        let is = |wanted: bool, so: bool| !wanted || so;
        let owner = |owner: &truc_model::MemberId| {
            (self.halves & CONSUMER_HALF != 0 && self.client.member() == *owner)
                || (self.halves & PROVIDER_HALF != 0 && self.service.member() == *owner)
        };
        query.since.is_none_or(|t| self.time >= t)
            && query.until.is_none_or(|t| self.time < t)
            && query.client.as_ref().is_none_or(|c| *c == self.client)
            && query.service.as_ref().is_none_or(|s| *s == self.service)
            && query.role.is_none_or(|role| self.halves & half(role) != 0)
            && query.owner.as_ref().is_none_or(owner)
            && query.outcome.is_none_or(|outcome| self.outcome() == outcome)
            && is(query.fault.is_some(), self.fault == query.fault)
            && conditions.iter().all(|any| self.has_one_of(query, any))
    }

    fn has_one_of(&self, query: &Query, any: &[Term]) -> bool {
        let looked_at = |term: &Term| {
            if terms::is_kept(term) {
                return self.kept.binary_search(term).is_ok();
            }
            // What the fields themselves tell was compared above.
            *term != query.message.map_or([0; TERM], |id| terms::request_term(&id))
                || query.message == Some(self.request)
        };
        any.iter().any(looked_at)
    }

    pub(super) fn summary(self) -> ExchangeSummary {
        ExchangeSummary {
            id: self.request,
            time: self.time,
            role: self.role,
            outcome: self.outcome(),
            client: self.client,
            service: self.service,
            fault: self.fault,
            records: self.records,
        }
    }
}
