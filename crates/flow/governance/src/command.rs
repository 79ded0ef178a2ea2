//! What can be asked of the registry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_directory::{Der, Endorsed, GroupMember, PublicKey, SuccessionStep};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::filed::{GrantedCertificate, SecurityLevel};
use crate::officer::Permission;
use crate::request::{InvitationId, InvitationKey};

/// One request for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Opens the instance with its first root and trust-service list, both signed by the root keys.
    Initialise {
        /// Root version 1.
        root: Endorsed,
        /// The first trust-service list.
        trust: Endorsed,
    },
    /// Takes over a new root version, signed by the old and the new threshold.
    InstallRoot {
        /// The new root.
        root: Endorsed,
        /// The trust-service list signed by the new root keys; needed when they changed.
        trust: Option<Endorsed>,
    },
    /// Takes over a new list of CAs and TSAs, signed by the root keys (see [`crate::draft_trust_services`]).
    InstallTrustServices {
        /// The new list.
        trust: Endorsed,
    },
    /// Admits a member.
    AddMember {
        /// Who.
        id: MemberId,
        /// Its name in Vietnamese.
        name_vi: String,
        /// Its name in English.
        name_en: String,
    },
    /// Changes a member's names.
    RenameMember {
        /// Who.
        id: MemberId,
        /// Its name in Vietnamese.
        name_vi: String,
        /// Its name in English.
        name_en: String,
    },
    /// Registers an information system.
    AddSubsystem {
        /// Which.
        id: SubsystemId,
        /// What people call it.
        name: String,
    },
    /// Registers a node in its owner's name; its certificates follow.
    RegisterNode(NewNode),
    /// Changes where a node answers.
    MoveNode {
        /// Which node.
        node: NodeId,
        /// `host:port` of its peer door.
        address: String,
    },
    /// Lets a node speak for a subsystem.
    Serve {
        /// Which node.
        node: NodeId,
        /// Which subsystem.
        subsystem: SubsystemId,
    },
    /// Ends that.
    StopServing {
        /// Which node.
        node: NodeId,
        /// Which subsystem.
        subsystem: SubsystemId,
    },
    /// Registers a node's TLS identity.
    RegisterAuthCertificate {
        /// Which node.
        node: NodeId,
        /// The certificate.
        certificate: Der,
    },
    /// Registers a member's seal.
    RegisterSignCertificate {
        /// Which member.
        member: MemberId,
        /// The certificate.
        certificate: Der,
    },
    /// Ends a certificate's registration, sign or auth. (The CA's revocation is the CA's business.)
    RevokeCertificate {
        /// Which certificate.
        fingerprint: Fingerprint,
    },
    /// Opens a global group.
    CreateGroup {
        /// Its code.
        code: String,
        /// What people call it.
        name: String,
    },
    /// Puts somebody in a global group.
    AddToGroup {
        /// The group's code.
        code: String,
        /// Who.
        member: GroupMember,
    },
    /// Takes somebody out of a global group.
    RemoveFromGroup {
        /// The group's code.
        code: String,
        /// Who.
        member: GroupMember,
    },
    /// Records an old agency code of a member.
    AddAlias {
        /// The old code, e.g. `000.00.00.H26`.
        alias: String,
        /// Whom it names.
        member: MemberId,
    },
    /// Takes a member out of service for now.
    SuspendMember {
        /// Who.
        id: MemberId,
        /// Why; the audit log says it.
        why: String,
    },
    /// Ends that.
    ReinstateMember {
        /// Who.
        id: MemberId,
        /// Why.
        why: String,
    },
    /// States from when until when a member takes part.
    SetValidity {
        /// Who.
        id: MemberId,
        /// From when; unchanged when not given.
        valid_from: Option<Timestamp>,
        /// Until when; open-ended when not given.
        valid_to: Option<Timestamp>,
    },
    /// Takes a node out of service for now: its TLS identities do not count, its connections are cut.
    SuspendNode {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Ends that.
    ReinstateNode {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Ends a node's registration.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// A node goes on under another owner; its new TLS identity is registered next.
    ChangeOwner {
        /// Which.
        node: NodeId,
        /// Its new id.
        to: NodeId,
    },
    /// Says that a node is being worked on, or no longer is.
    SetMaintenance {
        /// Which.
        node: NodeId,
        /// What callers are told; none ends it.
        message: Option<String>,
    },
    /// No node is to speak for a subsystem for now.
    DisableSubsystem {
        /// Which.
        id: SubsystemId,
    },
    /// Ends that.
    EnableSubsystem {
        /// Which.
        id: SubsystemId,
    },
    /// Ends a subsystem's registration; no node may serve it any more.
    RemoveSubsystem {
        /// Which.
        id: SubsystemId,
    },
    /// Invites a node to enrol.
    Invite {
        /// The code's name; the code itself stays with whoever made it.
        id: InvitationId,
        /// The key of its MAC.
        key: InvitationKey,
        /// For which node.
        node: NodeId,
        /// Until when.
        expires: Timestamp,
        /// The security level of the agency's system, if known already.
        level: Option<SecurityLevel>,
    },
    /// Takes an invitation back.
    WithdrawInvitation {
        /// Which.
        id: InvitationId,
        /// Why.
        why: String,
    },
    /// Takes in a management request ([`crate::SignedRequest`]), as a node sent it.
    Submit {
        /// The envelope's bytes.
        document: Bytes,
        /// Certificates that were issued for its keys meanwhile; only a request that needs no approval has any.
        issued: Vec<GrantedCertificate>,
    },
    /// Attaches a security level to a waiting request.
    AttachLevel {
        /// The request.
        number: u64,
        /// The level.
        level: SecurityLevel,
    },
    /// Brings certificates of an external CA for a waiting request's keys.
    BringCertificates {
        /// The request.
        number: u64,
        /// The certificates, in any order.
        certificates: Vec<Der>,
        /// Certificates of CAs between them and the approved one; the node shows them along.
        intermediates: Vec<Der>,
    },
    /// Approves a request; with four eyes, the first time only endorses it.
    Approve {
        /// The request.
        number: u64,
        /// Why, or a remark; may be empty.
        why: String,
        /// The security level, if not attached yet.
        level: Option<SecurityLevel>,
        /// Certificates issued for its keys by the pilot CA.
        issued: Vec<GrantedCertificate>,
    },
    /// Refuses a request.
    Refuse {
        /// The request.
        number: u64,
        /// Why; the node is told.
        why: String,
    },
    /// Closes a member (protocol P6.4): its seals, nodes and served subsystems end, its places in global groups go to
    /// the successor.
    CloseMember {
        /// Who.
        id: MemberId,
        /// Who takes over; none when nobody does.
        successor: Option<NewSuccession>,
    },
}

impl Command {
    /// What an officer needs for it.
    pub const fn needs(&self) -> Permission {
        match self {
            Self::Initialise { .. }
            | Self::InstallRoot { .. }
            | Self::InstallTrustServices { .. }
            | Self::SuspendMember { .. }
            | Self::ReinstateMember { .. }
            | Self::SuspendNode { .. }
            | Self::ReinstateNode { .. }
            | Self::RegisterAuthCertificate { .. }
            | Self::RegisterSignCertificate { .. }
            | Self::RevokeCertificate { .. } => Permission::Secure,
            Self::Approve { .. }
            | Self::Refuse { .. }
            | Self::AttachLevel { .. }
            | Self::BringCertificates { .. } => Permission::Approve,
            _ => Permission::Register,
        }
    }
}

/// A node to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewNode {
    /// Which node; its owner is the member in its id.
    pub id: NodeId,
    /// `host:port` of its peer door.
    pub address: String,
    /// The key that signs its log's heads.
    pub log_key: PublicKey,
    /// The message versions it accepts.
    pub versions: Vec<u32>,
    /// The subsystems it speaks for.
    pub serves: Vec<SubsystemId>,
}

/// Who takes over from a closed member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewSuccession {
    /// The successor.
    pub member: MemberId,
    /// Which subsystem continues as which.
    pub subsystems: Vec<SuccessionStep>,
}
