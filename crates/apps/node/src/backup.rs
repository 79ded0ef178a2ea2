//! `truc node backup`: what a node cannot do without, in one encrypted file (the file's format is truc-stores').

use std::path::Path;

use truc_directory::SignedHead;
use truc_keystores::Passphrase;
use truc_model::Clock;
use truc_stores::{Collection, HeadNumber, Manifest, Stretch, write_archive};

use crate::config::{ArchiveSettings, ClientConnection, NodeConfig};
use crate::error::NodeError;

/// What the file says it is of.
pub(crate) const KIND: &str = "node";
/// Stem of the evidence journal.
const EVIDENCE: &str = "evidence";

/// Backs a node up, whether it runs or not: configuration, certificates, anchor, keys, decisions and the directory cache, and with
/// `evidence` also its records and stored bodies. Blocks.
///
/// # Errors
/// [`NodeError`]; `out` is then not there.
pub fn backup(
    config: &NodeConfig,
    out: &Path,
    passphrase: &Path,
    evidence: bool,
    clock: &dyn Clock,
) -> Result<Manifest, NodeError> {
    let data = &config.data_folder;
    if !data.join("FORMAT").exists() {
        return Err(NodeError::file(
            data,
            "is not a node's data folder; give the node's configuration with --config",
        ));
    }
    let whole = |p: &Path| std::path::absolute(p).map_err(|e| NodeError::file(p, e));
    if whole(out)?.starts_with(whole(data)?) {
        return Err(NodeError::file(out, "lies in the node's own data folder; put backups elsewhere"));
    }
    let passphrase = Passphrase::from_file(passphrase)?;
    let (manifest, collection) = collect(config, evidence, clock)?;
    write_archive(out, &manifest, collection, &|how| stretch(&passphrase, how))?;
    Ok(manifest)
}

pub(crate) fn stretch(
    passphrase: &Passphrase,
    how: &Stretch,
) -> Result<zeroize::Zeroizing<[u8; 32]>, String> {
    passphrase.stretch(how.memory_kib, how.passes, how.lanes, &how.salt).map_err(|e| e.to_string())
}

fn collect(
    config: &NodeConfig,
    evidence: bool,
    clock: &dyn Clock,
) -> Result<(Manifest, Collection), NodeError> {
    let (data, made) = (&config.data_folder, clock.now());
    let base = config.path.parent().unwrap_or(Path::new(""));
    let mut all = Collection::new(base)?;
    all.file(&config.path)?;
    all.file(&data.join("FORMAT"))?;
    // In the order in which they may run ahead of each other: the cache is never ahead of the decision that saw its head, the evidence
    // never speaks of decisions that are not there, and no record names a body or a key that is not there.
    let directory = data.join("directory");
    all.file_if_there(&directory.join("head.json"))?;
    let head = head_number(&directory.join("head.json"))?;
    if evidence {
        all.journal(data, EVIDENCE)?;
    } else {
        // Where it stands is worth knowing even so.
        all.journal_end(data, EVIDENCE)?;
    }
    all.journals_of(data, &[EVIDENCE])?;
    if evidence {
        all.folder(&data.join("bodies"))?;
        all.folder(&data.join("holds"))?;
    }
    all.folder(&directory)?;
    all.folder(&data.join("keys"))?;
    for folder in ["certs", "requests"] {
        all.folder(&base.join(folder))?;
    }
    for file in named(config) {
        all.file_if_there(file)?;
    }
    let manifest = Manifest {
        v: 1,
        kind: KIND.to_owned(),
        holder: config.node.to_string(),
        made,
        config: all.name(&config.path)?,
        data: all.name(data)?,
        with_evidence: evidence,
        journals: all.journals(),
        head,
        outside: all.outside(),
    };
    Ok((manifest, all))
}

/// Every file that the configuration names.
fn named(config: &NodeConfig) -> Vec<&Path> {
    let mut files =
        vec![config.passphrase_file.as_path(), &config.anchor_file, &config.auth.certificate_file];
    files.extend(config.members.iter().map(|m| m.sign_certificate_file.as_path()));
    files.extend(config.admin.tokens.iter().map(|t| t.token_file.as_path()));
    files.extend(config.provider.ca_file.as_deref());
    if let Some(identity) = &config.provider.identity {
        files.extend([identity.certificate_file.as_path(), &identity.key_file]);
    }
    if let Some(ArchiveSettings::S3(s3)) = &config.evidence.keeping.archive {
        files.extend([s3.access_key_file.as_path(), &s3.secret_key_file]);
        files.extend(s3.ca_file.as_deref());
    }
    if let Some(https) = &config.edge.https {
        files.extend([https.certificate_file.as_path(), &https.key_file]);
    }
    for client in &config.clients {
        if let ClientConnection::HttpsClientCertificate(certificates) = &client.connection {
            files.extend(certificates.iter().map(std::path::PathBuf::as_path));
        }
    }
    files
}

fn head_number(path: &Path) -> Result<Option<HeadNumber>, NodeError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|e| NodeError::file(path, e))?;
    let head = SignedHead::parse(&bytes).and_then(|signed| signed.unverified());
    let head = head.map_err(|e| NodeError::file(path, e))?;
    Ok(Some(HeadNumber { epoch: head.epoch, version: head.version }))
}
