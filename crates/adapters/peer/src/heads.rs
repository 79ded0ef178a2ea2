//! Directory heads between nodes (protocol P6.2): on connecting, and from time to time, two nodes show each other where
//! their directories stand. A newer head is handed to whoever follows the registry; two contents under one number are an
//! alarm, and no exchange passes between the two until they agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use truc_directory::{Directory, SignedHead};
use truc_exchange::ports::CurrentDirectory;
use truc_message::Peer;
use truc_model::{Digest, Fault, FaultCode, Fingerprint, NodeId, Side, Timestamp};
use truc_wire::peer as wire;

/// A signed head longer than this stays at home: then the nodes compare numbers and digests alone.
const HEAD_LIMIT: usize = 256 * 1024;
/// A head that was only signed again is worth showing when it is younger by this: two turns of the registry, so that nodes that all follow it show each other none.
const YOUNGER: Duration = Duration::from_secs(120);
/// The heads that one peer shows are looked into this often at most; their numbers are compared every time.
const LOOKED_INTO: Duration = Duration::from_secs(10);
/// Peers remembered at once: more nodes than any bus has.
const PEERS: usize = 10_000;

/// Whoever follows the registry hears here of newer heads that other nodes show.
pub trait HeadWitness: Send + Sync {
    /// `from` shows a signed head that is newer than the one in force here: of a higher number, or of the same number and
    /// signed later. Nothing of it is verified. Comes at most every 10 s from one node; must not block.
    fn newer(&self, from: &NodeId, signed_head: Bytes);
}

/// Another node holds another directory under the number of ours: an alarm (protocol P6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadConflict {
    /// Who.
    pub node: NodeId,
    /// The epoch of both.
    pub epoch: u64,
    /// The version of both.
    pub version: u64,
    /// The digest of that version here.
    pub ours: Digest,
    /// The digest of that version there.
    pub theirs: Digest,
    /// Whether a publishing key that this node believes has signed theirs; else it may be the node that is wrong.
    pub signed: bool,
}

impl HeadConflict {
    fn detail(&self) -> String {
        let Self { node, epoch, version, ours, theirs, .. } = self;
        format!("node {node} holds another directory {epoch}.{version} than this one: {theirs}, not {ours}")
    }

    pub(crate) fn fault(&self, side: Side) -> Fault {
        Fault::at(side, FaultCode::DirectoryConflict, self.detail())
    }
}

/// What is remembered of one peer.
#[derive(Default)]
struct Seen {
    conflict: Option<HeadConflict>,
    /// What the alarm was raised for last: it is raised once.
    alarmed: Option<(u64, u64, Digest)>,
    looked_into: Option<Instant>,
    /// What was found in the head that was looked into last.
    found: Option<Found>,
}

/// What a head says beyond its note.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The version that it is of.
    digest: Digest,
    /// The version before it.
    previous: Option<Digest>,
    /// Whether a publishing key that this node believes has signed it.
    signed: bool,
}

/// Compares this node's head with those of other nodes, for both directions of its connections.
#[derive(Clone)]
pub struct Heads {
    directory: Arc<dyn CurrentDirectory>,
    witness: Option<Arc<dyn HeadWitness>>,
    peers: Arc<Mutex<HashMap<Fingerprint, Seen>>>,
}

/// Where a node stands, as it says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    number: (u64, u64),
    digest: Digest,
    issued: Timestamp,
}

impl Stand {
    fn of(directory: &Directory) -> Self {
        let number = (directory.epoch(), directory.version());
        Self { number, digest: directory.head_digest(), issued: directory.issued() }
    }

    /// Whether whoever stands there would want this head.
    fn is_newer_than(&self, other: &Self) -> bool {
        let younger = self.number == other.number && self.issued >= other.issued.plus(YOUNGER);
        self.number > other.number || younger
    }
}

/// What a peer's note came to.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Both may be right; where the peer stands, if it has a directory.
    Agree(Option<Stand>),
    /// They cannot both be right.
    Conflict(HeadConflict),
    /// It contradicts itself.
    Malformed,
}

impl Heads {
    /// Compares with `directory`; `witness` is told of newer heads.
    pub fn new(directory: Arc<dyn CurrentDirectory>, witness: Option<Arc<dyn HeadWitness>>) -> Self {
        Self { directory, witness, peers: Arc::default() }
    }

