//! Keeps the index up with the journal, on a thread of its own and never on the answer path.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use truc_evidence::ers::group_hash;
use truc_evidence::{Proof, StoreError, StoredRecord};
use truc_model::Digest;

use super::index::Index;
use super::record_format::{Summary, decode};
use super::tail::{Step, Tail, ToIndex, ToProve};
use super::tree_files::TreeFiles;
use crate::files::{damaged, io};
use crate::journal::format::FrameType;
use crate::journal::scan::{Met, Place, Point, Segment, scan};
use crate::journal::{cipher, content};
use crate::keys::RecordKeys;

/// Records and proofs per step.
pub(super) const STEP: usize = 512;
/// The files of the tree are put on stable storage after so many records.
const TREE_SYNC: u64 = 16_384;
/// Between two tries to make a broken index again.
const PAUSE: Duration = Duration::from_secs(1);
/// At the end the index gets this long to take in what is left.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// Where index, tree and journal lie.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) index: PathBuf,
    pub(crate) tree: PathBuf,
    pub(crate) aside: PathBuf,
    pub(crate) stem: String,
    pub(crate) keys: Arc<dyn RecordKeys>,
}

/// All that is made from the journal.
pub(crate) struct Derived {
    pub(crate) index: Index,
    pub(crate) tree: TreeFiles,
}

impl Derived {
    /// Takes in what follows: the tree first, so that the index's point never names records that the tree has not.
    fn apply(&self, steps: &[Arc<Step>]) -> Result<(), String> {
        self.grow_tree(steps.iter().filter_map(|step| step.record()))?;
        self.index.apply(steps)
    }

    fn grow_tree<'a>(&self, records: impl Iterator<Item = &'a ToIndex>) -> Result<(), String> {
        let mut first = None;
        let mut hashes = Vec::new();
        for record in records {
            first.get_or_insert(record.sequence);
            hashes.push((record.leaf, record.group));
        }
        let Some(first) = first else { return Ok(()) };
        self.tree.append(first, &hashes).map_err(|e| format!("{}: {e}", self.tree.dir().display()))
    }

    /// Puts tree and index on stable storage, as far as they reach; returns that point. The next start reads the journal from there.
    pub(super) fn settle_all(&self) -> Result<Option<Point>, String> {
        // Whatever the index has is in the tree.
        let Some(point) = self.index.told()? else { return Ok(None) };
        self.settle(&point)?;
        self.index.sync()?;
        Ok(Some(point))
    }

    /// Makes the tree durable up to `point`, as far as the index is.
    fn settle(&self, point: &Point) -> Result<(), String> {
        self.tree.sync().map_err(|e| format!("{}: {e}", self.tree.dir().display()))?;
        self.index.set_tree_point(point)
    }
}

/// What is made from the journal, as readers find it; none while it is being made again.
pub(crate) type Slot = Arc<RwLock<Option<Arc<Derived>>>>;

