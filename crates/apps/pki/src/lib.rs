//! The pilot PKI (`truc pki`): a certificate authority, an OCSP responder and a time-stamping authority for demo, tests and training.
//!
//! Everything it issues says in its name that it is not for production: a production bus uses certificates of approved authorities, which
//! this program is not. It must not hold a subject's private key (certificates are issued for public keys), decide who is a member, or
//! be needed by any other crate at run time except through HTTP and files.

mod certificates;
mod config;
mod crl;
mod encoding;
mod error;
mod issuing;
mod ledger;
mod ocsp;
mod pki;
mod server;
mod setup;
mod tsa;

pub use config::{ConfigError, IssuingConfig, PkiConfig, check_public_url};
pub use encoding::subject_public_key_info;
pub use error::PkiError;
pub use ledger::{IssuedCertificate, Revocation, RevocationReason, Serial};
pub use pki::Pki;
pub use server::{Listeners, Listening, run, serve};
pub use setup::InitOptions;
