//! Files that somebody hands over are read whole, plain, and no longer than what they should be; new ones get their name when they
//! are whole.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

/// Longest anchor read, in bytes.
pub(super) const SMALL_LIMIT: u64 = 16 * 1024 * 1024;

/// Reads the file at `path`. A pipe or device is refused, as it need not end; blocks.
///
/// # Errors
/// What is wrong, in both languages, with the file's name.
pub(super) fn read_file(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let name = || path.display().to_string();
    // Before it is opened: opening a pipe waits for its writer.
    if !std::fs::metadata(path).with_context(name)?.is_file() {
        bail!(
            "{}: không phải là tệp thường, hãy lưu vào một tệp trước / not a plain file: save it to one first",
            name()
        );
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).with_context(name)?;
    if bytes.len() as u64 > limit {
        let most = limit >> 20;
        bail!("{}: dài quá {most} MiB / longer than {most} MiB, which no such file is", name());
    }
    Ok(bytes)
}

fn taken() -> io::Error {
    let why = "tệp đã có và không bị ghi đè, hãy chọn tên khác / the file exists and is not overwritten: name another one";
    io::Error::new(io::ErrorKind::AlreadyExists, why)
}

/// The folder that a file of this name lies in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that is to become `path`, which must not exist yet: beside it under another name, for its owner only (0600). Dropped, it is
/// removed; killed, the program leaves it, where it stands in nobody's way.
pub(super) fn begun(path: &Path) -> io::Result<NamedTempFile> {
    if path.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".part").tempfile_in(folder(path))
}

/// Gives a whole file its name, durably; one that came there meanwhile stays.
pub(super) fn kept(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => failed.error,
    })?;
    File::open(folder(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_read_and_no_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, [7; 100]).unwrap();
        assert_eq!(read_file(&file, 100).unwrap(), [7; 100]);
        let long = read_file(&file, 99).unwrap_err().to_string();
        assert!(long.contains("dài quá") && long.contains("longer than"), "{long}");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        for other in [dir.path(), Path::new("/dev/zero"), &fifo] {
            let refused = read_file(other, 100).unwrap_err().to_string();
            assert!(refused.contains("tệp thường") && refused.contains("plain file"), "{refused}");
        }
        assert!(read_file(&dir.path().join("none"), 100).is_err());
    }
}
