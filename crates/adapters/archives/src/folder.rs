//! An archive in a folder, mostly of another disk or a network file system.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::Advice;
use truc_evidence::{ArchiveError, ArchiveStore, ArchivedObject, OBJECT_LIMIT, check_name};

use crate::OpenError;

/// Tells the archive's folder from the empty place where its disk is mounted.
const MARK: &str = "TRUC-ARCHIVE";
const MARK_TEXT: &str = "truc archive 1\n";
/// A disk that does not answer within this is away. The blocked call itself goes on until its disk answers.
const DEADLINE: Duration = Duration::from_secs(300);

/// [`ArchiveStore`] in a folder. What was put is on stable storage: written beside its place, synced, renamed, its folders synced.
#[derive(Debug, Clone)]
pub struct FolderArchive {
    root: Arc<Path>,
}

impl FolderArchive {
    /// Opens the archive in `root`, whose mark must be there; with `begin` an empty folder gets it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]: nothing is there, or it is no archive. Is its disk mounted?
    pub fn open(root: &Path, begin: bool) -> Result<Self, OpenError> {
        let archive = Self { root: root.into() };
        if begin && !root.join(MARK).exists() {
            archive.begin()?;
        }
        archive.marked()?;
        Ok(archive)
    }

    /// The archive in `root`, which may be away at this moment.
    pub fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    fn begin(&self) -> Result<(), OpenError> {
        let failed =
            |e: std::io::Error| OpenError::File { path: self.root.to_path_buf(), problem: e.to_string() };
        make_folder(&self.root).map_err(failed)?;
        let first = std::fs::read_dir(&*self.root).map_err(failed)?.next().transpose().map_err(failed)?;
        if let Some(entry) = first.filter(|e| e.file_name() != "lost+found") {
            let problem = format!("is no archive and holds {:?}; name an empty folder", entry.file_name());
            return Err(OpenError::File { path: self.root.to_path_buf(), problem });
        }
        write_whole(&self.root.join(MARK), MARK_TEXT.as_bytes()).map_err(failed)
    }

    /// Whether the folder is the archive and not an empty mount point.
    fn marked(&self) -> Result<(), ArchiveError> {
        let path = self.root.join(MARK);
        match std::fs::read(&path) {
            Ok(text) if text == MARK_TEXT.as_bytes() => Ok(()),
            Ok(_) => Err(ArchiveError::Refused(format!("{} is of another format", path.display()))),
            Err(e) => Err(ArchiveError::Away(format!("{}: {e}; is its disk mounted?", path.display()))),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let archive = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            archive.marked()?;
            work(&archive)
        });
        match tokio::time::timeout(DEADLINE, done).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(ArchiveError::Away(format!("the call was cut short: {error}"))),
            Err(_) => Err(ArchiveError::Away(format!("{} does not answer", self.root.display()))),
        }
    }

    fn put_now(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let path = self.root.join(name);
        let failed = |e: std::io::Error| failure(&path, &e);
        if path.exists() {
            let same = read_cold(&path).map_err(failed)? == bytes;
            let taken = || ArchiveError::Refused(format!("{name} is there already with other bytes"));
            return if same { Ok(()) } else { Err(taken()) };
        }
        path.parent().map_or(Ok(()), make_folder).map_err(failed)?;
        write_whole(&path, bytes).map_err(failed)
    }
}

#[async_trait]
impl ArchiveStore for FolderArchive {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        check_name(name)?;
        let name = name.to_owned();
        self.blocking(move |archive| archive.put_now(&name, &bytes)).await
    }

    async fn get(&self, name: &str) -> Result<Bytes, ArchiveError> {
        check_name(name)?;
        let name = name.to_owned();
        self.blocking(move |archive| {
            let path = archive.root.join(&name);
            match read_cold(&path) {
                Ok(bytes) => Ok(bytes.into()),
                Err(e) if e.kind() == ErrorKind::NotFound => Err(ArchiveError::Missing(name)),
                Err(e) => Err(failure(&path, &e)),
            }
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), ArchiveError> {
        check_name(name)?;
        let name = name.to_owned();
        self.blocking(move |archive| {
            let path = archive.root.join(&name);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                Err(e) => Err(failure(&path, &e)),
                Ok(()) => path.parent().map_or(Ok(()), sync_folder).map_err(|e| failure(&path, &e)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ArchivedObject>, ArchiveError> {
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let prefix = prefix.to_owned();
        self.blocking(move |archive| {
            let mut found = Vec::new();
            archive.list_into(&prefix, &mut found)?;
            found.sort();
            Ok(found)
        })
        .await
    }
}

impl FolderArchive {
    fn list_into(&self, folder: &str, found: &mut Vec<ArchivedObject>) -> Result<(), ArchiveError> {
        let path = self.root.join(folder);
        let failed = |e: std::io::Error| failure(&path, &e);
        let entries = match std::fs::read_dir(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if check_name(&name).is_err() || name == MARK || name == "lost+found" {
                continue;
            }
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_dir() {
                self.list_into(&name, found)?;
            } else {
                found.push(ArchivedObject { name, length: metadata.len() });
            }
        }
        Ok(())
    }
}

fn failure(path: &Path, error: &std::io::Error) -> ArchiveError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory => ArchiveError::Refused(text),
        ErrorKind::FileTooLarge => ArchiveError::Damaged(text),
        _ => ArchiveError::Away(text),
    }
}

/// Reads a file from its disk and not from what this machine still has of it in memory, as far as the system allows.
fn read_cold(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Advice only: a system without it reads what it has.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    if file.metadata()?.len() > OBJECT_LIMIT {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    file.take(OBJECT_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = beside(path);
    let _ = std::fs::remove_file(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // What failed is what is reported; a leftover has a name that no list shows.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// A hidden name in the same folder.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => sync_folder(parent),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
