//! The rewriter: an operator who holds every key of a node, at work on a copy of its folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;
use truc_evidence::{Artifact, BodyClass, EvidenceStore, NewRecord, StoreError};
use truc_model::MessageId;
use truc_node::config::NodeConfig;
use truc_node::offline::OfflineEvidence;
use truc_node::open_keyring;
use truc_stores::{EvidenceJournal, JournalOptions};

/// Where the new past is written before it takes the place of the old one.
const ASIDE: &str = "aside";
/// What a node makes anew, or what belongs to its run.
const NOT_COPIED: [&str; 3] = ["index", "spool", "tmp"];

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Copies a node's folder; a running node only appends to what is copied.
pub(super) async fn copy_of(folder: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (folder.to_owned(), to.to_owned());
    let copied = spawn_blocking(move || {
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        copy(&from, &to)
    });
    copied.await.map_err(text)?.map_err(text)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    // The journal first: what its records refer to is then copied later, and there. In it the evidence, which speaks of decisions.
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    entries.sort_by_key(|path| (name(path) != "journal", !name(path).starts_with("evidence")));
    for entry in entries {
        let Some(name) = entry.file_name() else { continue };
        if NOT_COPIED.iter().any(|not| name == *not) {
            continue;
        }
        if entry.is_dir() {
            copy(&entry, &to.join(name))?;
        } else {
            std::fs::copy(&entry, to.join(name))?;
        }
    }
    Ok(())
}

/// Writes another past, in which nobody is named as the one whom the exchange `id` was about, with every key, checksum and chain as the
/// node itself would; time-stamps, which would contradict, are left out. Returns the record that was changed.
pub(super) async fn forget(config: &Path, id: MessageId) -> Result<u64, String> {
    let file = config.to_owned();
    let (data, old, new) = spawn_blocking(move || {
        let config = NodeConfig::load(&file).map_err(text)?;
        let keys = Arc::new(open_keyring(&config).map_err(text)?);
        let aside = config.data_folder.join(ASIDE);
        let old = OfflineEvidence::open(&config).map_err(text)?;
        let sizes = JournalOptions::default().sizes(1 << 20, 64 << 20);
        let new = EvidenceJournal::open(&aside, keys, sizes).map_err(text)?;
        Ok::<_, String>((config.data_folder, old, new))
    })
    .await
    .map_err(text)??;
    let changed = rewrite(old.store(), &new, id).await;
    spawn_blocking(move || {
        drop((old, new));
        let changed = changed?.ok_or("no record names whom the exchange was about")?;
        put_in_place(&data).map_err(text)?;
        Ok(changed)
    })
    .await
    .map_err(text)?
}

async fn rewrite(
    old: &dyn EvidenceStore,
    new: &dyn EvidenceStore,
    id: MessageId,
) -> Result<Option<u64>, String> {
    let mut changed = None;
    for sequence in 0.. {
        let record = match old.read(sequence).await {
            Ok(record) => record,
            Err(StoreError::NotFound) => break,
            Err(error) => return Err(error.to_string()),
        };
        let body = if record.has_body { old.body(sequence).await.map_err(text)? } else { None };
        let mut artifacts = Vec::new();
        for digest in record.statuses.iter().chain([&record.local.directory]) {
            artifacts.extend(old.artifact(*digest).await.map_err(text)?.map(Artifact::new));
        }
        let mut local = record.local;
        if local.request == id && local.subject.take().is_some() {
            changed = Some(sequence);
        }
        let record = NewRecord {
            kind: record.kind,
            owner: record.owner,
            header: record.header,
            manifest_digest: record.manifest_digest,
            cms: record.cms,
            statuses: record.statuses,
            local,
            body,
            body_digest: record.body_digest,
            class: BodyClass::default(),
            artifacts,
        };
        new.append(record, None).await.map_err(text)?;
    }
    Ok(changed)
}

/// Puts the new past where the old one was. The journal of decisions stays.
fn put_in_place(data: &Path) -> std::io::Result<()> {
    let (journal, aside) = (data.join("journal"), data.join(ASIDE));
    let evidence =
        |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("evidence-"));
    for entry in std::fs::read_dir(&journal)? {
        let path = entry?.path();
        if evidence(&path) {
            std::fs::remove_file(path)?;
        }
    }
    for entry in std::fs::read_dir(aside.join("journal"))? {
        let entry = entry?;
        std::fs::rename(entry.path(), journal.join(entry.file_name()))?;
    }
    for part in ["bodies", "index"] {
        let place = data.join(part);
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::rename(aside.join(part), place)?;
    }
    std::fs::remove_dir_all(aside)
}
