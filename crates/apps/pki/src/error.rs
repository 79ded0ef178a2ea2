//! Why the pilot PKI could not do what it was asked.

use std::path::{Path, PathBuf};

use truc_keys::SignerError;
use truc_keystores::KeyStoreError;
use truc_model::Fingerprint;
use truc_trust::{ProfileError, RequestError};

use crate::config::ConfigError;
use crate::ledger::Serial;

/// Why the pilot PKI could not do what it was asked; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key store refused.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The signing key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file, folder or address concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server cannot listen, or stopped listening.
    #[error("cannot listen on {address} ({source}): free it, or choose another listen address in pki.toml")]
    Listen {
        /// The address of the configuration.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is a PKI in the folder already.
    #[error("{0} holds a pilot PKI already: choose another folder; its keys are never overwritten")]
    AlreadyThere(PathBuf),
    /// A certificate or key the PKI needs is missing or does not fit the others.
    #[error("{path}: {reason}; restore the folder from a backup, or make a new one with `truc pki init`")]
    Damaged {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A public key no member or node may use.
    #[error("this public key cannot be certified: P-256, P-384 or RSA with 2048 to 4096 bits is needed")]
    UnusableKey,
    /// The certificate signing request is no such thing, its key is weak, or its signature is not by its own key.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The body of an HTTP request is not what is taken.
    #[error("nội dung yêu cầu sai / the body is not what is taken here: {0}")]
    BadBody(String),
    /// The holder of a request over HTTP is no member or node.
    #[error("{0:?} không phải thành viên hay nút / {0:?} is no member (usage sign) or node (usage auth)")]
    NoHolder(String),
    /// The subject of a request over HTTP names nobody by profile truc-1.
    #[error(transparent)]
    NobodyNamed(#[from] ProfileError),
    /// The subject of a request over HTTP names somebody else.
    #[error(
        "yêu cầu ghi tên {named}, không phải {expected} / the request names {named}, not {expected}: make it on the node that it is for"
    )]
    WrongSubject {
        /// For whom a certificate was asked.
        expected: String,
        /// Whom the request names.
        named: String,
    },
    /// One key has one holder.
    #[error(
        "khoá này đã được cấp chứng thư cho chủ thể khác; hãy tạo khoá mới / this key was certified for another holder: make a new one"
    )]
    KeyOfAnother,
    /// The certificate of this very request is revoked or has expired.
    #[error(
        "chứng thư của yêu cầu này đã bị thu hồi hoặc hết hạn; hãy tạo khoá và yêu cầu mới / the certificate of this request is revoked or \
         has expired: make a new key and request"
    )]
    Over,
    /// No certificate of this fingerprint was issued here.
    #[error("không có chứng thư {0} / no certificate with fingerprint {0} was issued here")]
    UnknownFingerprint(Fingerprint),
    /// The token of `[issuing]` could be read by others or guessed.
    #[error(
        "{0}: a token is one line of 32 to 256 visible ASCII characters in a file of mode 0600; make one with `openssl rand -hex 32`"
    )]
    BadToken(PathBuf),
    /// The server was given an address to issue on, and the configuration has no `[issuing]`.
    #[error("pki.toml has no [issuing] with a token-file: add it, or issue with `truc pki issue`")]
    NotIssuing,
    /// No certificate of this serial number was issued here.
    #[error("no certificate with serial number {0} was issued here: look it up with `truc pki list`")]
    UnknownSerial(Serial),
    /// A structure could not be encoded or decoded.
    #[error("a certificate structure could not be written or read: {0}")]
    Encoding(#[from] der::Error),
    /// A time-stamp could not be put together.
    #[error(transparent)]
    Cms(#[from] truc_trust::cms::CmsError),
    /// A background step was stopped.
    #[error("the operation was interrupted: try again")]
    Interrupted,
}

impl PkiError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

/// Runs blocking work off the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
) -> Result<T, PkiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PkiError::Interrupted)?
}
