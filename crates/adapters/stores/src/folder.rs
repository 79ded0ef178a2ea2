//! The data folder of one process: its parts, its format and its lock (protocol P10.4).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::files;

/// What lies in a data folder beside `FORMAT` and `lock`.
const PARTS: [&str; 7] = ["keys", "journal", "bodies", "index", "directory", "spool", "tmp"];
/// The newest format this program reads, and the one it writes.
const FORMAT: u32 = 1;

/// How often, and how far apart, a locked folder is tried again: 3 s in all.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("the data folder {0} is in use by another process: stop that one first, or use another folder")]
    InUse(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the data folder {path} has format {found:?}, this program reads {wanted:?}: use the program version that wrote it"
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its FORMAT file says.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// It holds something, but no FORMAT file.
    #[error("the folder {0} is not empty and not a data folder: name an empty or a new one")]
    NotOurs(PathBuf),
    /// The disk refuses.
    #[error("the data folder {path}: {reason}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

fn io(path: &Path, reason: impl std::fmt::Display) -> FolderError {
    FolderError::Io { path: path.to_owned(), reason: reason.to_string() }
}

/// A data folder that this process owns for as long as the value lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens a node's data folder; makes it (mode 0700) when there is none.
    ///
    /// # Errors
    /// [`FolderError`], e.g. when another process uses it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_as(path, "truc-node")
    }

    /// Opens a data folder of another kind of process, e.g. `truc-registry`; the kinds do not open each other's.
    ///
    /// # Errors
    /// [`FolderError`], e.g. when another process uses it.
    pub fn open_as(path: &Path, kind: &str) -> Result<Self, FolderError> {
        let wanted = format!("{kind} {FORMAT}");
        let format = path.join("FORMAT");
        let found = match files::read_plain(&format) {
            Ok(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(io(&format, e)),
        };
        if let Some(found) = &found
            && found.trim_end() != wanted
        {
            return Err(FolderError::Format {
                path: path.to_owned(),
                found: found.trim_end().to_owned(),
                wanted,
            });
        }
        files::make_folder(path).map_err(|e| io(path, e))?;
        if found.is_none() && holds_others_files(path)? {
            return Err(FolderError::NotOurs(path.to_owned()));
        }
        let lock = lock(path)?;
        for part in PARTS {
            files::make_folder(&path.join(part)).map_err(|e| io(path, e))?;
        }
        if !format.exists() {
            files::create_whole(&format, format!("{wanted}\n").as_bytes()).map_err(|e| io(path, e))?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether another process holds the folder at this moment; for who would rather ask that process than wait for its end. Blocks.
    pub fn is_held(path: &Path) -> bool {
        let file = OpenOptions::new().write(true).custom_flags(files::NO_WAITING).open(path.join("lock"));
        file.is_ok_and(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
                == Err(rustix::io::Errno::WOULDBLOCK)
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// A part of it, e.g. `spool`.
    pub fn part(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// True when something lies there that neither we nor an interrupted first start put there.
fn holds_others_files(path: &Path) -> Result<bool, FolderError> {
    for entry in std::fs::read_dir(path).map_err(|e| io(path, e))? {
        let name = entry.map_err(|e| io(path, e))?.file_name();
        let ours = name
            .to_str()
            .is_some_and(|n| PARTS.contains(&n) || n == "lock" || n == "FORMAT.tmp" || n == "FORMAT");
        if !ours {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Locks the folder until the file is closed, by this process's end at the latest. A process that was killed lets go of it
/// only when the disk has answered what it was asked last: it is waited for a little.
pub(crate) fn lock(path: &Path) -> Result<File, FolderError> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(files::NO_WAITING);
    let file = options.open(&name).map_err(|e| io(&name, e))?;
    let mut tries = LOCK_TRIES;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if tries == 0 => {
                return Err(FolderError::InUse(path.to_owned()));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                if tries == LOCK_TRIES {
                    tracing::info!(path = %path.display(), "the data folder is in use; waiting a moment for its process to end");
                }
                tries -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(e) => return Err(io(&name, e)),
        }
    }
}
