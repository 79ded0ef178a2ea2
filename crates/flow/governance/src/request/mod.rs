//! What nodes and members ask of the registry: management requests (docs/registry.md §3), their exact bytes signed by
//! everyone they bind.

mod document;
mod invitation;
mod seal;

pub use document::{
    Ask, EnrolledMember, NamedSubsystem, REQUEST_LIMIT, Request, RequestError, RequestedCertificate,
    SignedRequest,
};
pub use invitation::{InvitationCode, InvitationId, InvitationKey, InvitationMac};
pub use seal::{RequestSignature, SigningRole, signed_text};

pub(crate) use document::base64_bytes;
