//! The index: never the only copy of anything, always behind or equal to the journal (design §5, ADR 0021).
//!
//! What it keeps of records lies in **runs**, files that are never changed (`run.rs`); behind the last run, up to [`RECORDS`] records are in
//! memory (`newest.rs`) and, one entry each, in sled. sled also holds the point up to which the journal is indexed, the artifacts and what is
//! kept of proofs. One batch per step, so that a step is there whole or not at all. A key is a letter and fixed parts:
//!
//! ```text
//! f                               format version
//! m                               point up to which the journal is indexed
//! n sequence                   -> what is kept of a record that no run holds yet
//! a digest                     -> place of an artifact
//! c                               the last record's number from 1, and the journal's chain hash after it
//! ```
//!
//! Capital letters are the proofs' (`index_proofs.rs`). Runs, in the folder `runs` within that of sled, cover the sequences from 0 on without
//! a gap: each [`FAN`] of one length become one, up to [`LARGEST`] records. The same journal makes the same runs, byte for byte.

mod entry;
mod newest;
mod run;
mod run_writer;
mod search;
mod table;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use truc_evidence::{Found, Query, StoreError};
use truc_model::{Digest, MessageId, Timestamp};

use self::entry::Exchange;
use self::newest::{Kept, Newest, OpenSet};
use self::run::Run;
use super::index_proofs;
use super::tail::{Step, ToIndex};
use crate::journal::format::Reader;
use crate::journal::scan::{Place, Point, SegmentId};

const VERSION: &[u8] = b"3";
const CACHE: u64 = 16 << 20;
/// How often, and how far apart, a locked index is tried again.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Records in the smallest run.
const RECORDS: usize = if cfg!(test) { 8 } else { 16_384 };
/// A step of so many comes from a journal that is read again, or under load: what sled keeps of its records waits for the end of the
/// run, which mostly makes it needless. sled is the slow part of an index.
const LONG_STEP: usize = if cfg!(test) { 4 } else { super::indexer::STEP };
/// So many runs of one length become one.
const FAN: usize = if cfg!(test) { 3 } else { 16 };
/// Most records in one run: a longer one would be long in the making.
const LARGEST: u64 = (RECORDS * FAN * FAN) as u64;

pub(super) fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![letter];
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(super) const fn time_bytes(at: Timestamp) -> [u8; 8] {
    // Times are never before 1970, so that their order is that of their bytes.
    at.millis().to_be_bytes()
}

pub(super) fn encode_place(place: Place) -> Vec<u8> {
    let SegmentId { first, n } = place.segment;
    [first.to_be_bytes().as_slice(), &n.to_be_bytes(), &place.offset.to_be_bytes()].concat()
}

pub(super) fn decode_place(r: &mut Reader<'_>) -> Option<Place> {
    let segment = SegmentId { first: r.u64()?, n: r.u32()? };
    Some(Place { segment, offset: r.u64()? })
}

pub(super) fn encode_point(point: &Point) -> Vec<u8> {
    let mut out = encode_place(point.place);
    out.extend_from_slice(&point.frame.to_be_bytes());
    out.extend_from_slice(&point.sequence.to_be_bytes());
    out.extend_from_slice(point.chain.as_bytes());
    out
}

pub(super) fn decode_point(bytes: &[u8]) -> Option<Point> {
    let mut r = Reader(bytes);
    Some(Point { place: decode_place(&mut r)?, frame: r.u32()?, sequence: r.u64()?, chain: r.digest()? })
}

/// Whether any value that the index keeps can be read from these bytes, and comes out again as it was.
#[cfg(feature = "fuzzing")]
pub(crate) fn reads_back(bytes: &[u8]) -> bool {
    let point = decode_point(bytes).is_some_and(|p| bytes.starts_with(&encode_point(&p)));
    let place = decode_place(&mut Reader(bytes)).is_some_and(|p| bytes.starts_with(&encode_place(p)));
    let exchange = Exchange::decode(bytes).is_some_and(|e| e.encode().is_some());
    let kept = Kept::decode(bytes).is_some_and(|k| k.encode().is_some());
    point || place || exchange || kept
}

