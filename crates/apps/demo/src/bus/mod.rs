//! A whole bus on this machine: registry, pilot PKI, four nodes and two registers, each its own process with its own folder
//! and configuration file.

mod layout;
mod processes;
mod provision;
mod services;

use std::path::{Path, PathBuf};

pub use layout::{Layout, NEWCOMER, NodePlan};
pub use processes::{Process, Processes};
pub use provision::{BusOptions, provision};
pub use services::{admin_client, open_services};

/// Why the bus does not stand.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A part of the bus refused.
    #[error("{what}: {reason}")]
    Part {
        /// Which part.
        what: String,
        /// Why.
        reason: String,
    },
    /// A process ended or did not come up.
    #[error("process {name} is not up: {reason}; its log is {log}")]
    Process {
        /// Which process.
        name: String,
        /// What is known.
        reason: String,
        /// Where it wrote.
        log: PathBuf,
    },
}

impl BusError {
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
    pub(crate) fn part(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Part { what: what.into(), reason: reason.to_string() }
    }
}
