//! The segments of one data folder, whoever writes them meanwhile.

use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use truc_evidence::{Archived, ClassMonth, ClassMonthState, ClosedSegment, DiskUse, StoreError, check_name};

use super::held;
use super::stub::{Stub, name_of};
use crate::files::{self, io};
use crate::journal::format::HEADER;
use crate::journal::scan::Segment;

/// Where a plan lies in a month's folder.
pub(crate) const PLAN: &str = "expiring";

/// The folders of a data folder that hold evidence.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) data: PathBuf,
}

/// Destroys a file that holds a key: its bytes first, as far as the disk does as it is told.
pub(super) fn destroy(path: &Path) -> Result<(), StoreError> {
    let opened = std::fs::OpenOptions::new().write(true).custom_flags(files::NO_WAITING).open(path);
    let file = match opened {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|e| io(path, e))?,
    };
    let length = file.metadata().map_err(|e| io(path, e))?.len();
    let zeros = vec![0; usize::try_from(length.min(1 << 16)).unwrap_or(0)];
    file.write_all_at(&zeros, 0).and_then(|()| file.sync_all()).map_err(|e| io(path, e))?;
    std::fs::remove_file(path).map_err(|e| io(path, e))?;
    path.parent().map_or(Ok(()), files::sync_folder)
}

/// Whether something of the data folder `folder` lies in an archive. Blocks.
pub fn archived_anything(folder: &Path) -> bool {
    let folder = Folder { data: folder.to_owned() };
    let journal = names(&folder.journal()).unwrap_or_default();
    let months = folder.class_months().unwrap_or_default();
    journal.iter().any(|name| name.ends_with(".away")) || months.iter().any(|month| month.archived_bytes > 0)
}

impl Folder {
    pub(crate) fn journal(&self) -> PathBuf {
        self.data.join("journal")
    }
    pub(crate) fn bodies(&self) -> PathBuf {
        self.data.join("bodies")
    }
    pub(crate) fn holds(&self) -> PathBuf {
        self.data.join("holds")
    }
    fn month(&self, of: &ClassMonth) -> PathBuf {
        self.bodies().join(of.folder())
    }

    /// Where a segment lies that is named below `journal/` or `bodies/`.
    pub(crate) fn path(&self, file: &str) -> Result<PathBuf, StoreError> {
        check_name(file).map_err(|e| StoreError::Failed(e.to_string()))?;
        let root = if file.contains('/') { self.bodies() } else { self.journal() };
        Ok(root.join(file))
    }

