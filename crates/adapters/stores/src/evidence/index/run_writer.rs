//! Writing runs: from the newest records, and of several runs that follow each other one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, btree_map, btree_set};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_evidence::StoreError;
use truc_model::{MessageId, Timestamp};

use super::encode_place;
use super::entry::Exchange;
use super::newest::{Newest, OpenSet};
use super::run::{EXCHANGE_ROW, MAGIC, PLACE_ROW, Run, STRETCH, Times, VERSION, place_row};
use super::table::{BROKEN, Table, TableWriter, Walk};
use super::terms::{POSTING, Posting};
use crate::files;
use crate::journal::format::Reader;
use crate::journal::scan::Place;

/// An exchange on its way into a run: its first record, and its entry.
struct Piece {
    first: u64,
    entry: Vec<u8>,
}

impl Piece {
    fn of(first: u64, exchange: &Exchange) -> Result<Self, String> {
        Ok(Self { first, entry: exchange.encode().ok_or("an exchange is too long for the index")? })
    }
}

/// Where the parts of a run come from: the newest records, or runs that are merged.
trait Source {
    fn next_exchange(&mut self) -> Result<Option<Piece>, String>;
    fn next_place(&mut self) -> Result<Option<(Place, Timestamp)>, String>;
    fn next_posting(&mut self) -> Result<Option<Posting>, String>;
}

struct FromNewest<'a> {
    exchanges: btree_map::Iter<'a, u64, Exchange>,
    places: std::slice::Iter<'a, (Place, Timestamp)>,
    postings: btree_set::Iter<'a, Posting>,
}

impl Source for FromNewest<'_> {
    fn next_exchange(&mut self) -> Result<Option<Piece>, String> {
        self.exchanges.next().map(|(first, exchange)| Piece::of(*first, exchange)).transpose()
    }
    fn next_place(&mut self) -> Result<Option<(Place, Timestamp)>, String> {
        Ok(self.places.next().copied())
    }
    fn next_posting(&mut self) -> Result<Option<Posting>, String> {
        Ok(self.postings.next().copied())
    }
}

/// One of the runs that are merged.
struct Input<'a> {
    run: &'a Run,
    exchanges: Walk,
    places: Walk,
    postings: Walk,
    /// Read and not yet taken.
    exchange: Option<(u64, u64)>,
    posting: Option<Posting>,
}

impl<'a> Input<'a> {
    fn new(run: &'a Run) -> Result<Self, String> {
        let whole = |table: &Table| table.walk(0, table.rows());
        let (exchanges, places, postings) = (whole(&run.exchanges), whole(&run.places), whole(&run.postings));
        let mut input = Self { run, exchanges, places, postings, exchange: None, posting: None };
        input.read_exchange()?;
        input.read_posting()?;
        Ok(input)
    }
    fn read_exchange(&mut self) -> Result<(), String> {
        let row = self.exchanges.next(&self.run.exchanges, &self.run.file)?;
        let row = row.map(|row| {
            let mut r = Reader(row);
            r.u64().zip(r.u64()).ok_or(BROKEN)
        });
        self.exchange = row.transpose()?;
        Ok(())
    }
    fn read_posting(&mut self) -> Result<(), String> {
        let row = self.postings.next(&self.run.postings, &self.run.file)?;
        self.posting = row.map(|row| row.try_into().map_err(|_| BROKEN)).transpose()?;
        Ok(())
    }
}

struct FromRuns<'a> {
    inputs: Vec<Input<'a>>,
    /// The next posting of each input.
    postings: BinaryHeap<Reverse<(Posting, usize)>>,
}

impl<'a> FromRuns<'a> {
    fn new(inputs: Vec<Input<'a>>) -> Self {
        let heads = inputs.iter().enumerate();
        let postings = heads.filter_map(|(n, input)| Some(Reverse((input.posting?, n)))).collect();
        Self { inputs, postings }
    }
}

