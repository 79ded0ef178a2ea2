//! Ways in for the fuzz targets (`tests/fuzz`): what lies on disk, read without a disk. Only with the feature `fuzzing`,
//! and no part of this crate's interface.

use truc_evidence::Proof;

use crate::evidence::index;
use crate::evidence::record_format;
use crate::journal::content;
use crate::journal::format::{Parsed, SegmentHeader, parse};
use crate::journal::scan::find_frame;

/// What [`segment`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Whether the header can be read, and comes out again as it was.
    pub header: bool,
    /// Whole frames in a row.
    pub frames: usize,
    /// Bytes of them.
    pub length: usize,
    /// Where the next whole frame begins behind the first broken one.
    pub found: Option<usize>,
}

/// Reads a segment's header, the frames in a row behind it, and looks for more behind the first broken one.
pub fn segment(bytes: &[u8]) -> Read {
    let header = SegmentHeader::decode(bytes)
        .is_ok_and(|h| bytes.get(..crate::journal::format::HEADER) == Some(h.encode().as_slice()));
    let frames_at = bytes.get(crate::journal::format::HEADER..).unwrap_or_default();
    let (mut rest, mut frames) = (frames_at, 0);
    while let Parsed::Frame(frame) = parse(rest) {
        frames += 1;
        rest = rest.get(frame.bytes.len()..).unwrap_or_default();
    }
    let found = find_frame(rest, 0).map(|(offset, _)| offset);
    Read { header, frames, length: frames_at.len() - rest.len(), found }
}

/// Reads a frame's content as a record; what its parts are is not told, only how many bytes they have.
pub fn record(content: Vec<u8>) -> Option<usize> {
    let (record, _) = record_format::decode(0, content)?;
    Some(record.header.len() + record.cms.len() + record.local_bytes.len())
}

/// Reads a frame's content, in a segment of this version, as a proof; tells whether it comes out again as it was.
pub fn proof(version: u16, content: Vec<u8>) -> Option<bool> {
    let proof = Proof::decode(&content::decode(version, content)?).ok()?;
    let again = content::decode(2, content::encode(&proof.encode().ok()?))?;
    Some(Proof::decode(&again).is_ok_and(|again| again == proof))
}

/// Reads the values that the index keeps; true when one was readable and comes out again as it was.
pub fn index_value(bytes: &[u8]) -> bool {
    index::reads_back(bytes)
}
