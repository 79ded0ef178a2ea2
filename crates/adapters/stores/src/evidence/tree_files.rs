//! The tree of the log in files (`docs/evidence.md` §2.1): made from the journal, never the only copy of anything.
//!
//! ```text
//! leaves     32 bytes a record
//! groups     32 bytes a record: its group hash (RFC 4998 §4.2.1), zeros without a signed message
//! level-k    32 bytes for every complete subtree of 256^k leaves
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use truc_log::{Subtrees, node_hash};
use truc_model::Digest;

use super::index_proofs::NONE;
use crate::files::{NO_WAITING, plain};

const HASH: u64 = 32;
/// Nodes of one file under one of the next, as a power of two.
const STEP: u32 = 8;
/// Files of subtrees; the last one's nodes stand for 2^32 records each.
pub(crate) const LEVELS: usize = 4;

/// The files, appended to by one thread and read by any.
pub(crate) struct TreeFiles {
    dir: PathBuf,
    groups: File,
    /// The leaves, then level 1 and up.
    nodes: Vec<File>,
    size: AtomicU64,
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_WAITING);
    plain(options.open(path)?)
}

/// The root of a complete subtree over so many nodes, a power of two.
fn join(mut nodes: Vec<Digest>) -> Digest {
    while nodes.len() > 1 {
        nodes = nodes.chunks(2).filter_map(|p| Some(node_hash(*p.first()?, *p.get(1)?))).collect();
    }
    nodes.first().copied().unwrap_or(NONE)
}

/// Nodes of the file `level` in a tree of so many leaves.
pub(crate) const fn nodes_at(level: usize, size: u64) -> u64 {
    size >> (STEP as usize * level)
}

