//! Keeps the index up with the journal, on a thread of its own and never on the answer path.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use truc_evidence::StoreError;
use truc_model::Digest;

use super::index::Index;
use super::record_format::{Summary, decode};
use super::tail::{Tail, ToIndex};
use crate::files::damaged;
use crate::journal::cipher;
use crate::journal::format::FrameType;
use crate::journal::scan::{Met, Place, Point, Segment, scan};
use crate::keys::RecordKeys;

/// Records per step.
const STEP: usize = 512;
/// Between two tries to make a broken index again.
const PAUSE: Duration = Duration::from_secs(1);
/// At the end the index gets this long to take in what is left.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// Where index and journal lie.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) index: PathBuf,
    pub(crate) aside: PathBuf,
    pub(crate) stem: String,
    pub(crate) keys: Arc<dyn RecordKeys>,
}

/// The index as readers find it; none while it is being made again.
pub(crate) type Slot = Arc<RwLock<Option<Arc<Index>>>>;

pub(crate) fn current(slot: &Slot) -> Option<Arc<Index>> {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn put(slot: &Slot, index: Option<Arc<Index>>) {
    *slot.write().unwrap_or_else(PoisonError::into_inner) = index;
}

/// Opens the index and brings it up with the journal as far as `to`; returns the point where the journal was left.
pub(crate) fn open(
    places: &Places,
    segments: &[Segment],
    to: Option<Point>,
) -> Result<(Index, Option<Point>), StoreError> {
    let (index, indexed) = Index::open(&places.index, &places.aside)?;
    if segments.is_empty() && indexed.is_none() {
        return Ok((index, None));
    }
    let known = indexed.is_none_or(|p| segments.iter().any(|s| s.id == p.place.segment));
    if !known {
        tracing::error!(
            "the index knows records that the journal does not have: was the journal replaced by an older one?"
        );
        return make_anew(places, index, segments, to);
    }
    match catch_up(&index, places, segments, indexed, to) {
        Ok(end) => Ok((index, end)),
        // The point itself may be what is wrong: only a scan from the beginning tells whether the journal is.
        Err(error) if indexed.is_some() && error != StoreError::Full => {
            tracing::warn!(%error, "the index does not fit the journal and is made again");
            make_anew(places, index, segments, to)
        }
        Err(error) => Err(error),
    }
}

fn make_anew(
    places: &Places,
    old: Index,
    segments: &[Segment],
    to: Option<Point>,
) -> Result<(Index, Option<Point>), StoreError> {
    drop(old);
    let removed = std::fs::remove_dir_all(&places.index);
    removed.map_err(|e| crate::files::io(&places.index, e))?;
    let (index, _) = Index::open(&places.index, &places.aside)?;
    let end = catch_up(&index, places, segments, None, to)?;
    Ok((index, end))
}

fn catch_up(
    index: &Index,
    places: &Places,
    segments: &[Segment],
    from: Option<Point>,
    to: Option<Point>,
) -> Result<Option<Point>, StoreError> {
    let failed = |e: String| StoreError::Failed(format!("{}: {e}", places.index.display()));
    let mut gathered = Vec::new();
    let mut artifacts = Vec::new();
    let end = scan(&places.stem, segments, from, to, &mut |met| {
        if let Some(record) = take(&met, &mut artifacts, &*places.keys)? {
            gathered.push(Arc::new(record));
        }
        if gathered.len() == STEP {
            index.apply(&gathered).map_err(failed)?;
            gathered.clear();
        }
        Ok(())
    })?;
    index.apply(&gathered).map_err(failed)?;
    Ok(end)
}

/// Gathers artifacts and turns a record's frame into what the index needs.
fn take(
    met: &Met<'_>,
    artifacts: &mut Vec<(Digest, Place)>,
    keys: &dyn RecordKeys,
) -> Result<Option<ToIndex>, StoreError> {
    // Artifacts whose record was torn off are written again with the next record that names them.
    artifacts.retain(|(_, place)| place.segment == met.segment.id);
    let content = decrypt(met, keys)?;
    match met.frame.kind {
        FrameType::Artifact => {
            artifacts.push((Digest::of(&content), met.place));
            Ok(None)
        }
        FrameType::Record => {
            let decoded = decode(met.frame.sequence, content);
            let (record, _) = decoded.ok_or_else(|| {
                damaged(&met.segment.path, met.place.offset, "a record of an unknown format")
            })?;
            Ok(Some(ToIndex {
                sequence: record.sequence,
                place: met.place,
                artifacts: std::mem::take(artifacts),
                after: met.after,
                summary: Summary::of(record.kind, &record.header, &record.local),
            }))
        }
        FrameType::Body | FrameType::Decision => Err(damaged(
            &met.segment.path,
            met.place.offset,
            "a frame that does not belong into this journal",
        )),
    }
}

/// The frame's content; the error names what is missing or wrong.
pub(crate) fn decrypt(met: &Met<'_>, keys: &dyn RecordKeys) -> Result<Vec<u8>, StoreError> {
    let id = met.frame.key_id;
    let key = keys.by_id(id).ok_or_else(|| {
        StoreError::Failed(format!(
            "{}: the key {id} is missing in the key store",
            met.segment.path.display()
        ))
    })?;
    let wrong = || damaged(&met.segment.path, met.place.offset, "the frame cannot be decrypted with its key");
    cipher::open(&met.frame, &met.segment.header.salt, &key).ok_or_else(wrong)
}

/// The thread; closing the tail ends it when all is indexed.
pub(crate) struct Indexer {
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
    /// Records indexed so far.
    pub(crate) indexed: watch::Receiver<u64>,
}

impl Indexer {
    pub(crate) fn start(
        places: Places,
        slot: Slot,
        tail: Arc<Tail>,
        extent: impl Fn() -> (Vec<Segment>, Option<Point>) + Send + 'static,
        indexed: u64,
    ) -> Result<Self, StoreError> {
        let (tell, indexed) = watch::channel(indexed);
        let builder = std::thread::Builder::new().name("evidence-index".into());
        let (alive, ended) = mpsc::channel();
        let thread = builder.spawn(move || {
            run(&places, &slot, &tail, extent, &tell);
            // Closing sled may wait for a dead disk as well: here, not where the journal is dropped.
            put(&slot, None);
            drop(alive);
        });
        let thread = thread.map_err(|e| StoreError::Failed(format!("no thread for the index: {e}")))?;
        Ok(Self { thread: Some(thread), ended: Mutex::new(ended), indexed })
    }

    /// Waits for the thread's end once the tail is closed, but not for ever: sled may wait for a disk that is gone, and what
    /// the index lacks is made again from the journal.
    pub(crate) fn join(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        match ended.recv_timeout(JOIN_WITHIN) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::error!("the index does not end, as its disk does not answer; it is left behind");
            }
            _ if thread.join().is_err() => tracing::error!("the index's thread had panicked"),
            _ => {}
        }
    }
}

