//! Finding a journal's segments and reading them in order, with every check that needs no key.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_evidence::StoreError;
use truc_model::Digest;

use super::format::{
    Frame, HEADER, HeaderFault, Parsed, SegmentHeader, SegmentKind, next_chain, parse, seed,
};
use crate::files::{damaged, io, open_plain, read_plain};
use crate::keeping::{Shelf, Stub, name_of};

/// Names a segment of one journal: its first sequence, and which one of those that begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    pub(crate) first: u64,
    pub(crate) n: u32,
}

/// Where a frame begins; their order is that of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
}

/// A point between two frames: what was read up to here, and what the chain was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) place: Place,
    /// The number the next frame of this segment has.
    pub(crate) frame: u32,
    /// The sequence the next record has.
    pub(crate) sequence: u64,
    pub(crate) chain: Digest,
}

#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// Where it is found when it does not lie here any more.
    pub(crate) shelf: Option<Arc<Shelf>>,
}

impl Segment {
    /// All of it, wherever it lies.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        let read = |path: &Path| read_plain(path).map_err(|e| io(path, e));
        self.shelf.as_ref().map_or_else(|| read(&self.path), |shelf| shelf.with(&self.path, read))
    }
    /// The point before its first frame.
    pub(crate) fn start(&self) -> Point {
        let place = Place { segment: self.id, offset: HEADER as u64 };
        Point { place, frame: 0, sequence: self.header.first, chain: self.header.chain }
    }
}

pub(crate) fn segment_path(dir: &Path, stem: &str, id: SegmentId) -> PathBuf {
    dir.join(format!("{stem}-{:020}-{}.seg", id.first, id.n))
}

pub(crate) fn segment_id(name: &str, stem: &str) -> Option<SegmentId> {
    let (first, n) = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".seg")?.split_once('-')?;
    if first.len() != 20 {
        return None;
    }
    Some(SegmentId { first: first.parse().ok()?, n: n.parse().ok()? })
}

/// The stems of the journals in a folder.
pub(crate) fn stems(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io(dir, e))? {
        let name = entry.map_err(|e| io(dir, e))?.file_name().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".seg").and_then(|s| s.rsplitn(3, '-').nth(2)).map(str::to_owned);
        if let Some(stem) = stem.filter(|s| segment_id(&name, s).is_some()) {
            found.push(stem);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The header of the segment at `path`; `None` when the file was created but never used.
pub(crate) fn read_header(path: &Path, kind: SegmentKind) -> Result<Option<SegmentHeader>, StoreError> {
    let file = open_plain(path).map_err(|e| io(path, e))?;
    let mut bytes = vec![0; HEADER];
    let length = file.metadata().map_err(|e| io(path, e))?.len();
    let readable = usize::try_from(length).unwrap_or(HEADER).min(HEADER);
    bytes.truncate(readable);
    file.read_exact_at(&mut bytes, 0).map_err(|e| io(path, e))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.kind == kind => Ok(Some(header)),
        Ok(_) => Err(damaged(path, 0, "a segment of another kind")),
        Err(HeaderFault::Version(version)) => Err(StoreError::Failed(format!(
            "{} has segment format {version}, this program reads up to {}: use the program version that wrote it",
            path.display(),
            super::format::VERSION
        ))),
        Err(HeaderFault::Broken) => {
            let all = read_plain(path).map_err(|e| io(path, e))?;
            let unused = all.iter().skip(HEADER).all(|b| *b == 0);
            if unused {
                Ok(None)
            } else {
                Err(damaged(path, 0, "the segment header does not match its checksum"))
            }
        }
    }
}

/// The segments of the journal `stem`, in order. Unused files are left out; the name of each must match its header.
pub(crate) fn list(dir: &Path, stem: &str) -> Result<Vec<Segment>, StoreError> {
    let mut segments = Vec::new();
    for (id, path) in list_names(dir, stem)? {
        if let Some(header) = read_header(&path, SegmentKind::Journal)? {
            if header.first != id.first {
                return Err(damaged(&path, 0, "the file's name and its header do not agree"));
            }
            segments.push(Segment { id, path, header, shelf: None });
        }
    }
    Ok(segments)
}

/// As [`list`], with those that lie in the archive.
pub(crate) fn list_all(dir: &Path, stem: &str, shelf: &Arc<Shelf>) -> Result<Vec<Segment>, StoreError> {
    let mut segments = list(dir, stem)?;
    for (id, path) in list_away(dir, stem)? {
        if let Some(stub) = Stub::read(&path)?.filter(|_| !path.exists()) {
            segments.push(Segment { id, path, header: stub.header, shelf: None });
        }
    }
    segments.sort_by_key(|segment| segment.id);
    segments.iter_mut().for_each(|segment| segment.shelf = Some(Arc::clone(shelf)));
    Ok(segments)
}

/// The segments of the journal `stem` of which there is a stub, by their own names.
pub(crate) fn list_away(dir: &Path, stem: &str) -> Result<Vec<(SegmentId, PathBuf)>, StoreError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io(dir, e))? {
        let name = entry.map_err(|e| io(dir, e))?.file_name().to_string_lossy().into_owned();
        let segment = name_of(&name).filter(|segment| *segment != name);
        names.extend(segment.and_then(|s| Some((segment_id(&s, stem)?, dir.join(s)))));
    }
    names.sort();
    Ok(names)
}