/// sled may panic where it finds its files changed; that must not end the node.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("sled panicked".into()))
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) const BAD_ENTRY: &str = "an entry of the index cannot be read";
const NOT_OURS: &str = "the index does not fit the journal";

/// The open index. An error in it is never an error of the journal: the index is thrown away and made again.
pub(crate) struct Index {
    pub(super) db: sled::Db,
    runs: PathBuf,
    state: RwLock<State>,
    waiting: Mutex<Waiting>,
    #[cfg(test)]
    spoiled: std::sync::atomic::AtomicBool,
}

/// What is indexed and sled has not been told yet. Until then its point is behind, and the journal brings it again.
#[derive(Default)]
struct Waiting {
    records: BTreeMap<u64, Vec<u8>>,
    point: Option<Point>,
}

impl Waiting {
    fn tell(&mut self, batch: &mut sled::Batch) {
        for (sequence, value) in std::mem::take(&mut self.records) {
            batch.insert(key(b'n', &[&sequence.to_be_bytes()]), value);
        }
        if let Some(point) = self.point.take() {
            batch.insert(b"m", encode_point(&point));
        }
    }
}

/// What is kept of the records.
#[derive(Default)]
struct State {
    runs: Vec<Arc<Run>>,
    newest: Newest,
    open: OpenSet,
}

impl Index {
    /// Opens the index in `dir`, with the point up to which it is complete. One that cannot be opened, is of another version or fails its
    /// own checks is moved to `aside` and begun anew.
    pub(crate) fn open(dir: &Path, aside: &Path) -> Result<(Self, Option<Point>), StoreError> {
        let mut opened = Self::try_open(dir);
        // sled lets go of its lock a moment after the last handle is dropped.
        for _ in 0..LOCK_TRIES {
            if !matches!(opened, Err(Failure::Busy(_))) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            opened = Self::try_open(dir);
        }
        match opened {
            Ok(opened) => Ok(opened),
            Err(Failure::Busy(e)) => Err(StoreError::Failed(format!("{}: {e}", dir.display()))),
            Err(Failure::Full) => Err(StoreError::Full),
            Err(Failure::Unusable(reason)) => {
                tracing::warn!(path = %dir.display(), reason, "the index cannot be used and is made again from the journal");
                Self::move_aside(dir, aside)?;
                Self::try_open(dir).map_err(|e| match e {
                    Failure::Full => StoreError::Full,
                    Failure::Busy(e) | Failure::Unusable(e) => {
                        StoreError::Failed(format!("{}: {e}", dir.display()))
                    }
                })
            }
        }
    }

