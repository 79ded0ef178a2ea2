//! Who may be believed: certificates, their paths and status, and the signatures of messages (protocol P2, P3).
//!
//! This crate must not open a socket, read a file or look at the machine's clock: every judgement takes the moment it
//! is made for, so that evidence can be judged again later. Everything it reads is strict DER from outside, bounded
//! in size, and never makes it panic.

mod algorithm;
mod asn1;
mod certificate;
mod chain;
#[cfg(test)]
mod chain_tests;
pub mod cms;
pub mod contract;
pub mod crl;
mod extensions;
#[cfg(test)]
mod hostile;
mod name;
pub mod ocsp;
mod statuses;
#[cfg(test)]
mod testing;
mod verified;
mod verify;

pub use certificate::{Certificate, CertificateError};
pub use chain::{PathError, Purpose, VerifiedPath, check_path};
pub use name::SubjectAttribute;
pub use ocsp::{CertificateStatus, Verdict};
pub use statuses::{
    Accepted, KnownStatus, OwnStatuses, StatusBook, StatusPolicy, StatusSource, StatusSourceError, Subject,
};
pub use verified::{Answer, Request, TrustState, Verified};
pub use verify::{Asked, TrustError, Verifier, find_path};
