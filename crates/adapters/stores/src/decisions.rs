//! Decisions on this machine's disk: the same journal, one JSON object a frame.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use truc_evidence::{Decision, DecisionLog, Decisions, Receipt, StoreError};
use truc_message::Leaf;
use truc_model::Digest;

use crate::bodies::Month;
use crate::evidence::indexer::decrypt;
use crate::files::{self, damaged};
use crate::journal::format::FrameType;
use crate::journal::scan::{self, Met};
use crate::journal::{Entry, EntryBody, Journal, Setup, Sink, Written};
use crate::keys::RecordKeys;
use crate::options::JournalOptions;

/// What a node's journal of decisions is called; proofs of the kind `decisions` speak of it.
pub(crate) const STEM: &str = "decisions";

/// [`DecisionLog`] in segment files under the node's key; the leaf of a decision is `SHA-256(0x00 ‖ its JSON)`.
pub struct DecisionJournal {
    journal: Journal<()>,
    stem: String,
    keys: Arc<dyn RecordKeys>,
}

/// A decision with its place in the hash chain.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Its sequence in the journal.
    pub sequence: u64,
    /// The chain's hash after it.
    pub chain: Digest,
    /// What was decided.
    pub decision: Decision,
}

struct NoSink;

impl Sink<()> for NoSink {
    fn durable(&self, _: Vec<Written<()>>) {}
}

impl DecisionJournal {
    /// Opens the decisions `stem` (lower-case letters, e.g. `decisions`) of the data folder `folder`; blocks while they are read and checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when acknowledged decisions cannot be read, [`StoreError::Failed`] when the disk refuses.
    pub fn open(folder: &Path, stem: &str, keys: Arc<dyn RecordKeys>) -> Result<Self, StoreError> {
        Self::open_with(folder, stem, keys, JournalOptions::small())
    }

    /// Every decision of the journal `stem` with the chain computed anew; reads only, so that a running program may go on
    /// writing. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the first place where the journal does not fit together.
    pub fn audit(folder: &Path, stem: &str, keys: &dyn RecordKeys) -> Result<Vec<Audited>, StoreError> {
        let segments = scan::list(&folder.join("journal"), stem)?;
        let mut found = Vec::new();
        scan::scan(stem, &segments, None, None, &mut |met| {
            let decision = decode(&met, keys)?;
            let sequence = met.after.sequence.saturating_sub(1);
            found.push(Audited { sequence, chain: met.after.chain, decision });
            Ok(())
        })?;
        Ok(found)
    }

    pub(crate) fn open_with(
        folder: &Path,
        stem: &str,
        keys: Arc<dyn RecordKeys>,
        options: JournalOptions,
    ) -> Result<Self, StoreError> {
        let good =
            !stem.is_empty() && stem != crate::evidence::STEM && stem.bytes().all(|b| b.is_ascii_lowercase());
        if !good {
            return Err(StoreError::Failed(format!("{stem:?} cannot name a journal of decisions")));
        }
        let dir = folder.join("journal");
        files::make_folder(&dir)?;
        let segments = scan::list(&dir, stem)?;
        let end = scan::scan(stem, &segments, None, None, &mut |met| decode(&met, &*keys).map(drop))?;
        let setup = Setup {
            dir,
            bodies: folder.join("bodies"),
            stem: stem.to_owned(),
            keys: Arc::clone(&keys),
            options,
            segments,
            end,
            artifacts: HashSet::new(),
        };
        Ok(Self { journal: Journal::start(setup, Arc::new(NoSink))?, stem: stem.to_owned(), keys })
    }
}

fn decode(met: &Met<'_>, keys: &dyn RecordKeys) -> Result<Decision, StoreError> {
    let wrong = |what: &str| damaged(&met.segment.path, met.place.offset, what);
    if met.frame.kind != FrameType::Decision {
        return Err(wrong("a frame that does not belong into this journal"));
    }
    serde_json::from_slice(&decrypt(met, keys)?).map_err(|e| wrong(&format!("not a decision: {e}")))
}

#[async_trait]
impl DecisionLog for DecisionJournal {
    async fn append(&self, decision: Decision) -> Result<Receipt, StoreError> {
        let payload = serde_json::to_vec(&decision).map_err(|e| StoreError::Failed(e.to_string()))?;
        let hash = Digest::of(&[&[0], payload.as_slice()].concat());
        let entry = Entry {
            kind: FrameType::Decision,
            key: self.keys.node_key(),
            payload,
            month: Month::of(decision.at),
            body: EntryBody::None,
            artifacts: Vec::new(),
            leaf: Box::new(move |index| Leaf { index, hash }),
            room: None,
            note: (),
        };
        self.journal.append(entry).await
    }

    async fn end(&self) -> Result<Option<Decisions>, StoreError> {
        let end = self.journal.extent().1;
        Ok(end.filter(|end| end.sequence > 0).map(|end| Decisions { next: end.sequence, chain: end.chain }))
    }

    async fn replay(&self) -> Result<Vec<Decision>, StoreError> {
        let (segments, end) = self.journal.extent();
        let (stem, keys) = (self.stem.clone(), Arc::clone(&self.keys));
        let work = move || {
            let mut decisions = Vec::new();
            if end.is_some() {
                scan::scan(&stem, &segments, None, end, &mut |met| {
                    decisions.push(decode(&met, &*keys)?);
                    Ok(())
                })?;
            }
            Ok(decisions)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| StoreError::Failed(format!("reading the decisions was cut short: {e}")))?
    }
}
