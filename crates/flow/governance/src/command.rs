//! What can be asked of the registry.

use serde::{Deserialize, Serialize};
use truc_directory::{Der, Endorsed, GroupMember, PublicKey, SuccessionStep};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId};

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
    /// Closes a member (protocol P6.4): its seals, nodes and served subsystems end, its places in global groups go to
    /// the successor.
    CloseMember {
        /// Who.
        id: MemberId,
        /// Who takes over; none when nobody does.
        successor: Option<NewSuccession>,
    },
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
