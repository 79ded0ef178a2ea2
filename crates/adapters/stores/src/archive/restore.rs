//! From a backup to a folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use std::sync::PoisonError;

use super::cipher::{Fault, Opener};
use super::{ArchiveError, MANIFEST, Manifest, Stretcher, beside, io};
use crate::files;

/// No manifest is longer.
const MANIFEST_LIMIT: u64 = 1024 * 1024;

/// Reads a whole backup of this kind and checks every byte of it; writes nothing. Blocks.
///
/// # Errors
/// [`ArchiveError`].
pub fn verify_archive(file: &Path, kind: &str, stretch: Stretcher<'_>) -> Result<Manifest, ArchiveError> {
    walk(file, kind, stretch, &mut |_, _, bytes| {
        std::io::copy(bytes, &mut std::io::sink()).map(drop).map_err(|e| io(file, e))
    })
}

/// Restores a backup of this kind into `dir`, which must be new or empty: into a folder beside it first, where `finish` adds what a restored
/// folder needs and checks what is there; when everything is on disk, it is renamed to `dir`. Blocks.
///
/// # Errors
/// [`ArchiveError`]; `dir` is then as it was.
pub fn restore_archive(
    file: &Path,
    kind: &str,
    stretch: Stretcher<'_>,
    dir: &Path,
    finish: impl FnOnce(&Path, &Manifest) -> Result<(), String>,
) -> Result<Manifest, ArchiveError> {
    refuse_taken(dir)?;
    let dir = std::path::absolute(dir).map_err(|e| io(dir, e))?;
    let place = beside(&dir)?;
    let folder = dir.parent().unwrap_or(Path::new("/"));
    files::make_folder(folder).map_err(|e| io(folder, e))?;
    DirBuilder::new().mode(0o700).create(&place).map_err(|e| io(&place, e))?;
    let outcome = fill(file, kind, stretch, &place)
        .and_then(|manifest| {
            finish(&place, &manifest).map_err(ArchiveError::Contents)?;
            Ok(manifest)
        })
        .and_then(|manifest| {
            let all = File::open(&place).map_err(|e| io(&place, e))?;
            rustix::fs::syncfs(&all).map_err(|e| io(&place, e))?;
            refuse_taken(&dir)?;
            // Takes the place of an empty folder, and of nothing else.
            std::fs::rename(&place, &dir).map_err(|e| io(&dir, e))?;
            files::sync_folder(folder).map_err(|e| io(folder, e))?;
            Ok(manifest)
        });
    if outcome.is_err() {
        // What failed is what is reported.
        let _ = std::fs::remove_dir_all(&place);
    }
    outcome
}

fn refuse_taken(dir: &Path) -> Result<(), ArchiveError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ArchiveError::NotEmpty(dir.to_owned())),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io(dir, e)),
    }
}

fn fill(file: &Path, kind: &str, stretch: Stretcher<'_>, place: &Path) -> Result<Manifest, ArchiveError> {
    walk(file, kind, stretch, &mut |name, mode, bytes| {
        let path = place.join(name);
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| io(folder, e))?;
        }
        let mode = mode & 0o755;
        let new = OpenOptions::new().write(true).create_new(true).mode(mode | 0o600).open(&path);
        let mut new = new.map_err(|e| io(&path, e))?;
        std::io::copy(bytes, &mut new).map(drop).map_err(|e| io(&path, e))
    })
}

type Take<'a> = &'a mut dyn FnMut(&Path, u32, &mut dyn Read) -> Result<(), ArchiveError>;

/// Hands over every file but the manifest, in order; succeeds only when the backup was read to its very end.
fn walk(path: &Path, kind: &str, stretch: Stretcher<'_>, take: Take<'_>) -> Result<Manifest, ArchiveError> {
    let fault = Fault::default();
    let source = BufReader::new(File::open(path).map_err(|e| io(path, e))?);
    let opener = Opener::begin(source, path, kind, stretch, Fault::clone(&fault))?;
    let walked = entries(opener, path, kind, take);
    // A broken chunk shows to the tar reader as an I/O error; what it was is told instead.
    let broken = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    match broken {
        Some(error) => Err(error),
        None => walked,
    }
}

fn entries<R: Read>(
    opener: Opener<R>,
    path: &Path,
    kind: &str,
    take: Take<'_>,
) -> Result<Manifest, ArchiveError> {
    let odd = |e: std::io::Error| ArchiveError::Contents(e.to_string());
    let mut archive = tar::Archive::new(opener);
    let mut manifest = None;
    for entry in archive.entries().map_err(odd)? {
        let mut entry = entry.map_err(odd)?;
        let name = entry.path().map_err(odd)?.into_owned();
        let plain = name.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain || entry.header().entry_type() != tar::EntryType::Regular {
            return Err(ArchiveError::Contents(format!("{} is no plain file in it", name.display())));
        }
        let mode = entry.header().mode().map_err(odd)?;
        match &manifest {
            None => manifest = Some(read_manifest(&name, &mut entry, kind)?),
            Some(_) => take(&name, mode, &mut entry)?,
        }
    }
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(|e| io(path, e))?;
    manifest.ok_or_else(|| ArchiveError::Contents("it is empty".into()))
}

fn read_manifest(name: &Path, bytes: &mut dyn Read, kind: &str) -> Result<Manifest, ArchiveError> {
    #[derive(serde::Deserialize)]
    struct VersionOnly {
        v: u32,
    }
    let odd = |e: serde_json::Error| ArchiveError::Contents(format!("its manifest: {e}"));
    if name != Path::new(MANIFEST) {
        return Err(ArchiveError::Contents("it does not begin with its manifest".into()));
    }
    let mut text = Vec::new();
    bytes.take(MANIFEST_LIMIT).read_to_end(&mut text).map_err(|e| ArchiveError::Contents(e.to_string()))?;
    let VersionOnly { v } = serde_json::from_slice(&text).map_err(odd)?;
    if v != 1 {
        return Err(ArchiveError::Newer { found: v, known: 1 });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(odd)?;
    if manifest.kind != kind {
        return Err(ArchiveError::OtherKind { found: manifest.kind, wanted: kind.to_owned() });
    }
    Ok(manifest)
}
