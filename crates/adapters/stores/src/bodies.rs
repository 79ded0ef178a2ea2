//! Bodies, apart from records so that they can expire: `bodies/<class>/<yyyymm>/<n>.seg` (protocol P5.1).
//!
//! Each (class, month) has a random key of its own, wrapped by the node's key in the file `key` beside the segments: dropping that file drops
//! the bodies. Format of `key`: magic "TRUCKEY\0" · version u16 · id length u8 · id of the wrapping key · salt 32 · wrapped secret 48.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use truc_evidence::{BodyClass, StoreError};
use truc_model::{Digest, Timestamp};
use zeroize::Zeroizing;

use crate::files::{self, Ask, damaged, io};
use crate::journal::format::{self, FrameType, Reader, SegmentHeader, SegmentKind, frame_length};
use crate::journal::pause::Pause;
use crate::journal::scan::read_at;
use crate::journal::segment::Active;
use crate::journal::unused::give_back_one;
use crate::journal::{cipher, content};
use crate::keeping::{Shelf, Stub, name_of, read_held};
use crate::keys::{RecordKey, RecordKeys};
use crate::options::JournalOptions;

/// Larger bodies are kept by their digest only (protocol P5.1).
pub(crate) const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// Classes that are written at once; the one unused for longest is left for another.
const OPEN_CLASSES: usize = 16;
/// What the file system gives and takes at once.
const BLOCK: u64 = 4096;
const KEY_MAGIC: &[u8; 8] = b"TRUCKEY\0";
const KEY_VERSION: u16 = 1;

/// Year and month, as 202611.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month(pub(crate) u32);

impl Month {
    pub(crate) fn of(at: Timestamp) -> Self {
        Self(at.year_month().parse().unwrap_or(0))
    }
    /// True when `self` is the month right before `later`.
    const fn precedes(self, later: Self) -> bool {
        self.0 + 1 == later.0 || (self.0 % 100 == 12 && self.0 + 89 == later.0)
    }
}

/// A body as it will lie on disk.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) class: BodyClass,
    /// Of the body itself.
    length: u32,
    digest: Digest,
    compressed: bool,
    bytes: Bytes,
}

impl Packed {
    /// Compresses where that helps. Takes a while for a long body.
    pub(crate) fn new(class: BodyClass, body: Bytes) -> Result<Self, StoreError> {
        let length =
            u32::try_from(body.len()).map_err(|_| StoreError::Failed("a body is too long".into()))?;
        let digest = Digest::of(&body);
        Ok(match content::compress(&body) {
            Some(packed) => Self { class, length, digest, compressed: true, bytes: packed.into() },
            None => Self { class, length, digest, compressed: false, bytes: body },
        })
    }

    /// SHA-256 of the body itself.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
    /// Bytes of its frame.
    pub(crate) fn frame_length(&self) -> u64 {
        frame_length(self.class.as_str().len() + 7, self.bytes.len())
    }
    /// Bytes of the reference to it.
    pub(crate) fn reference_length(&self) -> usize {
        2 + self.class.as_str().len() + 4 + 4 + 8 + 4
    }
}

/// Kept for a body of which only the length is known: the longest class's name, and no compression.
pub(crate) fn body_room(length: u64) -> u64 {
    frame_length(BODY_CLASS_MOST + 7, 0) + length
}

/// The longest name of a class.
const BODY_CLASS_MOST: usize = 32;

/// Where a body lies; written into the record's frame, outside the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyRef {
    /// None was stored.
    None,
    /// It has no bytes.
    Empty,
    At {
        class: String,
        month: Month,
        segment: u32,
        offset: u64,
        /// Of the body itself.
        length: u32,
        /// Whether it lies there as zstd.
        compressed: bool,
    },
}

impl BodyRef {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::None => vec![0],
            Self::Empty => vec![1],
            Self::At { class, month, segment, offset, length, compressed } => {
                let mut out = vec![if *compressed { 3 } else { 2 }, u8::try_from(class.len()).unwrap_or(0)];
                out.extend_from_slice(class.as_bytes());
                out.extend_from_slice(&month.0.to_be_bytes());
                out.extend_from_slice(&segment.to_be_bytes());
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                out
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        match r.u8()? {
            0 => Some(Self::None),
            1 => Some(Self::Empty),
            tag @ (2 | 3) => {
                let n = r.u8()? as usize;
                let class = std::str::from_utf8(r.take(n)?).ok()?;
                // It becomes part of a path.
                let class = class.parse::<BodyClass>().ok()?.into();
                let (month, segment) = (Month(r.u32()?), r.u32()?);
                let (offset, length) = (r.u64()?, r.u32()?);
                Some(Self::At { class, month, segment, offset, length, compressed: tag == 3 })
            }
            _ => None,
        }
    }
}

