//! The registry as a program: its folder, configuration, running service, admin API, and what stands behind the
//! verbs of `truc registry …`.
//!
//! It wires governance, key store, journal and the gRPC door together. It must not decide anything itself (that is
//! `truc-governance`) and never prints: the command line shows what these functions return.

mod admin;
mod config;
mod door;
mod error;
mod files;
mod inspector;
mod office;
mod run;
mod setup;
mod verbs;

pub use config::{ConfigError, RegistryConfig};
pub use door::Door;
pub use error::RegistryError;
pub use inspector::CaInspector;
pub use office::Office;
pub use run::{Running, run, start};
pub use setup::{InitOptions, Initialised, init};
pub use verbs::{
    AddAlias, AddMember, AddSubsystem, AddToGroup, CloseMember, Continuation, CreateGroup, InstallTrust,
    MoveNode, Outcome, RegisterCertificate, RegisterNode, RemoveFromGroup, RenameMember, RevokeCertificate,
    Serve, StopServing, Verb,
};
