//! Who may be believed: certificates, their paths and status, and the signatures of messages (protocol P2, P3).
//!
//! This crate must not open a socket, read a file or look at the machine's clock: every judgement takes the moment it
//! is made for, so that evidence can be judged again later. Everything it reads is strict DER from outside, bounded
//! in size, and never makes it panic.

mod algorithm;
mod asking;
mod asn1;
mod belonging;
mod certificate;
mod chain;
#[cfg(test)]
mod chain_tests;
pub mod cms;
pub mod contract;
pub mod crl;
mod csr;
mod extensions;
#[cfg(test)]
mod hostile;
mod lists;
#[cfg(test)]
mod mutations;
mod name;
pub mod ocsp;
mod own_statuses;
mod pem;
mod standing;
mod statuses;
#[cfg(test)]
mod statuses_tests;
mod subject;
#[cfg(test)]
mod testing;
pub mod timestamp;
mod trust_error;
mod verified;
mod verify;

pub use belonging::find_path;
pub use certificate::{Certificate, CertificateError};
pub use chain::{PathError, Purpose, VerifiedPath, check_path};
pub use csr::{CertificateRequest, RequestError};
pub use lists::KnownList;
pub use name::SubjectAttribute;
pub use ocsp::{CertificateStatus, Verdict};
pub use own_statuses::OwnStatuses;
pub use pem::pem;
pub use standing::{ServiceState, Standing, Standings};
pub use statuses::{
    Accepted, KnownStatus, StatusBook, StatusPolicy, StatusSource, StatusSourceError, Subject,
};
pub use subject::{Named, ProfileError};
pub use trust_error::TrustError;
pub use verified::{Answer, ReliedList, Request, TrustState, Verified};
pub use verify::{Asked, AuthorityState, Verifier};
