//! Evidence on this machine's disk: the journal is the truth, the index finds things in it.

pub(crate) mod index;
mod index_proofs;
pub(crate) mod indexer;
mod proofs;
pub(crate) mod record_format;
mod segments;
pub(crate) mod tail;
pub(crate) mod tree_files;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::ers::group_hash;
use truc_evidence::{
    BodyClass, EvidenceStore, Found, NewRecord, Query, Receipt, Reservation, StoreError, StoredRecord,
    leaf_hash,
};
use truc_message::Leaf;
use truc_model::{Digest, MessageId, Timestamp};

use self::indexer::{Indexer, Places, Slot, current};
use self::record_format::{Summary, decode, encode};
use self::tail::{Note, Tail};
use crate::bodies::{self, BODY_LIMIT, BodyRef, Month, Packed};
use crate::files::{self, damaged};
use crate::journal::cipher;
use crate::journal::format::{FRAME_LIMIT, FrameType, SegmentKind};
use crate::journal::scan::{self, Place, Point, Segment, SegmentId};
use crate::journal::{Entry, EntryBody, Journal, Setup, Sink};
use crate::keeping::{Folder, Shelf};
use crate::keys::RecordKeys;
use crate::options::JournalOptions;

/// The journal's name in the data folder.
pub(crate) const STEM: &str = "evidence";
/// Kept for a record beyond the bytes that its reservation names: signature, statuses, certificates, frame heads.
const RECORD_EXTRA: u64 = 16 << 10;
/// The most that a reservation's bytes can mean for the record itself; the rest is body.
const RECORD_MOST: u64 = 64 << 10;
/// A body of so many bytes is compressed in well under a millisecond.
const PACK_AT_ONCE: usize = 64 << 10;
/// The longest proof, in bytes of JSON.
const PROOF_LIMIT: usize = FRAME_LIMIT / 2;
/// How long a list waits for the index to reach the last append.
const LIST_WAIT: Duration = Duration::from_secs(2);

/// [`EvidenceStore`] in segment files, with sled as its index.
///
/// An append is answered after `fdatasync`; to wait for a dead disk no longer than makes sense is up to the caller, whose
/// giving up does not undo the append. Dropping the journal writes what waits and joins its threads.
pub struct EvidenceJournal {
    journal: Option<Journal<Note>>,
    indexer: Indexer,
    readers: Arc<Readers>,
    keys: Arc<dyn RecordKeys>,
}

/// What reading needs; shared with blocking tasks.
struct Readers {
    dir: PathBuf,
    bodies: PathBuf,
    keys: Arc<dyn RecordKeys>,
    tail: Arc<Tail>,
    slot: Slot,
    shelf: Arc<Shelf>,
    folder: Folder,
    options: JournalOptions,
    extent: Box<dyn Fn() -> (Vec<Segment>, Option<Point>) + Send + Sync>,
}

impl EvidenceJournal {
    /// Opens the evidence of the data folder `folder` (see [`crate::DataFolder`]); blocks while the end of the journal is read, and
    /// the whole of it when the index has to be made again.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when acknowledged records cannot be read, [`StoreError::Failed`] when a key is missing or the disk refuses.
    pub fn open(
        folder: &Path,
        keys: Arc<dyn RecordKeys>,
        options: JournalOptions,
    ) -> Result<Self, StoreError> {
        let (dir, bodies) = (folder.join("journal"), folder.join("bodies"));
        let index_root = folder.join("index");
        for path in [&dir, &bodies, &index_root] {
            files::make_folder(path)?;
        }
        let places = Places {
            index: index_root.join(STEM),
            tree: index_root.join("log"),
            aside: folder.join("tmp"),
            stem: STEM.to_owned(),
            keys: Arc::clone(&keys),
        };
        let shelf = Arc::new(Shelf::open(folder, options.archive.clone())?);
        let segments = scan::list_all(&dir, STEM, &shelf)?;
        let (derived, end) = indexer::open(&places, &segments, None)?;
        let artifacts = derived.index.artifacts().map_err(StoreError::Failed)?;
        bodies::give_back(&bodies, &options)?;
        let slot: Slot = Arc::new(RwLock::new(Some(Arc::new(derived))));
        let tail = Arc::new(Tail::new(options.trail));
        let setup = Setup {
            dir: dir.clone(),
            bodies: bodies.clone(),
            stem: STEM.to_owned(),
            keys: Arc::clone(&keys),
            options: options.clone(),
            segments,
            end,
            artifacts,
        };
        let journal = Journal::start(setup, Arc::clone(&tail) as Arc<dyn Sink<Note>>)?;
        let reached = end.map(|e| e.place);
        let reader = shelved(journal.extent_reader(), &shelf);
        let following = shelved(journal.extent_reader(), &shelf);
        let indexer = Indexer::start(places, Arc::clone(&slot), Arc::clone(&tail), following, reached)?;
        let extent = Box::new(reader);
        let folder = Folder { data: folder.to_owned() };
        let keys_of = Arc::clone(&keys);
        let readers =
            Arc::new(Readers { dir, bodies, keys: keys_of, tail, slot, shelf, folder, options, extent });
        Ok(Self { journal: Some(journal), indexer, readers, keys })
    }

