//! The audit log: every decision with who, when and why, and whether the journal still is what was published.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use truc_directory::{AuditLogHead, SignedHead};
use truc_directory_sync::DirectoryFolder;
use truc_keystores::Passphrase;
use truc_model::Digest;
use truc_stores::Audited;

use crate::ceremony::off_runtime;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::{self, Places};

/// What a check of the audit log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Decisions read.
    pub decisions: u64,
    /// The chain's hash after the last.
    pub chain: Option<Digest>,
    /// The published heads that the journal was compared with: where each came from, its version, and what is wrong.
    pub heads: Vec<(String, u64, Option<String>)>,
}

impl AuditReport {
    /// Whether the journal is what was published.
    pub fn holds(&self) -> bool {
        self.heads.iter().all(|(_, _, problem)| problem.is_none())
    }
}

/// Every decision, from the folder of a running or stopped registry.
///
/// # Errors
/// [`RegistryError::Journal`] names the first place where the journal does not fit together.
pub async fn audit_log(config: &RegistryConfig) -> Result<Vec<Audited>, RegistryError> {
    let (data, passphrase) = (config.data.clone(), config.passphrase_file.clone());
    off_runtime(move || files::audit(&data, &Passphrase::from_file(&passphrase)?)).await
}

/// Computes the chain anew and compares it with the last published head and with each head file given: the `head` of a node's
/// `directory/` folder, say, which the registry cannot have changed.
///
/// # Errors
/// [`RegistryError`] when the journal does not fit together or a head cannot be read.
pub async fn verify_audit(config: &RegistryConfig, heads: &[PathBuf]) -> Result<AuditReport, RegistryError> {
    let log = audit_log(config).await?;
    let (data, files) = (config.data.clone(), heads.to_vec());
    let heads = off_runtime(move || published(&data, &files)).await?;
    let compared = heads.into_iter().map(|(from, version, head)| {
        let problem = compare(&log, &head);
        (from, version, problem)
    });
    Ok(AuditReport {
        decisions: log.len() as u64,
        chain: log.last().map(|last| last.chain),
        heads: compared.collect(),
    })
}

fn published(data: &Path, files: &[PathBuf]) -> Result<Vec<(String, u64, AuditLogHead)>, RegistryError> {
    let folder = DirectoryFolder::open(&Places(data.to_owned()).directory())?;
    let mut found = Vec::new();
    if let Some(bytes) = folder.head()? {
        found.push(read("the last published head".to_owned(), &bytes)?);
    }
    for file in files {
        let bytes = std::fs::read(file).map_err(|e| RegistryError::file(file, e))?;
        found.push(read(file.display().to_string(), &bytes)?);
    }
    Ok(found)
}

fn read(from: String, bytes: &[u8]) -> Result<(String, u64, AuditLogHead), RegistryError> {
    let head = SignedHead::parse(bytes)?.unverified()?;
    Ok((from, head.version, head.audit_log))
}

/// The sentence says what is wrong.
fn compare(log: &[Audited], head: &AuditLogHead) -> Option<String> {
    match log.iter().find(|one| one.sequence == head.sequence) {
        Some(one) if one.chain == head.chain => None,
        Some(one) => Some(format!(
            "decision {} has the chain {}, but {} was published: the journal was rewritten at or before it",
            head.sequence, one.chain, head.chain
        )),
        None => Some(format!(
            "decision {} was published, but the journal ends at {}: decisions are missing",
            head.sequence,
            log.last().map_or_else(|| "its beginning".to_owned(), |last| last.sequence.to_string())
        )),
    }
}

/// One decision as people and scripts read it; keys of invitations stay where they are.
pub fn shown(one: &Audited) -> Value {
    let mut payload = one.decision.payload.clone();
    if one.decision.kind == "invitation.issued"
        && let Some(fields) = payload.as_object_mut()
    {
        fields.remove("key");
    }
    json!({
        "sequence": one.sequence, "at": one.decision.at, "by": one.decision.actor, "kind": one.decision.kind,
        "chain": one.chain, "payload": payload,
    })
}
