//! Whether a peer's log still holds what the peer acknowledged, and what others hold of this node's.

use std::time::Duration;

use tokio::time::Instant;
use truc_admin::{AuditPart, HeadsDocument, HeadsFilter, MissingLeaf, WitnessHeads};
use truc_directory::NodeEntry;
use truc_evidence::{Direction, EvidenceStore, ProofStore, RecordKind, StoredRecord};
use truc_exchange::ports::LinkError;
use truc_log::{Checkpoint, Held, LogView, verify_consistency, verify_inclusion};
use truc_message::{Header, Leaf};
use truc_model::{Digest, MessageId, NodeId, Timestamp};
use truc_peer::{LEAVES_AT_ONCE, LogQuestion};

use super::others::{Judged, read};
use super::{Witness, WitnessError};

/// Own records that one part of an audit goes through, and how long it may take at most: well below an admin request's 30 s.
const RECORDS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(15);

/// A leaf that the peer acknowledged.
pub(super) struct Owed {
    pub(super) record: u64,
    pub(super) exchange: MessageId,
    pub(super) leaf: Leaf,
}

impl Witness {
    /// One part of the audit of `peer`, from this node's record `from` on; the first part checks its heads, too.
    pub(crate) async fn audit(
        &self,
        evidence: &dyn EvidenceStore,
        peer: NodeId,
        from: u64,
    ) -> Result<AuditPart, WitnessError> {
        let entry = self.entry(&peer)?;
        let (judged, _) = match self.ask(&entry, LogQuestion::default()).await {
            Err(WitnessError::Link(why @ LinkError::Unreachable { .. })) => {
                return Err(WitnessError::Away { node: peer, why });
            }
            asked => asked?,
        };
        let checkpoint = judged.head.checkpoint();
        let mut part = AuditPart {
            log: checkpoint.origin.clone(),
            size: checkpoint.size,
            root: checkpoint.root,
            peer,
            heads: 0,
            checked: 0,
            problems: Vec::new(),
            missing: None,
            unasked: Vec::new(),
            next: None,
        };
        if from == 0 {
            self.check_heads(&entry, &judged, &mut part).await?;
        }
        let (owed, next) = owed(evidence, self.own.proofs(), &entry.id, from).await?;
        part.next = next;
        for some in owed.chunks(LEAVES_AT_ONCE) {
            let leaves = some.iter().map(|owed| owed.leaf.index).collect();
            let (judged, answer) = self.ask(&entry, LogQuestion { leaves, ..LogQuestion::default() }).await?;
            let (held, missing) = held_under(judged.head.checkpoint(), some, &answer.inclusion);
            part.checked += held;
            if missing.is_some() {
                (part.missing, part.next) = (missing, None);
                return Ok(part);
            }
        }
        Ok(part)
    }

    /// Every head that is held of the log, here and at the registry, against the newest.
    async fn check_heads(
        &self,
        entry: &NodeEntry,
        judged: &Judged,
        part: &mut AuditPart,
    ) -> Result<(), WitnessError> {
        let alarms = judged.view.alarms.iter().map(|alarm| super::alarms::sentence(&part.log, alarm));
        part.problems.extend(alarms);
        let mut held: Vec<Held> = judged.view.days.clone();
        held.push(judged.view.newest.clone());
        match self.registry.witnessed(&entry.id).await {
            Ok(views) => {
                let views = views.iter().filter_map(|view| serde_json::from_slice::<LogView>(view).ok());
                for view in views.filter(|view| view.log == part.log) {
                    // The registry's word counts for nothing here; the signatures do.
                    let signed = view.days.into_iter().chain([view.newest]);
                    held.extend(signed.filter(|held| read(entry, &held.note).is_ok()));
                }
            }
            Err(error) => part.unasked.push(format!("registry: {error}")),
        }
        held.sort_by_key(|held| (held.size, held.root));
        held.dedup_by_key(|held| (held.size, held.root));
        for held in held {
            match self.continues(entry, &part.log, &held).await? {
                None => part.heads += 1,
                Some(problem) => part.problems.push(problem),
            }
        }
        Ok(())
    }

    /// What is wrong, if the log does not continue a head.
    async fn continues(
        &self,
        entry: &NodeEntry,
        log: &str,
        held: &Held,
    ) -> Result<Option<String>, WitnessError> {
        let question = LogQuestion { log: log.to_owned(), known_size: held.size, ..LogQuestion::default() };
        let answer = self.links.log_proof(entry, &question).await?;
        let head = read(entry, &answer.head)?;
        let newest = head.checkpoint();
        let proof = &answer.consistency;
        let proved = verify_consistency(held.size, held.root, newest.size, newest.root, proof);
        let problem = |why| {
            format!(
                "the head of {} records of {} is not continued by that of {}: {why}",
                held.size, held.at, newest.size
            )
        };
        Ok(proved.err().map(problem))
    }