impl TreeFiles {
    /// Opens the files in `dir`, without any of what they hold: see [`TreeFiles::keep`].
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let names = (1..=LEVELS).map(|level| format!("level-{level}"));
        let nodes = std::iter::once("leaves".to_owned()).chain(names);
        let nodes = nodes.map(|name| open_file(&dir.join(name))).collect::<io::Result<Vec<_>>>()?;
        let groups = open_file(&dir.join("groups"))?;
        Ok(Self { dir: dir.to_owned(), groups, nodes, size: AtomicU64::new(0) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Keeps the first `size` records and no more; false, and none are kept, when the files are too short for that or do not
    /// fit together at their end.
    pub(crate) fn keep(&self, size: u64) -> io::Result<bool> {
        let good = self.fits(size)?;
        let size = if good { size } else { 0 };
        self.groups.set_len(size * HASH)?;
        for (level, file) in self.nodes.iter().enumerate() {
            file.set_len(nodes_at(level, size) * HASH)?;
        }
        self.size.store(size, Ordering::Release);
        Ok(good)
    }

    fn fits(&self, size: u64) -> io::Result<bool> {
        if self.groups.metadata()?.len() < size * HASH {
            return Ok(false);
        }
        for (level, file) in self.nodes.iter().enumerate() {
            let nodes = nodes_at(level, size);
            if file.metadata()?.len() < nodes * HASH {
                return Ok(false);
            }
            let Some(last) = nodes.checked_sub(1) else { continue };
            let node = self.read(level, last, 1)?.first().copied();
            let below = match level {
                0 => node.filter(|leaf| *leaf != NONE),
                _ => Some(join(self.read(level - 1, last << STEP, 1 << STEP)?)),
            };
            if node != below {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn read(&self, level: usize, first: u64, count: usize) -> io::Result<Vec<Digest>> {
        let file = self.nodes.get(level).ok_or_else(|| io::Error::other("the tree has no such level"))?;
        read_hashes(file, first, count)
    }

    /// Writes the records from `first` on: leaf and group hash of each. What is there already may be written again.
    pub(crate) fn append(&self, first: u64, records: &[(Digest, Option<Digest>)]) -> io::Result<()> {
        let end = first + records.len() as u64;
        if first > self.size() {
            return Err(io::Error::other(format!("the tree lacks the records before {first}")));
        }
        let leaves: Vec<u8> = records.iter().flat_map(|(leaf, _)| leaf.0).collect();
        let groups: Vec<u8> = records.iter().flat_map(|(_, group)| group.unwrap_or(NONE).0).collect();
        self.groups.write_all_at(&groups, first * HASH)?;
        let mut below = leaves;
        let mut from = first;
        for (level, file) in self.nodes.iter().enumerate() {
            file.write_all_at(&below, from * HASH)?;
            let (begin, done) = (nodes_at(level + 1, first), nodes_at(level + 1, end));
            below = Vec::new();
            from = begin;
            if level < LEVELS {
                for node in begin..done {
                    below.extend_from_slice(join(self.read(level, node << STEP, 1 << STEP)?).as_bytes());
                }
            }
        }
        self.size.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Puts everything on stable storage.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.nodes.iter().chain([&self.groups]).try_for_each(File::sync_data)
    }

    /// Group hashes of the records `first..next`, all of which are there.
    pub(crate) fn groups(&self, first: u64, next: u64) -> io::Result<Vec<Option<Digest>>> {
        let count = usize::try_from(next.saturating_sub(first)).map_err(io::Error::other)?;
        let hashes = read_hashes(&self.groups, first, count)?;
        Ok(hashes.into_iter().map(|hash| (hash != NONE).then_some(hash)).collect())
    }
}

fn read_hashes(file: &File, first: u64, count: usize) -> io::Result<Vec<Digest>> {
    let mut bytes = vec![0; count * HASH as usize];
    file.read_exact_at(&mut bytes, first * HASH)?;
    Ok(bytes.as_chunks::<32>().0.iter().map(|hash| Digest(*hash)).collect())
}

impl Subtrees for TreeFiles {
    type Error = io::Error;

    fn subtree(&self, level: u32, index: u64) -> io::Result<Digest> {
        let end = index.checked_add(1).and_then(|next| next.checked_shl(level)).unwrap_or(u64::MAX);
        if level >= 63 || end > self.size() {
            return Err(io::Error::other("the tree has no such subtree"));
        }
        let file = ((level / STEP) as usize).min(LEVELS);
        let rest = level - STEP * u32::try_from(file).map_err(io::Error::other)?;
        Ok(join(self.read(file, index << rest, 1 << rest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truc_log::{MemoryTree, consistency, inclusion, root};

    fn leaf(n: u64) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    #[test]
    fn the_files_are_the_tree_of_rfc_6962() {
        let dir = tempfile::tempdir().unwrap();
        let files = TreeFiles::open(dir.path()).unwrap();
        let records: Vec<_> = (0..70_000).map(|n| (leaf(n), (n % 3 > 0).then(|| leaf(n + 1)))).collect();
        let mut at = 0;
        for part in records.chunks(611) {
            files.append(at, part).unwrap();
            at += part.len() as u64;
        }
        let memory: MemoryTree = records.iter().map(|(leaf, _)| *leaf).collect();
        for size in [0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
            assert_eq!(root(&files, size).unwrap(), root(&memory, size).unwrap(), "{size}");
            assert_eq!(
                consistency(&files, size / 2, size).unwrap(),
                consistency(&memory, size / 2, size).unwrap()
            );
            let index = size / 3;
            assert_eq!(inclusion(&files, index, size).unwrap(), inclusion(&memory, index, size).unwrap());
        }
        assert!(
            files.subtree(0, 70_000).is_err()
                && files.subtree(63, 0).is_err()
                && files.subtree(64, 9).is_err()
        );
        assert_eq!(files.groups(3, 5).unwrap(), [None, Some(leaf(5))]);
        // The same again changes nothing.
        files.append(69_000, &records[69_000..]).unwrap();
        assert_eq!(root(&files, 70_000).unwrap(), memory.root());
        assert!(files.append(70_001, &records[..1]).is_err());
        drop(files);
        let files = TreeFiles::open(dir.path()).unwrap();
        assert!(files.keep(69_999).unwrap());
        assert_eq!(root(&files, 69_999).unwrap(), root(&memory, 69_999).unwrap());
        assert!(!files.keep(70_000).unwrap(), "too short");
        assert_eq!(files.size(), 0);
    }

    #[test]
    fn an_end_that_does_not_fit_is_not_kept() {
        for name in ["leaves", "level-1"] {
            let dir = tempfile::tempdir().unwrap();
            let files = TreeFiles::open(dir.path()).unwrap();
            let records: Vec<_> = (0..600).map(|n| (leaf(n), None)).collect();
            files.append(0, &records).unwrap();
            let path = dir.path().join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            let place = if name == "leaves" { 300 * 32 } else { 33 };
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(!files.keep(600).unwrap(), "{name}");
        }
    }
}