fn class_folder(root: &Path, class: &str, month: Month) -> PathBuf {
    root.join(class).join(format!("{:06}", month.0))
}

fn key_id(class: &str, month: Month) -> String {
    format!("{class}/{:06}", month.0)
}

struct Current {
    class: BodyClass,
    month: Month,
    segment: u32,
    key: RecordKey,
    active: Active,
}

/// The writer's side of the body segments: one open segment for each class that is in use.
pub(crate) struct Bodies {
    root: PathBuf,
    keys: Arc<dyn RecordKeys>,
    options: JournalOptions,
    /// The last used last.
    open: Vec<Current>,
    /// Left for the next one within a batch, to be flushed with it.
    left: Vec<Active>,
    pause: Pause,
}

impl Bodies {
    pub(crate) fn new(root: PathBuf, keys: Arc<dyn RecordKeys>, options: JournalOptions) -> Self {
        Self { root, keys, options, open: Vec::new(), left: Vec::new(), pause: Pause::default() }
    }

    /// The class used last; room that is kept for a body of no class yet is taken there.
    pub(crate) fn last_class(&self) -> Option<&BodyClass> {
        self.open.last().map(|c| &c.class)
    }

    pub(crate) fn is_open(&self, class: &BodyClass) -> bool {
        self.open.iter().any(|c| c.class == *class)
    }

    /// The segments that may be written.
    pub(crate) fn open_paths(&self) -> Vec<PathBuf> {
        self.open.iter().map(|c| c.active.path().to_owned()).collect()
    }

    /// Leaves the segments of this folder (`<class>/<month>`), in which nothing waits to be written.
    pub(crate) fn leave(&mut self, folder: &str) {
        let folder = self.root.join(folder);
        let (left, open) = self.open.drain(..).partition(|c| c.active.path().parent() == Some(&*folder));
        self.open = open;
        let left: Vec<Current> = left;
        left.into_iter().for_each(|c| c.active.finish());
    }

    /// Free bytes in all open segments: promises of room are backed by all of them together ([`Bodies::shift`]).
    pub(crate) fn free(&self) -> u64 {
        self.open.iter().map(|c| c.active.free()).sum()
    }

    /// Free bytes in the segment of this class.
    pub(crate) fn free_of(&self, class: &BodyClass) -> u64 {
        self.open.iter().find(|c| c.class == *class).map_or(0, |c| c.active.free())
    }

    fn of(&mut self, class: &BodyClass) -> Result<&mut Current, StoreError> {
        self.open.iter_mut().find(|c| c.class == *class).ok_or(StoreError::Full)
    }

    /// Opens a segment when the class has none, another month began or the current one is full; it has room for `need` bytes and for
    /// what is promised of it. When the disk has no room for a new one, the current one goes on: a promise of room holds across months.
    pub(crate) fn turn(
        &mut self,
        class: &BodyClass,
        month: Month,
        need: u64,
        promised: u64,
    ) -> Result<(), StoreError> {
        let limit = self.options.segment_limit;
        let stays = |c: &Current| (c.month == month || month.precedes(c.month)) && c.active.end() < limit;
        let place = self.open.iter().position(|c| c.class == *class);
        if let Some(place) = place {
            // Now it is the last used.
            self.open.get_mut(place..).iter_mut().for_each(|rest| rest.rotate_left(1));
            if self.open.last().is_some_and(stays) {
                return Ok(());
            }
        }
        self.pause.over(self.options.hooks.now())?;
        let others = self.free() - self.free_of(class);
        let least = need + promised.saturating_sub(others);
        match self.create(class, month, self.options.ask(least)) {
            Ok(new) => {
                self.pause.end();
                if place.is_some() {
                    self.left.extend(self.open.pop().map(|old| old.active));
                } else if self.open.len() >= OPEN_CLASSES {
                    self.left.push(self.open.remove(0).active);
                }
                self.open.push(new);
                Ok(())
            }
            Err(StoreError::Full) if place.is_some() => Ok(()),
            Err(StoreError::Full) => Err(StoreError::Full),
            Err(error) => {
                self.pause.begin(self.options.hooks.now(), &error);
                Err(error)
            }
        }
    }

