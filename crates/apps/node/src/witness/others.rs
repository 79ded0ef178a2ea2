//! Heads of other nodes' logs: exchanged, and judged against what is held.

use truc_directory::NodeEntry;
use truc_exchange::ports::LinkError;
use truc_log::{Head, LogView, NewHead, NoteKey, Noted, log_of};
use truc_model::NodeId;
use truc_peer::{LogAnswer, LogQuestion};

use super::alarms::sentence;
use super::{Witness, WitnessError};

/// The log of another node that its newest head is of, judged.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) head: Head,
    /// What is held of it now.
    pub(super) view: LogView,
}

impl Witness {
    /// Exchanges heads with a node: takes its newest in, and shows it this node's.
    pub(crate) async fn exchange(&self, node: &NodeId) -> Result<(), WitnessError> {
        let entry = self.entry(node)?;
        let own = self.own.newest().await?;
        let size = own.checkpoint().size;
        let mut known = 0;
        let brought = self.held_of(&entry.id).await?;
        for _ in 0..3 {
            let shown = LogQuestion {
                head: own.note().to_string(),
                head_known_size: known,
                head_consistency: self.own.consistency(known, size).await?,
                held: brought.clone(),
                ..LogQuestion::default()
            };
            let (_, answer) = self.ask(&entry, shown).await?;
            let mut held = None;
            for note in &answer.held {
                held = self.check_own(note, &format!("the node {node}")).await?.or(held);
            }
            match held {
                // What it holds now is what it was shown, or something that no proof leads on from.
                Some(held) if held != size && held != known => known = held,
                _ => break,
            }
        }
        // It may have no way here to ask: what is held of its log since is brought to it.
        let held = self.held_of(&entry.id).await?;
        if held != brought {
            self.links.log_proof(&entry, &LogQuestion { held, ..LogQuestion::default() }).await?;
        }
        Ok(())
    }

    /// Asks a node about its log, and judges the head that comes with the answer, with as many questions as that takes.
    pub(super) async fn ask(
        &self,
        entry: &NodeEntry,
        question: LogQuestion,
    ) -> Result<(Judged, LogAnswer), WitnessError> {
        let held = self.newest_view(&entry.id).await?;
        let (mut log, mut known_size) = held.map_or((String::new(), 0), |view| (view.log, view.newest.size));
        for _ in 0..4 {
            let asked = LogQuestion { log: log.clone(), known_size, ..question.clone() };
            let answer = self.links.log_proof(entry, &asked).await?;
            let head = read(entry, &answer.head)?;
            let origin = head.checkpoint().origin.clone();
            // A proof for another log begins nowhere.
            let known = if origin == log { known_size } else { 0 };
            if self.heads.view(&origin).await?.is_none() && !log.is_empty() {
                tracing::warn!(node = %entry.id, log = origin, before = log, "the node has begun a new log, as one does that was restored from a backup; what it acknowledged before is no longer vouched for");
            }
            let now = self.ground.clock.now();
            let new = NewHead { head: head.clone(), known, proof: answer.consistency.clone(), at: now };
            let noted = self.heads.note(new).await?;
            let view = self.heads.view(&origin).await?;
            let view = view.ok_or_else(|| gone(entry, "what is held of its log is gone"))?;
            match noted {
                Noted::Again(size) => (log, known_size) = (origin, size),
                Noted::Alarm { alarm, .. } => {
                    self.alarms.raise(&origin, sentence(&origin, &alarm));
                    return Ok((Judged { head, view }, answer));
                }
                Noted::Kept | Noted::Known => return Ok((Judged { head, view }, answer)),
            }
        }
        Err(gone(entry, "its head changes faster than it can be judged").into())
    }

    /// The log of a node of which the newest head came last.
    pub(super) async fn newest_view(&self, node: &NodeId) -> Result<Option<LogView>, WitnessError> {
        let mut newest: Option<LogView> = None;
        for log in self.heads.logs(Some(node)).await? {
            let Some(view) = self.heads.view(&log).await? else { continue };
            if newest.as_ref().is_none_or(|held| held.newest.at <= view.newest.at) {
                newest = Some(view);
            }
        }
        Ok(newest)
    }

    pub(super) fn entry(&self, node: &NodeId) -> Result<NodeEntry, WitnessError> {
        let directory = self.directory();
        let entry = directory.as_ref().and_then(|directory| directory.node(node));
        entry.cloned().ok_or_else(|| WitnessError::Unknown(node.clone()))
    }
}

fn gone(entry: &NodeEntry, why: &str) -> LinkError {
    LinkError::Broken(format!("{}: {why}", entry.id))
}

/// A head that the node's log key signed, of one of its logs.
pub(super) fn read(entry: &NodeEntry, note: &str) -> Result<Head, WitnessError> {
    let no_head = |why: &dyn ToString| WitnessError::NoHead(entry.id.clone(), why.to_string());
    let origin = Head::claimed_origin(note).map_err(|e| no_head(&e))?;
    if log_of(&origin).is_none_or(|(node, _)| node != entry.id) {
        return Err(no_head(&"it is of another node's log"));
    }
    let key = NoteKey::new(&origin, &entry.log_key.0).map_err(|e| no_head(&e))?;
    Head::verify(note, &key).map_err(|e| no_head(&e))
}
