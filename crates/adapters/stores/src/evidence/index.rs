//! The index in sled: never the only copy of anything, always behind or equal to the journal (design §5).
//!
//! One tree, one batch per step, so that a step is there whole or not at all. A key is a letter and fixed parts:
//!
//! ```text
//! f                               format version
//! m                               point up to which the journal is indexed
//! s sequence                   -> place of the record
//! r request                    -> the exchange (JSON)
//! t time request               requests by time of their first record
//! c client 0 time request      the same by client
//! v service 0 time request     the same by service
//! x hash time request          the same by SHA-256 of the id that the caller gave
//! d time sequence              records by time
//! o key id 0 hash sequence     records by officer
//! u key id 0 hash sequence     records by subject
//! p request role            -> sequence of a request without an answer
//! a digest                  -> place of an artifact
//! ```

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use truc_evidence::{ExchangeSummary, KeyedHash, Outcome, Query, RecordKind, Role, StoreError};
use truc_model::{Digest, MessageId, ServiceId, SubsystemId, Timestamp};

use super::tail::ToIndex;
use crate::journal::format::Reader;
use crate::journal::scan::{Place, Point, SegmentId};

const VERSION: &[u8] = b"2";
const CACHE: u64 = 16 << 20;
/// How often, and how far apart, a locked index is tried again.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Most exchanges one query returns.
const LIST_LIMIT: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exchange {
    time: Timestamp,
    role: Role,
    client: SubsystemId,
    service: ServiceId,
    outcome: Outcome,
    fault: Option<String>,
    records: Vec<u64>,
}

fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![letter];
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

const fn time_bytes(at: Timestamp) -> [u8; 8] {
    // Times are never before 1970, so that their order is that of their bytes.
    at.millis().to_be_bytes()
}

fn hash_key(letter: u8, hash: &KeyedHash, sequence: u64) -> Vec<u8> {
    key(letter, &[hash.key_id.as_bytes(), &[0], hash.hash.as_bytes(), &sequence.to_be_bytes()])
}

fn open_key(request: &MessageId, role: Role) -> Vec<u8> {
    key(b'p', &[request.as_bytes(), &[if role == Role::Consumer { 1 } else { 2 }]])
}

fn encode_place(place: Place) -> Vec<u8> {
    let SegmentId { first, n } = place.segment;
    [first.to_be_bytes().as_slice(), &n.to_be_bytes(), &place.offset.to_be_bytes()].concat()
}

fn decode_place(r: &mut Reader<'_>) -> Option<Place> {
    let segment = SegmentId { first: r.u64()?, n: r.u32()? };
    Some(Place { segment, offset: r.u64()? })
}

fn encode_point(point: &Point) -> Vec<u8> {
    let mut out = encode_place(point.place);
    out.extend_from_slice(&point.frame.to_be_bytes());
    out.extend_from_slice(&point.sequence.to_be_bytes());
    out.extend_from_slice(point.chain.as_bytes());
    out
}

fn decode_point(bytes: &[u8]) -> Option<Point> {
    let mut r = Reader(bytes);
    Some(Point { place: decode_place(&mut r)?, frame: r.u32()?, sequence: r.u64()?, chain: r.digest()? })
}

/// Whether any value that the index keeps can be read from these bytes, and comes out again as it was.
#[cfg(feature = "fuzzing")]
pub(crate) fn reads_back(bytes: &[u8]) -> bool {
    let point = decode_point(bytes).is_some_and(|p| bytes.starts_with(&encode_point(&p)));
    let place = decode_place(&mut Reader(bytes)).is_some_and(|p| bytes.starts_with(&encode_place(p)));
    let exchange = serde_json::from_slice::<Exchange>(bytes).is_ok_and(|e| serde_json::to_vec(&e).is_ok());
    point || place || exchange || sequence_at_end(bytes).is_some()
}

fn sequence_at_end(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(bytes.len().checked_sub(8)?..)?.try_into().ok()?))
}

/// sled may panic where it finds its files changed; that must not end the node.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("sled panicked".into()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const BAD_ENTRY: &str = "an entry of the index cannot be read";

