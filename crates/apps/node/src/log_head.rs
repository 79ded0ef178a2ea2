//! The heads of this node's own log (protocol P5.3, `docs/evidence.md` §2.2): what they are called, and who signs them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use truc_directory::Anchor;
use truc_directory_sync::WitnessClient;
use truc_evidence::{DecisionLog, Decisions, Proof, ProofStore, StoreError};
use truc_keys::{KeyLabel, Signer};
use truc_log::{
    Checkpoint, Head, HeadError, NoteError, NoteKey, RESTORED_FROM, SignedNote, chain_line, log_origin,
};
use truc_model::{Digest, NodeId};

use crate::config::NodeConfig;
use crate::desk::Desk;
use crate::error::NodeError;
use crate::keyring::NodeKeys;
use crate::witness;

/// The decision by which a restored node names the log that it begins.
pub(crate) const LOG_OPENED: &str = "log.opened";

/// The log that a restored node began: the content of the decision [`LOG_OPENED`]. It is said once and stays, so that a head of a size
/// is the same text whenever it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct OpenedLog {
    /// Format version, 1.
    pub(crate) v: u32,
    /// The new log's id, of the decision `node.restored`.
    pub(crate) log: String,
    /// The last head of the old log that the registry knew; `None` where it knew none, or could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<OldHead>,
}

/// Where the old log stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OldHead {
    /// Number of leaves.
    pub(crate) size: u64,
    /// Root over them.
    pub(crate) root: Digest,
}

/// Signs with the node's log key: heads, and notes about the log.
#[derive(Clone)]
pub(crate) struct LogSigner {
    signer: Arc<dyn Signer>,
    label: KeyLabel,
    key: NoteKey,
    extensions: Vec<String>,
}

impl LogSigner {
    /// For the log of `node`, or for the one that it began when it was restored, with the Ed25519 key `label` of `signer`.
    ///
    /// # Errors
    /// [`NoteError`] when there is no such key.
    pub(crate) fn new(
        node: &NodeId,
        opened: Option<&OpenedLog>,
        signer: Arc<dyn Signer>,
        label: KeyLabel,
    ) -> Result<Self, NoteError> {
        let origin = log_origin(node, opened.map(|opened| &*opened.log));
        let unknown = || truc_keys::SignerError::UnknownKey(label.clone());
        let key = NoteKey::new(&origin, &signer.key(&label).ok_or_else(unknown)?.public_key)?;
        let extension = |opened: &OpenedLog| match &opened.from {
            Some(OldHead { size, root }) => {
                format!("{RESTORED_FROM} {size} {}", STANDARD.encode(root.as_bytes()))
            }
            None => format!("{RESTORED_FROM} unknown"),
        };
        Ok(Self { signer, label, key, extensions: opened.map(extension).into_iter().collect() })
    }

    /// The log's name and the key that signs its heads.
    pub(crate) const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// The signed head of `size` records under `root`, with the `chain` of the journal after them; its text is always the same for the same
    /// three.
    ///
    /// # Errors
    /// [`HeadError`] when the key store does not sign.
    pub(crate) async fn head(
        &self,
        size: u64,
        root: Digest,
        chain: Option<Digest>,
    ) -> Result<Head, HeadError> {
        let origin = self.key.name().to_owned();
        let extensions = self.extensions.iter().cloned().chain(chain.map(chain_line)).collect();
        let checkpoint = Checkpoint { origin, size, root, extensions };
        Head::sign(checkpoint, self.signer.as_ref(), &self.label).await
    }

    /// Signs another text about the log, e.g. a tombstone.
    ///
    /// # Errors
    /// [`NoteError`] when the text is none of a note, or the key store does not sign.
    pub(crate) async fn note(&self, text: String) -> Result<SignedNote, NoteError> {
        SignedNote::sign(text, self.key.name(), self.signer.as_ref(), &self.label).await
    }
}

/// Why this node cannot tell where its log stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key store does not sign.
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// This node's own log: its records' tree, and who signs for it.
pub(crate) struct OwnLog {
    proofs: Arc<dyn ProofStore>,
    signer: LogSigner,
    decisions: Arc<dyn DecisionLog>,
    /// What the evidence says of the decisions since this start.
    covered: Mutex<Option<Decisions>>,
    /// The head signed last: asked for again it is not signed again.
    last: Mutex<Option<Head>>,
}

