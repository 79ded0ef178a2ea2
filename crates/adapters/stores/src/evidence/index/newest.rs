//! The records behind the last run, in memory. Each lies in sled too, as the step that it was, until a run holds it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use truc_evidence::{Outcome, RecordKind, Role};
use truc_model::{MessageId, Timestamp};

use super::entry::Exchange;
use super::terms::{self, Posting, Term, posting};
use super::{decode_place, encode_place};
use crate::evidence::tail::ToIndex;
use crate::journal::format::Reader;
use crate::journal::scan::Place;

/// What the index keeps of one record.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) place: Place,
    pub(super) at: Timestamp,
    /// The first record of its exchange.
    pub(super) first: u64,
    role: Role,
    is_request: bool,
    terms: Vec<Term>,
    pub(super) piece: Exchange,
}

impl Kept {
    pub(super) fn of(record: &ToIndex, first: u64) -> Self {
        let summary = &record.summary;
        let terms = terms::of_record(summary);
        Self {
            place: record.place,
            at: summary.at,
            first,
            role: summary.role,
            is_request: summary.kind == RecordKind::Request,
            piece: Exchange::of(summary, record.sequence, &terms),
            terms,
        }
    }

    /// Place 20 · time i64 · first u64 · role u8 · request or not u8 · terms u8, each 13 bytes · piece.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = encode_place(self.place);
        out.extend_from_slice(&self.at.millis().to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&[role_number(self.role), u8::from(self.is_request)]);
        out.push(u8::try_from(self.terms.len()).ok()?);
        out.extend(self.terms.iter().flatten());
        out.extend_from_slice(&self.piece.encode()?);
        Some(out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let place = decode_place(&mut r)?;
        let at = Timestamp::from_millis(i64::from_be_bytes(r.take(8)?.try_into().ok()?));
        let first = r.u64()?;
        let role = role_of(r.u8()?)?;
        let is_request = r.u8()? == 1;
        let count = usize::from(r.u8()?);
        let terms = r.take(count * terms::TERM)?.chunks_exact(terms::TERM);
        let terms = terms.map(|term| term.try_into().ok()).collect::<Option<_>>()?;
        Some(Self { place, at, first, role, is_request, terms, piece: Exchange::decode(r.0)? })
    }
}

pub(super) const fn role_number(role: Role) -> u8 {
    match role {
        Role::Consumer => 1,
        Role::Provider => 2,
    }
}

pub(super) const fn role_of(number: u8) -> Option<Role> {
    match number {
        1 => Some(Role::Consumer),
        2 => Some(Role::Provider),
        _ => None,
    }
}

/// A request without an answer: the first record of its exchange, and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) first: u64,
    pub(super) sequence: u64,
}

/// The requests without an answer, by id and role number.
pub(super) type OpenSet = BTreeMap<(MessageId, u8), Open>;

#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The sequence of its first record.
    pub(super) from: u64,
    pub(super) places: Vec<(Place, Timestamp)>,
    pub(super) exchanges: BTreeMap<u64, Exchange>,
    pub(super) by_request: HashMap<MessageId, u64>,
    pub(super) postings: BTreeSet<Posting>,
}

impl Newest {
    pub(super) fn starting(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// The sequence of the next record.
    pub(super) fn next(&self) -> u64 {
        self.from + self.places.len() as u64
    }

    /// Adds the next record.
    pub(super) fn add(&mut self, kept: Kept, open: &mut OpenSet) {
        let sequence = self.next();
        let Kept { place, at, first, role, is_request, terms, piece } = kept;
        self.places.push((place, at));
        let request = piece.request;
        if is_request {
            open.insert((request, role_number(role)), Open { first, sequence });
        } else {
            open.remove(&(request, role_number(role)));
        }
        self.by_request.insert(request, first);
        self.postings.extend(terms.into_iter().map(|term| posting(term, first)));
        let before = self.exchanges.get(&first).map(Exchange::outcome);
        let exchange = match self.exchanges.entry(first) {
            std::collections::btree_map::Entry::Vacant(new) => new.insert(piece),
            std::collections::btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.absorb(piece);
                known
            }
        };
        let outcome = exchange.outcome();
        if let Some(before) = before.filter(|before| *before != outcome) {
            self.postings.remove(&posting(terms::outcome_term(before), first));
        }
        if outcome != Outcome::Ok {
            self.postings.insert(posting(terms::outcome_term(outcome), first));
        }
    }
}
