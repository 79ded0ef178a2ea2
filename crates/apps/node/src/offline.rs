//! The evidence of a stopped node, read from its folder.

use std::sync::Arc;

use tokio::runtime::Handle;
use truc_admin::{HeadsDocument, KeepingView};
use truc_evidence::{Batch, ClassMonth, EvidenceStore, KeyedHash, ProofStore};
use truc_keys::Signer as _;
use truc_keystores::{FileKeyStore, Passphrase};
use truc_log::{Checkpoint, Head, NoteKey, log_origin};
use truc_stores::{
    ArchiveReader, DataFolder, DecisionJournal, EvidenceJournal, FsckOptions, ImprintOf, Look, OutsideHead,
    RecordKeys,
};
pub use truc_stores::{FsckReport, Problem};

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::keeping;
use crate::keyring::{keys_folder, open_keyring};
use crate::log_head::{LOG_OPENED, OpenedLog};
use crate::person_hashes::PersonHashes;
use crate::token_check::Authorities;

/// A stopped node's evidence. The folder stays locked while this lives, so the node cannot start meanwhile.
pub struct OfflineEvidence {
    journal: EvidenceJournal,
    person_hashes: PersonHashes,
    // Declared last: the lock is given back when the journal is closed.
    _folder: DataFolder,
}

impl OfflineEvidence {
    /// Opens the folder. Blocks on disk and key derivation.
    ///
    /// # Errors
    /// [`NodeError`]: there is no data folder, a node runs on it, or keys and journal do not open.
    pub fn open(config: &NodeConfig) -> Result<Self, NodeError> {
        must_be_there(config)?;
        let folder = DataFolder::open(&config.data_folder)?;
        let keys = Arc::new(open_keyring(config)?);
        let archive = keeping::archive(config)?;
        let options =
            keeping::options(&config.evidence.keeping, archive.as_ref(), Handle::try_current().ok());
        let journal = EvidenceJournal::open(folder.path(), keys, options);
        let person_hashes = PersonHashes::open(config)?;
        Ok(Self { journal: journal.map_err(NodeError::store("evidence"))?, person_hashes, _folder: folder })
    }

    /// An officer, a dossier or a subject as the records may hold them.
    pub fn person_hashes(&self, text: &str) -> Vec<KeyedHash> {
        self.person_hashes.of(text, None)
    }

    /// What was recorded.
    pub fn store(&self) -> &dyn EvidenceStore {
        &self.journal
    }

    /// What is kept where, and until when.
    ///
    /// # Errors
    /// [`NodeError::Store`] when the disk refuses.
    pub async fn keeping(&self, config: &NodeConfig) -> Result<KeepingView, NodeError> {
        let view = keeping::view(&self.journal, &config.evidence.keeping.retention).await;
        view.map_err(NodeError::store("evidence"))
    }

    /// What was proved of it.
    pub fn proofs(&self) -> &dyn ProofStore {
        &self.journal
    }
}

/// Checks every journal of a stopped node byte by byte, its log against its batches, and both against the heads that others hold,
/// and changes nothing. `with_archive` reads archived segments too, else their leaves are taken from the tree's own files. Blocks on disk
/// and key derivation.
///
/// # Errors
/// [`NodeError`] when a node runs on the folder or it cannot be read at all, or when a head is not signed with the node's log key; what
/// is wrong inside is in the report.
pub fn fsck(
    config: &NodeConfig,
    heads: Option<&HeadsDocument>,
    with_archive: bool,
) -> Result<FsckReport, NodeError> {
    must_be_there(config)?;
    let keys = open_keyring(config)?;
    let log_keys = log_keys(config, &keys)?;
    let Outside { heads, problems } =
        heads.map_or_else(|| Ok(Outside::default()), |told| outside(config, told, &log_keys))?;
    let archive = if with_archive { keeping::archive(config)? } else { None };
    let archive = archive.zip(Handle::try_current().ok());
    let archive = archive.map(|(store, runtime)| ArchiveReader::new(store, runtime));
    let authorities = Authorities::of(config)?;
    let (artifact, imprint) =
        (|bytes: &[u8]| authorities.look_into(bytes), |batch: &Batch| authorities.imprint(batch));
    let (artifact, imprint): (Option<Look<'_>>, ImprintOf<'_>) = (Some(&artifact), &imprint);
    let classes = &config.evidence.keeping.retention;
    let expires = |of: &ClassMonth| classes.get(&of.class).and_then(|kept| kept.expires(of.month));
    let options = FsckOptions {
        keys: Some(&keys),
        log_keys,
        imprint: Some(imprint),
        heads,
        archive,
        artifact,
        expires: Some(&expires),
    };
    let checked = truc_stores::fsck_with(&config.data_folder, &options);
    let mut report = checked.map_err(NodeError::store("the journals"))?;
    report.problems.extend(problems);
    Ok(report)
}