impl Source for FromRuns<'_> {
    fn next_exchange(&mut self) -> Result<Option<Piece>, String> {
        let Some(first) = self.inputs.iter().filter_map(|i| i.exchange).map(|(first, _)| first).min() else {
            return Ok(None);
        };
        let mut pieces = Vec::with_capacity(1);
        // In the order of the runs, so that what came later is absorbed later.
        for input in &mut self.inputs {
            let Some((_, offset)) = input.exchange.filter(|(of, _)| *of == first) else { continue };
            pieces.push(input.run.entry(offset)?);
            input.read_exchange()?;
        }
        if let [_] = pieces.as_slice() {
            return Ok(pieces.pop().map(|entry| Piece { first, entry }));
        }
        let mut whole: Option<Exchange> = None;
        for entry in pieces {
            let piece = Exchange::decode(&entry).ok_or(BROKEN)?;
            match &mut whole {
                Some(whole) => whole.absorb(piece),
                None => whole = Some(piece),
            }
        }
        whole.map(|exchange| Piece::of(first, &exchange)).transpose()
    }
    fn next_place(&mut self) -> Result<Option<(Place, Timestamp)>, String> {
        for input in &mut self.inputs {
            if let Some(row) = input.places.next(&input.run.places, &input.run.file)? {
                return Ok(Some(place_row(row).ok_or(BROKEN)?));
            }
        }
        Ok(None)
    }
    fn next_posting(&mut self) -> Result<Option<Posting>, String> {
        let mut lowest = None;
        // Both a request's run and that of its answer have the terms that both told.
        while let Some(Reverse((posting, n))) = self.postings.peek().copied() {
            if lowest.is_some_and(|lowest| lowest != posting) {
                break;
            }
            lowest = Some(posting);
            self.postings.pop();
            if let Some(input) = self.inputs.get_mut(n) {
                input.read_posting()?;
                self.postings.extend(input.posting.map(|posting| Reverse((posting, n))));
            }
        }
        Ok(lowest)
    }
}

/// Where the run of these records lies in `folder`.
fn path_of(folder: &Path, from: u64, records: u64) -> PathBuf {
    folder.join(format!("{from:016}-{records}.run"))
}

/// The first record and the number of records of the run in a file of this name.
pub(super) fn named(name: &str) -> Option<(u64, u64)> {
    let (from, records) = name.strip_suffix(".run")?.split_once('-')?;
    Some((from.parse().ok()?, records.parse().ok()?))
}

/// Writes the newest records as a run.
pub(super) fn write(folder: &Path, newest: &Newest, open: &OpenSet) -> Result<Run, StoreError> {
    let source = FromNewest {
        exchanges: newest.exchanges.iter(),
        places: newest.places.iter(),
        postings: newest.postings.iter(),
    };
    create(folder, newest.from, newest.places.len() as u64, source, open)
}

/// Writes runs that follow each other as one; `open` is what is open after the last.
pub(super) fn merge(folder: &Path, runs: &[Arc<Run>], open: &OpenSet) -> Result<Run, StoreError> {
    let inputs = runs.iter().map(|run| Input::new(run)).collect::<Result<Vec<_>, _>>();
    let source = FromRuns::new(inputs.map_err(StoreError::Failed)?);
    let from = runs.first().map_or(0, |run| run.from);
    create(folder, from, runs.iter().map(|run| run.records).sum(), source, open)
}

fn create(
    folder: &Path,
    from: u64,
    records: u64,
    source: impl Source,
    open: &OpenSet,
) -> Result<Run, StoreError> {
    let path = path_of(folder, from, records);
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let file = files::create_new(&temporary)?;
    let written = fill(file, from, records, source, open).and_then(|file| {
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    });
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(files::io(&path, error));
    }
    files::sync_folder(folder)?;
    Run::open_file(&path).map_err(|e| StoreError::Failed(format!("{}: {e}", path.display())))
}

/// What the tail tells beside the tables.
#[derive(Default)]
struct Told {
    earlier: Vec<u64>,
    times: Vec<Times>,
    requests: Option<(MessageId, MessageId)>,
}

fn other(reason: impl Into<String>) -> std::io::Error {
    std::io::Error::other(reason.into())
}

