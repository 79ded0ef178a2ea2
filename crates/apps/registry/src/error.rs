//! Why the registry does not do what was asked.

use std::path::{Path, PathBuf};

use truc_directory::FormatError;
use truc_directory_sync::{FolderError, ServeError};
use truc_evidence::StoreError;
use truc_governance::{GovernanceError, PublishError};
use truc_keys::SignerError;
use truc_keystores::KeyStoreError;

use crate::config::ConfigError;

/// Why the registry does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The configuration file has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] truc_stores::FolderError),
    /// There is a registry already.
    #[error("{0} holds a registry already; `truc registry init` needs a new folder")]
    Exists(PathBuf),
    /// There is none.
    #[error("{0} holds no registry; run `truc registry init` first")]
    NoRegistry(PathBuf),
    /// Its root keys have not opened it yet.
    #[error(
        "the registry in {0} waits for its root keys: have root-1.json signed with `truc registry root sign`, then run `truc registry root install`"
    )]
    AwaitsRoot(PathBuf),
    /// It was restored from a backup and no epoch was opened since.
    #[error(
        "this registry was restored {restored} from a backup of {made} and is closed, for nodes may have seen decisions that it lacks: \
         open a new epoch with `truc registry root draft --new-epoch --above EPOCH.VERSION`, have it signed, and install it"
    )]
    Restored {
        /// When it was restored.
        restored: truc_model::Timestamp,
        /// When the backup was made.
        made: truc_model::Timestamp,
    },
    /// A new root names no publishing key that is here.
    #[error(
        "the root names no publishing key that this registry holds, so it could not publish; draft it on this registry"
    )]
    NoPublishingKey,
    /// A backup cannot be made or restored.
    #[error(transparent)]
    Archive(#[from] truc_stores::ArchiveError),
    /// A file cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key files cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A key is not there or does not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The journal cannot be used.
    #[error("the registry's journal: {0}")]
    Journal(#[from] StoreError),
    /// The folder of published parts cannot be used.
    #[error(transparent)]
    Parts(#[from] FolderError),
    /// The folder of nodes' heads cannot be used.
    #[error(transparent)]
    Heads(#[from] truc_log::HeadStoreError),
    /// A document cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The decision was not taken.
    #[error(transparent)]
    Refused(#[from] GovernanceError),
    /// The pilot CA did not issue.
    #[error("the pilot CA issued no certificate for {holder}, so nothing was decided: {why}")]
    Issuing {
        /// For whom.
        holder: String,
        /// What it said.
        why: String,
    },
    /// The decision was taken but not published.
    #[error("not published: {0}")]
    Publish(#[from] PublishError),
    /// The gRPC door.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}; is another registry running?")]
    Listen {
        /// Which address.
        address: String,
        /// What the system says.
        why: String,
    },
    /// The running registry refused or did not answer.
    #[error("the running registry at {address}: {why}")]
    Admin {
        /// Its admin address.
        address: String,
        /// What it said.
        why: String,
    },
    /// A code list is not read, published or served.
    #[error(transparent)]
    CodeList(#[from] crate::code_lists::CodeListError),
    /// Something given is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// A task of this process stopped.
    #[error("a task of the registry stopped: {0}")]
    Stopped(String),
}

impl RegistryError {
    pub(crate) fn file(path: &Path, why: impl ToString) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }
}
