//! What a node holds as long as its process lives: its folder, keys, journals, log and keeper.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use truc_directory::Anchor;
use truc_evidence::{DecisionLog, EvidenceStore, ProofStore, SegmentStore};
use truc_keeping::Keeper;
use truc_log::HeadStore;
use truc_model::Clock;
use truc_stores::{DataFolder, DecisionJournal, EvidenceJournal, HeadFolder};

use super::hosted;
use crate::config::NodeConfig;
use crate::counted::{Counted, Counts};
use crate::desk::Desk;
use crate::error::NodeError;
use crate::keeping;
use crate::keyring::{self, NodeKeys};
use crate::log_head::{self, OwnLog};

/// What the process holds as long as it lives.
pub(super) struct Held {
    /// The lock on the data folder.
    _folder: DataFolder,
    pub(super) keys: NodeKeys,
    pub(super) evidence: Arc<dyn EvidenceStore>,
    /// What is proved of the same records.
    pub(super) proofs: Arc<dyn ProofStore>,
    pub(super) counts: Counts,
    pub(super) desk: Arc<Desk>,
    pub(super) anchor: Anchor,
    /// The log over the records, and its signer.
    pub(super) log: Arc<OwnLog>,
    /// Heads of other nodes' logs.
    pub(super) heads: Arc<dyn HeadStore>,
    /// Who moves segments to the archive and lets bodies expire.
    pub(super) keeper: Arc<Keeper>,
}

impl Held {
    pub(super) async fn open(config: &NodeConfig, clock: &Arc<dyn Clock>) -> Result<Self, NodeError> {
        let opening = config.clone();
        let runtime = Handle::current();
        let opened = spawn_blocking(move || {
            let folder = DataFolder::open(&opening.data_folder)?;
            let keys = keyring::open(&opening)?;
            let record_keys = Arc::clone(&keys.record_keys) as Arc<dyn truc_stores::RecordKeys>;
            let archive = keeping::archive(&opening)?;
            let options = keeping::options(&opening.evidence.keeping, archive.as_ref(), Some(runtime));
            let evidence = EvidenceJournal::open(folder.path(), Arc::clone(&record_keys), options)
                .map_err(NodeError::store("evidence"))?;
            let decisions = DecisionJournal::open(folder.path(), "decisions", record_keys)
                .map_err(NodeError::store("the journal of decisions"))?;
            let heads = HeadFolder::open(&folder.part("heads"))?;
            let file = &opening.anchor_file;
            let anchor = std::fs::read(file).map_err(|e| NodeError::file(file, e))?;
            let anchor = Anchor::parse(&anchor).map_err(|e| NodeError::file(file, e))?;
            Ok::<_, NodeError>((folder, keys, Arc::new(evidence), decisions, heads, anchor, archive))
        });
        let (folder, keys, evidence, decisions, heads, anchor, archive) = opened.await??;
        let decisions: Arc<dyn DecisionLog> = Arc::new(decisions);
        crate::restore::begin(&config.data_folder, decisions.as_ref(), clock.as_ref()).await?;
        let desk = Desk::open(decisions, Arc::clone(clock), hosted(config)).await?;
        let desk = Arc::new(desk.declaring(config.evidence.keeping.retention.keys().cloned()));
        let counts = Counts::default();
        let proofs = Arc::clone(&evidence) as Arc<dyn ProofStore>;
        let segments = Arc::clone(&evidence) as Arc<dyn SegmentStore>;
        let evidence = Arc::new(Counted { store: evidence, counts: counts.clone() });
        let log = Arc::new(log_head::own_log(config, &keys, &desk, &anchor, Arc::clone(&proofs)).await?);
        let heads = Arc::new(heads);
        let keeper = keeping::Parts {
            settings: &config.evidence.keeping,
            archive,
            segments,
            evidence: Arc::clone(&evidence) as _,
            proofs: Arc::clone(&proofs),
            log: Arc::clone(&log),
            clock: Arc::clone(clock),
        }
        .keeper();
        Ok(Self { _folder: folder, keys, evidence, proofs, counts, desk, anchor, log, heads, keeper })
    }
}