fn fill(
    file: File,
    from: u64,
    records: u64,
    mut source: impl Source,
    open: &OpenSet,
) -> std::io::Result<File> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut told = Told::default();
    out.write_all(MAGIC)?;
    out.write_all(&[VERSION])?;
    let (rows, offset) = entries(&mut out, from, &mut source, &mut told)?;
    let (places, offset) = place_table(&mut out, offset, &mut source, &mut told)?;
    let mut table = TableWriter::new(EXCHANGE_ROW, offset);
    for (first, offset) in rows {
        table.push(&mut out, &[first.to_be_bytes(), offset.to_be_bytes()].concat())?;
    }
    let (exchanges, offset) = table.finish(&mut out)?;
    let mut table = TableWriter::new(POSTING, offset);
    while let Some(posting) = source.next_posting().map_err(other)? {
        table.push(&mut out, &posting)?;
    }
    let (postings, offset) = table.finish(&mut out)?;
    let mut tail = tail(from, records, &told, open)?;
    for table in [places, exchanges, postings] {
        tail.extend_from_slice(&table);
    }
    out.write_all(&crc32c::crc32c(&tail).to_be_bytes())?;
    out.write_all(&tail)?;
    out.write_all(&offset.to_be_bytes())?;
    out.write_all(MAGIC)?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)
}

/// Writes the entries; returns where each lies and the offset behind them. The rows wait, as the entries come first: 16 bytes for an
/// exchange.
fn entries(
    out: &mut BufWriter<File>,
    from: u64,
    source: &mut impl Source,
    told: &mut Told,
) -> std::io::Result<(Vec<(u64, u64)>, u64)> {
    let mut offset = MAGIC.len() as u64 + 1;
    let mut rows = Vec::new();
    while let Some(Piece { first, entry: bytes }) = source.next_exchange().map_err(other)? {
        let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        rows.push((first, offset));
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&crc32c::crc32c(&bytes).to_be_bytes())?;
        out.write_all(&bytes)?;
        offset += 8 + u64::from(length);
        if first < from {
            told.earlier.push(first);
        }
        let id = Exchange::request_of(&bytes).ok_or_else(|| other(BROKEN))?;
        let (low, high) = told.requests.unwrap_or((id, id));
        told.requests = Some((low.min(id), high.max(id)));
    }
    Ok((rows, offset))
}

fn place_table(
    out: &mut BufWriter<File>,
    offset: u64,
    source: &mut impl Source,
    told: &mut Told,
) -> std::io::Result<(Vec<u8>, u64)> {
    let mut table = TableWriter::new(PLACE_ROW, offset);
    let mut number = 0_usize;
    while let Some((place, at)) = source.next_place().map_err(other)? {
        let at = at.millis();
        match told.times.last_mut().filter(|_| !number.is_multiple_of(STRETCH)) {
            Some((earliest, latest)) => (*earliest, *latest) = ((*earliest).min(at), (*latest).max(at)),
            None => told.times.push((at, at)),
        }
        number += 1;
        table.push(out, &[encode_place(place).as_slice(), &at.to_be_bytes()].concat())?;
    }
    table.finish(out)
}

fn tail(from: u64, records: u64, told: &Told, open: &OpenSet) -> std::io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    for number in [from, records, told.times.len() as u64] {
        tail.extend_from_slice(&number.to_be_bytes());
    }
    for (earliest, latest) in &told.times {
        tail.extend_from_slice(&earliest.to_be_bytes());
        tail.extend_from_slice(&latest.to_be_bytes());
    }
    tail.extend_from_slice(&(told.earlier.len() as u64).to_be_bytes());
    tail.extend(told.earlier.iter().flat_map(|first| first.to_be_bytes()));
    let (low, high) = told.requests.ok_or_else(|| other("a run has no exchange"))?;
    tail.extend_from_slice(low.as_bytes());
    tail.extend_from_slice(high.as_bytes());
    tail.extend_from_slice(&(open.len() as u64).to_be_bytes());
    for ((request, role), open) in open {
        tail.extend_from_slice(request.as_bytes());
        tail.push(*role);
        tail.extend_from_slice(&open.first.to_be_bytes());
        tail.extend_from_slice(&open.sequence.to_be_bytes());
    }
    Ok(tail)
}
