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
mod governance;
mod ports;
mod publisher;
mod state;

pub use ceremony::{TrustChange, draft_trust_services, endorse, first_root};
pub use command::{Command, NewNode, NewSuccession};
pub use error::{GovernanceError, PublishError};
pub use event::Event;
pub use governance::Governance;
pub use ports::{CertificateHolder, CertificateInspector, PartStore, PartStoreError};
pub use publisher::{Published, Publisher, RESIGN_EVERY};
pub use state::State;
