//! Where closed segments go: a folder on another disk, or an S3-compatible object store (`docs/evidence.md` §6.4).
//!
//! Both keep the port [`truc_evidence::ArchiveStore`]. This crate must not decide what is archived, when it is removed here,
//! or whether what it reads is what was put: it moves bytes.

mod folder;
mod s3;
mod transport;

pub use folder::FolderArchive;
pub use s3::{S3Archive, S3Settings};

/// Why an archive cannot be opened with the settings that were given.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that the settings name.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings do not fit together.
    #[error("the archive's settings are not understood: {0}")]
    Settings(String),
    /// It is not there.
    #[error(transparent)]
    Archive(#[from] truc_evidence::ArchiveError),
}
