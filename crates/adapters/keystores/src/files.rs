//! Files that appear whole or not at all, and are never overwritten.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::error::KeyStoreError;

/// No file of a store comes near this many bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyStoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| KeyStoreError::Crypto("random numbers"))?;
    Ok(bytes)
}

/// Creates `path` (mode 0600) with this content, durably. Returns false, changing nothing, when it exists already.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<bool, KeyStoreError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_name(folder)?;
    let outcome = write_and_link(&temporary, path, content);
    let removed = std::fs::remove_file(&temporary);
    let created = match outcome {
        Ok(()) => true,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
        Err(e) => return Err(KeyStoreError::io(path, e)),
    };
    removed.map_err(|e| KeyStoreError::io(&temporary, e))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| KeyStoreError::io(folder, e))?;
    Ok(created)
}

/// A hard link, unlike a rename, fails when the name is taken: an existing key can never be lost this way.
fn write_and_link(temporary: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::hard_link(temporary, path)
}

fn temporary_name(folder: &Path) -> Result<PathBuf, KeyStoreError> {
    let name: String = random::<8>()?.iter().map(|b| format!("{b:02x}")).collect();
    Ok(folder.join(format!(".{name}.tmp")))
}

/// Reads a file of the store; none is `None`.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, KeyStoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(KeyStoreError::io(path, e)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| KeyStoreError::io(path, e))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(KeyStoreError::Format {
            path: path.to_owned(),
            reason: "it is larger than 64 KiB".into(),
        });
    }
    Ok(Some(bytes))
}

/// Makes the store's folder (mode 0700) when there is none.
pub(crate) fn make_folder(dir: &Path) -> Result<(), KeyStoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| KeyStoreError::io(dir, e))
}

/// The files of a folder that end in `.extension` and do not start with a dot, in name order.
pub(crate) fn list(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, KeyStoreError> {
    let io = |e| KeyStoreError::io(dir, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