    /// The body segments that lie here, by name.
    pub(crate) fn body_segments(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.class_months()?.into_iter().flat_map(|state| state.segments).collect())
    }

    /// The closed segments: those of the journal that have a successor, and every one of `bodies` that is not in `open`. One without
    /// any frame stays where it is.
    pub(crate) fn closed(
        &self,
        journal: &[Segment],
        bodies: Vec<String>,
        open: &[PathBuf],
    ) -> Result<Vec<ClosedSegment>, StoreError> {
        let mut closed = Vec::new();
        for (segment, next) in journal.iter().zip(journal.iter().skip(1)) {
            let Some(name) = segment.path.file_name().and_then(|n| n.to_str()) else { continue };
            if let Ok(metadata) = std::fs::metadata(&segment.path) {
                closed.push(ClosedSegment {
                    file: name.to_owned(),
                    first: segment.header.first,
                    next: next.header.first,
                    chain: Some(next.header.chain),
                    length: metadata.len(),
                });
            }
        }
        for file in bodies {
            let path = self.path(&file)?;
            let length = length(&path);
            if !open.contains(&path) && length > HEADER as u64 {
                closed.push(ClosedSegment { file, first: 0, next: 0, chain: None, length });
            }
        }
        Ok(closed)
    }

    pub(crate) fn bytes(&self, file: &str) -> Result<Bytes, StoreError> {
        let path = self.path(file)?;
        match files::read_plain(&path) {
            Ok(bytes) => Ok(bytes.into()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(StoreError::NotFound),
            Err(e) => Err(io(&path, e)),
        }
    }

    pub(crate) fn remove(&self, archived: &Archived) -> Result<(), StoreError> {
        Stub::put_in_place(&self.path(&archived.file)?, archived)
    }

    pub(crate) fn class_months(&self) -> Result<Vec<ClassMonthState>, StoreError> {
        let mut states = Vec::new();
        for class in names(&self.bodies())? {
            let Ok(parsed) = class.parse() else { continue };
            for month in names(&self.bodies().join(&class))? {
                if let Ok(month) = month.parse() {
                    let of = ClassMonth { class: truc_evidence::BodyClass::clone(&parsed), month };
                    states.push(self.state(of)?);
                }
            }
        }
        states.sort_by(|a, b| a.of.cmp(&b.of));
        Ok(states)
    }

    fn state(&self, of: ClassMonth) -> Result<ClassMonthState, StoreError> {
        let folder = self.month(&of);
        let mut state = ClassMonthState {
            key: folder.join("key").exists(),
            segments: Vec::new(),
            bytes: 0,
            archived_bytes: 0,
            plan: match files::read_plain(&folder.join(PLAN)) {
                Ok(plan) => Some(plan.into()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => return Err(io(&folder, e)),
            },
            of,
        };
        for name in names(&folder)? {
            let path = folder.join(&name);
            if name.ends_with(".seg") {
                state.bytes += std::fs::metadata(&path).map_err(|e| io(&path, e))?.len();
                state.segments.push(format!("{}/{name}", state.of.folder()));
            } else if let Some(segment) = name_of(&name).map(|name| folder.join(name)).filter(|s| !s.exists())
            {
                state.archived_bytes += Stub::read(&segment)?.map_or(0, |stub| stub.archived.length);
            }
        }
        Ok(state)
    }

    pub(crate) fn begin_expiry(&self, of: &ClassMonth, plan: &[u8]) -> Result<(), StoreError> {
        let path = self.month(of).join(PLAN);
        if path.exists() { Ok(()) } else { files::create_whole(&path, plan) }
    }

    pub(crate) fn destroy_key(&self, of: &ClassMonth) -> Result<(), StoreError> {
        destroy(&self.month(of).join("key"))
    }

    pub(crate) fn remove_segments(&self, of: &ClassMonth) -> Result<(), StoreError> {
        let folder = self.month(of);
        for name in names(&folder)?.into_iter().filter(|name| name_of(name).is_some()) {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(|e| io(&path, e))?;
        }
        if folder.exists() { files::sync_folder(&folder) } else { Ok(()) }
    }

    pub(crate) fn end_expiry(&self, of: &ClassMonth) -> Result<(), StoreError> {
        let folder = self.month(of);
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(&folder, e)),
            _ => {}
        }
        folder.parent().map_or(Ok(()), files::sync_folder)
    }

    pub(crate) fn held(&self) -> Result<Vec<u64>, StoreError> {
        held::list(&self.holds())
    }

    pub(crate) fn release(&self, sequence: u64) -> Result<(), StoreError> {
        held::release(&self.holds(), sequence)
    }

    pub(crate) fn disk(&self, records: u64) -> Result<DiskUse, StoreError> {
        let disk = rustix::fs::statvfs(&self.data).map_err(|e| io(&self.data, e))?;
        let mut used = DiskUse {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            records,
            ..DiskUse::default()
        };
        let journal = self.journal();
        for name in names(&journal)?.into_iter().filter(|name| name.starts_with(crate::evidence::STEM)) {
            let path = journal.join(&name);
            if name.ends_with(".seg") {
                used.journal += length(&path);
            } else if let Some(segment) =
                name_of(&name).map(|name| journal.join(name)).filter(|s| !s.exists())
            {
                used.archived += Stub::read(&segment)?.map_or(0, |stub| stub.archived.length);
            }
        }
        for state in self.class_months()? {
            used.archived += state.archived_bytes;
        }
        used.bodies = tree(&self.bodies())? + tree(&self.holds())?;
        used.index = tree(&self.data.join("index"))?;
        Ok(used)
    }
}

fn length(path: &Path) -> u64 {
    // It may have been swept away since its name was read.
    std::fs::metadata(path).map_or(0, |m| m.len())
}

fn tree(folder: &Path) -> Result<u64, StoreError> {
    let mut sum = 0;
    for name in names(folder)? {
        let path = folder.join(name);
        sum += if path.is_dir() { tree(&path)? } else { length(&path) };
    }
    Ok(sum)
}

/// The names in a folder, in order; none when there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(|e| io(folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| io(folder, e))?.file_name();
        found.extend(name.into_string());
    }
    found.sort();
    Ok(found)
}
