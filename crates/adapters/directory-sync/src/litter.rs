//! Parts and heads of earlier versions in a node's cache: kept for a while, not for ever. The registry keeps all.

use std::collections::VecDeque;

use truc_directory::Directory;
use truc_model::Digest;

use crate::folder::{DirectoryFolder, FolderError};

/// Most parts that stay on disk without being in force; the one that left first goes first.
pub(crate) const PARTS_KEPT: usize = 1024;
/// Most earlier heads that stay.
pub(crate) const HEADS_KEPT: usize = 64;

/// What lies in the folder without being in force. Each change of the directory costs what changed, not what there is.
#[derive(Debug, Default)]
pub(crate) struct Litter {
    parts: VecDeque<Digest>,
    heads: VecDeque<(u64, u64)>,
}

impl Litter {
    /// Looks through the folder once; blocks on the disk.
    pub(crate) fn found(folder: &DirectoryFolder, in_force: Option<&Directory>) -> Result<Self, FolderError> {
        let mut listed = std::collections::HashSet::new();
        if let Some(directory) = in_force {
            listed.extend(directory.raw().parts().map(|(_, digest, _)| *digest));
            listed.extend(directory.raw().root_chain().iter().map(|b| Digest::of(b)));
        }
        let parts = folder.parts_by_age()?.into_iter().filter(|d| !listed.contains(d)).collect();
        Ok(Self { parts, heads: folder.versions()?.into() })
    }

    /// Counts in what a new version of the directory put in force and what it put out.
    pub(crate) fn turned(
        &mut self,
        taken: &[Digest],
        gone: impl Iterator<Item = Digest>,
        number: (u64, u64),
    ) {
        if !taken.is_empty() {
            self.parts.retain(|digest| !taken.contains(digest));
        }
        self.parts.extend(gone);
        if self.heads.back() != Some(&number) {
            self.heads.push_back(number);
        }
    }

    /// Takes away what is too much; blocks on the disk.
    pub(crate) fn sweep(&mut self, folder: &DirectoryFolder) -> Result<(), FolderError> {
        while self.parts.len() > PARTS_KEPT {
            if let Some(digest) = self.parts.pop_front() {
                folder.remove(&digest)?;
            }
        }
        while self.heads.len() > HEADS_KEPT {
            if let Some((epoch, version)) = self.heads.pop_front() {
                folder.remove_version(epoch, version)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_left_first_goes_first_and_what_came_back_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = DirectoryFolder::open(place.path()).unwrap();
        let parts: Vec<Bytes> = (0..PARTS_KEPT + 10).map(|n| Bytes::from(n.to_string())).collect();
        folder.put_all(&parts).unwrap();
        let mut litter = Litter::default();
        let digests: Vec<Digest> = parts.iter().map(|b| Digest::of(b)).collect();
        litter.turned(&[], digests.iter().copied(), (1, 1));
        // The third one is in force again.
        litter.turned(&digests[2..3], std::iter::empty(), (1, 2));
        litter.sweep(&folder).unwrap();
        let left = folder.parts_by_age().unwrap();
        assert_eq!(left.len(), PARTS_KEPT + 1);
        assert!(!left.contains(&digests[0]) && !left.contains(&digests[9]));
        assert!(left.contains(&digests[2]) && left.contains(&digests[10]));
        for version in 3..=100 {
            litter.turned(&[], std::iter::empty(), (1, version));
        }
        litter.sweep(&folder).unwrap();
        assert_eq!(litter.heads.len(), HEADS_KEPT);
    }

    #[test]
    fn a_start_finds_what_is_not_in_force_and_what_a_crash_left() {
        let place = tempfile::tempdir().unwrap();
        let folder = DirectoryFolder::open(place.path()).unwrap();
        let digest = folder.put(&Bytes::from_static(b"old")).unwrap();
        let half = place.path().join("parts/.12-3.tmp");
        std::fs::write(&half, b"half").unwrap();
        let found = Litter::found(&folder, None).unwrap();
        assert_eq!((found.parts.len(), found.parts.front()), (1, Some(&digest)));
        assert!(!half.exists());
    }
}