    /// The conflicts that stand, by node, for whoever shows how the node is.
    pub fn conflicts(&self) -> Vec<HeadConflict> {
        let mut found: Vec<HeadConflict> =
            self.peers().values().filter_map(|seen| seen.conflict.clone()).collect();
        found.sort_by(|a, b| a.node.cmp(&b.node));
        found
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Fingerprint, Seen>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The conflict with this peer that stands until it shows another head.
    pub(crate) fn conflict_with(&self, peer: &Fingerprint) -> Option<HeadConflict> {
        self.peers().get(peer)?.conflict.clone()
    }

    /// Where this node stands, with the signed head for a peer that may want it: one that has not said where it stands, that
    /// stands behind, or that must be shown the proof.
    pub(crate) fn note(&self, theirs: Option<&Stand>) -> wire::HeadNote {
        let Some(directory) = self.directory.current() else { return wire::HeadNote::default() };
        let stand = Stand::of(&directory);
        let wanted = theirs.is_none_or(|theirs| stand.is_newer_than(theirs) || stand.digest != theirs.digest);
        let signed = directory.raw().signed_head();
        let signed_head = if wanted && signed.len() <= HEAD_LIMIT { signed.clone() } else { Bytes::new() };
        wire::HeadNote {
            epoch: stand.number.0,
            version: stand.number.1,
            digest: Bytes::copy_from_slice(stand.digest.as_bytes()),
            issued_ms: stand.issued.millis(),
            signed_head,
        }
    }

    /// Judges a peer's note. That of somebody who is no node counts for nothing.
    pub(crate) fn hear(&self, peer: &Peer, note: &wire::HeadNote) -> Heard {
        if note.digest.is_empty() {
            return Heard::Agree(None);
        }
        let Some(digest) = Digest::from_slice(&note.digest) else { return Heard::Malformed };
        let number = (note.epoch, note.version);
        let theirs = Stand { number, digest, issued: Timestamp::from_millis(note.issued_ms) };
        let Some(ours) = self.directory.current() else { return Heard::Agree(Some(theirs)) };
        let Some(node) = ours.node_of_auth_certificate(&peer.fingerprint()) else {
            return Heard::Agree(Some(theirs));
        };
        let shown = match self.shown(&peer.fingerprint(), note, &theirs, &ours) {
            Ok(shown) => shown,
            Err(()) => return Heard::Malformed,
        };
        let found = shown.or_else(|| self.found(&peer.fingerprint(), &digest));
        let conflict = conflict(&ours, &node.id, &theirs, found);
        self.remember(&peer.fingerprint(), conflict.clone());
        if let Some(conflict) = conflict {
            return Heard::Conflict(conflict);
        }
        if shown.is_some()
            && theirs.is_newer_than(&Stand::of(&ours))
            && let Some(witness) = &self.witness
        {
            witness.newer(&node.id, Bytes::copy_from_slice(&note.signed_head));
        }
        Heard::Agree(Some(theirs))
    }

    /// Whether the head that a peer shows now is looked into: that costs time and memory, and no node needs it often.
    fn looks_into(&self, peer: &Fingerprint) -> bool {
        let mut peers = self.peers();
        if peers.len() >= PEERS && !peers.contains_key(peer) {
            peers.retain(|_, seen| seen.conflict.is_some());
        }
        let seen = peers.entry(*peer).or_default();
        let looks = seen.looked_into.is_none_or(|before| before.elapsed() >= LOOKED_INTO);
        if looks {
            seen.looked_into = Some(Instant::now());
        }
        looks
    }

    fn found(&self, peer: &Fingerprint, digest: &Digest) -> Option<Found> {
        self.peers().get(peer)?.found.filter(|found| found.digest == *digest)
    }

    /// What the head says that came with a note, if one did and it is looked into; it must be the one that the note speaks of.
    fn shown(
        &self,
        peer: &Fingerprint,
        note: &wire::HeadNote,
        stand: &Stand,
        ours: &Directory,
    ) -> Result<Option<Found>, ()> {
        if note.signed_head.is_empty() || !self.looks_into(peer) {
            return Ok(None);
        }
        if note.signed_head.len() > HEAD_LIMIT {
            return Err(());
        }
        let envelope = SignedHead::parse(&note.signed_head).map_err(drop)?;
        let head = envelope.unverified().map_err(drop)?;
        let fits = (head.epoch, head.version) == stand.number
            && head.issued == stand.issued
            && head.content_digest() == stand.digest;
        if !fits {
            return Err(());
        }
        let signed = envelope.verify(&ours.root().publishing_keys).is_ok();
        let found = Found { digest: stand.digest, previous: head.previous, signed };
        self.peers().entry(*peer).or_default().found = Some(found);
        Ok(Some(found))
    }

    fn remember(&self, peer: &Fingerprint, conflict: Option<HeadConflict>) {
        let mut peers = self.peers();
        let seen = peers.entry(*peer).or_default();
        if let Some(conflict) = &conflict {
            let about = Some((conflict.epoch, conflict.version, conflict.theirs));
            if seen.alarmed != about {
                seen.alarmed = about;
                tracing::error!(node = %conflict.node, signed = conflict.signed,
                    "ALARM: {}; no exchange passes between the two; tell the registry's operator", conflict.detail());
            }
        } else if let Some(over) = &seen.conflict {
            tracing::warn!(node = %over.node, "the node's directory no longer contradicts this one's");
        }
        seen.conflict = conflict;
    }
}

/// Two contents under one number: of the version in force at both, or of the one before it at either.
fn conflict(ours: &Directory, node: &NodeId, theirs: &Stand, shown: Option<Found>) -> Option<HeadConflict> {
    let (epoch, version) = theirs.number;
    if epoch != ours.epoch() {
        return None;
    }
    let signed = shown.is_some_and(|shown| shown.signed);
    let found = |version, ours, theirs| {
        Some(HeadConflict { node: node.clone(), epoch, version, ours, theirs, signed })
    };
    if version == ours.version() {
        return if theirs.digest == ours.head_digest() {
            None
        } else {
            found(version, ours.head_digest(), theirs.digest)
        };
    }
    if version.checked_add(1) == Some(ours.version()) {
        let before = ours.head().previous.filter(|before| *before != theirs.digest)?;
        return found(version, before, theirs.digest);
    }
    if ours.version().checked_add(1) == Some(version) {
        let before = shown?.previous.filter(|before| *before != ours.head_digest())?;
        return found(ours.version(), ours.head_digest(), before);
    }
    None
}
