//! `truc registry backup` and `truc registry restore` (protocol P6.3; the file's format is truc-stores').

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use truc_directory::Anchor;
use truc_governance::Governance;
use truc_keystores::Passphrase;
use truc_model::Clock;
use truc_stores::{Collection, HeadNumber, Manifest, Stretch, restore_archive, write_archive};

use crate::ceremony::{head_number, off_runtime};
use crate::closed::Mark;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::{self, Places};
use crate::inspector::CaInspector;

/// What the file says it is of.
const KIND: &str = "registry";
/// What of the data folder is not taken along: locks and scratch, what is taken separately, and the root keys, which are not to be
/// where the registry's are.
const LEFT_OUT: [&str; 8] = ["lock", "tmp", "spool", "index", "root", "journal", "directory", "keys"];

/// A registry that was restored; it is closed.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The configuration file to run it with.
    pub config: PathBuf,
    /// What was in the backup.
    pub manifest: Manifest,
}

/// Backs the registry of a configuration file up, whether it runs or not.
///
/// # Errors
/// [`RegistryError`]; `out` is then not there.
pub async fn backup(
    config: &Path,
    out: &Path,
    passphrase: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Manifest, RegistryError> {
    let (config, out, passphrase) = (config.to_owned(), out.to_owned(), passphrase.to_owned());
    off_runtime(move || {
        let read = RegistryConfig::load(&config)?;
        let passphrase = Passphrase::from_file(&passphrase)?;
        if !read.data.join("FORMAT").exists() {
            return Err(RegistryError::NoRegistry(read.data));
        }
        let (manifest, collection) = collect(&config, &read, &out, clock.as_ref())?;
        write_archive(&out, &manifest, collection, &|how| stretch(&passphrase, how))?;
        Ok(manifest)
    })
    .await
}

fn collect(
    path: &Path,
    config: &RegistryConfig,
    out: &Path,
    clock: &dyn Clock,
) -> Result<(Manifest, Collection), RegistryError> {
    let (places, made) = (Places(config.data.clone()), clock.now());
    let mut all = Collection::new(path.parent().unwrap_or(Path::new("")))?;
    refuse_inside(&config.data, out)?;
    all.file(path)?;
    // In the order in which they may run ahead of each other: the head never names a decision that the journal lacks, and
    // no decision names a key that is not there.
    let head_file = places.directory().join("head.json");
    all.file_if_there(&head_file)?;
    let head = std::fs::read(&head_file).ok().map(|bytes| head_number(&bytes)).transpose()?;
    let stems = all.journals_of(&config.data, &[])?;
    all.folder(&places.directory())?;
    all.folder(&places.keys())?;
    for entry in std::fs::read_dir(&config.data).map_err(|e| RegistryError::file(&config.data, e))? {
        let path = entry.map_err(|e| RegistryError::file(&config.data, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) || name.starts_with('.') || name.ends_with(".tmp") {
            continue;
        }
        if path.is_dir() { all.folder(&path)? } else { all.file(&path)? }
    }
    let officers = config.officers.iter().map(|o| &o.token_file);
    let issuing = config.issuing.iter().map(|i| &i.token_file);
    for file in [&config.admin_token_file, &config.passphrase_file].into_iter().chain(officers).chain(issuing)
    {
        all.file_if_there(file)?;
    }
    tracing::debug!(?stems, "the journals of the backup");
    let manifest = Manifest {
        v: 1,
        kind: KIND.to_owned(),
        holder: instance(&places)?,
        made,
        config: all.name(path)?,
        data: all.name(&config.data)?,
        with_evidence: false,
        journals: all.journals(),
        head: head.map(|(number, _)| number),
        outside: all.outside(),
    };
    Ok((manifest, all))
}

/// A backup inside what is backed up would be in the next one.
fn refuse_inside(data: &Path, out: &Path) -> Result<(), RegistryError> {
    let whole = |p: &Path| std::path::absolute(p).map_err(|e| RegistryError::file(p, e));
    if whole(out)?.starts_with(whole(data)?) {
        return Err(RegistryError::file(out, "lies in the registry's own folder; put backups elsewhere"));
    }
    Ok(())
}

fn instance(places: &Places) -> Result<String, RegistryError> {
    let (anchor, pending) = (places.anchor(), places.pending_anchor());
    let path = if anchor.exists() { anchor } else { pending };
    let bytes = std::fs::read(&path).map_err(|e| RegistryError::file(&path, e))?;
    Ok(Anchor::parse(&bytes)?.instance)
}

fn stretch(passphrase: &Passphrase, how: &Stretch) -> Result<zeroize::Zeroizing<[u8; 32]>, String> {
    passphrase.stretch(how.memory_kib, how.passes, how.lanes, &how.salt).map_err(|e| e.to_string())
}

/// Restores a registry into the new or empty folder `dir`. It stays closed until a new epoch is installed: nodes may have seen
/// decisions that the backup lacks.
///
/// # Errors
/// [`RegistryError`]; `dir` is then as it was.
pub async fn restore(
    file: &Path,
    dir: &Path,
    passphrase: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Restored, RegistryError> {
    let (file, dir, passphrase) = (file.to_owned(), dir.to_owned(), passphrase.to_owned());
    let runtime = Handle::current();
    off_runtime(move || {
        let passphrase = Passphrase::from_file(&passphrase)?;
        let finish = |place: &Path, manifest: &Manifest| {
            close(&runtime, place, manifest, &clock).map_err(|e| e.to_string())
        };
        let manifest = restore_archive(&file, KIND, &|how| stretch(&passphrase, how), &dir, finish)?;
        Ok(Restored { config: dir.join(&manifest.config), manifest })
    })
    .await
}

/// Opens what was restored with its own keys, replays its journal, and leaves the mark.
fn close(
    runtime: &Handle,
    place: &Path,
    manifest: &Manifest,
    clock: &Arc<dyn Clock>,
) -> Result<(), RegistryError> {
    let config = RegistryConfig::load(&place.join(&manifest.config))?;
    let data = place.join(&manifest.data);
    // One that its root keys have not opened yet has no folder for journals.
    drop(truc_stores::DataFolder::open_as(&data, KIND)?);
    let report = truc_stores::fsck(&data, None)?;
    if let Some(problem) = report.problems.first() {
        return Err(RegistryError::Invalid(format!("the journal in the backup: {problem}")));
    }
    let restored = clock.now();
    let mut mark = Mark {
        v: 1,
        restored,
        made: manifest.made,
        epoch: manifest.head.map_or(0, |h: HeadNumber| h.epoch),
        decisions: report.decisions,
    };
    // A passphrase that is handed in from outside (a credential of the service manager) is not at hand here.
    if config.data == data && config.passphrase_file.exists() {
        let opened = files::open(&data, &Passphrase::from_file(&config.passphrase_file)?)?;
        let governance = Governance::open(opened.log, Arc::new(CaInspector), Arc::clone(clock));
        let governance = runtime.block_on(governance)?;
        mark.epoch = governance.state().map_or(0, |s| s.root().epoch);
        mark.decisions = governance.decisions();
    }
    mark.write(&data)
}
