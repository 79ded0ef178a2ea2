//! Small helpers over files: durable creation, room on disk, and errors with the file's name in them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use truc_evidence::StoreError;

/// The store's error for an I/O error at `path`; a full disk or quota is [`StoreError::Full`].
pub(crate) fn io(path: &Path, error: impl Into<std::io::Error>) -> StoreError {
    let error = error.into();
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    if full { StoreError::Full } else { StoreError::Failed(format!("{}: {error}", path.display())) }
}

pub(crate) fn damaged(path: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged(format!("{} at byte {offset}: {what}", path.display()))
}

/// Opens a file for reading. What is no file but bears its name is refused: a pipe would have its reader wait for ever (so nothing is
/// waited for here), a device need not end.
pub(crate) fn open_plain(path: &Path) -> std::io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(NO_WAITING).open(path)?)
}

/// Reads a file that [`open_plain`] opens.
pub(crate) fn read_plain(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = open_plain(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file, if it is one.
pub(crate) fn plain(file: File) -> std::io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::new(
        ErrorKind::InvalidInput,
        "a folder, pipe or device lies where a file belongs: remove it",
    ))
}

/// For opening what may be no file; it means nothing for files.
pub(crate) const NO_WAITING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Makes a folder (mode 0700) with its parents, durably.
pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(io(path, e)),
        _ => sync_folder(parent),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| io(path, e))
}

/// Creates a file (mode 0600) that must not exist yet, open for reading and writing.
pub(crate) fn create_new(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(|e| io(path, e))
}

/// Creates `path` with this content, whole or not at all, durably. An existing file is never replaced.
pub(crate) fn create_whole(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let outcome = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::hard_link(&temporary, path)
    })();
    let _ = std::fs::remove_file(&temporary);
    outcome.map_err(|e| io(path, e))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// How much disk is asked for, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Without so much it is not worth it.
    pub(crate) least: u64,
    /// Taken when there is as much.
    pub(crate) wanted: u64,
    /// Left free on the disk, for the index and everything else.
    pub(crate) spare: u64,
}

impl Ask {
    /// So much and no more, also of what is otherwise left free: for room that was given back a moment ago.
    pub(crate) const fn back(least: u64) -> Self {
        Self { least, wanted: least, spare: 0 }
    }
    /// And so many bytes beside it.
    pub(crate) const fn with(self, bytes: u64) -> Self {
        Self { least: self.least + bytes, wanted: self.wanted.saturating_add(bytes), spare: self.spare }
    }
}

/// Extends `file` from its length `from` as asked, with written zeros; returns by how much. The caller makes it durable.
///
/// Room that is only allocated is not enough: a write into it is readable only once the file system has committed that it was
/// written, and `fdatasync` is answered with success also when that commit was lost with its journal. A write over
/// written blocks needs no such commit, which also makes each sync cheaper.
pub(crate) fn allocate(path: &Path, file: &File, from: u64, ask: Ask) -> Result<u64, StoreError> {
    let least = ask.least.next_multiple_of(4096);
    let disk = rustix::fs::fstatvfs(file).map_err(|e| io(path, e))?;
    let available = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(ask.spare);
    for length in [ask.wanted.max(least), least] {
        if length > available {
            continue;
        }
        let outcome = match rustix::fs::fallocate(file, FallocateFlags::empty(), from, length) {
            // In one piece where that can be asked for.
            Ok(()) | Err(Errno::OPNOTSUPP) => write_zeros(file, from, length),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => return Ok(length),
            Err(error) => {
                // What a failed call may have taken is given back; nothing was written beyond `from`.
                file.set_len(from).map_err(|e| io(path, e))?;
                let error = io(path, error);
                if error != StoreError::Full {
                    return Err(error);
                }
            }
        }
    }
    Err(StoreError::Full)
}

fn write_zeros(file: &File, from: u64, length: u64) -> std::io::Result<()> {
    let zeros = vec![0; 256 << 10];
    let mut done = 0;
    while done < length {
        let part = usize::try_from(length - done).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all_at(zeros.get(..part).unwrap_or(&zeros), from + done)?;
        done += part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        std::fs::write(&file, b"content").unwrap();
        std::os::unix::fs::symlink(&file, dir.path().join("link")).unwrap();
        assert_eq!(read_plain(&file).unwrap(), b"content");
        assert_eq!(read_plain(&dir.path().join("link")).unwrap(), b"content");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for other in [&fifo, Path::new("/dev/zero"), dir.path()] {
            assert!(open_plain(other).unwrap_err().to_string().contains("remove it"), "{}", other.display());
        }
        assert_eq!(read_plain(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