    /// Shows the head to the registry and, unless it alone is asked, to every connected node, and gathers what they hold.
    pub(crate) async fn gather(&self, filter: HeadsFilter) -> Result<HeadsDocument, WitnessError> {
        let made = self.ground.clock.now();
        if filter.registry {
            self.tell_registry().await;
        } else {
            self.show_all().await;
        }
        let node = self.ground.me.clone();
        let (mut logs, mut failed) = (Vec::new(), None);
        match self.registry.witnessed(&node).await {
            Ok(views) => logs.extend(views.iter().filter_map(|view| serde_json::from_slice(view).ok())),
            Err(error) => failed = Some(error.to_string()),
        }
        let mut witnesses = vec![WitnessHeads { witness: "registry".to_owned(), logs, failed }];
        let connected = if filter.registry { Vec::new() } else { self.links.connected() };
        let known = |node: &NodeId| self.entry(node).is_ok();
        let mut brought = if filter.registry { Vec::new() } else { self.brought.of(known) };
        brought.retain(|(node, _)| !connected.contains(node));
        for peer in connected {
            let (mut logs, mut failed) = (Vec::new(), None);
            match self.held_by(&peer).await {
                Ok(notes) => logs.extend(notes.iter().filter_map(|note| one_head(note, made))),
                Err(error) => failed = Some(error.to_string()),
            }
            witnesses.push(WitnessHeads { witness: peer.tagged(), logs, failed });
        }
        for (peer, heads) in brought {
            let logs = heads.into_iter().filter_map(|held| one_head(&held.note, held.at)).collect();
            witnesses.push(WitnessHeads { witness: peer.tagged(), logs, failed: None });
        }
        Ok(HeadsDocument { v: 1, node, made, witnesses })
    }

    async fn held_by(&self, peer: &NodeId) -> Result<Vec<String>, WitnessError> {
        let entry = self.entry(peer)?;
        Ok(self.links.log_proof(&entry, &LogQuestion::default()).await?.held)
    }
}

/// What the peer acknowledged that goes with this node's records from `from` on, and where the next part begins.
pub(super) async fn owed(
    evidence: &dyn EvidenceStore,
    proofs: &dyn ProofStore,
    peer: &NodeId,
    from: u64,
) -> Result<(Vec<Owed>, Option<u64>), WitnessError> {
    let begun = Instant::now();
    let size = proofs.log_size().await?;
    let (mut owed, mut next) = (Vec::new(), from);
    while next < size && next - from < RECORDS && begun.elapsed() < PATIENCE {
        let record = evidence.read(next).await?;
        owed.extend(answered(&record, peer));
        next += 1;
    }
    let mut after = from;
    loop {
        let leaves = proofs.acknowledged(peer, after, 1000).await?;
        let whole = leaves.len() == 1000;
        for acknowledged in leaves.iter().take_while(|leaf| leaf.own < next) {
            let exchange = evidence.read(acknowledged.own).await?.local.request;
            owed.push(Owed { record: acknowledged.own, exchange, leaf: acknowledged.leaf });
        }
        match leaves.last() {
            Some(last) if whole && last.own < next => after = last.own + 1,
            _ => break,
        }
    }
    owed.sort_by_key(|owed| owed.record);
    Ok((owed, (next < size).then_some(next)))
}

/// How many of the acknowledged leaves lie under a head, by the peer's paths, up to the first that does not.
pub(super) fn held_under(
    head: &Checkpoint,
    owed: &[Owed],
    paths: &[Vec<Digest>],
) -> (u64, Option<MissingLeaf>) {
    let mut held = 0;
    for (Owed { record, exchange, leaf }, path) in owed.iter().zip(paths) {
        let Leaf { index, hash } = *leaf;
        if let Err(why) = verify_inclusion(hash, index, head.size, path, head.root) {
            let (record, exchange, why) = (*record, *exchange, why.to_string());
            return (held, Some(MissingLeaf { record, exchange, index, hash, why }));
        }
        held += 1;
    }
    (held, None)
}

/// The leaf of our request that a signed answer of the peer names.
fn answered(record: &StoredRecord, peer: &NodeId) -> Option<Owed> {
    let answer = matches!(record.kind, RecordKind::Response | RecordKind::Refusal);
    if !answer || record.local.direction != Direction::Received || record.local.peer != *peer {
        return None;
    }
    let leaf = Header::parse(&record.header).ok()?.leaf?;
    Some(Owed { record: record.sequence, exchange: record.local.request, leaf })
}

fn one_head(note: &str, at: Timestamp) -> Option<LogView> {
    let read = truc_log::SignedNote::parse(note).ok()?;
    let truc_log::Checkpoint { origin, size, root, .. } = truc_log::Checkpoint::parse(read.text()).ok()?;
    let newest = Held { at, size, root, note: note.to_owned() };
    Some(LogView { v: 1, log: origin, newest, days: Vec::new(), alarms: Vec::new() })
}