/// The names of the node's logs, the one in force last, with the key that signs their heads.
fn log_keys(config: &NodeConfig, keys: &dyn RecordKeys) -> Result<Vec<NoteKey>, NodeError> {
    let store = FileKeyStore::open(&keys_folder(config), &Passphrase::from_file(&config.passphrase_file)?)?;
    let label = &config.log_key;
    let key = store.key(label).ok_or_else(|| NodeError::NoKey(label.clone()))?;
    let decisions = DecisionJournal::audit(&config.data_folder, "decisions", keys);
    let decisions = decisions.map_err(NodeError::store("decisions"))?;
    let opened = decisions.into_iter().filter(|d| d.decision.kind == LOG_OPENED);
    let opened = opened.filter_map(|d| serde_json::from_value::<OpenedLog>(d.decision.payload).ok());
    let names = std::iter::once(log_origin(&config.node, None))
        .chain(opened.map(|opened| log_origin(&config.node, Some(&opened.log))));
    let named = names.map(|name| NoteKey::new(&name, &key.public_key));
    named.collect::<Result<_, _>>().map_err(|e| NodeError::file(&config.data_folder, e.to_string()))
}

/// What others say of this node's logs.
#[derive(Default)]
struct Outside {
    heads: Vec<OutsideHead>,
    /// What cannot be compared, and should be.
    problems: Vec<Problem>,
}

/// Every head that is told, each signed with the node's own key: nobody else can make one up.
fn outside(config: &NodeConfig, told: &HeadsDocument, keys: &[NoteKey]) -> Result<Outside, NodeError> {
    let refused = |why: String| NodeError::file(&config.data_folder, why);
    if told.node != config.node {
        return Err(refused(format!(
            "the heads given are of {}, and this is {}: take those of this node",
            told.node, config.node
        )));
    }
    let mut outside = Outside::default();
    let mut problem = |what: String| {
        outside.problems.push(Problem { path: config.data_folder.clone(), offset: 0, what });
    };
    let logs = || told.witnesses.iter().flat_map(|w| w.logs.iter().map(move |log| (&w.witness, log)));
    if logs().next().is_none() {
        problem(
            "no witness told a head: nothing was compared with what others hold; gather the heads again"
                .to_owned(),
        );
    }
    for (witness, log) in logs() {
        let Some(key) = keys.iter().find(|key| key.name() == log.log) else {
            problem(format!(
                "{witness} holds heads of {}, a log that this node opened after a restore, and no decision here says so: decisions are missing, or the folder is an older one",
                log.log
            ));
            continue;
        };
        let alarms = log.alarms.iter().flat_map(|alarm| [&alarm.held, &alarm.shown]);
        for held in std::iter::once(&log.newest).chain(&log.days).chain(alarms) {
            let head = Head::verify(&held.note, key)
                .map_err(|why| refused(format!("a head that {witness} holds cannot be compared: {why}")))?;
            let chain = head.checkpoint().chain();
            let Checkpoint { origin, size, root, .. } = head.checkpoint().clone();
            let source = format!("{witness} ({})", held.at);
            outside.heads.push(OutsideHead { source, origin, size, root, chain });
        }
    }
    Ok(outside)
}

/// Opening would make a folder where there is none: right for a node that starts, wrong for one that is to be read.
fn must_be_there(config: &NodeConfig) -> Result<(), NodeError> {
    if config.data_folder.join("FORMAT").exists() {
        return Ok(());
    }
    Err(NodeError::file(
        &config.data_folder,
        "is not a node's data folder; give the node's configuration with --config",
    ))
}

#[cfg(test)]
mod tests {
    use truc_evidence::Query;

    use super::*;
    use crate::init::{InitOptions, init};

    #[tokio::test]
    async fn a_stopped_node_is_read_and_a_missing_one_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("node");
        let node = "VN/GOV/H26/ss1".parse().unwrap();
        let options = InitOptions {
            folder,
            node,
            members: vec![],
            anchor: None,
            anchor_sha256: None,
            peer_listen: None,
            edge_listen: None,
            admin_listen: None,
        };
        let mut config = init(&options).unwrap().config;
        {
            let evidence = OfflineEvidence::open(&config).unwrap();
            assert_eq!(evidence.store().list(Query::default()).await.unwrap().exchanges, []);
            let message = OfflineEvidence::open(&config).err().unwrap().to_string();
            assert!(message.contains("in use"), "{message}");
            assert!(fsck(&config, None, false).is_err(), "nor is it checked while it is in use");
        }
        assert_eq!(fsck(&config, None, false).unwrap().problems, []);
        config.data_folder = dir.path().join("elsewhere");
        assert!(OfflineEvidence::open(&config).is_err() && !config.data_folder.exists());
    }
}
