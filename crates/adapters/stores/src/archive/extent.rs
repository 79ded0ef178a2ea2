//! How far a journal reaches at this moment, while its process goes on writing.

use std::io::Read as _;
use std::path::PathBuf;

use super::{ArchiveError, JournalEnd, io};
use crate::journal::format::{Parsed, next_chain, parse, seed};
use crate::journal::scan::{self, Segment};

/// The files of a journal and how many bytes of each belong to it.
pub(super) struct Extent {
    /// Each file and its length; none for a file that is no longer written, which belongs to it as a whole.
    pub(super) files: Vec<(PathBuf, Option<u64>)>,
    pub(super) end: JournalEnd,
}

/// Reads how far the journal `stem` in the folder `dir` reaches. What is counted is on stable storage when this returns.
pub(super) fn of(dir: &std::path::Path, stem: &str) -> Result<Extent, ArchiveError> {
    let failed = |e: truc_evidence::StoreError| ArchiveError::Contents(e.to_string());
    let mut end = JournalEnd { records: 0, chain: seed(stem) };
    let mut files = Vec::new();
    if !dir.is_dir() {
        return Ok(Extent { files, end });
    }
    let segments = scan::list(dir, stem).map_err(failed)?;
    // The last but one may have been left a moment ago, and its unused room may be given back while it is read.
    let settled = segments.len().saturating_sub(2);
    for (i, segment) in segments.iter().enumerate() {
        if i < settled {
            files.push((segment.path.clone(), None));
            continue;
        }
        let (length, reached) = whole_frames(segment)?;
        files.push((segment.path.clone(), Some(length)));
        end = reached;
    }
    Ok(Extent { files, end })
}

/// Where the last whole frame of a segment ends. A frame that is being written right now is not whole; those before it are,
/// and they are made durable here, should their writer not have come to it.
fn whole_frames(segment: &Segment) -> Result<(u64, JournalEnd), ArchiveError> {
    let failed = |e: std::io::Error| io(&segment.path, e);
    let mut file = crate::files::open_plain(&segment.path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let mut point = segment.start();
    loop {
        let rest = bytes.get(usize::try_from(point.place.offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        match parse(rest) {
            Parsed::Frame(frame) if frame.number == point.frame && frame.sequence == point.sequence => {
                point.place.offset += frame.bytes.len() as u64;
                point.frame += 1;
                point.sequence += u64::from(frame.kind.counts());
                point.chain = next_chain(point.chain, frame.bytes);
            }
            _ => break,
        }
    }
    file.sync_data().map_err(failed)?;
    Ok((point.place.offset, JournalEnd { records: point.sequence, chain: point.chain }))
}
