//! Reading segments that lie in the archive: fetched whole into a bounded cache, and read there.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use truc_evidence::{ArchiveError, ArchiveStore, Content, StoreError, fetch, object_name};

use super::stub::Stub;
use crate::files::{self, io};

/// Segments in the cache; the one unused for longest makes way.
const KEPT: usize = 8;
/// A reader whose segment made way before it was opened asks again so often.
const TRIES: usize = 3;

/// The archive, for reading from threads that may block.
#[derive(Clone)]
pub struct ArchiveReader {
    store: Arc<dyn ArchiveStore>,
    runtime: Handle,
}

impl ArchiveReader {
    /// Reads `store` on `runtime`, which has threads of its own.
    pub fn new(store: Arc<dyn ArchiveStore>, runtime: Handle) -> Self {
        Self { store, runtime }
    }

    fn fetch(&self, name: &str, content: &Content) -> Result<Bytes, ArchiveError> {
        // On a thread of its own: whoever reads may be a thread of that runtime, which must not wait for itself.
        let waiting = || self.runtime.block_on(fetch(self.store.as_ref(), name, content));
        let fetched = std::thread::scope(|scope| scope.spawn(waiting).join());
        fetched.unwrap_or_else(|_| Err(ArchiveError::Away("reading it was cut short".into())))
    }
}

impl std::fmt::Debug for ArchiveReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveReader")
    }
}

/// Where segments are found, here or in the archive.
#[derive(Debug)]
pub(crate) struct Shelf {
    cache: PathBuf,
    /// Removes the cache at the end.
    _temporary: Option<tempfile::TempDir>,
    archive: Option<ArchiveReader>,
    /// What lies in the cache, the last used last; held while one is fetched, so that each is fetched once.
    kept: Mutex<VecDeque<PathBuf>>,
}

impl Shelf {
    /// A shelf with an empty cache below the data folder `folder`.
    pub(crate) fn open(folder: &Path, archive: Option<ArchiveReader>) -> Result<Self, StoreError> {
        let cache = folder.join("tmp").join("archive-cache");
        match std::fs::remove_dir_all(&cache) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(&cache, e)),
            _ => {}
        }
        Ok(Self { cache, _temporary: None, archive, kept: Mutex::default() })
    }

    /// A shelf with a cache of its own that goes with it, for who must not change the data folder.
    pub(crate) fn temporary(archive: Option<ArchiveReader>) -> Result<Self, StoreError> {
        let made = archive.as_ref().map(|_| tempfile::tempdir()).transpose();
        let made = made.map_err(|e| io(&std::env::temp_dir(), e))?;
        let cache = made.as_ref().map_or_else(PathBuf::new, |dir| dir.path().to_owned());
        Ok(Self { cache, _temporary: made, archive, kept: Mutex::default() })
    }

    /// Reads the segment at `path`, wherever it lies now. `work` gets the file to read.
    pub(crate) fn with<T>(
        &self,
        path: &Path,
        work: impl Fn(&Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut last = StoreError::NotFound;
        for _ in 0..TRIES {
            let place = self.place(path)?;
            match work(&place) {
                // Archived, or out of the cache, since the place was asked for.
                Err(error) if !place.exists() => last = error,
                outcome => return outcome,
            }
        }
        Err(last)
    }

    fn place(&self, path: &Path) -> Result<PathBuf, StoreError> {
        if path.exists() {
            return Ok(path.to_owned());
        }
        let Some(stub) = Stub::read(path)? else {
            // Whoever reads it says what is missing.
            return Ok(path.to_owned());
        };
        let file = &stub.archived.file;
        let archive = self.archive.as_ref().ok_or_else(|| {
            StoreError::Failed(format!("{file} lies in the archive, and no [evidence.archive] is configured"))
        })?;
        let cached = self.cache.join(format!("{}.seg", stub.archived.sha256));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.iter().position(|path| *path == cached) {
            kept.remove(found);
        } else {
            let name = object_name(file, stub.archived.sha256);
            let bytes = archive.fetch(&name, &stub.content()).map_err(|e| match e {
                ArchiveError::Damaged(_) | ArchiveError::Missing(_) => StoreError::Damaged(e.to_string()),
                other => StoreError::Failed(format!("{file} lies in the archive: {other}")),
            })?;
            while kept.len() >= KEPT {
                if let Some(oldest) = kept.pop_front() {
                    // A leftover is removed at the next start.
                    let _ = std::fs::remove_file(oldest);
                }
            }
            self.put(&cached, &bytes)?;
        }
        kept.push_back(cached.clone());
        Ok(cached)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        files::make_folder(&self.cache)?;
        let beside = path.with_extension("tmp");
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&beside);
            io(path, e)
        })
    }
}
