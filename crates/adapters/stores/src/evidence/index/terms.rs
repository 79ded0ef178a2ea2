//! Terms: what a record can be found by. A posting says that the exchange begun by a record has a term.
//!
//! A term is a letter and 12 bytes: the first of the SHA-256 of a text, of a keyed hash, or of a message id. Twelve are enough to tell
//! apart; that an exchange really is what was asked for is checked against its entry.

use truc_evidence::{KeyedHash, Outcome, Query, Role};
use truc_model::{Digest, MemberId, MessageId};

use crate::evidence::record_format::Summary;

/// Bytes of a term, its letter among them.
pub(super) const TERM: usize = 13;
/// Bytes of a posting: a term and the first record's sequence.
pub(super) const POSTING: usize = TERM + 8;

pub(super) type Term = [u8; TERM];
pub(super) type Posting = [u8; POSTING];

/// The letters; never given another meaning without another version of the index.
pub(super) mod letter {
    pub(crate) const REQUEST: u8 = b'r';
    pub(crate) const ANSWER: u8 = b'i';
    pub(crate) const CALLER_ID: u8 = b'x';
    pub(crate) const OWNER: u8 = b'h';
    pub(crate) const CLIENT: u8 = b'c';
    pub(crate) const SERVICE: u8 = b'v';
    pub(crate) const CLIENT_SERVICE: u8 = b'b';
    pub(crate) const OFFICER: u8 = b'o';
    pub(crate) const SUBJECT: u8 = b'u';
    pub(crate) const DOSSIER: u8 = b'k';
    pub(crate) const AGENCY: u8 = b'n';
    pub(crate) const PURPOSE: u8 = b'w';
    pub(crate) const FAULT: u8 = b'g';
    pub(crate) const OUTCOME: u8 = b'z';
}

pub(super) fn term(letter: u8, bytes: &[u8]) -> Term {
    let mut out = [0; TERM];
    if let Some((first, rest)) = out.split_first_mut() {
        *first = letter;
        rest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }
    out
}

pub(super) fn text_term(letter: u8, text: &str) -> Term {
    term(letter, Digest::of(text.as_bytes()).as_bytes())
}

fn hash_term(letter: u8, hash: &KeyedHash) -> Term {
    term(letter, hash.hash.as_bytes())
}

pub(super) fn request_term(request: &MessageId) -> Term {
    term(letter::REQUEST, request.as_bytes())
}

pub(super) fn outcome_term(outcome: Outcome) -> Term {
    text_term(letter::OUTCOME, outcome.as_str())
}

fn pair_term(client: &str, service: &str) -> Term {
    text_term(letter::CLIENT_SERVICE, &format!("{client}\0{service}"))
}

fn owner_term(owner: &MemberId) -> Term {
    text_term(letter::OWNER, owner.as_str())
}

pub(super) fn posting(term: Term, first: u64) -> Posting {
    let mut out = [0; POSTING];
    let (head, tail) = out.split_at_mut(TERM);
    head.copy_from_slice(&term);
    tail.copy_from_slice(&first.to_be_bytes());
    out
}

/// The first record's sequence in a posting.
pub(super) fn first_of(posting: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(posting.get(TERM..POSTING)?.try_into().ok()?))
}

/// Every term that a record gives its exchange, but how it ended.
pub(super) fn of_record(s: &Summary) -> Vec<Term> {
    let (client, service) = (s.client.as_str(), s.service.as_str());
    let owner = match s.role {
        Role::Consumer => s.client.member(),
        Role::Provider => s.service.member(),
    };
    let mut terms = vec![
        request_term(&s.request),
        owner_term(&owner),
        text_term(letter::CLIENT, client),
        text_term(letter::SERVICE, service),
        pair_term(client, service),
    ];
    terms.extend(s.message.filter(|id| *id != s.request).map(|id| term(letter::ANSWER, id.as_bytes())));
    let digests =
        [(letter::CALLER_ID, s.caller_id), (letter::AGENCY, s.agency), (letter::PURPOSE, s.purpose)];
    terms.extend(
        digests.iter().filter_map(|(letter, digest)| Some(term(*letter, digest.as_ref()?.as_bytes()))),
    );
    let hashes =
        [(letter::OFFICER, &s.officer), (letter::SUBJECT, &s.subject), (letter::DOSSIER, &s.dossier)];
    terms.extend(hashes.iter().filter_map(|(letter, hash)| Some(hash_term(*letter, hash.as_ref()?))));
    terms.extend(s.fault.as_ref().map(|code| text_term(letter::FAULT, code)));
    terms
}

/// Terms of which an entry keeps its own copy, since nothing else in it tells.
pub(super) fn is_kept(term: &Term) -> bool {
    matches!(
        term.first().copied(),
        Some(
            letter::ANSWER
                | letter::CALLER_ID
                | letter::OFFICER
                | letter::SUBJECT
                | letter::DOSSIER
                | letter::AGENCY
                | letter::PURPOSE
        )
    )
}

/// What a query asks, as alternatives of terms: each condition needs one of its own.
pub(super) fn conditions(query: &Query) -> Vec<Vec<Term>> {
    let mut all: Vec<Vec<Term>> = Vec::new();
    let hashed =
        |letter, hashes: &Vec<KeyedHash>| hashes.iter().map(|hash| hash_term(letter, hash)).collect();
    all.extend(query.message.map(|id| vec![request_term(&id), term(letter::ANSWER, id.as_bytes())]));
    all.extend(query.caller_id.as_ref().map(|id| vec![text_term(letter::CALLER_ID, id)]));
    all.extend(query.subject.as_ref().map(|hashes| hashed(letter::SUBJECT, hashes)));
    all.extend(query.dossier.as_ref().map(|hashes| hashed(letter::DOSSIER, hashes)));
    all.extend(query.officer.as_ref().map(|hashes| hashed(letter::OFFICER, hashes)));
    match (&query.client, &query.service) {
        (Some(client), Some(service)) => all.push(vec![pair_term(client.as_str(), service.as_str())]),
        (Some(client), None) => all.push(vec![text_term(letter::CLIENT, client.as_str())]),
        (None, Some(service)) => all.push(vec![text_term(letter::SERVICE, service.as_str())]),
        (None, None) => {}
    }
    all.extend(query.agency.as_ref().map(|text| vec![text_term(letter::AGENCY, text)]));
    all.extend(query.purpose.as_ref().map(|text| vec![text_term(letter::PURPOSE, text)]));
    all.extend(query.fault.as_ref().map(|code| vec![text_term(letter::FAULT, code)]));
    // Nearly every exchange is answered: a list of those would only be one of all.
    let outcome = query.outcome.filter(|outcome| *outcome != Outcome::Ok);
    all.extend(outcome.map(|outcome| vec![outcome_term(outcome)]));
    all.extend(query.owner.as_ref().map(|owner| vec![owner_term(owner)]));
    all
}
