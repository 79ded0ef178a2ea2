//! What was decided. These are journal formats: a variant, once released, is never changed, only joined by others.

use serde::{Deserialize, Serialize};
use truc_directory::{Endorsed, GroupMember, Maintenance, SignCertificate};
use truc_evidence::Decision;
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::command::{NewNode, NewSuccession};
use crate::filed::{Document, GrantedCertificate, SecurityLevel};
use crate::request::{InvitationId, InvitationKey};

/// One decision of the registry. `kind` and `payload` are the decision's; the moment it took effect is the decision's `at`.
#[allow(missing_docs, reason = "the fields are those of the command of the same name")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", deny_unknown_fields)]
pub enum Event {
    /// The instance was opened.
    #[serde(rename = "instance.initialised")]
    Initialised { root: Endorsed, trust: Endorsed },
    /// A root version took effect.
    #[serde(rename = "root.installed")]
    RootInstalled { root: Endorsed, trust: Option<Endorsed> },
    /// A trust-service list took effect.
    #[serde(rename = "trust.installed")]
    TrustInstalled { trust: Endorsed },
    /// A member was admitted.
    #[serde(rename = "member.added")]
    MemberAdded { id: MemberId, name_vi: String, name_en: String },
    /// A member's names changed.
    #[serde(rename = "member.renamed")]
    MemberRenamed { id: MemberId, name_vi: String, name_en: String },
    /// A member was closed.
    #[serde(rename = "member.closed")]
    MemberClosed { id: MemberId, successor: Option<NewSuccession> },
    /// A subsystem was registered.
    #[serde(rename = "subsystem.added")]
    SubsystemAdded { id: SubsystemId, name: String },
    /// A node was registered.
    #[serde(rename = "node.registered")]
    NodeRegistered { node: NewNode },
    /// A node answers elsewhere.
    #[serde(rename = "node.moved")]
    NodeMoved { node: NodeId, address: String },
    /// A node speaks for a subsystem.
    #[serde(rename = "node.serves")]
    NodeServes { node: NodeId, subsystem: SubsystemId },
    /// A node no longer speaks for a subsystem.
    #[serde(rename = "node.stopped-serving")]
    NodeStoppedServing { node: NodeId, subsystem: SubsystemId },
    /// A node got a TLS identity.
    #[serde(rename = "auth-certificate.registered")]
    AuthCertificateRegistered {
        node: NodeId,
        fingerprint: Fingerprint,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// A member got a seal.
    #[serde(rename = "sign-certificate.registered")]
    SignCertificateRegistered {
        member: MemberId,
        certificate: SignCertificate,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// A certificate's registration ended.
    #[serde(rename = "certificate.revoked")]
    CertificateRevoked { fingerprint: Fingerprint },
    /// A global group was opened.
    #[serde(rename = "group.created")]
    GroupCreated { code: String, name: String },
    /// Somebody was put in a group.
    #[serde(rename = "group.member-added")]
    GroupMemberAdded { code: String, member: GroupMember },
    /// Somebody was taken out of a group.
    #[serde(rename = "group.member-removed")]
    GroupMemberRemoved { code: String, member: GroupMember },
    /// An old agency code was recorded.
    #[serde(rename = "alias.added")]
    AliasAdded { alias: String, member: MemberId },
    /// A member takes no part for now.
    #[serde(rename = "member.suspended")]
    MemberSuspended { id: MemberId, why: String },
    /// It takes part again.
    #[serde(rename = "member.reinstated")]
    MemberReinstated { id: MemberId, why: String },
    /// A member's last day, or that there is none, was stated.
    #[serde(rename = "member.validity-set")]
    MemberValiditySet { id: MemberId, valid_from: Timestamp, valid_to: Option<Timestamp> },
    /// A node's TLS identities do not count for now.
    #[serde(rename = "node.suspended")]
    NodeSuspended { node: NodeId, why: String },
    /// They count again.
    #[serde(rename = "node.reinstated")]
    NodeReinstated { node: NodeId, why: String },
    /// A node's registration ended.
    #[serde(rename = "node.removed")]
    NodeRemoved { node: NodeId },
    /// A node goes on under another id, without the certificates of the old one.
    #[serde(rename = "node.owner-changed")]
    NodeOwnerChanged { node: NodeId, to: NodeId },
    /// A node is being worked on, or is no longer.
    #[serde(rename = "node.maintenance")]
    NodeMaintenance { node: NodeId, maintenance: Option<Maintenance> },
    /// No node speaks for a subsystem for now.
    #[serde(rename = "subsystem.disabled")]
    SubsystemDisabled { id: SubsystemId },
    /// Nodes speak for it again.
    #[serde(rename = "subsystem.enabled")]
    SubsystemEnabled { id: SubsystemId },
    /// A subsystem's registration ended.
    #[serde(rename = "subsystem.removed")]
    SubsystemRemoved { id: SubsystemId },
    /// A node was invited.
    #[serde(rename = "invitation.issued")]
    InvitationIssued {
        id: InvitationId,
        node: NodeId,
        key: InvitationKey,
        expires: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<SecurityLevel>,
    },
    /// The invitation was taken back.
    #[serde(rename = "invitation.withdrawn")]
    InvitationWithdrawn { id: InvitationId, why: String },
    /// A request came in.
    #[serde(rename = "request.submitted")]
    RequestSubmitted { number: u64, document: Document },
    /// A request came in that needs no officer; its effects are in force with it.
    #[serde(rename = "request.accepted")]
    RequestAccepted {
        number: u64,
        document: Document,
        certificates: Vec<GrantedCertificate>,
        effects: Vec<Self>,
    },
    /// A security level was attached to a request.
    #[serde(rename = "request.level-attached")]
    RequestLevelAttached { number: u64, level: SecurityLevel },
    /// Certificates of an external CA were brought for a request's keys.
    #[serde(rename = "request.certified")]
    RequestCertified { number: u64, certificates: Vec<GrantedCertificate> },
    /// The first of two officers approves.
    #[serde(rename = "request.endorsed")]
    RequestEndorsed {
        number: u64,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<SecurityLevel>,
    },
    /// A request was approved; its effects are in force with it, all or none.
    #[serde(rename = "request.approved")]
    RequestApproved {
        number: u64,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<SecurityLevel>,
        certificates: Vec<GrantedCertificate>,
        effects: Vec<Self>,
    },
    /// A request was refused.
    #[serde(rename = "request.refused")]
    RequestRefused { number: u64, why: String },
    /// The registry came back after decisions that were never published; changes nothing but the version.
    #[serde(rename = "registry.resumed")]
    Resumed {},
}

impl Event {
    /// As a journal entry.
    ///
    /// # Errors
    /// A sentence, should the event not be writable as JSON.
    pub fn to_decision(&self, actor: &str, at: Timestamp) -> Result<Decision, String> {
        let value = serde_json::to_value(self).map_err(|e| e.to_string())?;
        let kind = value.get("kind").and_then(|k| k.as_str()).unwrap_or_default().to_owned();
        let payload = value.get("payload").cloned().unwrap_or_default();
        Ok(Decision { kind, actor: actor.to_owned(), at, payload })
    }

    /// From a journal entry.
    ///
    /// # Errors
    /// A sentence; the entry is of a kind this version does not know, or not of its kind's shape.
    pub fn from_decision(decision: &Decision) -> Result<Self, String> {
        let value = serde_json::json!({ "kind": decision.kind, "payload": decision.payload });
        serde_json::from_value(value).map_err(|e| format!("decision {}: {e}", decision.kind))
    }
}
