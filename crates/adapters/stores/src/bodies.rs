//! Bodies, apart from records so that they can expire: `bodies/<class>/<yyyymm>/<n>.seg` (protocol P5.1).
//!
//! Each (class, month) has a random key of its own, wrapped by the node's key in the file `key` beside the segments: dropping that file drops
//! the bodies. Format of `key`: magic "TRUCKEY\0" · version u16 · id length u8 · id of the wrapping key · salt 32 · wrapped secret 48.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use truc_evidence::StoreError;
use truc_model::{Digest, Timestamp};
use zeroize::Zeroizing;

use crate::files::{self, damaged, io};
use crate::journal::cipher;
use crate::journal::format::{FrameType, Reader, SegmentHeader, SegmentKind, frame_length};
use crate::journal::pause::Pause;
use crate::journal::scan::read_at;
use crate::journal::segment::Active;
use crate::keys::{RecordKey, RecordKeys};
use crate::options::JournalOptions;

/// The one retention class there is so far.
pub(crate) const DEFAULT_CLASS: &str = "default";
/// Larger bodies are kept by their digest only (protocol P5.1).
pub(crate) const BODY_LIMIT: usize = 10 * 1024 * 1024;
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
        length: u32,
    },
}

impl BodyRef {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::None => vec![0],
            Self::Empty => vec![1],
            Self::At { class, month, segment, offset, length } => {
                let mut out = vec![2, u8::try_from(class.len()).unwrap_or(0)];
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
            2 => {
                let n = r.u8()? as usize;
                let class = std::str::from_utf8(r.take(n)?).ok()?;
                // It becomes part of a path.
                if !class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                    return None;
                }
                let (month, segment) = (Month(r.u32()?), r.u32()?);
                Some(Self::At { class: class.to_owned(), month, segment, offset: r.u64()?, length: r.u32()? })
            }
            _ => None,
        }
    }

    /// Bytes of an encoded reference to a body of the default class.
    pub(crate) const ENCODED: usize = 2 + DEFAULT_CLASS.len() + 4 + 4 + 8 + 4;
}

fn class_folder(root: &Path, class: &str, month: Month) -> PathBuf {
    root.join(class).join(format!("{:06}", month.0))
}

fn key_id(class: &str, month: Month) -> String {
    format!("{class}/{:06}", month.0)
}

/// The length of a body's frame.
pub(crate) fn body_frame_length(body: usize) -> u64 {
    frame_length(DEFAULT_CLASS.len() + 7, body)
}

struct Current {
    month: Month,
    segment: u32,
    key: RecordKey,
    active: Active,
}

/// The writer's side of the body segments.
pub(crate) struct Bodies {
    root: PathBuf,
    keys: Arc<dyn RecordKeys>,
    options: JournalOptions,
    current: Option<Current>,
    /// Left for the next one within a batch, to be flushed with it.
    left: Vec<Active>,
    pause: Pause,
}

impl Bodies {
    pub(crate) fn new(root: PathBuf, keys: Arc<dyn RecordKeys>, options: JournalOptions) -> Self {
        Self { root, keys, options, current: None, left: Vec::new(), pause: Pause::default() }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.current.is_some()
    }

    pub(crate) fn free(&self) -> u64 {
        self.current.as_ref().map_or(0, |c| c.active.free())
    }

    /// Opens a segment when there is none, another month began or the current one is full; it has room for `least` bytes.
    /// When the disk has no room for a new one, the current one goes on: a promise of room holds across months.
    pub(crate) fn turn(&mut self, month: Month, least: u64) -> Result<(), StoreError> {
        let limit = self.options.segment_limit;
        let stays = |c: &Current| (c.month == month || month.precedes(c.month)) && c.active.end() < limit;
        if self.current.as_ref().is_some_and(stays) {
            return Ok(());
        }
        self.pause.over(self.options.hooks.now())?;
        match self.create(month, least) {
            Ok(new) => {
                self.pause.end();
                self.left.extend(self.current.replace(new).map(|old| old.active));
                Ok(())
            }
            Err(StoreError::Full) if self.current.is_some() => Ok(()),
            Err(StoreError::Full) => Err(StoreError::Full),
            Err(error) => {
                self.pause.begin(self.options.hooks.now(), &error);
                Err(error)
            }
        }
    }

    fn create(&self, month: Month, least: u64) -> Result<Current, StoreError> {
        let folder = class_folder(&self.root, DEFAULT_CLASS, month);
        files::make_folder(&folder)?;
        let key = match read_key(&self.root, DEFAULT_CLASS, month, &*self.keys)? {
            Some(key) => key,
            None => self.create_key(month)?,
        };
        let segment = segments(&folder)?.last().map_or(1, |n| n + 1);
        let salt = self.options.hooks.random32()?;
        let header = SegmentHeader { kind: SegmentKind::Bodies, salt, first: 0, chain: Digest([0; 32]) };
        let path = segment_path(&folder, segment);
        let active = Active::create(&path, &header, least, &self.options)?;
        Ok(Current { month, segment, key, active })
    }

