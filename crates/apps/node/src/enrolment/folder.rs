//! Documents on their way to the registry, kept in `DATA-FOLDER/requests` until they are settled: a crash or a lost answer goes
//! on with the same document.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use truc_governance::{Ask, Request, SignedRequest};

use crate::config::NodeConfig;
use crate::error::NodeError;

/// A document that waits for its end.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) document: Bytes,
    pub(crate) request: Request,
    pub(crate) code: String,
    file: PathBuf,
}

impl Pending {
    /// A document that is kept elsewhere.
    pub(crate) fn of(document: Bytes) -> Result<Self, NodeError> {
        let unread = |e| NodeError::file(Path::new("renewal.json"), e);
        let (signed, request) = SignedRequest::parse(&document).map_err(unread)?;
        Ok(Self { code: signed.comparison_code(), document, request, file: PathBuf::new() })
    }
}

/// The folder. Several processes may use it: a document is written once, whole, under a name of its own.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(PathBuf);

impl Outbox {
    /// Makes the folder when there is none. Blocks.
    pub(crate) fn open(config: &NodeConfig) -> Result<Self, NodeError> {
        if !config.data_folder.join("FORMAT").exists() {
            return Err(NodeError::file(
                &config.data_folder,
                "is not a node's data folder; truc node init makes one",
            ));
        }
        let folder = config.data_folder.join("requests");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|e| NodeError::file(&folder, e))?;
        Ok(Self(folder))
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Keeps the document, durably. Blocks.
    pub(crate) fn keep(&self, signed: &SignedRequest) -> Result<Pending, NodeError> {
        let document = signed.to_bytes();
        let (signed, request) = SignedRequest::parse(&document).map_err(|e| NodeError::file(&self.0, e))?;
        let file = self.0.join(format!("{}-{}.request", request.ask.kind(), request.id));
        replace(&file, &document, 0o600)?;
        Ok(Pending { document, code: signed.comparison_code(), request, file })
    }

    /// The oldest unsettled document that asks what `same` accepts. Blocks.
    pub(crate) fn find(&self, same: impl Fn(&Ask) -> bool) -> Result<Option<Pending>, NodeError> {
        Ok(self.all()?.into_iter().find(|pending| same(&pending.request.ask)))
    }

    /// The unsettled documents, oldest first. Blocks.
    pub(crate) fn all(&self) -> Result<Vec<Pending>, NodeError> {
        let failed = |e: std::io::Error| NodeError::file(&self.0, e);
        let mut found: Vec<Pending> = vec![];
        for entry in std::fs::read_dir(&self.0).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_none_or(|extension| extension != "request") {
                continue;
            }
            let document = Bytes::from(std::fs::read(&file).map_err(|e| NodeError::file(&file, e))?);
            let (signed, request) = SignedRequest::parse(&document).map_err(|e| NodeError::file(&file, e))?;
            found.push(Pending { document, code: signed.comparison_code(), request, file });
        }
        found.sort_by_key(|pending| pending.request.made);
        Ok(found)
    }

    /// The document is settled. Blocks.
    pub(crate) fn settle(&self, pending: &Pending) -> Result<(), NodeError> {
        remove(&pending.file)
    }
}

/// Puts a file in place whole and durably, over whatever was there. Blocks.
pub(crate) fn replace(file: &Path, bytes: &[u8], mode: u32) -> Result<(), NodeError> {
    let failed = |e: std::io::Error| NodeError::file(file, e);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        std::fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|e| {
        drop(std::fs::remove_file(&new));
        failed(e)
    })
}

/// Removes a file, durably; none is no error. Blocks.
pub(crate) fn remove(file: &Path) -> Result<(), NodeError> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(NodeError::file(file, e)),
        _ => {}
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| NodeError::file(folder, e))
}
