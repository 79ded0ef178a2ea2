//! Searching: the rarest of the terms asked for is walked, newest first; what else is asked is checked on each exchange.

use std::collections::{btree_map, btree_set};
use std::iter::Rev;

use truc_evidence::{Found, Query};

use super::entry::Exchange;
use super::run::Firsts;
use super::terms::{self, Posting, Term, first_of, posting};
use super::{BAD_ENTRY, State};

/// Exchanges read for one page. With more to read, the page says where to go on.
const PAGE_READS: usize = 5_000;
/// Postings passed over for one page.
const PAGE_STEPS: usize = 200_000;
/// A term with so many times the exchanges of the rarest one is no longer worth walking beside it.
const BESIDE: u64 = 16;
/// A term with no more exchanges than these is walked without asking whether another one is rarer.
const RARE: u64 = 500;

/// First records of exchanges, the newest first.
enum Source<'a> {
    Newest(Rev<btree_set::Range<'a, Posting>>),
    AllNewest(Rev<btree_map::Range<'a, u64, Exchange>>),
    Run(Firsts),
}

impl Source<'_> {
    fn next_back(&mut self) -> Result<Option<u64>, String> {
        match self {
            Self::Newest(postings) => Ok(postings.next().and_then(|posting| first_of(posting))),
            Self::AllNewest(exchanges) => Ok(exchanges.next().map(|(first, _)| *first)),
            Self::Run(firsts) => firsts.next_back(),
        }
    }
    fn left(&self) -> u64 {
        match self {
            Self::Newest(postings) => postings.clone().count() as u64,
            Self::AllNewest(exchanges) => exchanges.clone().count() as u64,
            Self::Run(firsts) => firsts.left(),
        }
    }
}

/// Several sources as one, each exchange once: a run has postings also of exchanges that an earlier run began.
struct Walk<'a> {
    sources: Vec<(Source<'a>, Option<u64>)>,
    size: u64,
}

impl<'a> Walk<'a> {
    fn new(sources: Vec<Source<'a>>) -> Result<Self, String> {
        let size = sources.iter().map(Source::left).sum();
        let headed = sources.into_iter().map(|mut source| {
            let head = source.next_back()?;
            Ok((source, head))
        });
        let sources =
            headed.filter(|source| !matches!(source, Ok((_, None)))).collect::<Result<_, String>>()?;
        Ok(Self { sources, size })
    }

    /// The exchanges begun in `from..to` that have one of these terms.
    fn of_terms(state: &'a State, any: &[Term], (from, to): (u64, u64)) -> Result<Self, String> {
        let mut sources = Vec::new();
        for term in any {
            let newest = state.newest.postings.range(posting(*term, from)..posting(*term, to));
            sources.push(Source::Newest(newest.rev()));
            for run in state.runs.iter().filter(|run| run.may_have_begun(from, to)) {
                sources.push(Source::Run(run.with_term(*term, from, to)?));
            }
        }
        Self::new(sources)
    }

    /// All exchanges begun in `from..to`.
    fn of_all(state: &'a State, (from, to): (u64, u64)) -> Result<Self, String> {
        let mut sources = vec![Source::AllNewest(state.newest.exchanges.range(from..to).rev())];
        for run in state.runs.iter().filter(|run| run.may_have_begun(from, to)) {
            sources.push(Source::Run(run.begun(from, to)?));
        }
        Self::new(sources)
    }

    /// Passes over what is newer than `first`; whether `first` is there.
    fn reaches(&mut self, first: u64, steps: &mut usize) -> Result<bool, String> {
        loop {
            let head = self.sources.iter().filter_map(|(_, head)| *head).max();
            if head.is_none_or(|head| head <= first) {
                return Ok(head == Some(first));
            }
            self.next()?;
            *steps += 1;
        }
    }

    fn next(&mut self) -> Result<Option<u64>, String> {
        let Some(newest) = self.sources.iter().filter_map(|(_, head)| *head).max() else { return Ok(None) };
        for (source, head) in &mut self.sources {
            while *head == Some(newest) {
                *head = source.next_back()?;
            }
        }
        Ok(Some(newest))
    }
}

/// The sequences in which everything lies that the query's times and cursor allow; a clock that was stepped back only makes them wider.
fn bounds(state: &State, query: &Query) -> Option<(u64, u64)> {
    let runs = state.runs.iter().filter_map(|run| run.window(query.since, query.until));
    let newest = (state.newest.from, state.newest.next());
    let newest = Some(newest).filter(|(from, to)| from < to);
    let whole = runs.chain(newest).reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))?;
    let to = query.after.map_or(whole.1, |after| after.min(whole.1));
    (whole.0 < to).then_some((whole.0, to))
}

/// A page of what the query finds.
pub(super) fn page(state: &State, query: &Query) -> Result<Found, String> {
    let mut found = Found::default();
    let Some(bounds) = bounds(state, query) else { return Ok(found) };
    let conditions = terms::conditions(query);
    let mut walks = rarest_first(state, &conditions, bounds)?.into_iter();
    let mut walk = match walks.next() {
        Some(walk) => walk,
        None => Walk::of_all(state, bounds)?,
    };
    let mut beside: Vec<Walk<'_>> =
        walks.filter(|other| other.size <= walk.size.saturating_mul(BESIDE)).collect();
    let (mut reads, mut steps) = (0, 0);
    while let Some(first) = walk.next()? {
        steps += 1;
        let mut in_all = true;
        for other in &mut beside {
            in_all = in_all && other.reaches(first, &mut steps)?;
        }
        if in_all {
            reads += 1;
            let exchange = state.whole(first)?.ok_or(BAD_ENTRY)?;
            if exchange.matches(query, &conditions) {
                found.exchanges.push(exchange.summary());
            }
        }
        if found.exchanges.len() == query.page() || reads >= PAGE_READS || steps >= PAGE_STEPS {
            found.next = walk.next()?.map(|_| first);
            break;
        }
    }
    Ok(found)
}

/// Walks over the conditions' terms; of those that are rare beyond doubt only the first.
fn rarest_first<'a>(
    state: &'a State,
    conditions: &[Vec<Term>],
    bounds: (u64, u64),
) -> Result<Vec<Walk<'a>>, String> {
    let mut walks: Vec<Walk<'a>> = Vec::new();
    for any in conditions {
        walks.push(Walk::of_terms(state, any, bounds)?);
        if walks.last().is_some_and(|walk| walk.size <= RARE) {
            break;
        }
    }
    walks.sort_by_key(|walk| walk.size);
    if walks.first().is_some_and(|walk| walk.size <= RARE) {
        walks.truncate(1);
    }
    Ok(walks)
}