pub(crate) fn current(slot: &Slot) -> Option<Arc<Derived>> {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn put(slot: &Slot, derived: Option<Arc<Derived>>) {
    *slot.write().unwrap_or_else(PoisonError::into_inner) = derived;
}

/// Opens index and tree and brings them up with the journal as far as `to`; returns the point where the journal was left.
pub(crate) fn open(
    places: &Places,
    segments: &[Segment],
    to: Option<Point>,
) -> Result<(Derived, Option<Point>), StoreError> {
    let (index, indexed) = Index::open(&places.index, &places.aside)?;
    crate::files::make_folder(&places.tree)?;
    let tree = TreeFiles::open(&places.tree).map_err(|e| io(&places.tree, e))?;
    let derived = Derived { index, tree };
    if segments.is_empty() && indexed.is_none() {
        derived.tree.keep(0).map_err(|e| io(&places.tree, e))?;
        return Ok((derived, None));
    }
    let known = indexed.is_none_or(|p| segments.iter().any(|s| s.id == p.place.segment));
    if !known {
        tracing::error!(
            "the index knows records that the journal does not have: was the journal replaced by an older one?"
        );
        return make_anew(places, derived, segments, to);
    }
    match catch_up(&derived, places, segments, indexed, to) {
        Ok(end) => Ok((derived, end)),
        // The point itself may be what is wrong: only a scan from the beginning tells whether the journal is.
        Err(error) if indexed.is_some() && error != StoreError::Full => {
            tracing::warn!(%error, "the index does not fit the journal and is made again");
            make_anew(places, derived, segments, to)
        }
        Err(error) => Err(error),
    }
}

fn make_anew(
    places: &Places,
    old: Derived,
    segments: &[Segment],
    to: Option<Point>,
) -> Result<(Derived, Option<Point>), StoreError> {
    let Derived { index, tree } = old;
    drop(index);
    let removed = std::fs::remove_dir_all(&places.index);
    removed.map_err(|e| io(&places.index, e))?;
    let (index, _) = Index::open(&places.index, &places.aside)?;
    let derived = Derived { index, tree };
    let end = catch_up(&derived, places, segments, None, to)?;
    Ok((derived, end))
}

/// The point from which the tree goes on, not beyond the index's; none when it has to be made from the beginning.
fn tree_point(
    derived: &Derived,
    places: &Places,
    segments: &[Segment],
    indexed: Option<Point>,
) -> Result<Option<Point>, StoreError> {
    let known = derived.index.tree_point().map_err(StoreError::Failed)?;
    let known = known.zip(indexed).map(|(tree, indexed)| tree_not_beyond(tree, indexed));
    let known = known.filter(|p| segments.iter().any(|s| s.id == p.place.segment));
    let size = known.map_or(0, |p| p.sequence);
    let kept = derived.tree.keep(size).map_err(|e| io(&places.tree, e))?;
    if !kept {
        tracing::warn!(path = %places.tree.display(), "the files of the tree are made again from the journal");
    }
    Ok(known.filter(|_| kept))
}

fn tree_not_beyond(tree: Point, indexed: Point) -> Point {
    if tree.place <= indexed.place { tree } else { indexed }
}

fn catch_up(
    derived: &Derived,
    places: &Places,
    segments: &[Segment],
    indexed: Option<Point>,
    to: Option<Point>,
) -> Result<Option<Point>, StoreError> {
    let failed = |e: String| StoreError::Failed(format!("{}: {e}", places.index.display()));
    let from = tree_point(derived, places, segments, indexed)?;
    let mut gathered: Vec<Arc<Step>> = Vec::new();
    let mut artifacts = Vec::new();
    let pour = |gathered: &mut Vec<Arc<Step>>| {
        // The tree may be behind the index: what the index has is not added to it twice.
        let new = |step: &Arc<Step>| indexed.is_none_or(|p| step.after().place > p.place);
        let known = gathered.iter().position(new).unwrap_or(gathered.len());
        let (old, new) = gathered.split_at(known);
        derived.grow_tree(old.iter().filter_map(|step| step.record())).map_err(failed)?;
        derived.apply(new).map_err(failed)?;
        gathered.clear();
        Ok::<(), StoreError>(())
    };
    let mut last = None;
    let end = scan(&places.stem, segments, from, to, &mut |met| {
        if let Some(step) = take(&met, &mut artifacts, &*places.keys)? {
            last = Some(step.after());
            gathered.push(Arc::new(step));
        }
        if gathered.len() == STEP {
            pour(&mut gathered)?;
        }
        Ok(())
    })?;
    pour(&mut gathered)?;
    if let Some(last) = last {
        derived.settle(&last).map_err(failed)?;
    }
    Ok(end)
}

/// Gathers artifacts and turns the frame of a record or a proof into what the index needs.
fn take(
    met: &Met<'_>,
    artifacts: &mut Vec<(Digest, Place)>,
    keys: &dyn RecordKeys,
) -> Result<Option<Step>, StoreError> {
    // Artifacts whose record was torn off are written again with the next record that names them.
    artifacts.retain(|(_, place)| place.segment == met.segment.id);
    let wrong = |what: &str| damaged(&met.segment.path, met.place.offset, what);
    let bytes = decrypt(met, keys)?;
    match met.frame.kind {
        FrameType::Artifact => {
            artifacts.push((Digest::of(&bytes), met.place));
            Ok(None)
        }
        FrameType::Record => {
            let decoded = decode(met.frame.sequence, bytes);
            let (record, _) = decoded.ok_or_else(|| wrong("a record of an unknown format"))?;
            Ok(Some(Step::Record(Box::new(ToIndex {
                sequence: record.sequence,
                place: met.place,
                artifacts: std::mem::take(artifacts),
                after: met.after,
                summary: Summary::of(record.kind, &record.header, &record.local),
                leaf: record.leaf().hash,
                group: group_of(&record),
            }))))
        }
        FrameType::Proof => {
            let proof = Proof::decode(&bytes).map_err(|e| wrong(&e.to_string()))?;
            Ok(Some(Step::Proof(Box::new(ToProve { place: met.place, after: met.after, proof }))))
        }
        FrameType::Body | FrameType::Decision => Err(wrong("a frame that does not belong into this journal")),
    }
}

/// The group hash of a record that holds a signed message.
pub(crate) fn group_of(record: &StoredRecord) -> Option<Digest> {
    record.kind.message_kind()?;
    Some(group_hash(record.manifest_digest, Digest::of(&record.cms), &record.statuses))
}

/// The frame's content, decrypted and decoded; the error names what is missing or wrong.
pub(crate) fn decrypt(met: &Met<'_>, keys: &dyn RecordKeys) -> Result<Vec<u8>, StoreError> {
    let id = met.frame.key_id;
    let key = keys.by_id(id).ok_or_else(|| {
        StoreError::Failed(format!(
            "{}: the key {id} is missing in the key store",
            met.segment.path.display()
        ))
    })?;
    let wrong = || damaged(&met.segment.path, met.place.offset, "the frame cannot be decrypted with its key");
    let bytes = cipher::open(&met.frame, &met.segment.header.salt, &key).ok_or_else(wrong)?;
    let encoded =
        || damaged(&met.segment.path, met.place.offset, "the frame's content has an unknown encoding");
    decoded(met.frame.kind, met.segment.header.version, bytes).ok_or_else(encoded)
}

/// A frame's content without the encoding that artifacts and proofs have.
pub(crate) fn decoded(kind: FrameType, version: u16, bytes: Vec<u8>) -> Option<Vec<u8>> {
    match kind {
        FrameType::Artifact | FrameType::Proof => content::decode(version, bytes),
        FrameType::Record | FrameType::Body | FrameType::Decision => Some(bytes),
    }
}

/// The thread; closing the tail ends it when all is indexed.
pub(crate) struct Indexer {
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
    /// How far the index reaches.
    pub(crate) indexed: watch::Receiver<Option<Place>>,
}

impl Indexer {
    pub(crate) fn start(
        places: Places,
        slot: Slot,
        tail: Arc<Tail>,
        extent: impl Fn() -> (Vec<Segment>, Option<Point>) + Send + 'static,
        indexed: Option<Place>,
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
    tell: &watch::Sender<Option<Place>>,
) {
    let mut unsettled = Unsettled::default();
    while let Some(steps) = tail.take(STEP) {
        let outcome = match current(slot) {
            Some(_) if steps.is_empty() => Ok(()),
            Some(derived) => derived.apply(&steps).and_then(|()| unsettled.note(&derived, &steps)),
            None => reopen(places, slot, extent(), &steps),
        };
        match outcome {
            Ok(()) => {
                tail.done(steps.len());
                // Told again after a reopening, though the place is the same: readers wait for the index to be there.
                let reached = steps.last().map_or_else(|| *tell.borrow(), |last| Some(last.after().place));
                let _ = tell.send(reached);
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
    if let Some((derived, point)) = current(slot).zip(unsettled.last)
        && let Err(reason) = derived.settle(&point)
    {
        tracing::warn!(reason, "the files of the tree are made anew at the next start");
    }
}

/// What the tree has and stable storage may not have.
#[derive(Default)]
struct Unsettled {
    records: u64,
    last: Option<Point>,
}

impl Unsettled {
    fn note(&mut self, derived: &Derived, steps: &[Arc<Step>]) -> Result<(), String> {
        let Some(last) = steps.last() else { return Ok(()) };
        self.records += steps.len() as u64;
        self.last = Some(last.after());
        if self.records >= TREE_SYNC {
            derived.settle(&last.after())?;
            *self = Self::default();
        }
        Ok(())
    }
}

/// Opens what failed again, or makes it anew, as far as the journal reaches; `steps` must be in it then.
fn reopen(
    places: &Places,
    slot: &Slot,
    (segments, end): (Vec<Segment>, Option<Point>),
    steps: &[Arc<Step>],
) -> Result<(), String> {
    let (derived, reached) = open(places, &segments, end).map_err(|e| e.to_string())?;
    let lacks = |step: &Arc<Step>| reached.is_none_or(|reached| step.after().place > reached.place);
    if steps.iter().any(lacks) {
        return Err("the journal could not be read to its end".into());
    }
    put(slot, Some(Arc::new(derived)));
    Ok(())
}