impl OwnLog {
    pub(crate) fn new(
        proofs: Arc<dyn ProofStore>,
        signer: LogSigner,
        decisions: Arc<dyn DecisionLog>,
    ) -> Self {
        Self { proofs, signer, decisions, covered: Mutex::default(), last: Mutex::default() }
    }

    /// Who signs for it.
    pub(crate) const fn signer(&self) -> &LogSigner {
        &self.signer
    }

    /// The log's name and key.
    pub(crate) const fn key(&self) -> &NoteKey {
        self.signer.key()
    }

    /// The store of its tree, to be held.
    pub(crate) fn proof_store(&self) -> Arc<dyn ProofStore> {
        Arc::clone(&self.proofs)
    }

    /// The tree behind it.
    pub(crate) fn proofs(&self) -> &dyn ProofStore {
        self.proofs.as_ref()
    }

    /// The head over all records there are.
    ///
    /// # Errors
    /// [`LogError`].
    pub(crate) async fn newest(&self) -> Result<Head, LogError> {
        self.cover_decisions().await;
        let size = self.proofs.log_size().await?;
        if let Some(head) = self.remembered().as_ref().filter(|head| head.checkpoint().size == size) {
            return Ok(head.clone());
        }
        let head = self.at(size, self.proofs.root(size).await?).await?;
        *self.remembered() = Some(head.clone());
        Ok(head)
    }

    /// The head of `size` records, whose root is `root`; its text is always the same for the same size.
    ///
    /// # Errors
    /// [`LogError`].
    pub(crate) async fn at(&self, size: u64, root: Digest) -> Result<Head, LogError> {
        Ok(self.signer.head(size, root, self.proofs.chain(size).await?).await?)
    }

    /// Has the evidence say how far the decisions are, where it does not yet: heads speak of the evidence's chain, and so of theirs. That it
    /// fails keeps no head back; it is tried again with the next one.
    pub(crate) async fn cover_decisions(&self) {
        let covering = async {
            let Some(end) = self.decisions.end().await? else { return Ok(()) };
            if *self.covered.lock().unwrap_or_else(PoisonError::into_inner) == Some(end) {
                return Ok(());
            }
            self.proofs.prove(Proof::Decisions(end)).await?;
            *self.covered.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
            Ok::<_, StoreError>(())
        };
        if let Err(error) = covering.await {
            tracing::warn!(%error, "the evidence does not say yet how far the decisions are; it is tried again");
        }
    }

    /// That the log of `to` records continues that of `from`; nothing where it does not have so many.
    ///
    /// # Errors
    /// [`LogError`].
    pub(crate) async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, LogError> {
        if from >= to { Ok(Vec::new()) } else { Ok(self.proofs.consistency(from, to).await?) }
    }

    fn remembered(&self) -> MutexGuard<'_, Option<Head>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the node's log: its first one, or the one that it began when it was restored. That one says for ever where the old one stood: at
/// the first start after a restore the registry is asked.
pub(crate) async fn own_log(
    config: &NodeConfig,
    keys: &NodeKeys,
    desk: &Desk,
    anchor: &Anchor,
    proofs: Arc<dyn ProofStore>,
) -> Result<OwnLog, NodeError> {
    let (node, label) = (&config.node, &config.log_key);
    let opened = match desk.new_log().await {
        None => None,
        Some((_, Some(opened))) => Some(opened),
        Some((log, None)) => {
            let key = keys.store.key(label).ok_or_else(|| NodeError::NoKey(label.clone()))?;
            let registry = WitnessClient::new(anchor);
            let from = witness::old_head(&registry, node, log, &key.public_key).await;
            Some(desk.open_log(log, from).await?)
        }
    };
    let signer = Arc::clone(&keys.store) as Arc<dyn Signer>;
    let signer = LogSigner::new(node, opened.as_ref(), signer, label.clone())?;
    let log = OwnLog::new(proofs, signer, Arc::clone(desk.decisions()));
    log.cover_decisions().await;
    Ok(log)
}
