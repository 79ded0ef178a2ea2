//! A run: what the index keeps of a stretch of records, in one file that is never changed (ADR 0021).
//!
//! ```text
//! head       "truc-run" · version u8
//! entries    each u32 length · u32 CRC-32C · exchange (entry.rs)
//! places     a row per record: place 20 · time i64
//! exchanges  a row per exchange, by its first record: sequence u64 · offset of its entry u64
//! postings   a row each, in order: term 13 · first record u64
//! tail       CRC-32C u32 of what follows · first sequence u64 · records u64 · times of stretches · earlier exchanges · lowest and highest
//!            request id · open requests · the three tables
//! end        offset of the tail u64 · "truc-run"
//! ```
//!
//! The same records make the same bytes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_model::{MessageId, Timestamp};

use super::decode_place;
use super::entry::Exchange;
use super::newest::{Open, OpenSet};
use super::table::{BROKEN, Table, Walk};
use super::terms::{Term, first_of, posting};
use crate::journal::format::Reader;
use crate::journal::scan::Place;

pub(super) const MAGIC: &[u8] = b"truc-run";
pub(super) const VERSION: u8 = 1;
pub(super) const PLACE_ROW: usize = 28;
pub(super) const EXCHANGE_ROW: usize = 16;
/// Records of which a run knows the earliest and the latest time.
pub(super) const STRETCH: usize = 4096;
/// Longest entry that is read; longer ones are damage.
const ENTRY_LIMIT: usize = 16 << 20;
/// Read at once; nearly every entry fits.
const ENTRY_GUESS: usize = 512;

/// Earliest and latest time of a stretch of records.
pub(super) type Times = (i64, i64);

/// An open run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The sequence of its first record.
    pub(super) from: u64,
    pub(super) records: u64,
    times: Vec<Times>,
    /// Exchanges begun in an earlier run of which this one has records, in order.
    earlier: Vec<u64>,
    requests: (MessageId, MessageId),
    open: OpenSet,
    pub(super) places: Table,
    pub(super) exchanges: Table,
    pub(super) postings: Table,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn place_row(bytes: &[u8]) -> Option<(Place, Timestamp)> {
    let mut r = Reader(bytes);
    let place = decode_place(&mut r)?;
    Some((place, Timestamp::from_millis(i64::from_be_bytes(r.take(8)?.try_into().ok()?))))
}

impl Run {
    /// The sequence behind its last record.
    pub(super) const fn end(&self) -> u64 {
        self.from + self.records
    }

    pub(super) fn open_file(path: &Path) -> Result<Self, String> {
        let file = crate::files::open_plain(path).map_err(text)?;
        let length = file.metadata().map_err(text)?.len();
        let mut end = [0; 16];
        file.read_exact_at(&mut end, length.checked_sub(16).ok_or(BROKEN)?).map_err(text)?;
        let mut r = Reader(&end);
        let at = r.u64().filter(|_| r.0 == MAGIC).ok_or(BROKEN)?;
        let tail = length.checked_sub(16).and_then(|l| l.checked_sub(at)).ok_or(BROKEN)?;
        let mut bytes = vec![0; usize::try_from(tail).map_err(text)?];
        file.read_exact_at(&mut bytes, at).map_err(text)?;
        let mut r = Reader(&bytes);
        let crc = r.u32().ok_or(BROKEN)?;
        if crc32c::crc32c(r.0) != crc {
            return Err(BROKEN.into());
        }
        Self::tail(path, file, &mut r).ok_or_else(|| BROKEN.to_owned())
    }

    fn tail(path: &Path, file: File, r: &mut Reader<'_>) -> Option<Self> {
        let (from, records) = (r.u64()?, r.u64()?);
        let signed = |r: &mut Reader<'_>| Some(i64::from_be_bytes(r.take(8)?.try_into().ok()?));
        let times = (0..r.u64()?).map(|_| Some((signed(r)?, signed(r)?))).collect::<Option<_>>()?;
        let earlier = (0..r.u64()?).map(|_| r.u64()).collect::<Option<_>>()?;
        let id = |r: &mut Reader<'_>| MessageId::from_bytes(r.take(16)?.try_into().ok()?);
        let requests = (id(r)?, id(r)?);
        let mut open = OpenSet::new();
        for _ in 0..r.u64()? {
            let key = (id(r)?, r.u8()?);
            open.insert(key, Open { first: r.u64()?, sequence: r.u64()? });
        }
        let (places, exchanges, postings) = (Table::decode(r)?, Table::decode(r)?, Table::decode(r)?);
        (r.0.is_empty() && places.rows() == records).then_some(Self {
            path: path.to_owned(),
            file,
            from,
            records,
            times,
            earlier,
            requests,
            open,
            places,
            exchanges,
            postings,
        })
    }

    /// The open requests after its last record; asked for once.
    pub(super) fn take_open(&mut self) -> OpenSet {
        std::mem::take(&mut self.open)
    }

    pub(super) fn place(&self, sequence: u64) -> Result<Option<(Place, Timestamp)>, String> {
        let Some(number) = sequence.checked_sub(self.from) else { return Ok(None) };
        let row = self.places.row(&self.file, number)?;
        row.map(|row| place_row(&row).ok_or_else(|| BROKEN.to_owned())).transpose()
    }

