//! The registry's work: commands become decisions, decisions become the directory, the directory is signed and published.
//!
//! ```text
//! Command ──decide──▶ Event ──append──▶ DecisionLog        (acknowledged only when durable)
//!                        └──apply──▶ State ──Publisher──▶ parts, head, signature ──▶ PartStore
//! ```
//!
//! Enrolment, the command line and the registry's API all go through [`Governance::execute`]; there is no other way to
//! change who is a member. This crate must not open a file or a socket, read a certificate itself
//! ([`CertificateInspector`] does) or hold a key ([`truc_keys::Signer`] does).

mod ceremony;
mod command;
pub mod contract;
mod decide;
mod error;
mod event;
mod filed;
mod governance;
mod officer;
mod ports;
mod publisher;
mod reason;
mod request;
mod requests;
mod standing;
mod state;

pub use ceremony::{
    Draft, Needed, NewEpoch, RootChange, TrustChange, draft_first_root, draft_root, draft_trust_change,
    draft_trust_services, endorse, first_root, shortfall,
};
pub use command::{Command, NewNode, NewSuccession};
pub use error::{GovernanceError, PublishError, RequestRefusal};
pub use event::Event;
pub use filed::{
    Document, Filed, Files, GrantedCertificate, Invitation, InvitationFate, RequestState, SecurityLevel,
    Standing, Step,
};
pub use governance::{Governance, Rules};
pub use officer::{Officer, OfficerRole, Permission};
pub use ports::{
    CertificateHolder, CertificateInspector, CertificateIssuer, Issued, PartStore, PartStoreError, SubjectKey,
};
pub use publisher::{Published, Publisher, RESIGN_EVERY};
pub use request::{
    Ask, EnrolledMember, InvitationCode, InvitationId, InvitationKey, InvitationMac, NamedSubsystem,
    REQUEST_LIMIT, Request, RequestError, RequestSignature, RequestedCertificate, SignedRequest, SigningRole,
    signed_text,
};
pub use requests::{Examined, WantedCertificate};
pub use state::State;