/// The open index. An error in it is never an error of the journal: the index is thrown away and made again.
pub(crate) struct Index {
    db: sled::Db,
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
        let opened = catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(Some(1000)).open()
        }));
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => return Err(Failure::Unusable("sled panicked".into())),
        };
        let index = Self { db };
        let point = guarded(|| index.check()).map_err(Failure::Unusable)?;
        Ok((index, point))
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

    /// Adds records, in order, in one step.
    pub(crate) fn apply(&self, records: &[Arc<ToIndex>]) -> Result<(), String> {
        guarded(|| self.apply_unguarded(records))
    }

    fn apply_unguarded(&self, records: &[Arc<ToIndex>]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        let mut exchanges: HashMap<MessageId, Exchange> = HashMap::new();
        for record in records {
            let s = &record.summary;
            let sequence = record.sequence.to_be_bytes();
            batch.insert(key(b's', &[&sequence]), encode_place(record.place));
            batch.insert(key(b'd', &[&time_bytes(s.at), &sequence]), &[]);
            for (digest, place) in &record.artifacts {
                batch.insert(key(b'a', &[digest.as_bytes()]), encode_place(*place));
            }
            if let Some(hash) = &s.caller_id {
                batch.insert(key(b'x', &[hash.as_bytes(), &time_bytes(s.at), s.request.as_bytes()]), &[]);
            }
            for (letter, hash) in [(b'o', &s.officer), (b'u', &s.subject)] {
                if let Some(hash) = hash {
                    batch.insert(hash_key(letter, hash, record.sequence), &[]);
                }
            }
            match s.kind {
                RecordKind::Request => batch.insert(open_key(&s.request, s.role), &sequence),
                _ => batch.remove(open_key(&s.request, s.role)),
            }
            let exchange = match exchanges.entry(s.request) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let stored = self.exchange_entry(&s.request)?;
                    unknown.insert(stored.unwrap_or_else(|| begin(record, &mut batch)))
                }
            };
            fold(exchange, record);
        }
        for (request, exchange) in &exchanges {
            batch.insert(key(b'r', &[request.as_bytes()]), serde_json::to_vec(exchange).map_err(text)?);
        }
        if let Some(last) = records.last() {
            batch.insert(b"m", encode_point(&last.after));
        }
        self.db.apply_batch(batch).map_err(text)
    }

    fn exchange_entry(&self, request: &MessageId) -> Result<Option<Exchange>, String> {
        let bytes = self.db.get(key(b'r', &[request.as_bytes()])).map_err(text)?;
        bytes.map(|b| serde_json::from_slice(&b).map_err(text)).transpose()
    }

    pub(crate) fn place(&self, sequence: u64) -> Result<Option<Place>, String> {
        self.get_place(&key(b's', &[&sequence.to_be_bytes()]))
    }

    pub(crate) fn artifact(&self, digest: &Digest) -> Result<Option<Place>, String> {
        self.get_place(&key(b'a', &[digest.as_bytes()]))
    }

    fn get_place(&self, key: &[u8]) -> Result<Option<Place>, String> {
        guarded(|| {
            let bytes = self.db.get(key).map_err(text)?;
            bytes.map(|b| decode_place(&mut Reader(&b)).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
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

    pub(crate) fn exchange(&self, request: &MessageId) -> Result<Vec<u64>, String> {
        guarded(|| Ok(self.exchange_entry(request)?.map(|e| e.records).unwrap_or_default()))
    }

    /// Sequences of the records made at or after `since` and of all requests without an answer.
    pub(crate) fn replay(&self, since: Timestamp) -> Result<Vec<u64>, String> {
        guarded(|| {
            let mut found = Vec::new();
            for entry in self.db.range(key(b'd', &[&time_bytes(since)])..vec![b'd' + 1]).keys() {
                found.extend(sequence_at_end(&entry.map_err(text)?));
            }
            for entry in self.db.scan_prefix([b'p']).values() {
                found.extend(sequence_at_end(&entry.map_err(text)?));
            }
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    pub(crate) fn list(&self, query: &Query) -> Result<Vec<ExchangeSummary>, String> {
        guarded(|| self.list_unguarded(query))
    }

    fn list_unguarded(&self, query: &Query) -> Result<Vec<ExchangeSummary>, String> {
        let limit = if query.limit == 0 { LIST_LIMIT } else { query.limit.min(LIST_LIMIT) };
        let mut found = Vec::new();
        if let Some(request) = query.request {
            let entry = self.exchange_entry(&request)?.filter(|e| matches(query, e));
            if let Some(exchange) = entry
                && self.bears(query, &request, &exchange)?
            {
                found.push(summary(request, exchange));
            }
            return Ok(found);
        }
        let prefix = match (&query.caller_id, &query.client, &query.service) {
            (Some(id), ..) => key(b'x', &[Digest::of(id.as_bytes()).as_bytes()]),
            (None, Some(client), _) => key(b'c', &[client.as_str().as_bytes(), &[0]]),
            (None, None, Some(service)) => key(b'v', &[service.as_str().as_bytes(), &[0]]),
            (None, None, None) => vec![b't'],
        };
        let since = query.since.unwrap_or(Timestamp::from_millis(0));
        let from = [prefix.as_slice(), &time_bytes(since)].concat();
        let to = match query.until {
            Some(until) => [prefix.as_slice(), &time_bytes(until)].concat(),
            None => [prefix.as_slice(), &[0xff; 9]].concat(),
        };
        if from >= to {
            return Ok(found);
        }
        for entry in self.db.range(from..to).rev() {
            let (entry, _) = entry.map_err(text)?;
            let id = entry.get(entry.len().saturating_sub(16)..).and_then(request_id).ok_or(BAD_ENTRY)?;
            let exchange = self.exchange_entry(&id)?.ok_or(BAD_ENTRY)?;
            // Both halves of a node may have recorded one request.
            let again = query.caller_id.is_some() && found.iter().any(|e: &ExchangeSummary| e.id == id);
            if matches(query, &exchange) && !again {
                found.push(summary(id, exchange));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether the request has the caller's id that is asked for, if one is.
    fn bears(&self, query: &Query, request: &MessageId, exchange: &Exchange) -> Result<bool, String> {
        let Some(id) = &query.caller_id else { return Ok(true) };
        let hash = Digest::of(id.as_bytes());
        let entry = key(b'x', &[hash.as_bytes(), &time_bytes(exchange.time), request.as_bytes()]);
        self.db.contains_key(entry).map_err(text)
    }

    /// Marks an index in which something unreadable was met: whoever opens it next makes it anew.
    pub(crate) fn condemn(&self) {
        let _ = guarded(|| self.db.remove([b'f']).map_err(text));
    }

    /// Makes an exchange's entry unreadable.
    #[cfg(test)]
    pub(crate) fn spoil(&self, request: &MessageId) {
        self.db.insert(key(b'r', &[request.as_bytes()]), b"{").unwrap();
    }

    /// Every entry, for comparing.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.db.iter().map(|e| e.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
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

fn begin(record: &ToIndex, batch: &mut sled::Batch) -> Exchange {
    let s = &record.summary;
    let (time, id) = (time_bytes(s.at), s.request);
    batch.insert(key(b't', &[&time, id.as_bytes()]), &[]);
    batch.insert(key(b'c', &[s.client.as_str().as_bytes(), &[0], &time, id.as_bytes()]), &[]);
    batch.insert(key(b'v', &[s.service.as_str().as_bytes(), &[0], &time, id.as_bytes()]), &[]);
    Exchange {
        time: s.at,
        role: s.role,
        client: s.client.clone(),
        service: s.service.clone(),
        outcome: Outcome::Unknown,
        fault: None,
        records: Vec::new(),
    }
}

fn fold(exchange: &mut Exchange, record: &ToIndex) {
    exchange.records.push(record.sequence);
    if let Some(outcome) = record.summary.ends_as() {
        exchange.outcome = outcome;
        exchange.fault.clone_from(&record.summary.fault);
    }
}

fn matches(query: &Query, exchange: &Exchange) -> bool {
    query.client.as_ref().is_none_or(|c| *c == exchange.client)
        && query.service.as_ref().is_none_or(|s| *s == exchange.service)
        && query.since.is_none_or(|t| exchange.time >= t)
        && query.until.is_none_or(|t| exchange.time < t)
}

fn summary(id: MessageId, e: Exchange) -> ExchangeSummary {
    ExchangeSummary {
        id,
        time: e.time,
        role: e.role,
        client: e.client,
        service: e.service,
        outcome: e.outcome,
        fault: e.fault,
        records: e.records,
    }
}

/// A message id from its 16 bytes.
fn request_id(bytes: &[u8]) -> Option<MessageId> {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |range| hex.get(range);
    format!("{}-{}-{}-{}-{}", part(0..8)?, part(8..12)?, part(12..16)?, part(16..20)?, part(20..32)?)
        .parse()
        .ok()
}