    fn create_key(&self, month: Month) -> Result<RecordKey, StoreError> {
        let secret = Zeroizing::new(self.options.hooks.random32()?);
        let salt = self.options.hooks.random32()?;
        let (node, place) = (self.keys.node_key(), key_id(DEFAULT_CLASS, month));
        let mut out = KEY_MAGIC.to_vec();
        out.extend_from_slice(&KEY_VERSION.to_be_bytes());
        out.push(
            u8::try_from(node.id().len()).map_err(|_| StoreError::Failed("a key's id is too long".into()))?,
        );
        out.extend_from_slice(node.id().as_bytes());
        out.extend_from_slice(&salt);
        out.extend_from_slice(&cipher::wrap(&node, &salt, &place, &secret)?);
        files::create_whole(&class_folder(&self.root, DEFAULT_CLASS, month).join("key"), &out)?;
        Ok(RecordKey::new(place, secret))
    }

    /// Sets `bytes` of the current segment aside for the batch being gathered.
    pub(crate) fn claim(&mut self, bytes: u64) {
        if let Some(current) = &mut self.current {
            current.active.claim(bytes);
        }
    }

    pub(crate) fn grow(&mut self, least: u64) -> Result<(), StoreError> {
        self.current.as_mut().map_or(Err(StoreError::Full), |c| c.active.grow(least))
    }

    /// Adds a body to the current segment's buffer; there must be room.
    pub(crate) fn push(&mut self, sequence: u64, body: &Bytes) -> Result<BodyRef, StoreError> {
        let current = self.current.as_mut().ok_or(StoreError::Full)?;
        let (offset, _) = current.active.push(FrameType::Body, sequence, &current.key, &[body])?;
        let length =
            u32::try_from(body.len()).map_err(|_| StoreError::Failed("a body is too long".into()))?;
        let class = DEFAULT_CLASS.to_owned();
        Ok(BodyRef::At { class, month: current.month, segment: current.segment, offset, length })
    }

    /// Makes all buffered bodies durable. After an error [`Bodies::abandon`] must follow.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let current = self.current.as_mut().map(|c| &mut c.active);
        self.left.iter_mut().chain(current).try_for_each(Active::flush)?;
        self.left.drain(..).for_each(Active::finish);
        Ok(())
    }

    /// Forgets what was buffered and not flushed, with its segment: the frame numbers are used up.
    pub(crate) fn abandon(&mut self) {
        let current = self.current.take().map(|c| c.active);
        self.left.drain(..).chain(current).for_each(Active::abandon);
    }

    pub(crate) fn finish(self) {
        if let Some(current) = self.current {
            current.active.finish();
        }
    }
}

fn segment_path(folder: &Path, n: u32) -> PathBuf {
    folder.join(format!("{n:08}.seg"))
}

/// The numbers of the segments in one month's folder, in order.
pub(crate) fn segments(folder: &Path) -> Result<Vec<u32>, StoreError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| io(folder, e))? {
        let name = entry.map_err(|e| io(folder, e))?.file_name();
        numbers
            .extend(name.to_str().and_then(|n| n.strip_suffix(".seg")).and_then(|n| n.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The key of a month; `None` when there is none (yet, or any more).
fn read_key(
    root: &Path,
    class: &str,
    month: Month,
    keys: &dyn RecordKeys,
) -> Result<Option<RecordKey>, StoreError> {
    let path = class_folder(root, class, month).join("key");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(&path, e)),
    };
    let place = key_id(class, month);
    let parts = split_key(&bytes).ok_or_else(|| damaged(&path, 0, "not a key file of format 1"))?;
    let (node_id, salt, wrapped) = parts;
    let node = keys.by_id(node_id);
    let node =
        node.ok_or_else(|| StoreError::Failed(format!("{}: key {node_id} is missing", path.display())))?;
    let secret = cipher::unwrap(&node, &salt, &place, wrapped);
    let secret =
        secret.ok_or_else(|| damaged(&path, 0, "the wrapped key was changed, or belongs to another node"))?;
    Ok(Some(RecordKey::new(place, Zeroizing::new(secret))))
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

/// The body that the record `sequence` refers to; `None` when none was stored or it has expired.
pub(crate) fn read(
    root: &Path,
    keys: &dyn RecordKeys,
    sequence: u64,
    reference: &BodyRef,
) -> Result<Option<Bytes>, StoreError> {
    let (class, month, segment, offset, length) = match reference {
        BodyRef::None => return Ok(None),
        BodyRef::Empty => return Ok(Some(Bytes::new())),
        BodyRef::At { class, month, segment, offset, length } => (class, *month, *segment, *offset, *length),
    };
    let Some(key) = read_key(root, class, month, keys)? else {
        return Ok(None);
    };
    let path = segment_path(&class_folder(root, class, month), segment);
    read_at(&path, SegmentKind::Bodies, offset, |frame, header| {
        let belongs = frame.kind == FrameType::Body && frame.sequence == sequence && frame.key_id == key.id();
        let body = belongs.then(|| cipher::open(frame, &header.salt, &key)).flatten();
        match body {
            Some(body) if body.len() == length as usize => Ok(Some(Bytes::from(body))),
            _ => Err(damaged(&path, offset, "this is not the body of the record that names it")),
        }
    })
}
