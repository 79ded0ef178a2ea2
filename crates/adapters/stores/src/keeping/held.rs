//! Bodies under legal hold: `holds/<sequence>/key` and `holds/<sequence>/body.seg`, in the formats of a month's key and segment, of which
//! the only frame is the body. The key is named `holds/<sequence>`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use truc_evidence::StoreError;
use truc_model::Digest;

use crate::bodies::{make_key, open_key};
use crate::files::{self, Ask, damaged, io};
use crate::journal::cipher;
use crate::journal::format::{self, FrameType, SegmentHeader, SegmentKind};
use crate::journal::scan::read_at;
use crate::journal::segment::Active;
use crate::keys::RecordKeys;
use crate::options::JournalOptions;

fn folder(holds: &Path, sequence: u64) -> PathBuf {
    holds.join(sequence.to_string())
}

fn key_id(sequence: u64) -> String {
    format!("holds/{sequence}")
}

/// The held body of record `sequence`; `None` when there is none.
pub(crate) fn read(holds: &Path, keys: &dyn RecordKeys, sequence: u64) -> Result<Option<Bytes>, StoreError> {
    let folder = folder(holds, sequence);
    let Some(key) = open_key(&folder, &key_id(sequence), keys)? else { return Ok(None) };
    let path = folder.join("body.seg");
    if !path.exists() {
        return Ok(None);
    }
    let offset = format::HEADER as u64;
    read_at(&path, SegmentKind::Bodies, offset, |frame, header| {
        let belongs = frame.kind == FrameType::Body && frame.sequence == sequence && frame.key_id == key.id();
        let body = belongs.then(|| cipher::open(frame, &header.salt, &key)).flatten();
        let wrong = || damaged(&path, offset, "this is not the held body of that record");
        body.map(|body| Some(Bytes::from(body))).ok_or_else(wrong)
    })
}

/// Keeps a copy of a body, durably; one that is there already and can be read stays.
pub(crate) fn keep(
    holds: &Path,
    keys: &dyn RecordKeys,
    options: &JournalOptions,
    sequence: u64,
    body: &[u8],
) -> Result<(), StoreError> {
    if read(holds, keys, sequence).is_ok_and(|held| held.is_some_and(|held| held == body)) {
        return Ok(());
    }
    // Half of it, from before a crash.
    release(holds, sequence)?;
    let (folder, id) = (folder(holds, sequence), key_id(sequence));
    files::make_folder(&folder)?;
    let key = make_key(&folder, &id, keys, options)?;
    let (salt, chain) = (options.hooks.random32()?, Digest([0; 32]));
    let header = SegmentHeader { version: format::VERSION, kind: SegmentKind::Bodies, salt, first: 0, chain };
    let length = format::frame_length(id.len(), body.len());
    // Named only when it is whole: a name in the folder means that it can be read.
    let (beside, path) = (folder.join("body.new"), folder.join("body.seg"));
    let ask = Ask { least: length, wanted: length, spare: 0 };
    let mut active = Active::create(&beside, &header, ask, options)?;
    active.push(FrameType::Body, sequence, &key, &[body])?;
    active.flush()?;
    active.finish();
    std::fs::rename(&beside, &path).map_err(|e| io(&path, e))?;
    files::sync_folder(&folder)
}

/// Destroys a copy: its key first.
pub(crate) fn release(holds: &Path, sequence: u64) -> Result<(), StoreError> {
    let folder = folder(holds, sequence);
    if !folder.exists() {
        return Ok(());
    }
    super::folder::destroy(&folder.join("key"))?;
    std::fs::remove_dir_all(&folder).map_err(|e| io(&folder, e))?;
    files::sync_folder(holds)
}

/// The records that have a copy, in order.
pub(crate) fn list(holds: &Path) -> Result<Vec<u64>, StoreError> {
    let entries = match std::fs::read_dir(holds) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| io(holds, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| io(holds, e))?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}
