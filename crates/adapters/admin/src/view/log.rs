//! The tamper-evident log as the API shows it: what others hold of it, and the audit of a peer's.

use serde::{Deserialize, Serialize};
use truc_log::LogView;
use truc_model::{Digest, MessageId, NodeId, Timestamp};

/// The heads that others hold of this node's logs: one document, which `truc evidence fsck --heads` reads (`docs/evidence.md` §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsDocument {
    /// Format version, 1.
    pub v: u32,
    /// Of which node's logs.
    pub node: NodeId,
    /// When they were gathered.
    pub made: Timestamp,
    /// Who holds what.
    pub witnesses: Vec<WitnessHeads>,
}

/// What one witness holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessHeads {
    /// `registry`, or a node's tagged id.
    pub witness: String,
    /// By log; a peer tells its newest heads only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogView>,
    /// Why it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Which witnesses are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsFilter {
    /// The registry alone.
    #[serde(default)]
    pub registry: bool,
}

/// Which part of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// The plain id of the node whose log is audited.
    pub peer: String,
    /// Goes on where a part ended: its `next`.
    #[serde(default)]
    pub from: u64,
}

/// One part of an audit of a peer's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditPart {
    /// The peer.
    pub peer: NodeId,
    /// The log's origin.
    pub log: String,
    /// The size of its newest head.
    pub size: u64,
    /// The root of its newest head.
    pub root: Digest,
    /// How many held heads it continues, provably; in the first part only.
    pub heads: u64,
    /// How many leaves that it acknowledged are in it.
    pub checked: u64,
    /// What is wrong with its heads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The first acknowledged leaf that is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingLeaf>,
    /// Witnesses that could not be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<String>,
    /// The record of this node at which the next part begins; none after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A leaf that the peer acknowledged and that its log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MissingLeaf {
    /// The record of this node that holds, or goes with, the acknowledgement.
    pub record: u64,
    /// The exchange.
    pub exchange: MessageId,
    /// The place in the peer's log.
    pub index: u64,
    /// The leaf there should be.
    pub hash: Digest,
    /// Why it is not.
    pub why: String,
}