    /// Sequences of the records made at or after `since`.
    pub(super) fn made_since(&self, since: Timestamp, found: &mut Vec<u64>) -> Result<(), String> {
        for (number, (_, latest)) in (0..).zip(&self.times) {
            if *latest < since.millis() {
                continue;
            }
            let from = number * STRETCH as u64;
            let mut walk = self.places.walk(from, from + STRETCH as u64);
            let mut sequence = self.from + from;
            while let Some(row) = walk.next(&self.places, &self.file)? {
                if place_row(row).ok_or(BROKEN)?.1 >= since {
                    found.push(sequence);
                }
                sequence += 1;
            }
        }
        Ok(())
    }

    /// The sequences between which every record made from `since` on and before `until` lies.
    pub(super) fn window(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Option<(u64, u64)> {
        let in_time = |(earliest, latest): &Times| {
            since.is_none_or(|t| *latest >= t.millis()) && until.is_none_or(|t| *earliest < t.millis())
        };
        let first = self.times.iter().position(in_time)? as u64;
        let last = self.times.iter().rposition(in_time)? as u64;
        let end = ((last + 1) * STRETCH as u64).min(self.records);
        Some((self.from + first * STRETCH as u64, self.from + end))
    }

    /// Whether a request with this id may be in it.
    pub(super) fn may_hold(&self, request: &MessageId) -> bool {
        (self.requests.0..=self.requests.1).contains(request)
    }

    /// The piece of the exchange begun by the record `first`.
    pub(super) fn exchange(&self, first: u64) -> Result<Option<Exchange>, String> {
        if first < self.from && self.earlier.binary_search(&first).is_err() {
            return Ok(None);
        }
        let number = self.exchanges.lower_bound(&self.file, &first.to_be_bytes())?;
        let Some(row) = self.exchanges.row(&self.file, number)? else { return Ok(None) };
        let mut r = Reader(&row);
        let (found, offset) = (r.u64().ok_or(BROKEN)?, r.u64().ok_or(BROKEN)?);
        if found != first {
            return Ok(None);
        }
        Exchange::decode(&self.entry(offset)?).ok_or_else(|| BROKEN.to_owned()).map(Some)
    }

    pub(super) fn entry(&self, offset: u64) -> Result<Vec<u8>, String> {
        let mut guess = [0; ENTRY_GUESS];
        // Behind the entries come the tables, so that this many bytes are nearly always there.
        let got = self.file.read_at(&mut guess, offset).map_err(text)?;
        let mut r = Reader(guess.get(..got).unwrap_or_default());
        let (length, crc) = (r.u32().ok_or(BROKEN)? as usize, r.u32().ok_or(BROKEN)?);
        let bytes = match r.take(length) {
            Some(bytes) => bytes.to_vec(),
            None if length <= ENTRY_LIMIT => {
                let mut bytes = vec![0; length];
                self.file.read_exact_at(&mut bytes, offset + 8).map_err(text)?;
                bytes
            }
            None => return Err(BROKEN.into()),
        };
        if crc32c::crc32c(&bytes) == crc { Ok(bytes) } else { Err(BROKEN.into()) }
    }

    /// The exchanges begun in `from..to` of which it has a posting of the term.
    pub(super) fn with_term(self: &Arc<Self>, term: Term, from: u64, to: u64) -> Result<Firsts, String> {
        let bound = |first: u64| self.postings.lower_bound(&self.file, &posting(term, first));
        self.firsts(Of::Postings, bound(from)?, bound(to)?)
    }

    /// The exchanges begun in `from..to` of which it has a piece.
    pub(super) fn begun(self: &Arc<Self>, from: u64, to: u64) -> Result<Firsts, String> {
        let bound = |first: u64| self.exchanges.lower_bound(&self.file, &first.to_be_bytes());
        self.firsts(Of::Exchanges, bound(from)?, bound(to)?)
    }

    fn firsts(self: &Arc<Self>, of: Of, low: u64, high: u64) -> Result<Firsts, String> {
        let table = match of {
            Of::Postings => &self.postings,
            Of::Exchanges => &self.exchanges,
        };
        Ok(Firsts { of, walk: table.walk(low, high), run: Arc::clone(self) })
    }

    /// Whether it can have a piece of an exchange begun in `from..to`.
    pub(super) fn may_have_begun(&self, from: u64, to: u64) -> bool {
        let lowest = self.earlier.first().copied().unwrap_or(self.from);
        lowest < to && from < self.end()
    }
}

#[derive(Clone, Copy)]
enum Of {
    Postings,
    Exchanges,
}

/// First records of exchanges in one run, the newest first.
pub(super) struct Firsts {
    run: Arc<Run>,
    of: Of,
    walk: Walk,
}

impl Firsts {
    pub(super) fn next_back(&mut self) -> Result<Option<u64>, String> {
        let Run { file, postings, exchanges, .. } = &*self.run;
        let first = match self.of {
            Of::Postings => self.walk.next_back(postings, file)?.map(first_of),
            Of::Exchanges => self.walk.next_back(exchanges, file)?.map(|row| Reader(row).u64()),
        };
        first.map(|first| first.ok_or_else(|| BROKEN.to_owned())).transpose()
    }
    /// How many are left.
    pub(super) const fn left(&self) -> u64 {
        self.walk.left()
    }
}