    fn move_aside(dir: &Path, aside: &Path) -> Result<(), StoreError> {
        let target: PathBuf = aside.join("index-put-aside");
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(|e| crate::files::io(&target, e))?;
        }
        crate::files::make_folder(aside)?;
        std::fs::rename(dir, &target).map_err(|e| crate::files::io(dir, e))
    }

    fn try_open(dir: &Path) -> Result<(Self, Option<Point>), Failure> {
        // sled would wait for ever where a pipe lies.
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
                return Err(Failure::Unusable(format!("{} is no file", entry.path().display())));
            }
        }
        let opened = catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(Some(1000)).open()
        }));
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => return Err(Failure::Unusable("sled panicked".into())),
        };
        let index = Self {
            db,
            runs: dir.join("runs"),
            state: RwLock::default(),
            waiting: Mutex::default(),
            #[cfg(test)]
            spoiled: std::sync::atomic::AtomicBool::new(false),
        };
        let point = guarded(|| {
            let point = index.check()?;
            index.load(point.as_ref())?;
            Ok(point)
        });
        Ok((index, point.map_err(Failure::Unusable)?))
    }

    /// The indexed point; fails when the index is not one this version wrote.
    fn check(&self) -> Result<Option<Point>, String> {
        match self.db.get([b'f']).map_err(text)? {
            Some(version) if version == VERSION => {}
            Some(_) => return Err("it has another format version".into()),
            None if self.db.is_empty() => {
                self.db.insert([b'f'], VERSION).map_err(text)?;
            }
            None => return Err("it has no format version".into()),
        }
        let point = self.db.get([b'm']).map_err(text)?;
        point.map(|bytes| decode_point(&bytes).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
    }

    /// Reads which runs there are, and the records behind them.
    fn load(&self, point: Option<&Point>) -> Result<(), String> {
        crate::files::make_folder(&self.runs).map_err(text)?;
        let mut state = State::default();
        let mut next = 0;
        for (from, records, path) in files_of_runs(&self.runs)? {
            if from + records <= next {
                // It is part of a longer one; the end came between that one's name and this one's removal.
                std::fs::remove_file(&path).map_err(text)?;
                continue;
            }
            let mut run = Run::open_file(&path)?;
            if (run.from, run.records) != (from, records) || from != next {
                return Err("a run of the index is missing".into());
            }
            next = run.end();
            state.open = run.take_open();
            state.runs.push(Arc::new(run));
        }
        let indexed = point.map_or(0, |point| point.sequence);
        if point.is_none() && next > 0 {
            return Err("there are runs, and no point up to which they are complete".into());
        }
        state.newest = Newest::starting(next);
        // The power went after a run was made and before sled let go of what is in it.
        for entry in self.db.range(vec![b'n']..key(b'n', &[&next.to_be_bytes()])).keys() {
            self.db.remove(entry.map_err(text)?).map_err(text)?;
        }
        for entry in self.db.range(key(b'n', &[&next.to_be_bytes()])..vec![b'n' + 1]) {
            let (entry, value) = entry.map_err(text)?;
            if entry.get(1..) != Some(state.newest.next().to_be_bytes().as_slice()) {
                return Err("a record is missing in the index".into());
            }
            state.newest.add(Kept::decode(&value).ok_or(BAD_ENTRY)?, &mut state.open);
        }
        if state.newest.next() < indexed {
            return Err("records are missing in the index".into());
        }
        *self.write() = state;
        Ok(())
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        self.runs.parent().unwrap_or(&self.runs)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds records and proofs, in order, in one step. One thread at a time.
    pub(crate) fn apply(&self, steps: &[Arc<Step>]) -> Result<(), String> {
        guarded(|| self.apply_unguarded(steps))
    }

    fn apply_unguarded(&self, steps: &[Arc<Step>]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for step in steps {
            let record = match &**step {
                Step::Record(record) => record,
                Step::Proof(proof) => {
                    index_proofs::add(&mut batch, proof);
                    continue;
                }
            };
            for (digest, place) in &record.artifacts {
                batch.insert(key(b'a', &[digest.as_bytes()]), encode_place(*place));
            }
            if let Some(value) = self.add(record)? {
                waiting.records.insert(record.sequence, value);
            }
            if self.read().newest.places.len() >= RECORDS {
                self.end_run(&mut waiting.records, &mut batch)?;
            }
        }
        if let Some(last) = steps.iter().rev().find_map(|step| step.record()) {
            let chain = [&(last.sequence + 1).to_be_bytes(), last.after.chain.as_bytes().as_slice()].concat();
            batch.insert(b"c", chain);
        }
        waiting.point = steps.last().map(|last| last.after()).or(waiting.point);
        if steps.len() < LONG_STEP {
            waiting.tell(&mut batch);
        }
        self.db.apply_batch(batch).map_err(text)
    }

    /// Takes in a record; returns what sled keeps of it, or nothing where a run has it since before a power cut.
    fn add(&self, record: &ToIndex) -> Result<Option<Vec<u8>>, String> {
        let next = self.read().newest.next();
        if record.sequence < next {
            let known = self.place(record.sequence)?;
            return if known == Some(record.place) { Ok(None) } else { Err(NOT_OURS.into()) };
        }
        if record.sequence > next {
            return Err(NOT_OURS.into());
        }
        let first = self.read().first_of(&record.summary.request)?.unwrap_or(record.sequence);
        let kept = Kept::of(record, first);
        let value = kept.encode().ok_or("a record is too long for the index")?;
        let State { newest, open, .. } = &mut *self.write();
        newest.add(kept, open);
        Ok(Some(value))
    }

    /// Makes a run of the newest records, and fewer, longer ones of those there are.
    fn end_run(&self, unwritten: &mut BTreeMap<u64, Vec<u8>>, batch: &mut sled::Batch) -> Result<(), String> {
        let run = {
            let state = self.read();
            run_writer::write(&self.runs, &state.newest, &state.open).map_err(text)?
        };
        for sequence in run.from..run.end() {
            if unwritten.remove(&sequence).is_none() {
                batch.remove(key(b'n', &[&sequence.to_be_bytes()]));
            }
        }
        let mut state = self.write();
        state.newest = Newest::starting(run.end());
        state.runs.push(Arc::new(run));
        drop(state);
        while self.merge()? {}
        Ok(())
    }

    /// Makes one run of the last ones, when there are enough of one length.
    fn merge(&self) -> Result<bool, String> {
        let (inputs, open) = {
            let state = self.read();
            let Some(inputs) = state.runs.len().checked_sub(FAN).and_then(|from| state.runs.get(from..))
            else {
                return Ok(false);
            };
            let records = inputs.first().map_or(0, |run| run.records);
            if inputs.iter().any(|run| run.records != records) || records >= LARGEST {
                return Ok(false);
            }
            (inputs.to_vec(), state.open.clone())
        };
        let run = run_writer::merge(&self.runs, &inputs, &open).map_err(text)?;
        {
            let runs = &mut self.write().runs;
            runs.truncate(runs.len().saturating_sub(FAN));
            runs.push(Arc::new(run));
        }
        // Whoever reads them just now has them open.
        inputs.iter().try_for_each(|run| std::fs::remove_file(&run.path).map_err(text))?;
        Ok(true)
    }

    pub(crate) fn place(&self, sequence: u64) -> Result<Option<Place>, String> {
        guarded(|| self.read().place(sequence))
    }

    pub(crate) fn artifact(&self, digest: &Digest) -> Result<Option<Place>, String> {
        guarded(|| {
            let bytes = self.db.get(key(b'a', &[digest.as_bytes()])).map_err(text)?;
            bytes.map(|b| decode_place(&mut Reader(&b)).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
        })
    }

    /// How many records there were, and the journal's chain hash after the last of them.
    pub(crate) fn chain(&self) -> Result<Option<(u64, Digest)>, String> {
        guarded(|| {
            let bytes = self.db.get([b'c']).map_err(text)?;
            let read = |r: &mut Reader<'_>| Some((r.u64()?, r.digest()?));
            bytes.map(|b| read(&mut Reader(&b)).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
        })
    }

    pub(crate) fn artifacts(&self) -> Result<HashSet<Digest>, String> {
        guarded(|| {
            let keys = self.db.scan_prefix([b'a']).keys();
            keys.map(|k| {
                let k = k.map_err(text)?;
                k.get(1..).and_then(Digest::from_slice).ok_or_else(|| BAD_ENTRY.to_owned())
            })
            .collect()
        })
    }

    /// The sequences of the records of an exchange.
    pub(crate) fn exchange(&self, request: &MessageId) -> Result<Vec<u64>, String> {
        guarded(|| {
            #[cfg(test)]
            if self.spoiled.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(BAD_ENTRY.into());
            }
            let state = self.read();
            let Some(first) = state.first_of(request)? else { return Ok(Vec::new()) };
            Ok(state.whole(first)?.ok_or(BAD_ENTRY)?.records)
        })
    }

    /// Sequences of the records made at or after `since` and of all requests without an answer.
    pub(crate) fn replay(&self, since: Timestamp) -> Result<Vec<u64>, String> {
        guarded(|| {
            let state = self.read();
            let mut found: Vec<u64> = state.open.values().map(|open| open.sequence).collect();
            for run in &state.runs {
                run.made_since(since, &mut found)?;
            }
            let newest = (state.newest.from..).zip(&state.newest.places);
            found.extend(newest.filter(|(_, (_, at))| *at >= since).map(|(sequence, _)| sequence));
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    pub(crate) fn list(&self, query: &Query) -> Result<Found, String> {
        guarded(|| search::page(&self.read(), query))
    }

    /// Marks an index in which something unreadable was met: whoever opens it next makes it anew.
    pub(crate) fn condemn(&self) {
        let _ = guarded(|| self.db.remove([b'f']).map_err(text));
    }

    /// Has the next reading of an exchange fail.
    #[cfg(test)]
    pub(crate) fn spoil(&self, _: &MessageId) {
        self.spoiled.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Every entry and every run, for comparing.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.apply(&[]).unwrap();
        let entries = self.db.iter().map(|e| e.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec()));
        let runs = self.read();
        let runs = runs.runs.iter().map(|run| {
            (run.path.file_name().unwrap().as_encoded_bytes().to_vec(), std::fs::read(&run.path).unwrap())
        });
        entries.chain(runs).collect()
    }
}

/// The runs in `folder` by their names, in order, the longest first among those that begin together; what was never finished is removed.
fn files_of_runs(folder: &Path) -> Result<Vec<(u64, u64, PathBuf)>, String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(text)? {
        let path = entry.map_err(text)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match run_writer::named(name) {
            Some((from, records)) => found.push((from, records, path)),
            None => std::fs::remove_file(&path).map_err(text)?,
        }
    }
    found.sort_unstable_by_key(|(from, records, _)| (*from, std::cmp::Reverse(*records)));
    Ok(found)
}

impl State {
    fn place(&self, sequence: u64) -> Result<Option<Place>, String> {
        if let Some(number) = sequence.checked_sub(self.newest.from) {
            let number = usize::try_from(number).map_err(text)?;
            return Ok(self.newest.places.get(number).map(|(place, _)| *place));
        }
        let run = self.runs.partition_point(|run| run.end() <= sequence);
        let Some(run) = self.runs.get(run) else { return Ok(None) };
        Ok(run.place(sequence)?.map(|(place, _)| place))
    }

    /// The first record of the exchange that `request` began.
    fn first_of(&self, request: &MessageId) -> Result<Option<u64>, String> {
        if let Some(first) = self.newest.by_request.get(request) {
            return Ok(Some(*first));
        }
        let mut still_open = self.open.range((*request, 0)..=(*request, u8::MAX));
        if let Some((_, open)) = still_open.next() {
            return Ok(Some(open.first));
        }
        for run in self.runs.iter().rev().filter(|run| run.may_hold(request)) {
            let mut firsts = run.with_term(terms::request_term(request), 0, u64::MAX)?;
            while let Some(first) = firsts.next_back()? {
                if run.exchange(first)?.is_some_and(|piece| piece.request == *request) {
                    return Ok(Some(first));
                }
            }
        }
        Ok(None)
    }

    /// The exchange begun by the record `first`, from all its pieces.
    fn whole(&self, first: u64) -> Result<Option<Exchange>, String> {
        let mut whole: Option<Exchange> = None;
        let from = self.runs.partition_point(|run| run.end() <= first);
        let runs = self.runs.get(from..).unwrap_or_default();
        let pieces = runs.iter().map(|run| run.exchange(first));
        for piece in pieces.chain([Ok(self.newest.exchanges.get(&first).cloned())]) {
            match (&mut whole, piece?) {
                (Some(whole), Some(later)) => whole.absorb(later),
                (None, Some(piece)) => whole = Some(piece),
                (_, None) => {}
            }
        }
        Ok(whole)
    }
}

/// Why the index could not be opened.
enum Failure {
    /// Another process has it, or the disk refuses for now: its files are good.
    Busy(String),
    Full,
    Unusable(String),
}

impl Failure {
    fn of(error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(e) if matches!(e.kind(), std::io::ErrorKind::StorageFull) => Self::Full,
            sled::Error::Io(e) if e.to_string().contains("lock") => {
                Self::Busy("another process uses this index".into())
            }
            other => Self::Unusable(other.to_string()),
        }
    }
}
