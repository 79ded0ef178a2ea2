//! What goes into a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self as stdio, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::{ArchiveError, JournalEnd, extent, io};
use crate::journal::scan;

/// Where files lie that the configuration names outside its own folder.
const OUTSIDE: &str = "outside";

enum Source {
    /// Read when it was added.
    Bytes(Vec<u8>),
    /// Read while the backup is written, up to so many bytes.
    File(Option<u64>),
}

struct Item {
    path: PathBuf,
    source: Source,
}

/// The files of one backup, gathered while their process may be running. The order in which they are added is the order in
/// which they are looked at: first what is replaced (heads), then what grows and is ahead of it (journals), then what is only
/// ever added (bodies, keys).
pub struct Collection {
    base: PathBuf,
    items: Vec<Item>,
    names: BTreeSet<String>,
    outside: BTreeSet<String>,
    journals: BTreeMap<String, JournalEnd>,
}

impl Collection {
    /// Names count from the folder `base`, that of the configuration file.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] when there is no working directory.
    pub fn new(base: &Path) -> Result<Self, ArchiveError> {
        let base = absolute(base)?;
        Ok(Self {
            base,
            items: Vec::new(),
            names: BTreeSet::new(),
            outside: BTreeSet::new(),
            journals: BTreeMap::new(),
        })
    }

    /// The name of a path inside the backup.
    ///
    /// # Errors
    /// [`ArchiveError`] for a path that is no text.
    pub fn name(&self, path: &Path) -> Result<String, ArchiveError> {
        let path = absolute(path)?;
        let inside = match path.strip_prefix(&self.base) {
            Ok(relative) => relative.to_owned(),
            Err(_) => Path::new(OUTSIDE).join(path.strip_prefix("/").unwrap_or(&path)),
        };
        let text = inside.to_str().map(str::to_owned);
        text.ok_or_else(|| io(&path, "its name is not text, so it cannot be put into a backup"))
    }

    /// Adds a file as it is now.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] when it cannot be read.
    pub fn file(&mut self, path: &Path) -> Result<(), ArchiveError> {
        let bytes = crate::files::read_plain(path).map_err(|e| io(path, e))?;
        self.add(path, Source::Bytes(bytes))
    }

    /// As [`Collection::file`]; a file that is not there is left out.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn file_if_there(&mut self, path: &Path) -> Result<(), ArchiveError> {
        if path.exists() { self.file(path) } else { Ok(()) }
    }

    /// Adds every file below a folder, but temporary ones; nothing when there is no such folder.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn folder(&mut self, folder: &Path) -> Result<(), ArchiveError> {
        if !folder.is_dir() {
            return Ok(());
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| io(folder, e))? {
            paths.push(entry.map_err(|e| io(folder, e))?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with(".tmp") {
                continue;
            }
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                self.add(&path, Source::File(None))?;
            }
        }
        Ok(())
    }

    /// Adds the journal `stem` of the data folder `data` as far as it reaches now.
    ///
    /// # Errors
    /// [`ArchiveError`] when its segments cannot be read.
    pub fn journal(&mut self, data: &Path, stem: &str) -> Result<JournalEnd, ArchiveError> {
        let found = extent::of(&data.join("journal"), stem)?;
        for (path, length) in found.files {
            self.add(&path, Source::File(length))?;
        }
        // What lies in the archive is not taken along, but where it is.
        let dir = data.join("journal");
        let away = if dir.is_dir() { scan::list_away(&dir, stem) } else { Ok(vec![]) };
        for (_, segment) in away.map_err(|e| ArchiveError::Contents(e.to_string()))? {
            self.file_if_there(&segment.with_extension("away"))?;
        }
        self.journals.insert(stem.to_owned(), found.end);
        Ok(found.end)
    }

    /// Adds every journal of the data folder `data` but those named in `except`; returns which.
    ///
    /// # Errors
    /// [`ArchiveError`] when they cannot be read.
    pub fn journals_of(&mut self, data: &Path, except: &[&str]) -> Result<Vec<String>, ArchiveError> {
        let dir = data.join("journal");
        let found = if dir.is_dir() { scan::stems(&dir) } else { Ok(vec![]) };
        let mut stems = found.map_err(|e| ArchiveError::Contents(e.to_string()))?;
        stems.retain(|stem| !except.contains(&stem.as_str()));
        for stem in &stems {
            self.journal(data, stem)?;
        }
        Ok(stems)
    }

    /// Notes where the journal `stem` ends, without taking it along.
    ///
    /// # Errors
    /// [`ArchiveError`] when its segments cannot be read.
    pub fn journal_end(&mut self, data: &Path, stem: &str) -> Result<JournalEnd, ArchiveError> {
        let end = extent::of(&data.join("journal"), stem)?.end;
        self.journals.insert(stem.to_owned(), end);
        Ok(end)
    }

    /// Where the journals end that were added or noted.
    pub fn journals(&self) -> BTreeMap<String, JournalEnd> {
        self.journals.clone()
    }

    /// The absolute paths of what lies outside the folder of the configuration file.
    pub fn outside(&self) -> Vec<String> {
        self.outside.iter().cloned().collect()
    }

    fn add(&mut self, path: &Path, source: Source) -> Result<(), ArchiveError> {
        let name = self.name(path)?;
        if name.starts_with(&format!("{OUTSIDE}/")) {
            self.outside.insert(absolute(path)?.display().to_string());
        }
        if self.names.insert(name) {
            self.items.push(Item { path: path.to_owned(), source });
        }
        Ok(())
    }

    /// Hands each file over: name, length, mode, bytes.
    pub(super) fn each(
        self,
        mut take: impl FnMut(&str, u64, u32, &mut dyn Read) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        for item in &self.items {
            let name = self.name(&item.path)?;
            let failed = |e: stdio::Error| io(&item.path, e);
            match &item.source {
                Source::Bytes(bytes) => {
                    let mode = std::fs::metadata(&item.path).map_or(0o600, |m| m.permissions().mode());
                    take(&name, bytes.len() as u64, mode, &mut &bytes[..])?;
                }
                Source::File(length) => {
                    let file = match crate::files::open_plain(&item.path) {
                        // Swept away meanwhile: nothing needs it any more.
                        Err(e) if e.kind() == stdio::ErrorKind::NotFound && length.is_none() => continue,
                        opened => opened.map_err(failed)?,
                    };
                    let metadata = file.metadata().map_err(failed)?;
                    let length = length.unwrap_or(metadata.len());
                    // Unused room at the end of a segment may be given back meanwhile; it reads as the zeros it was.
                    let mut bytes = file.chain(stdio::repeat(0)).take(length);
                    take(&name, length, metadata.permissions().mode(), &mut bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// The path from the root, without `.` and `..`; links stay what they are called.
fn absolute(path: &Path) -> Result<PathBuf, ArchiveError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let whole = std::path::absolute(path).map_err(|e| io(path, e))?;
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}
