//! A node: the gateway a member runs, wired together from its configuration file (design §2, §3).
//!
//! This crate builds the two sides of an exchange, the doors and the stores from one [`config::NodeConfig`] and runs them as one
//! process. It must not hold a rule of the bus: those live in domain and flow.

mod backend;
mod certificates;
pub mod config;
mod desk;
mod edge_evidence;
mod edge_tls;
mod error;
mod init;
mod keyring;
pub mod offline;
mod run;
mod status_shelf;
mod statuses;

pub use error::NodeError;
pub use init::{InitOptions, Initialised, init};
pub use keyring::{Keyring, open_keyring};
pub use run::{Addresses, run};
