//! Evidence and decisions on disk: one journal of append-only segments, and sled as its index. And the spool, where big
//! bodies wait while an exchange needs them.
//!
//! What is acknowledged was `fdatasync`ed (design §5, protocol P4.3); the index can be thrown away at any time. This crate must not
//! decide what is recorded, hold a key longer than its caller, or let sled be the only copy of anything.

mod archive;
mod bodies;
mod decisions;
mod evidence;
mod files;
mod folder;
mod fsck;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod heads;
mod journal;
mod keeping;
mod keys;
#[doc(hidden)]
pub mod measuring;
mod options;
mod spool;
#[cfg(test)]
mod tests;

pub use archive::{
    ArchiveError, Collection, HeadNumber, JournalEnd, Manifest, Stretch, Stretcher, restore_archive,
    verify_archive, write_archive,
};
pub use decisions::{Audited, DecisionJournal};
pub use evidence::EvidenceJournal;
pub use folder::{DataFolder, FolderError};
pub use fsck::{Expires, FsckOptions, FsckReport, ImprintOf, Look, OutsideHead, Problem, fsck, fsck_with};
pub use heads::HeadFolder;
pub use keeping::{ArchiveReader, archived_anything};
pub use keys::{RecordKey, RecordKeys};
pub use options::JournalOptions;
pub use spool::DiskSpool;