    fn journal(&self) -> Result<&Journal<Note>, StoreError> {
        self.journal.as_ref().ok_or_else(|| StoreError::Failed("the evidence journal is closed".into()))
    }

    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let done = tokio::task::spawn_blocking(move || work(&readers)).await;
        done.map_err(|e| StoreError::Failed(format!("reading the evidence journal was cut short: {e}")))?
    }

    /// Every entry of the index, once it has all records, but for what depends on when it was written.
    #[cfg(test)]
    pub(crate) async fn index_dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.indexed().await;
        let mut entries = current(&self.readers.slot).unwrap().index.dump();
        entries.retain(|(key, _)| key != b"L");
        entries
    }

    /// Writes nonsense into the index, as a disk may.
    #[cfg(test)]
    pub(crate) fn spoil_index(&self, request: &MessageId) {
        current(&self.readers.slot).unwrap().index.spoil(request);
    }

    /// Waits until the index is there and has all that is durable now, but not for ever.
    async fn indexed(&self) {
        let wanted = (self.readers.extent)().1.map(|e| e.place);
        let mut indexed = self.indexer.indexed.clone();
        let there = |reached: &Option<Place>| *reached >= wanted && current(&self.readers.slot).is_some();
        let _ = tokio::time::timeout(LIST_WAIT, indexed.wait_for(there)).await;
    }
}

impl Drop for EvidenceJournal {
    fn drop(&mut self) {
        // The writer first: what it still writes goes into the index too.
        self.journal = None;
        self.readers.tail.close();
        self.indexer.join();
    }
}

/// The extent with segments that are found wherever they lie.
fn shelved(
    extent: impl Fn() -> (Vec<Segment>, Option<Point>) + Send + Sync + 'static,
    shelf: &Arc<Shelf>,
) -> impl Fn() -> (Vec<Segment>, Option<Point>) + Send + Sync + 'static {
    let shelf = Arc::clone(shelf);
    move || {
        let (mut segments, end) = extent();
        segments.iter_mut().for_each(|segment| segment.shelf = Some(Arc::clone(&shelf)));
        (segments, end)
    }
}

/// A body as it will lie on disk; a long one is compressed beside the runtime.
async fn pack(class: BodyClass, body: Bytes) -> Result<Packed, StoreError> {
    if body.len() <= PACK_AT_ONCE {
        return Packed::new(class, body);
    }
    let packed = tokio::task::spawn_blocking(move || Packed::new(class, body)).await;
    packed.map_err(|e| StoreError::Failed(format!("compressing a body was cut short: {e}")))?
}

#[async_trait]
impl EvidenceStore for EvidenceJournal {
    async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        let journal = bytes.min(RECORD_MOST) + RECORD_EXTRA;
        let body = bodies::body_room(bytes.min(BODY_LIMIT as u64));
        self.journal()?.reserve(journal, body).await
    }

    async fn append(&self, mut record: NewRecord, room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let owner = &record.owner;
        let key = self.keys.record_key(owner);
        let key = key.ok_or_else(|| StoreError::Failed(format!("there is no evidence key for {owner}")))?;
        let local_bytes = serde_json::to_vec(&record.local).map_err(|e| StoreError::Failed(e.to_string()))?;
        let body = match record.body.take() {
            Some(bytes) if bytes.is_empty() => EntryBody::Empty,
            Some(bytes) if bytes.len() <= BODY_LIMIT => {
                EntryBody::Bytes(pack(record.class.clone(), bytes).await?)
            }
            _ => EntryBody::None,
        };
        let apart = match &body {
            EntryBody::Bytes(packed) => Some(packed.digest()),
            EntryBody::Empty => None,
            EntryBody::None => record.body_digest,
        };
        let payload = encode(&record, apart, &local_bytes)?;
        let signed = record.kind.message_kind().is_some();
        let cms_digest = Digest::of(&record.cms);
        let group = signed.then(|| group_hash(record.manifest_digest, cms_digest, &record.statuses));
        let summary = Summary::of(record.kind, &record.header, &record.local);
        let entry = Entry {
            kind: FrameType::Record,
            key,
            payload,
            month: Month::of(record.local.at),
            body,
            artifacts: record.artifacts.iter().map(|a| (a.digest, a.bytes.clone())).collect(),
            note: Note::Record(Box::new(summary), group),
            leaf: Box::new(move |index| {
                let NewRecord { kind, manifest_digest, cms, statuses, .. } = &record;
                Leaf { index, hash: leaf_hash(index, *kind, *manifest_digest, cms, statuses, &local_bytes) }
            }),
            room,
        };
        self.journal()?.append(entry).await
    }

    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        self.reading(move |r| Ok(r.record(sequence)?.0)).await
    }

    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        if current(&self.readers.slot).is_none() {
            self.indexed().await;
        }
        self.reading(move |r| {
            // The tail first: what leaves it meanwhile is in the index by then.
            let mut sequences = r.tail.exchange(&request);
            sequences.extend(r.index(|i| i.exchange(&request))?);
            sequences.sort_unstable();
            sequences.dedup();
            sequences.into_iter().map(|s| Ok(r.record(s)?.0)).collect()
        })
        .await
    }

    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        self.reading(move |r| {
            let (_, reference) = r.record(sequence)?;
            bodies::read(&r.bodies, &*r.keys, &r.shelf, sequence, &reference)
        })
        .await
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.reading(move |r| r.artifact(&digest)).await
    }

    async fn list(&self, query: Query) -> Result<Found, StoreError> {
        self.indexed().await;
        self.reading(move |r| r.index(|i| i.list(&query))).await
    }

    async fn replay(&self, since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        self.indexed().await;
        self.reading(move |r| {
            let sequences = r.index(|i| i.replay(since))?;
            sequences.into_iter().map(|s| Ok(r.record(s)?.0)).collect()
        })
        .await
    }
}

