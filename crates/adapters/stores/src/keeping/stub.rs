//! What stays of a segment that lies in the archive.
//!
//! JSON: `{"v":1,"archived":{file, first, next, sha256, length, chain, at},"header":"<base64 of the segment's header>"}`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use truc_evidence::{Archived, Content, StoreError};

use crate::files::{self, damaged, io};
use crate::journal::format::{HEADER, SegmentHeader};

const ENDING: &str = "away";

/// A stub as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stub {
    pub(crate) archived: Archived,
    pub(crate) header: SegmentHeader,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    archived: Archived,
    header: String,
}

/// The segment's own name, of it or of its stub; `None` for other files.
pub(crate) fn name_of(name: &str) -> Option<String> {
    if name.ends_with(".seg") {
        return Some(name.to_owned());
    }
    name.strip_suffix(".away").map(|name| format!("{name}.seg"))
}

fn path_of(segment: &Path) -> PathBuf {
    segment.with_extension(ENDING)
}

impl Stub {
    /// What must be in the archive.
    pub(crate) const fn content(&self) -> Content {
        Content { sha256: self.archived.sha256, length: self.archived.length }
    }

    /// Of the segment at `path` (its own name, not the stub's); `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let stub = path_of(path);
        let bytes = match files::read_plain(&stub) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(&stub, e)),
        };
        let read = || {
            let written: Written = serde_json::from_slice(&bytes).ok()?;
            let header = SegmentHeader::decode(&STANDARD.decode(&written.header).ok()?).ok()?;
            (written.v == 1).then_some(Self { archived: written.archived, header })
        };
        read().map(Some).ok_or_else(|| damaged(&stub, 0, "not a stub of format 1"))
    }

    /// Writes the stub of the segment at `path` and removes the segment, durably; may be done again.
    pub(crate) fn put_in_place(path: &Path, archived: &Archived) -> Result<(), StoreError> {
        let bytes = match files::open_plain(path) {
            Ok(file) => first_bytes(path, file)?,
            // Done before, and the answer was lost.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && path_of(path).exists() => return Ok(()),
            Err(e) => return Err(io(path, e)),
        };
        let written = Written { v: 1, archived: archived.clone(), header: STANDARD.encode(bytes) };
        let text = serde_json::to_vec(&written).map_err(|e| StoreError::Failed(e.to_string()))?;
        let stub = path_of(path);
        let _ = std::fs::remove_file(&stub);
        files::create_whole(&stub, &text)?;
        std::fs::remove_file(path).map_err(|e| io(path, e))?;
        path.parent().map_or(Ok(()), files::sync_folder)
    }
}

fn first_bytes(path: &Path, file: std::fs::File) -> Result<Vec<u8>, StoreError> {
    use std::io::Read as _;
    let mut bytes = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut bytes).map_err(|e| io(path, e))?;
    Ok(bytes)
}
