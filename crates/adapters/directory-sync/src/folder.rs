//! The folder `directory/`: anchor, parts by digest, heads. Used by nodes as their cache and by the registry as the
//! place where everything it ever published lies.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use truc_directory::{Anchor, Directory, DirectoryError, FormatError, Head, SignedHead};
use truc_model::Digest;

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {source}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The directory in the folder does not verify.
    #[error("{path}: {source}")]
    Directory {
        /// Which folder.
        path: PathBuf,
        /// Why it is not believed.
        source: DirectoryError,
    },
}

/// The folder. All its functions block on the disk: call them off the runtime. Every file is written beside its place,
/// synced, renamed, and its folder synced, so that a crash leaves the old file or the new one.
///
/// ```text
/// anchor.json            head.json                 the head in force
/// parts/<sha256>         heads/<epoch>.<version>   the first head seen of each version, for evidence
/// ```
#[derive(Debug, Clone)]
pub struct DirectoryFolder {
    root: PathBuf,
}

/// So many parts are synced one by one; more by syncing the file system once.
const FEW: usize = 64;

/// Distinguishes temporary files of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl DirectoryFolder {
    /// Opens the folder, making it when it is not there.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        for folder in [root.to_path_buf(), root.join("parts"), root.join("heads")] {
            fs::create_dir_all(&folder).map_err(|source| FolderError::Io { path: folder, source })?;
        }
        Ok(Self { root: root.to_path_buf() })
    }

    /// Keeps a part under its digest.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn put(&self, bytes: &Bytes) -> Result<Digest, FolderError> {
        let digest = Digest::of(bytes);
        if self.get(&digest)?.is_none() {
            self.write(&self.part_path(&digest), bytes)?;
        }
        Ok(digest)
    }

    /// Keeps many parts at once: one wait for the disk instead of one for each, and for a few of them one for their names.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn put_all(&self, parts: &[Bytes]) -> Result<(), FolderError> {
        let few = parts.len() <= FEW;
        for bytes in parts {
            let digest = Digest::of(bytes);
            if self.get(&digest)?.is_some() {
                continue;
            }
            let path = self.part_path(&digest);
            self.beside(&path, bytes, |file, beside| {
                if few {
                    file.sync_all()?;
                }
                fs::rename(beside, &path)
            })?;
        }
        let folder = self.root.join("parts");
        let synced = File::open(&folder)
            .and_then(|opened| if few { opened.sync_all() } else { Ok(rustix::fs::syncfs(opened)?) });
        synced.map_err(|source| FolderError::Io { path: folder, source })
    }

    /// Takes a part away, if it is there.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), FolderError> {
        remove(&self.part_path(digest))
    }

    /// Takes the head kept of a version away, if it is there.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub(crate) fn remove_version(&self, epoch: u64, version: u64) -> Result<(), FolderError> {
        remove(&self.version_path(epoch, version))
    }

    /// All parts here, the oldest first. Clears away what a crash left half written.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub(crate) fn parts_by_age(&self) -> Result<Vec<Digest>, FolderError> {
        let mut found = Vec::new();
        for (name, path) in names_in(&self.root.join("parts"))? {
            match name.parse::<Digest>() {
                Ok(digest) => {
                    let changed = fs::metadata(&path).and_then(|m| m.modified());
                    found.push((changed.map_err(|source| FolderError::Io { path, source })?, digest));
                }
                Err(_) => remove(&path)?,
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }

    /// The versions whose heads are kept, in order.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub(crate) fn versions(&self) -> Result<Vec<(u64, u64)>, FolderError> {
        let number = |name: &str| {
            let (epoch, version) = name.split_once('.')?;
            Some((epoch.parse().ok()?, version.parse().ok()?))
        };
        let names = names_in(&self.root.join("heads"))?;
        let mut found: Vec<(u64, u64)> = names.iter().filter_map(|(name, _)| number(name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The part with this digest. A file whose bytes no longer have the digest counts as absent.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn get(&self, digest: &Digest) -> Result<Option<Bytes>, FolderError> {
        let path = self.part_path(digest);
        let found = read(&path)?;
        if found.as_ref().is_some_and(|b| Digest::of(b) != *digest) {
            tracing::error!(path = %path.display(), "a directory part on disk is damaged; it will be fetched again");
            return Ok(None);
        }
        Ok(found)
    }

    /// Replaces the head in force; the first head of its version is kept as well.
    ///
    /// # Errors
    /// [`FolderError::Io`], or [`FolderError::Format`] for bytes that are no head.
    pub fn set_head(&self, signed_head: &Bytes) -> Result<(), FolderError> {
        let head = self.read_head(signed_head)?;
        self.set_head_of(head.epoch, head.version, signed_head)
    }

    /// As [`DirectoryFolder::set_head`], for a head that was read already.
    pub(crate) fn set_head_of(
        &self,
        epoch: u64,
        version: u64,
        signed_head: &Bytes,
    ) -> Result<(), FolderError> {
        let (kept, in_force) = (self.version_path(epoch, version), self.root.join("head.json"));
        if kept.exists() {
            return self.write(&in_force, signed_head);
        }
        self.write(&kept, signed_head)?;
        // Two names of one file, which nobody ever writes into: it is on the disk already.
        let beside = self.name_beside(&in_force);
        if fs::hard_link(&kept, &beside).is_err() {
            return self.write(&in_force, signed_head);
        }
        let moved = fs::rename(&beside, &in_force).and_then(|()| File::open(&self.root)?.sync_all());
        moved.map_err(|source| FolderError::Io { path: in_force, source })
    }

    /// The head in force.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn head(&self) -> Result<Option<Bytes>, FolderError> {
        read(&self.root.join("head.json"))
    }

    /// Keeps a copy of the anchor beside what it vouches for.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn set_anchor(&self, anchor: &Anchor) -> Result<(), FolderError> {
        self.write(&self.root.join("anchor.json"), &anchor.to_json())
    }

    /// The directory in force, verified; `None` when the folder holds none yet.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn load(&self, anchor: &Anchor) -> Result<Option<Directory>, FolderError> {
        self.head()?.map(|bytes| self.assemble(anchor, &bytes)).transpose()
    }

    /// The directory of an earlier version, verified as it stood, for the evidence of that time.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn load_version(
        &self,
        anchor: &Anchor,
        epoch: u64,
        version: u64,
    ) -> Result<Option<Directory>, FolderError> {
        read(&self.version_path(epoch, version))?.map(|bytes| self.assemble(anchor, &bytes)).transpose()
    }

    fn assemble(&self, anchor: &Anchor, signed_head: &Bytes) -> Result<Directory, FolderError> {
        let head = self.read_head(signed_head)?;
        let signed = SignedHead::parse(signed_head).map_err(|e| self.format(e))?;
        let mut roots = Vec::new();
        for listed in head.root_parts() {
            let missing = || DirectoryError::MissingPart { name: listed.name.clone(), digest: listed.digest };
            roots.push(self.get(&listed.digest)?.ok_or_else(|| self.refused(missing()))?);
        }
        Directory::assemble(anchor, &roots, &signed, |d| self.get(d).ok().flatten())
            .map_err(|e| self.refused(e))
    }

    fn read_head(&self, signed_head: &Bytes) -> Result<Head, FolderError> {
        SignedHead::parse(signed_head).and_then(|s| s.unverified()).map_err(|e| self.format(e))
    }

    fn format(&self, source: FormatError) -> FolderError {
        FolderError::Format { path: self.root.join("head.json"), source }
    }

    fn refused(&self, source: DirectoryError) -> FolderError {
        FolderError::Directory { path: self.root.clone(), source }
    }

    fn part_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("parts").join(digest.to_string())
    }

    fn version_path(&self, epoch: u64, version: u64) -> PathBuf {
        self.root.join("heads").join(format!("{epoch}.{version}"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
        let folder = path.parent().unwrap_or(&self.root);
        self.beside(path, bytes, |file, beside| {
            file.sync_all()?;
            fs::rename(beside, path)?;
            File::open(folder)?.sync_all()
        })
    }

    /// A name for a file on its way to `path`.
    fn name_beside(&self, path: &Path) -> PathBuf {
        let folder = path.parent().unwrap_or(&self.root);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        folder.join(format!(".{}-{number}.tmp", std::process::id()))
    }

    /// Writes beside the place and lets `settle` bring the file there.
    fn beside(
        &self,
        path: &Path,
        bytes: &[u8],
        settle: impl FnOnce(&File, &Path) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let failed = |source| FolderError::Io { path: path.to_path_buf(), source };
        let beside = self.name_beside(path);
        let written = File::create(&beside)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| settle(&file, &beside)));
        if written.is_err() {
            // The refusal itself is what is reported; a leftover is harmless.
            let _ = fs::remove_file(&beside);
        }
        written.map_err(failed)
    }
}

fn read(path: &Path) -> Result<Option<Bytes>, FolderError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Bytes::from(bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::Io { path: path.to_path_buf(), source }),
    }
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FolderError::Io { path: path.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

fn names_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, FolderError> {
    let read = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = read.map_err(|source| FolderError::Io { path: folder.to_path_buf(), source })?;
    let named = |e: fs::DirEntry| Some((e.file_name().into_string().ok()?, e.path()));
    Ok(entries.into_iter().filter_map(named).collect())
}
