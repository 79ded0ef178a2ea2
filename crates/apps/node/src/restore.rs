//! `truc node restore`, and what a restored node knows of itself (protocol P6.3): it has lost records, so it opens a new log that
//! names where the old one last stood in the backup, and carries out nothing that was sent before it first ran.

use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use truc_evidence::{Decision, DecisionLog};
use truc_keystores::Passphrase;
use truc_model::{Clock, Timestamp};
use truc_stores::{DataFolder, HeadNumber, JournalEnd, Manifest, restore_archive};

use crate::backup::{KIND, stretch};
use crate::error::NodeError;

/// The decision by which a restored node begins.
pub(crate) const RESTORED: &str = "node.restored";
/// Name of the mark in the data folder, until the node has run.
const FILE: &str = "restored.json";

/// What a restore is remembered by: the mark in the folder, then the decision `node.restored`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Restoration {
    /// Format version, 1.
    pub v: u32,
    /// Id of the new log, 32 hexadecimal digits: records from here on are no continuation of those that were lost.
    pub log: String,
    /// When it was restored.
    pub restored: Timestamp,
    /// When the backup was made.
    pub made: Timestamp,
    /// Where the evidence of the old log ended in the backup, whether it came along or not: its last point that is known outside the lost
    /// node.
    pub evidence: JournalEnd,
    /// Whether the evidence up to there came along.
    pub with_evidence: bool,
    /// How many decisions came along.
    pub decisions: u64,
    /// The directory head of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadNumber>,
}

/// A node that was restored.
#[derive(Debug, Clone)]
pub struct RestoredNode {
    /// The configuration file to run it with.
    pub config: PathBuf,
    /// What was in the backup.
    pub manifest: Manifest,
}

/// Restores a node into the new or empty folder `dir`. Blocks.
///
/// # Errors
/// [`NodeError`]; `dir` is then as it was.
pub fn restore(
    file: &Path,
    dir: &Path,
    passphrase: &Path,
    clock: &dyn Clock,
) -> Result<RestoredNode, NodeError> {
    let passphrase = Passphrase::from_file(passphrase)?;
    let finish = |place: &Path, manifest: &Manifest| mark(&place.join(&manifest.data), manifest, clock.now());
    let manifest = restore_archive(file, KIND, &|how| stretch(&passphrase, how), dir, finish)?;
    Ok(RestoredNode { config: dir.join(&manifest.config), manifest })
}

/// Checks the journals that came along and leaves the mark.
fn mark(data: &Path, manifest: &Manifest, now: Timestamp) -> Result<(), String> {
    // A node that never ran has no folder for journals yet.
    drop(DataFolder::open(data).map_err(|e| e.to_string())?);
    let report = truc_stores::fsck(data, None).map_err(|e| e.to_string())?;
    if let Some(problem) = report.problems.first() {
        return Err(format!("a journal in the backup: {problem}"));
    }
    let end = |stem: &str| manifest.journals.get(stem).copied();
    let Some(evidence) = end("evidence").or_else(|| end("decisions").map(|d| JournalEnd { records: 0, ..d }))
    else {
        return Err("it names no journal".into());
    };
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| "the system's random source failed".to_owned())?;
    let restoration = Restoration {
        v: 1,
        log: hex::encode(id),
        restored: now,
        made: manifest.made,
        evidence,
        with_evidence: manifest.with_evidence,
        decisions: report.decisions,
        head: manifest.head,
    };
    let bytes = serde_json::to_vec_pretty(&restoration).map_err(|e| e.to_string())?;
    let path = data.join(FILE);
    std::fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// At the first start after a restore: records the decision, then takes the mark away. Until it is recorded no door is open, so its