fn run(
    places: &Places,
    slot: &Slot,
    tail: &Tail,
    extent: impl Fn() -> (Vec<Segment>, Option<Point>),
    tell: &watch::Sender<u64>,
) {
    while let Some(records) = tail.take(STEP) {
        let outcome = match current(slot) {
            Some(_) if records.is_empty() => Ok(()),
            Some(index) => index.apply(&records),
            None => reopen(places, slot, extent(), &records),
        };
        match outcome {
            Ok(()) => {
                tail.done(&records);
                // Told again after a reopening, though the number is the same: readers wait for the index to be there.
                let _ = tell.send(records.last().map_or_else(|| *tell.borrow(), |last| last.sequence + 1));
            }
            Err(reason) => {
                tracing::error!(path = %places.index.display(), reason, "the index failed; it is opened again and again");
                put(slot, None);
                tail.ask_to_reopen();
                if !tail.pause(PAUSE) {
                    return;
                }
            }
        }
    }
}

/// Opens a failed index again, or makes it anew, as far as the journal reaches; `records` must be in it then.
fn reopen(
    places: &Places,
    slot: &Slot,
    (segments, end): (Vec<Segment>, Option<Point>),
    records: &[Arc<ToIndex>],
) -> Result<(), String> {
    let (index, point) = open(places, &segments, end).map_err(|e| e.to_string())?;
    let reached = point.map_or(0, |p| p.sequence);
    if records.iter().any(|r| r.sequence >= reached) {
        return Err("the journal could not be read to its end".into());
    }
    put(slot, Some(Arc::new(index)));
    Ok(())
}