    /// Moves room to a class on a full disk: what was promised lies in the segments of all classes, and is given back by the
    /// others to be taken by this one. In between it is protected by the bytes that the journal leaves free.
    pub(crate) fn shift(&mut self, class: &BodyClass, month: Month, need: u64) -> Result<(), StoreError> {
        let missing = need.saturating_sub(self.free_of(class)).next_multiple_of(BLOCK);
        if missing > self.open.iter().filter(|c| c.class != *class).map(|c| c.active.free()).sum() {
            return Err(StoreError::Full);
        }
        let mut given = 0;
        for other in self.open.iter_mut().filter(|c| c.class != *class) {
            given += other.active.shrink(missing - given)?;
        }
        match self.open.iter_mut().find(|c| c.class == *class) {
            Some(current) => current.active.grow_back(given),
            None => {
                let new = self.create(class, month, Ask::back(given))?;
                self.open.push(new);
                Ok(())
            }
        }
    }

    fn create(&self, class: &BodyClass, month: Month, ask: Ask) -> Result<Current, StoreError> {
        let folder = class_folder(&self.root, class.as_str(), month);
        files::make_folder(&folder)?;
        let key = match read_key(&self.root, class.as_str(), month, &*self.keys)? {
            Some(key) => key,
            None => self.create_key(class, month)?,
        };
        let segment = segments(&folder)?.last().map_or(1, |n| n + 1);
        let salt = self.options.hooks.random32()?;
        let (kind, chain) = (SegmentKind::Bodies, Digest([0; 32]));
        let header = SegmentHeader { version: format::VERSION, kind, salt, first: 0, chain };
        let path = segment_path(&folder, segment);
        let active = Active::create(&path, &header, ask, &self.options)?;
        Ok(Current { class: class.clone(), month, segment, key, active })
    }

    fn create_key(&self, class: &BodyClass, month: Month) -> Result<RecordKey, StoreError> {
        let folder = class_folder(&self.root, class.as_str(), month);
        make_key(&folder, &key_id(class.as_str(), month), &*self.keys, &self.options)
    }

    /// Sets `bytes` of the class's segment aside for the batch being gathered.
    pub(crate) fn claim(&mut self, class: &BodyClass, bytes: u64) {
        if let Ok(current) = self.of(class) {
            current.active.claim(bytes);
        }
    }

    pub(crate) fn grow(&mut self, class: &BodyClass, least: u64) -> Result<(), StoreError> {
        self.of(class)?.active.grow(least)
    }

    /// Adds a body to its class's buffer; there must be room.
    pub(crate) fn push(&mut self, sequence: u64, body: &Packed) -> Result<BodyRef, StoreError> {
        let current = self.of(&body.class)?;
        let (offset, _) = current.active.push(FrameType::Body, sequence, &current.key, &[&body.bytes])?;
        let (month, segment) = (current.month, current.segment);
        let class = body.class.as_str().to_owned();
        Ok(BodyRef::At { class, month, segment, offset, length: body.length, compressed: body.compressed })
    }

    /// Makes all buffered bodies durable. After an error [`Bodies::abandon`] must follow.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let open = self.open.iter_mut().map(|c| &mut c.active);
        self.left.iter_mut().chain(open).try_for_each(Active::flush)?;
        self.left.drain(..).for_each(Active::finish);
        Ok(())
    }

    /// Forgets what was buffered and not flushed, with its segments: the frame numbers are used up.
    pub(crate) fn abandon(&mut self) {
        let open = self.open.drain(..).map(|c| c.active);
        self.left.drain(..).chain(open).for_each(Active::abandon);
    }

    pub(crate) fn finish(self) {
        self.open.into_iter().for_each(|c| c.active.finish());
    }
}

fn segment_path(folder: &Path, n: u32) -> PathBuf {
    folder.join(format!("{n:08}.seg"))
}

