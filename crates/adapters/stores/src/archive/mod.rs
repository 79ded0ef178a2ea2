//! Backups: a data folder and what belongs to it in one encrypted file (protocol P6.3, P10.4).
//!
//! ```text
//! magic "TRUCBAK\0" · version u16 · length u16 of the head · head, JSON · chunks
//! head     {"kind","made","kdf":{"name":"argon2id","m","t","p","salt"},"cipher":"aes-256-gcm","chunk":65536}
//! chunk n  AES-256-GCM over 65 536 bytes of a tar (the last: 0 to 65 536) and its tag;
//!          nonce: n u64 · 1 for the last chunk, else 0, u32; associated data: everything before the chunks
//! tar      manifest.json first, then regular files under relative names
//! ```
//!
//! The key is of this file alone: Argon2id over the passphrase and a random salt. So no chunk can be changed, moved, left out,
//! repeated or taken from another backup, and a file that was cut off has no last chunk.

mod cipher;
mod collect;
mod extent;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use truc_model::{Digest, Timestamp};
use zeroize::Zeroizing;

pub use cipher::Stretch;
pub use collect::Collection;
pub use restore::{restore_archive, verify_archive};

use crate::files;
use cipher::Sealer;

/// Name of the first file inside.
const MANIFEST: &str = "manifest.json";

/// Turns a passphrase into a key with these parameters; the key store's business.
pub type Stretcher<'a> = &'a dyn Fn(&Stretch) -> Result<Zeroizing<[u8; 32]>, String>;

/// Where a journal ends in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JournalEnd {
    /// How many records or decisions it has; the next one's sequence.
    pub records: u64,
    /// Its chain hash after the last.
    pub chain: Digest,
}

/// What a backup is of, as its first file says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// Format version of the contents, 1.
    pub v: u32,
    /// `registry` or `node`.
    pub kind: String,
    /// The instance code or the node's id.
    pub holder: String,
    /// When it was begun.
    pub made: Timestamp,
    /// The configuration file's name inside.
    pub config: String,
    /// The data folder's name inside; empty when it is the folder of the configuration file.
    pub data: String,
    /// Whether evidence and stored bodies are inside.
    pub with_evidence: bool,
    /// Where each journal of the source ended, whether it is inside or not.
    pub journals: BTreeMap<String, JournalEnd>,
    /// The highest directory head then known, as the source kept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadNumber>,
    /// Absolute paths of files that the configuration names outside its own folder; inside they lie under `outside/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<String>,
}

/// The number of a directory head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeadNumber {
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
}

/// Why a backup was not made or not restored. Nothing is left behind then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The disk refuses.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The backup is there already.
    #[error("{0} exists already; a backup is never written over another file")]
    Exists(PathBuf),
    /// The place to restore to is taken.
    #[error("{0} is not empty; restore into a new or an empty folder")]
    NotEmpty(PathBuf),
    /// It is no backup at all.
    #[error("{0} is no backup of truc, or its beginning was damaged")]
    NotABackup(PathBuf),
    /// A newer program made it.
    #[error(
        "the backup has format {found}, this program reads {known}: use the program version that made it"
    )]
    Newer {
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is of something else.
    #[error("this is the backup of a {found}, not of a {wanted}")]
    OtherKind {
        /// What it is of.
        found: String,
        /// What it should be of.
        wanted: String,
    },
    /// Nothing in it opens.
    #[error("the backup does not open: the passphrase is wrong, or the file was changed since it was made")]
    NotOpened,
    /// It opens at the beginning and not further on.
    #[error(
        "the backup is damaged in chunk {0}: it was changed or cut off since it was made; use another copy"
    )]
    Damaged(u64),
    /// What it holds is not what a backup holds.
    #[error("what the backup holds cannot be used: {0}")]
    Contents(String),
    /// Key derivation or encryption failed.
    #[error("the cryptographic library failed ({0}): check memory limits and the system's random source")]
    Crypto(String),
}

pub(crate) fn io(path: &Path, reason: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Io { path: path.to_owned(), reason: reason.to_string() }
}

/// Writes a backup to the new file `out` (mode 0600), whole or not at all: beside its place first, synced, then renamed. Blocks.
///
/// # Errors
/// [`ArchiveError`]; `out` is then not there.
pub fn write_archive(
    out: &Path,
    manifest: &Manifest,
    collection: Collection,
    stretch: Stretcher<'_>,
) -> Result<(), ArchiveError> {
    if out.exists() {
        return Err(ArchiveError::Exists(out.to_owned()));
    }
    let beside = beside(out)?;
    let outcome = fill(&beside, manifest, collection, stretch).and_then(|()| {
        std::fs::rename(&beside, out).map_err(|e| io(out, e))?;
        let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        files::sync_folder(folder).map_err(|e| io(folder, e))
    });
    if outcome.is_err() {
        // What failed is what is reported; a leftover has a name that nothing reads.
        let _ = std::fs::remove_file(&beside);
    }
    outcome
}

/// A name in the same folder that nobody else uses.
fn beside(path: &Path) -> Result<PathBuf, ArchiveError> {
    let name = path.file_name().ok_or_else(|| io(path, "names no file or folder"))?;
    Ok(path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id())))
}

fn fill(
    path: &Path,
    manifest: &Manifest,
    collection: Collection,
    stretch: Stretcher<'_>,
) -> Result<(), ArchiveError> {
    let failed = |e: std::io::Error| io(path, e);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let sealer = Sealer::begin(BufWriter::new(file), &manifest.kind, manifest.made, stretch)?;
    let mut tar = tar::Builder::new(sealer);
    let text = serde_json::to_vec_pretty(manifest).map_err(|e| ArchiveError::Contents(e.to_string()))?;
    append(&mut tar, MANIFEST, text.len() as u64, 0o600, &text[..]).map_err(failed)?;
    collection
        .each(|name, length, mode, bytes| append(&mut tar, name, length, mode, bytes).map_err(failed))?;
    let sealer = tar.into_inner().map_err(failed)?;
    let mut file = sealer.finish().map_err(failed)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)
}

fn append(
    tar: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    length: u64,
    mode: u32,
    bytes: impl Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(length);
    header.set_mode(mode & 0o777);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}