/// The files of the journal `stem`, in order, used or not.
pub(crate) fn list_names(dir: &Path, stem: &str) -> Result<Vec<(SegmentId, PathBuf)>, StoreError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io(dir, e))? {
        let entry = entry.map_err(|e| io(dir, e))?;
        if let Some(id) = segment_id(&entry.file_name().to_string_lossy(), stem) {
            names.push((id, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

/// A frame met by [`scan`].
pub(crate) struct Met<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) segment: &'a Segment,
    pub(crate) place: Place,
    /// The point after it.
    pub(crate) after: Point,
}

/// Reads the frames from `from` on (the beginning when `None`) to `to` (the last whole frame when `None`), and returns where it stopped; `None` when there
/// is no segment. Each segment must begin where the one before was left: what lies behind that point in the older
/// segment was never acknowledged and is passed over.
pub(crate) fn scan(
    stem: &str,
    segments: &[Segment],
    from: Option<Point>,
    to: Option<Point>,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), StoreError>,
) -> Result<Option<Point>, StoreError> {
    let Some(first) = segments.first() else {
        return Ok(None);
    };
    // Whoever goes on from a point has seen what was before; it may lie in the archive by now.
    if from.is_none() && (first.header.first != 0 || first.header.chain != seed(stem)) {
        return Err(damaged(
            &first.path,
            0,
            "the journal does not begin with this segment: earlier ones are missing",
        ));
    }
    let mut point = from.unwrap_or_else(|| first.start());
    let begin = segments.iter().position(|s| s.id == point.place.segment);
    let begin = begin
        .ok_or_else(|| StoreError::Damaged(format!("{stem}: the index names a segment that is not there")))?;
    for (i, segment) in segments.iter().enumerate().skip(begin) {
        let next = segments.get(i + 1);
        if point.place.segment != segment.id {
            point = segment.start();
        }
        let bytes = segment.bytes()?;
        let stop = Stop { next: next.map(Segment::start), to };
        point = scan_one(segment, &bytes, point, &stop, visit)?;
        if to.is_some_and(|to| to.place.segment == segment.id) {
            break;
        }
    }
    Ok(Some(point))
}

struct Stop {
    next: Option<Point>,
    to: Option<Point>,
}

impl Stop {
    fn reached(&self, point: &Point) -> bool {
        let continued = self.next.is_some_and(|n| n.sequence == point.sequence && n.chain == point.chain);
        continued || self.to.is_some_and(|to| to.place == point.place)
    }
}

fn scan_one(
    segment: &Segment,
    bytes: &[u8],
    mut point: Point,
    stop: &Stop,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), StoreError>,
) -> Result<Point, StoreError> {
    while !stop.reached(&point) {
        let rest = bytes.get(usize::try_from(point.place.offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let frame = match parse(rest) {
            Parsed::Frame(frame) if frame.number == point.frame && frame.sequence == point.sequence => frame,
            _ => {
                check_tail(segment, rest, &point, stop)?;
                return Ok(point);
            }
        };
        let place = point.place;
        point.place.offset += frame.bytes.len() as u64;
        point.frame += 1;
        point.sequence += u64::from(frame.kind.counts());
        point.chain = next_chain(point.chain, frame.bytes);
        visit(Met { frame, segment, place, after: point })?;
    }
    Ok(point)
}

/// Decides whether what could not be read is a torn tail or damage to what was acknowledged.
fn check_tail(segment: &Segment, rest: &[u8], point: &Point, stop: &Stop) -> Result<(), StoreError> {
    let at = |what: &str| Err(damaged(&segment.path, point.place.offset, what));
    if stop.next.is_some() || stop.to.is_some_and(|to| to.place.segment == segment.id) {
        return at("frames that were acknowledged cannot be read");
    }
    match find_frame(rest, point.frame) {
        Some((_, frame)) if frame.batch > point.frame => at("a frame cannot be read although later ones can"),
        _ => Ok(()),
    }
}

/// The next readable frame with a number above `after`, and how far away it begins.
pub(crate) fn find_frame(bytes: &[u8], after: u32) -> Option<(usize, Frame<'_>)> {
    let last = bytes.iter().rposition(|b| *b != 0)?;
    (1..=last).find_map(|offset| match parse(bytes.get(offset..)?) {
        Parsed::Frame(frame) if frame.number > after => Some((offset, frame)),
        _ => None,
    })
}

/// The chain after the frame that begins at `offset` of a segment.
pub(crate) fn chain_after(segment: &Segment, offset: u64) -> Result<Digest, StoreError> {
    let bytes = segment.bytes()?;
    let mut point = segment.start();
    loop {
        let at = point.place.offset;
        let rest = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        let Parsed::Frame(frame) = parse(rest) else {
            return Err(damaged(&segment.path, at, "there is no frame"));
        };
        point.chain = next_chain(point.chain, frame.bytes);
        point.place.offset += frame.bytes.len() as u64;
        if at >= offset {
            return if at == offset {
                Ok(point.chain)
            } else {
                Err(damaged(&segment.path, offset, "no frame begins where the index says"))
            };
        }
    }
}

/// Reads the one frame at `place` of a segment, with its segment's salt, and passes both on.
pub(crate) fn read_at<T>(
    path: &Path,
    kind: SegmentKind,
    offset: u64,
    take: impl FnOnce(&Frame<'_>, &SegmentHeader) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let unused = || damaged(path, 0, "the segment that an entry names is empty");
    let header = read_header(path, kind)?.ok_or_else(unused)?;
    let file = open_plain(path).map_err(|e| io(path, e))?;
    let mut length = [0; 4];
    let short = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged(path, offset, "the segment ends before the frame"),
        _ => io(path, e),
    };
    file.read_exact_at(&mut length, offset).map_err(short)?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > super::format::FRAME_LIMIT {
        return Err(damaged(path, offset, "there is no frame"));
    }
    let mut bytes = vec![0; length + 8];
    file.read_exact_at(&mut bytes, offset).map_err(short)?;
    match parse(&bytes) {
        Parsed::Frame(frame) => take(&frame, &header),
        _ => Err(damaged(path, offset, "the frame does not match its checksum")),
    }
}
