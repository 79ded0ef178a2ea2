//! What other nodes ask about this node's log, and show of theirs.

use async_trait::async_trait;
use truc_directory::NodeEntry;
use truc_evidence::StoreError;
use truc_log::{NewHead, Noted};
use truc_message::Peer;
use truc_model::NodeId;
use truc_peer::{LogAnswer, LogBook, LogQuestion, LogRefusal};

use super::alarms::sentence;
use super::brought::held;
use super::{Witness, WitnessError, others};
use crate::log_head::LogError;

#[async_trait]
impl LogBook for Witness {
    async fn answer(&self, peer: &Peer, question: LogQuestion) -> Result<LogAnswer, LogRefusal> {
        let entry = self.asking(peer).await?;
        if !question.head.is_empty()
            && let Err(error) = self.take_in(&entry, &question).await
        {
            tracing::warn!(node = %entry.id, %error, "the head that a node shows was not taken in");
        }
        if let Err(error) = self.take_back(&entry, &question.held).await {
            tracing::warn!(node = %entry.id, %error, "what a node holds of this node's log was not compared");
        }
        let unavailable = |e: &dyn ToString| LogRefusal::Unavailable(e.to_string());
        let head = self.own.newest().await.map_err(|e| unavailable(&e))?;
        let size = head.checkpoint().size;
        let continues = question.log == self.own.key().name();
        let known = if continues { question.known_size } else { size };
        let consistency = self.own.consistency(known, size).await.map_err(|e| unavailable(&e))?;
        let inclusion = self.inclusion(&question, size).await?;
        let held = self.held_of(&entry.id).await.map_err(|e| unavailable(&e))?;
        Ok(LogAnswer { head: head.note().to_string(), consistency, inclusion, held })
    }
}

impl Witness {
    /// Who asks: a node, as `Outcome` asks for it.
    async fn asking(&self, peer: &Peer) -> Result<NodeEntry, LogRefusal> {
        let stranger = |why: &dyn ToString| LogRefusal::Stranger(why.to_string());
        let directory = self.directory().ok_or_else(|| stranger(&"this node has no directory yet"))?;
        let entry = directory.node_of_auth_certificate(&peer.fingerprint());
        let entry = entry.ok_or_else(|| stranger(&"the certificate is not registered to any node"))?;
        let now = self.ground.clock.now();
        let trusted = self.ground.verifier.peer(peer, entry, &[], &directory, now).await;
        trusted.map_err(|error| stranger(&error))?;
        Ok(entry.clone())
    }

    async fn inclusion(
        &self,
        question: &LogQuestion,
        size: u64,
    ) -> Result<Vec<Vec<truc_model::Digest>>, LogRefusal> {
        let at = if question.at_size == 0 { size } else { question.at_size };
        if at > size {
            return Err(LogRefusal::OutOfRange(format!("the log has {size} records, not {at}")));
        }
        let mut paths = Vec::with_capacity(question.leaves.len());
        for index in &question.leaves {
            match self.own.proofs().inclusion(*index, at).await {
                Ok(path) => paths.push(path),
                Err(StoreError::NotFound) => paths.push(Vec::new()),
                Err(error) => return Err(LogRefusal::Unavailable(error.to_string())),
            }
        }
        Ok(paths)
    }

    /// The node itself shows it, over its own connection: so nobody else can raise an alarm about its log here.
    async fn take_in(&self, entry: &NodeEntry, question: &LogQuestion) -> Result<(), WitnessError> {
        let head = others::read(entry, &question.head)?;
        let log = head.checkpoint().origin.clone();
        let now = self.ground.clock.now();
        let (known, proof) = (question.head_known_size, question.head_consistency.clone());
        if let Noted::Alarm { alarm, .. } = self.heads.note(NewHead { head, known, proof, at: now }).await? {
            self.alarms.raise(&log, sentence(&log, &alarm));
        }
        Ok(())
    }

    /// What the asker holds of this node's logs: compared with the journal, and kept for whoever asks what others hold. Nothing
    /// that this node did not sign itself counts.
    async fn take_back(&self, entry: &NodeEntry, notes: &[String]) -> Result<(), WitnessError> {
        if notes.is_empty() {
            return Ok(());
        }
        let (me, now) = (self.entry(&self.ground.me)?, self.ground.clock.now());
        let signed: Vec<_> = notes.iter().filter_map(|note| others::read(&me, note).ok()).collect();
        self.brought.keep(&entry.id, signed.iter().map(|head| held(head, now)).collect());
        for head in &signed {
            self.check_own(&head.note().to_string(), &format!("the node {}", entry.id)).await?;
        }
        Ok(())
    }

    pub(super) async fn held_of(&self, node: &NodeId) -> Result<Vec<String>, WitnessError> {
        let mut held = Vec::new();
        for log in self.heads.logs(Some(node)).await? {
            held.extend(self.heads.view(&log).await?.map(|view| view.newest.note));
        }
        Ok(held)
    }
}

impl From<StoreError> for WitnessError {
    fn from(error: StoreError) -> Self {
        Self::Own(LogError::Store(error))
    }
}