/// moment lies before anything that this node carries out. Returns the moment.
pub(crate) async fn begin(
    data: &Path,
    log: &dyn DecisionLog,
    clock: &dyn Clock,
) -> Result<Option<Timestamp>, NodeError> {
    let path = data.join(FILE);
    let bytes = match tokio::fs::read(&path).await {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(NodeError::file(&path, e)),
    };
    let restoration: Restoration = serde_json::from_slice(&bytes).map_err(|e| NodeError::file(&path, e))?;
    let payload = serde_json::to_value(&restoration).map_err(|e| NodeError::file(&path, e))?;
    let at = clock.now();
    let decision = Decision { kind: RESTORED.to_owned(), actor: "node".to_owned(), at, payload };
    log.append(decision).await.map_err(NodeError::store("the journal of decisions"))?;
    // Killed before this, it is recorded once more at the next start, with a later moment: safe.
    tokio::fs::remove_file(&path).await.map_err(|e| NodeError::file(&path, e))?;
    tracing::warn!(
        log = restoration.log, backup = %restoration.made, evidence = restoration.evidence.records,
        "this node was restored from a backup: it begins a new log and carries out nothing that was sent before now"
    );
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use truc_directory::HeadRef;
    use truc_directory_sync::HighestSeen as _;
    use truc_log::Head;
    use truc_model::{Digest, ManualClock};
    use truc_stores::{DecisionJournal, EvidenceJournal, JournalOptions};

    use super::*;
    use crate::config::NodeConfig;
    use crate::desk::Desk;
    use crate::init::{InitOptions, init};
    use crate::keyring::open_keyring;
    use crate::log_head::{LogSigner, OldHead};

    fn new_node(folder: PathBuf) -> NodeConfig {
        let options = InitOptions {
            folder,
            node: "VN/GOV/H26/ss1".parse().unwrap(),
            members: vec![],
            anchor: None,
            anchor_sha256: None,
            peer_listen: None,
            edge_listen: None,
            admin_listen: None,
        };
        init(&options).unwrap().config
    }

    fn head(version: u64) -> HeadRef {
        HeadRef { epoch: 1, version, digest: Digest([9; 32]), root: 1, trust: 1 }
    }

    async fn desk(config: &NodeConfig, clock: &Arc<ManualClock>) -> (DataFolder, Desk, Option<Timestamp>) {
        let folder = DataFolder::open(&config.data_folder).unwrap();
        let keys = Arc::new(open_keyring(config).unwrap());
        let journal: Arc<dyn DecisionLog> =
            Arc::new(DecisionJournal::open(&config.data_folder, "decisions", keys).unwrap());
        let began = begin(&config.data_folder, journal.as_ref(), clock.as_ref()).await.unwrap();
        let desk = Desk::open(journal, clock.clone(), vec![]).await.unwrap();
        (folder, desk, began)
    }

    #[tokio::test]
    async fn a_node_backed_up_while_it_runs_begins_a_new_log_where_it_is_restored() {
        let place = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let config = new_node(place.path().join("node"));
        let secret = place.path().join("backup-passphrase");
        Passphrase::from_file_or_create(&secret).unwrap();
        let (lock, running, began) = desk(&config, &clock).await;
        let evidence = EvidenceJournal::open(
            &config.data_folder,
            Arc::new(open_keyring(&config).unwrap()),
            JournalOptions::default(),
        );
        assert_eq!((began, running.restored()), (None, None), "an ordinary start is no restore");
        running.record(head(7)).await.unwrap();
        let inside = config.data_folder.join("backup");
        assert!(crate::backup(&config, &inside, &secret, false, clock.as_ref()).is_err());
        let mut files = Vec::new();
        for with_evidence in [false, true] {
            let out = place.path().join(format!("backup-{with_evidence}.truc"));
            let made = crate::backup(&config, &out, &secret, with_evidence, clock.as_ref()).unwrap();
            assert_eq!(made.holder, config.node.to_string());
            assert_eq!((made.journals["decisions"].records, made.journals["evidence"].records), (1, 0));
            files.push((out, made));
        }
        running.record(head(8)).await.unwrap();
        drop((running, evidence, lock));

        clock.advance(std::time::Duration::from_secs(3600));
        for (out, made) in files {
            let dir = place.path().join(format!("restored-{}", made.with_evidence));
            let restored = restore(&out, &dir, &secret, clock.as_ref()).unwrap();
            assert_eq!(restored.manifest, made);
            assert!(restore(&out, &dir, &secret, clock.as_ref()).is_err(), "not over a node");
            assert!(dir.join("requests/auth.csr").exists() && dir.join("admin-token").exists());
            let mark: Restoration =
                serde_json::from_slice(&std::fs::read(dir.join("data").join(FILE)).unwrap()).unwrap();
            assert_eq!((mark.evidence, mark.made), (made.journals["evidence"], made.made));
            assert_eq!(mark.log.len(), 32);
            // The first start is later than the restore; from it on counts what was sent.
            clock.advance(std::time::Duration::from_secs(60));
            let config = NodeConfig::load(&restored.config).unwrap();
            let (_lock, desk_1, began) = desk(&config, &clock).await;
            assert_eq!((began, desk_1.restored()), (Some(clock.now()), Some(clock.now())));
            assert_eq!(desk_1.highest().await.unwrap(), Some(head(7)));
            // What the new log says of the old one is said once.
            assert_eq!(desk_1.new_log().await, Some((&*mark.log, None)));
            let old = OldHead { size: 12, root: Digest([3; 32]) };
            let opened = desk_1.open_log(&mark.log, made.with_evidence.then_some(old)).await.unwrap();
            assert_eq!(desk_1.open_log(&mark.log, None).await.unwrap(), opened);
            drop((desk_1, _lock));
            let first = clock.now();
            clock.advance(std::time::Duration::from_secs(60));
            let (_lock, desk_2, began) = desk(&config, &clock).await;
            assert_eq!((began, desk_2.restored()), (None, Some(first)), "remembered, and not begun again");
            assert_eq!(desk_2.new_log().await, Some((&*mark.log, Some(opened.clone()))));
            let passphrase = Passphrase::from_file(&config.passphrase_file).unwrap();
            let store = truc_keystores::FileKeyStore::open(&config.key_folder(), &passphrase).unwrap();
            let signs = LogSigner::new(&config.node, Some(&opened), Arc::new(store), config.log_key.clone());
            let signs = signs.unwrap();
            let head = async || signs.head(13, Digest([4; 32]), Some(Digest([5; 32]))).await.unwrap();
            let text = head().await.note().to_string();
            assert_eq!(text, head().await.note().to_string(), "a head has one form");
            let read = Head::verify(&text, signs.key()).unwrap();
            assert_eq!(read.checkpoint().origin, format!("NODE:VN/GOV/H26/ss1/log-{}", mark.log));
            let from = if made.with_evidence {
                "restored-from 12 AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
            } else {
                "restored-from unknown"
            };
            let chain = "chain BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
            assert_eq!(read.checkpoint().extensions, [from, chain]);
        }
    }

    #[test]
    fn what_is_no_backup_of_a_node_restores_nothing() {
        let place = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp::from_millis(1_800_000_000_000));
        let config = new_node(place.path().join("node"));
        let secret = place.path().join("backup-passphrase");
        Passphrase::from_file_or_create(&secret).unwrap();
        let out = place.path().join("backup.truc");
        crate::backup(&config, &out, &secret, true, &clock).unwrap();
        restore(&out, &place.path().join("good"), &secret, &clock).unwrap();
        let dir = place.path().join("restored");
        let mut bytes = std::fs::read(&out).unwrap();
        bytes.truncate(bytes.len() - 1);
        std::fs::write(&out, bytes).unwrap();
        assert!(restore(&out, &dir, &secret, &clock).is_err());
        assert!(!dir.exists());
        let missing = NodeConfig { data_folder: place.path().join("nowhere"), ..config };
        assert!(crate::backup(&missing, &out, &secret, true, &clock).is_err());
    }
}