impl Readers {
    fn index<T>(&self, ask: impl FnOnce(&index::Index) -> Result<T, String>) -> Result<T, StoreError> {
        let index = current(&self.slot).ok_or_else(|| {
            StoreError::Failed("the index is being made again from the journal; ask later".into())
        })?;
        ask(&index.index).map_err(|reason| {
            tracing::error!(reason, "the index cannot be read and will be made again");
            index.index.condemn();
            *self.slot.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.tail.ask_to_reopen();
            StoreError::Failed(
                "the index cannot be read and is made again from the journal; ask later".into(),
            )
        })
    }

    fn place(&self, sequence: u64) -> Result<Place, StoreError> {
        match self.tail.place(sequence) {
            Some(place) => Ok(place),
            None => match self.index(|i| i.place(sequence)) {
                Ok(Some(place)) => Ok(place),
                // The tail may have been emptied into an index that failed; the journal itself always knows.
                Ok(None) | Err(_) => self.search(sequence)?.ok_or(StoreError::NotFound),
            },
        }
    }

    fn record(&self, sequence: u64) -> Result<(StoredRecord, BodyRef), StoreError> {
        let place = self.place(sequence)?;
        let content = self.frame(place, FrameType::Record, Some(sequence))?;
        let path = self.path(place.segment);
        decode(sequence, content).ok_or_else(|| damaged(&path, place.offset, "a record of an unknown format"))
    }

    fn artifact(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let place = match self.tail.artifact(digest) {
            Some(place) => Some(place),
            None => self.index(|i| i.artifact(digest))?,
        };
        let Some(place) = place else { return Ok(None) };
        let content = self.frame(place, FrameType::Artifact, None)?;
        if Digest::of(&content) != *digest {
            return Err(damaged(
                &self.path(place.segment),
                place.offset,
                "an artifact that is not what its digest says",
            ));
        }
        Ok(Some(content.into()))
    }

    fn path(&self, id: SegmentId) -> PathBuf {
        scan::segment_path(&self.dir, STEM, id)
    }

    fn frame(&self, place: Place, kind: FrameType, sequence: Option<u64>) -> Result<Vec<u8>, StoreError> {
        let path = self.path(place.segment);
        let read = |found: &Path| {
            scan::read_at(found, SegmentKind::Journal, place.offset, |frame, header| {
                if frame.kind != kind || sequence.is_some_and(|s| s != frame.sequence) {
                    return Err(damaged(&path, place.offset, "another frame than the index says"));
                }
                let id = frame.key_id;
                let key = self.keys.by_id(id);
                let key = key
                    .ok_or_else(|| StoreError::Failed(format!("the key {id} is missing in the key store")))?;
                let wrong = || damaged(&path, place.offset, "the frame cannot be decrypted with its key");
                let bytes = cipher::open(frame, &header.salt, &key).ok_or_else(wrong)?;
                let encoded = || damaged(&path, place.offset, "the frame's content has an unknown encoding");
                indexer::decoded(frame.kind, header.version, bytes).ok_or_else(encoded)
            })
        };
        self.shelf.with(&path, read)
    }

    /// Finds a record without the index.
    fn search(&self, sequence: u64) -> Result<Option<Place>, StoreError> {
        let (segments, end) = (self.extent)();
        let Some(end) = end.filter(|e| sequence < e.sequence) else {
            return Ok(None);
        };
        let Some(segment) = segments.iter().rev().find(|s| s.id.first <= sequence) else {
            return Ok(None);
        };
        let mut found = None;
        scan::scan(STEM, &segments, Some(segment.start()), Some(end), &mut |met| {
            if met.frame.kind == FrameType::Record && met.frame.sequence == sequence {
                found = Some(met.place);
            }
            Ok(())
        })?;
        Ok(found)
    }
}
