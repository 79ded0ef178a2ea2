//! Why a node does not start.

use std::path::{Path, PathBuf};

use truc_keys::{KeyLabel, SignerError};

/// Why a node does not start; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration file has mistakes.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key store cannot be opened.
    #[error(transparent)]
    Keys(#[from] truc_keystores::KeyStoreError),
    /// A label is not one.
    #[error(transparent)]
    Label(#[from] SignerError),
    /// A configured key is not there.
    #[error(
        "the key store has no key named {0}: make it with `truc node init`, or correct the configuration"
    )]
    NoKey(KeyLabel),
    /// A certificate request cannot be made.
    #[error("the certificate request for the key {label} cannot be made: {why}")]
    CertificateRequest {
        /// Which key.
        label: KeyLabel,
        /// What went wrong.
        why: String,
    },
    /// The anchor is another one than the registry's operator told.
    #[error(
        "{path}: tệp này có SHA-256 {found}, không phải {wanted} như đã được báo; đừng dùng / this file's SHA-256 is {found} and not {wanted} as you were told: do not use it, ask the registry's operator"
    )]
    OtherAnchor {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: truc_model::Digest,
        /// The expected one.
        wanted: truc_model::Digest,
    },
    /// A certificate is for another key.
    #[error("the certificate file for the key {0} holds a certificate of another key")]
    NotItsCertificate(KeyLabel),
    /// TLS cannot be set up.
    #[error(transparent)]
    Identity(#[from] truc_peer::IdentityError),
    /// TLS of the edge cannot be set up.
    #[error("TLS of the edge cannot be set up: {0}")]
    EdgeTls(#[from] rustls::Error),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] truc_stores::FolderError),
    /// The folder for big bodies cannot be used.
    #[error(transparent)]
    Spool(#[from] truc_message::SpoolError),
    /// A journal cannot be opened or read.
    #[error("{what}: {why}")]
    Store {
        /// Which journal.
        what: &'static str,
        /// Why; told in this sentence, so that a chain of causes does not say it again.
        why: truc_evidence::StoreError,
    },
    /// The log's key cannot be used.
    #[error("the log: {0}")]
    Log(#[from] truc_log::NoteError),
    /// The heads of other logs cannot be read.
    #[error(transparent)]
    Heads(#[from] truc_log::HeadStoreError),
    /// A backup cannot be made or restored.
    #[error(transparent)]
    Archive(#[from] truc_stores::ArchiveError),
    /// A recorded decision cannot be applied.
    #[error("the journal of decisions: {0}")]
    Decision(String),
    /// There is no directory to begin with.
    #[error(transparent)]
    Directory(#[from] truc_directory_sync::SyncError),
    /// An admin token cannot be used.
    #[error(transparent)]
    Token(#[from] truc_admin::TokenError),
    /// The door to services cannot be set up.
    #[error(transparent)]
    Provider(#[from] truc_provider::ProviderError),
    /// The peer door cannot be set up or failed.
    #[error(transparent)]
    Peer(#[from] truc_peer::PeerDoorError),
    /// A port cannot be bound.
    #[error("{door} cannot listen on {address}: {reason}")]
    Listen {
        /// Which door.
        door: &'static str,
        /// The configured address.
        address: std::net::SocketAddr,
        /// What the system says.
        reason: String,
    },
    /// A task of the node ended badly.
    #[error("a task of the node ended badly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl NodeError {
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
    pub(crate) const fn store(what: &'static str) -> impl Fn(truc_evidence::StoreError) -> Self {
        move |why| Self::Store { what, why }
    }
}