/// The numbers of the segments in one month's folder, in order; those that lie in the archive count.
pub(crate) fn segments(folder: &Path) -> Result<Vec<u32>, StoreError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| io(folder, e))? {
        let name = entry.map_err(|e| io(folder, e))?.file_name();
        numbers.extend(
            name.to_str().and_then(name_of).and_then(|n| n.strip_suffix(".seg")?.parse::<u32>().ok()),
        );
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Gives back what an unclean stop left of room in the segments below `root`, none of which is written any more.
pub(crate) fn give_back(root: &Path, options: &JournalOptions) -> Result<(), StoreError> {
    for class in folders(root)? {
        for month in folders(&class)? {
            for n in segments(&month)? {
                give_back_one(&segment_path(&month, n), &options.hooks);
            }
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| io(folder, e))? {
        let path = entry.map_err(|e| io(folder, e))?.path();
        found.extend(Some(path).filter(|path| path.is_dir()));
    }
    Ok(found)
}

/// Makes the key `id` in the file `key` of a folder that has none.
pub(crate) fn make_key(
    folder: &Path,
    id: &str,
    keys: &dyn RecordKeys,
    options: &JournalOptions,
) -> Result<RecordKey, StoreError> {
    let secret = Zeroizing::new(options.hooks.random32()?);
    let salt = options.hooks.random32()?;
    let node = keys.node_key();
    let mut out = KEY_MAGIC.to_vec();
    out.extend_from_slice(&KEY_VERSION.to_be_bytes());
    let length = u8::try_from(node.id().len());
    out.push(length.map_err(|_| StoreError::Failed("a key's id is too long".into()))?);
    out.extend_from_slice(node.id().as_bytes());
    out.extend_from_slice(&salt);
    out.extend_from_slice(&cipher::wrap(&node, &salt, id, &secret)?);
    files::create_whole(&folder.join("key"), &out)?;
    Ok(RecordKey::new(id, secret))
}

/// The key of a month; `None` when there is none (yet, or any more).
fn read_key(
    root: &Path,
    class: &str,
    month: Month,
    keys: &dyn RecordKeys,
) -> Result<Option<RecordKey>, StoreError> {
    open_key(&class_folder(root, class, month), &key_id(class, month), keys)
}

/// The key `id` in the file `key` of a folder; `None` when there is none.
pub(crate) fn open_key(
    folder: &Path,
    id: &str,
    keys: &dyn RecordKeys,
) -> Result<Option<RecordKey>, StoreError> {
    let path = folder.join("key");
    let bytes = match files::read_plain(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(&path, e)),
    };
    let parts = split_key(&bytes).ok_or_else(|| damaged(&path, 0, "not a key file of format 1"))?;
    let (node_id, salt, wrapped) = parts;
    let node = keys.by_id(node_id);
    let node =
        node.ok_or_else(|| StoreError::Failed(format!("{}: key {node_id} is missing", path.display())))?;
    let secret = cipher::unwrap(&node, &salt, id, wrapped);
    let secret =
        secret.ok_or_else(|| damaged(&path, 0, "the wrapped key was changed, or belongs to another node"))?;
    Ok(Some(RecordKey::new(id, Zeroizing::new(secret))))
}

fn split_key(bytes: &[u8]) -> Option<(&str, [u8; 32], &[u8])> {
    let mut r = Reader(bytes);
    if r.take(8)? != KEY_MAGIC || r.u16()? != KEY_VERSION {
        return None;
    }
    let n = r.u8()? as usize;
    let id = std::str::from_utf8(r.take(n)?).ok()?;
    Some((id, r.take(32)?.try_into().ok()?, r.0))
}

/// The place of a body's segment that lies in the archive and not here.
pub(crate) fn lies_away(root: &Path, reference: &BodyRef) -> Option<PathBuf> {
    let BodyRef::At { class, month, segment, .. } = reference else { return None };
    let path = segment_path(&class_folder(root, class, *month), *segment);
    let away = !path.exists() && Stub::read(&path).is_ok_and(|stub| stub.is_some());
    away.then_some(path)
}

/// The body that the record `sequence` refers to; `None` when none was stored or it has expired.
pub(crate) fn read(
    root: &Path,
    keys: &dyn RecordKeys,
    shelf: &Shelf,
    sequence: u64,
    reference: &BodyRef,
) -> Result<Option<Bytes>, StoreError> {
    let (class, month, segment, offset, length, compressed) = match reference {
        BodyRef::None => return Ok(None),
        BodyRef::Empty => return Ok(Some(Bytes::new())),
        BodyRef::At { class, month, segment, offset, length, compressed } => {
            (class, *month, *segment, *offset, *length as usize, *compressed)
        }
    };
    let Some(key) = read_key(root, class, month, keys)? else {
        // A held one has outlived its month.
        return read_held(&root.with_file_name("holds"), keys, sequence);
    };
    let path = segment_path(&class_folder(root, class, month), segment);
    let read = |place: &Path| {
        read_at(place, SegmentKind::Bodies, offset, |frame, header| {
            let belongs =
                frame.kind == FrameType::Body && frame.sequence == sequence && frame.key_id == key.id();
            let stored = belongs.then(|| cipher::open(frame, &header.salt, &key)).flatten();
            let body = stored.and_then(|stored| match compressed {
                true => content::decompress(&stored, length),
                false => Some(stored).filter(|body| body.len() == length),
            });
            let wrong = || damaged(&path, offset, "this is not the body of the record that names it");
            body.map(|body| Some(Bytes::from(body))).ok_or_else(wrong)
        })
    };
    shelf.with(&path, read)
}
