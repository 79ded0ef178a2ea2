//! Member parts: one per member, with its subsystems, certificates and nodes.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::format::{Der, FormatError, PublicKey, V1, check_address, encode, parse};

/// A member as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MemberEntry {
    /// Format version.
    pub v: V1,
    /// Who it is.
    pub id: MemberId,
    /// Its name in Vietnamese.
    pub name_vi: String,
    /// Its name in English.
    pub name_en: String,
    /// From when it is a member.
    pub valid_from: Timestamp,
    /// Until when; none while open-ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Who took over, once it is closed (protocol P6.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<Succession>,
    /// Its information systems.
    pub subsystems: Vec<SubsystemEntry>,
    /// Its seals.
    pub sign_certificates: Vec<SignCertificate>,
    /// The nodes it owns.
    pub nodes: Vec<NodeEntry>,
}

/// Whether a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberStatus {
    /// It takes part.
    Active,
    /// It does not take part for now; what it has registered stays and comes back with it.
    Suspended,
    /// It was closed; old evidence still verifies, calls to it are answered MOVED or refused.
    Closed,
}

/// Who took over from a closed member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Succession {
    /// The member that took over.
    pub member: MemberId,
    /// Which subsystem continues as which.
    pub subsystems: Vec<SuccessionStep>,
    /// From when.
    pub at: Timestamp,
}

/// One subsystem's continuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SuccessionStep {
    /// The closed member's subsystem.
    pub from: SubsystemId,
    /// The successor's subsystem.
    pub to: SubsystemId,
}

/// An information system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SubsystemEntry {
    /// The subsystem code, the last part of its id.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Whether no node speaks for it for now, at its member's own request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// A registered sign certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignCertificate {
    /// SHA-256 over its DER.
    pub fingerprint: Fingerprint,
    /// The certificate itself, where published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub der: Option<Der>,
}

/// A node, listed in its owner's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeEntry {
    /// Which node.
    pub id: NodeId,
    /// `host:port` of its peer door.
    pub address: String,
    /// Its TLS identities; more than one while a certificate is being renewed.
    pub auth_certificates: Vec<Fingerprint>,
    /// The key that signs its log's heads (protocol P5.3).
    pub log_key: PublicKey,
    /// The message versions it accepts (header field `v`).
    pub versions: Vec<u32>,
    /// The subsystems it speaks for; they may be other members' (hosting).
    pub serves: Vec<SubsystemId>,
    /// Whether its TLS identities do not count for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// While it is being worked on; callers are sent elsewhere or told the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

/// A node's pause at its operator's own request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Maintenance {
    /// What callers are told, e.g. until when; at most 500 characters, may be empty.
    pub message: String,
}

/// Longest message of a [`Maintenance`], in characters.
pub const MAINTENANCE_MESSAGE_LIMIT: usize = 500;

const WHAT: &str = "a member part";

impl MemberEntry {
    /// Reads a member part and checks that it agrees with itself.
    ///
    /// # Errors
    /// [`FormatError`] when it is not a member part of version 1, lists something twice, lists a node of another
    /// owner, or an identifier of another instance.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let member: Self = parse(WHAT, bytes)?;
        member.check().map_err(|why| FormatError::shape(WHAT, format!("{}: {why}", member.id)))?;
        Ok(member)
    }

    /// The part's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Whether it takes part at `at`.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.status == MemberStatus::Active && self.valid_from <= at && self.valid_to.is_none_or(|to| at < to)
    }

    /// Whether `code` names one of its subsystems.
    pub fn has_subsystem(&self, code: &str) -> bool {
        self.subsystems.iter().any(|s| s.code == code)
    }

    fn check(&self) -> Result<(), String> {
        unique("subsystem", self.subsystems.iter().map(|s| s.code.as_str()))?;
        unique("sign certificate", self.sign_certificates.iter().map(|c| c.fingerprint))?;
        unique("node", self.nodes.iter().map(|n| &n.id))?;
        unique("auth certificate", self.nodes.iter().flat_map(|n| n.auth_certificates.iter()))?;
        for subsystem in &self.subsystems {
            self.id.subsystem(&subsystem.code).map_err(|e| e.to_string())?;
        }
        for certificate in &self.sign_certificates {
            if certificate.der.as_ref().is_some_and(|der| der.fingerprint() != certificate.fingerprint) {
                return Err(format!(
                    "sign certificate {} is not the one published with it",
                    certificate.fingerprint
                ));
            }
        }
        self.nodes.iter().try_for_each(|node| self.check_node(node))?;
        self.check_succession()
    }

    fn check_node(&self, node: &NodeEntry) -> Result<(), String> {
        if node.id.owner() != self.id {
            return Err(format!("node {} belongs to another member", node.id));
        }
        check_address(&node.address)?;
        if node.versions.is_empty() {
            return Err(format!("node {} accepts no message version", node.id));
        }
        unique("served subsystem", node.serves.iter())?;
        if let Some(pause) = &node.maintenance {
            check_message(&pause.message)?;
        }
        match node.serves.iter().find(|s| s.instance() != self.id.instance()) {
            Some(foreign) => Err(format!("node {} serves {foreign} of another instance", node.id)),
            None => Ok(()),
        }
    }

    fn check_succession(&self) -> Result<(), String> {
        let Some(succession) = &self.succession else { return Ok(()) };
        if self.status != MemberStatus::Closed {
            return Err("only a closed member has a successor".into());
        }
        if succession.member == self.id || succession.member.instance() != self.id.instance() {
            return Err(format!("{} cannot succeed it", succession.member));
        }
        unique("succeeded subsystem", succession.subsystems.iter().map(|s| &s.from))?;
        let fits = |s: &SuccessionStep| s.from.member() == self.id && s.to.member() == succession.member;
        if succession.subsystems.iter().all(fits) {
            Ok(())
        } else {
            Err("a subsystem is mapped from or to a third member".into())
        }
    }
}

/// Refuses a maintenance message that does not fit on a desk officer's screen.
///
/// # Errors
/// The sentence says what a message looks like.
pub fn check_message(text: &str) -> Result<(), String> {
    if text.chars().count() > MAINTENANCE_MESSAGE_LIMIT || text.chars().any(char::is_control) {
        return Err(format!(
            "a maintenance message has at most {MAINTENANCE_MESSAGE_LIMIT} characters and no line breaks"
        ));
    }
    Ok(())
}

/// Refuses a list that names one thing twice.
pub(crate) fn unique<T: Ord + std::fmt::Debug>(
    what: &str,
    items: impl Iterator<Item = T>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for item in items {
        if seen.contains(&item) {
            return Err(format!("{what} {item:?} is listed twice"));
        }
        seen.insert(item);
    }
    Ok(())
}
