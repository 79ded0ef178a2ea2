//! The message of protocol P1: header, body, manifest, and what makes one well-formed and fresh.
//!
//! Pure rules over bytes. This crate must not check a signature (that is `truc-trust`), decide who may call
//! (`truc-policy`), or know how bytes travel (`truc-peer`).

mod body;
pub mod contract;
mod fields;
mod freshness;
mod header;
pub mod manifest;
mod one_form;
mod path;
mod received;
mod sealed;
mod secrets;
mod spool;

pub use body::{Body, BodyStream, KeptBody, WHOLE_BODY};
pub use fields::{as_read, is_of_a_connection};
pub use freshness::{CALL_LIFE, Freshness, FreshnessError, SKEW};
pub use header::{
    BodyInfo, DirectoryRef, FieldValue, HEADER_LIMIT, Header, HeaderField, InReplyTo, Kind, Leaf,
    MalformedHeader, VERSION,
};
pub use path::{CanonicalPath, CanonicalQuery, InvalidPath};
pub use received::{MalformedMessage, Parts, Peer, Received, Signature};
pub use sealed::{Opening, Sealed, Signed};
pub use secrets::{Secret, SecretError, hide, is_secret, reveal};
pub use spool::{NoSpool, Spool, SpoolError, SpoolWriter};
