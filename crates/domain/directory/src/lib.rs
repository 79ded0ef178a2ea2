//! The signed directory of the bus (protocol P6): its formats, the rules by which a node believes one, and look-ups
//! in an immutable snapshot.
//!
//! ```text
//! Anchor ──root keys──▶ root 1 … root n ──publishing keys──▶ head ──digests──▶ index parts ──digests──▶ members' parts
//!                          │                                   └──digests──▶ trust part, aliases
//!                          └── threshold of root keys ─────────────────────▶ trust part
//! ```
//!
//! Every document is JSON with `"v": 1`; unknown fields and unknown versions are refused, its exact bytes are what is
//! signed and content-addressed by SHA-256. This crate must not open a file or a socket and never reads a clock: the
//! callers pass bytes and times in.

mod agency_code;
mod anchor;
mod assembly;
mod directory;
mod error;
mod format;
mod group_set;
mod groups;
mod head;
mod index;
mod listed;
mod member;
mod raw;
mod root;
mod shards;
mod trust_services;

pub use agency_code::{
    AGENCY_CODE_LIMIT, AgencyCode, CodeForm, InvalidAgencyCode, UnresolvedCode, resolve_member,
};
pub use anchor::{Anchor, EXAMPLE_INSTANCE, RegistryAddress};
pub use assembly::Updated;
pub use directory::Directory;
pub use error::DirectoryError;
pub use format::{Der, FormatError, PublicKey, V1, check_address, encode, parse};
pub use groups::{Alias, Aliases, Group, GroupMember, GroupPart, Groups};
pub use head::{
    AuditLogHead, CheckedHead, Freshness, HEAD_LIFETIME, Head, HeadRef, PART_LIMIT_BYTES, ParsedHead,
    PartRef, Rollback, SignedHead, may_replace,
};
pub use index::{GroupIndex, GroupRef, MemberIndex, MemberRef, listed_in};
pub use member::{
    MAINTENANCE_MESSAGE_LIMIT, Maintenance, MemberEntry, MemberStatus, NodeEntry, SignCertificate,
    SubsystemEntry, Succession, SuccessionStep, check_message,
};
pub use raw::RawDirectory;
pub use root::{Endorsed, Endorsement, Root, roots_agree, verify_root_chain};
pub use trust_services::{ApprovedAuthority, Profile, TimestampAuthority, TrustServices, Usage};

/// Names of the parts a head lists.
pub mod part {
    use truc_model::{Digest, MemberId};

    /// The part with the approved trust services.
    pub const TRUST: &str = "trust";
    /// The part with all global groups, in heads without index parts.
    pub const GROUPS: &str = "groups";
    /// The index part of the global groups.
    pub const GROUP_INDEX: &str = "group-index";
    /// How the names of the members' index parts begin.
    pub const MEMBERS: &str = "members/";
    /// How the names of the members' parts begin.
    pub(crate) const MEMBER: &str = "member/";
    /// How the names of the groups' parts begin.
    pub(crate) const GROUP: &str = "group/";
    /// The part with the old agency codes.
    pub const ALIASES: &str = "aliases";

    /// The part of one root version, `root/1`.
    pub fn root(version: u64) -> String {
        format!("root/{version}")
    }

    /// The part of one member, `member/VN/GOV/H26`.
    pub fn member(id: &MemberId) -> String {
        format!("{MEMBER}{id}")
    }

    /// The index part that lists this member, `members/3f`: two hexadecimal digits, the first byte of the SHA-256 of the
    /// id's plain form.
    pub fn bucket(id: &MemberId) -> String {
        let [first, ..] = Digest::of(id.as_str().as_bytes()).0;
        format!("{MEMBERS}{first:02x}")
    }

    /// The part of one global group, `group/mot-cua`.
    pub fn group(code: &str) -> String {
        format!("{GROUP}{code}")
    }
}
