//! A node: the gateway a member runs, wired together from its configuration file (design §2, §3).
//!
//! This crate builds the two sides of an exchange, the doors and the stores from one [`config::NodeConfig`] and runs them as one
//! process. It must not hold a rule of the bus: those live in domain and flow.

mod backend;
mod backup;
mod certificates;
pub mod config;
mod counted;
mod desk;
mod doors;
mod edge_evidence;
mod edge_tls;
pub mod enrolment;
mod error;
mod health;
mod init;
mod keeping;
mod keyring;
mod log_head;
mod metrics;
pub mod offline;
mod peer_heads;
mod person_hashes;
mod restore;
mod run;
mod status_shelf;
mod statuses;
mod succession;
mod time_stamping;
mod token_check;
mod upkeep;
mod witness;
mod witnessed;

pub use backup::backup;
pub use doors::Addresses;
pub use error::NodeError;
pub use init::{InitOptions, Initialised, init};
pub use keyring::{Keyring, open_keyring, rotate_keys};
pub use restore::{Restoration, RestoredNode, restore};
pub use run::run;
pub use witnessed::witnessed;
