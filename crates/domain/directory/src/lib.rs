//! The signed directory of the bus (protocol P6): its formats, the rules by which a node believes one, and look-ups
//! in an immutable snapshot.
//!
//! ```text
//! Anchor ──root keys──▶ root 1 … root n ──publishing keys──▶ head ──digests──▶ parts
//!                          └── threshold of root keys ─────────────────────▶ trust part
//! ```
//!
//! Every document is JSON with `"v": 1`; unknown fields and unknown versions are refused, its exact bytes are what is
//! signed and content-addressed by SHA-256. This crate must not open a file or a socket and never reads a clock: the
//! callers pass bytes and times in.

mod anchor;
mod directory;
mod error;
mod format;
mod groups;
mod head;
mod member;
mod root;
mod trust_services;

pub use anchor::{Anchor, EXAMPLE_INSTANCE, RegistryAddress};
pub use directory::{Directory, RawDirectory};
pub use error::DirectoryError;
pub use format::{Der, FormatError, PublicKey, V1, check_address, encode, parse};
pub use groups::{Alias, Aliases, Group, GroupMember, Groups};
pub use head::{
    AuditLogHead, Freshness, HEAD_LIFETIME, Head, HeadRef, PART_LIMIT_BYTES, PartRef, Rollback, SignedHead,
    may_replace,
};
pub use member::{
    MAINTENANCE_MESSAGE_LIMIT, Maintenance, MemberEntry, MemberStatus, NodeEntry, SignCertificate,
    SubsystemEntry, Succession, SuccessionStep, check_message,
};
pub use root::{Endorsed, Endorsement, Root, verify_root_chain};
pub use trust_services::{ApprovedAuthority, Profile, TimestampAuthority, TrustServices, Usage};

/// Names of the parts a head lists.
pub mod part {
    use truc_model::MemberId;

    /// The part with the approved trust services.
    pub const TRUST: &str = "trust";
    /// The part with the global groups.
    pub const GROUPS: &str = "groups";
    /// The part with the old agency codes.
    pub const ALIASES: &str = "aliases";

    /// The part of one root version, `root/1`.
    pub fn root(version: u64) -> String {
        format!("root/{version}")
    }

    /// The part of one member, `member/VN/GOV/H26`.
    pub fn member(id: &MemberId) -> String {
        format!("member/{id}")
    }
}
