//! Versioned code lists: agency codes first, and any other list of codes with names (communes, procedures).
//!
//! ```text
//! DIR/agency-codes/000001.json   version 1, never changed again
//! DIR/agency-codes/000002.json   version 2, naming the digest of version 1
//! ```
//!
//! A version is one JSON document; its digest is SHA-256 over its bytes. No code is ever dropped or given a new meaning: it is
//! closed, perhaps with a successor, so that old documents can be read for good. The lists are a member's own service, so they
//! live outside the registry's folder and are served by a process of their own ([`serve_code_lists`]).

mod check;
mod serve;
mod shelf;
mod table;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use truc_directory::V1;
use truc_model::{Digest, Timestamp};

pub use check::check_entries;
pub use serve::{OPENAPI, serve_code_lists};
pub use shelf::{CodeLists, PublishedList, Version};
pub use table::read_entries;

/// One code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CodeEntry {
    /// The code, unique in its list for good: 1 to 64 printable ASCII characters, no `/`.
    pub code: String,
    /// What it means, in Vietnamese.
    pub name_vi: String,
    /// What it means, in English.
    pub name_en: String,
    /// Which kind of thing it names, e.g. `ministry`; the list's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether it is in use.
    #[serde(default)]
    pub status: CodeStatus,
    /// The code that takes over from a closed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// First day of its use, `YYYY-MM-DD`; none when not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Last day of its use, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    /// How sure its publisher is of code and name.
    #[serde(default)]
    pub confidence: Confidence,
    /// Other spellings that name it, e.g. its old form where no rule leads here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// Whether a code is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeStatus {
    /// It is.
    #[default]
    Active,
    /// It is not, and never will be again; it keeps its meaning.
    Closed,
}

/// How sure the publisher is of code and name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Found in a public text.
    #[default]
    Confirmed,
    /// Awaits confirmation.
    Unconfirmed,
}

/// One version of a list: the document that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CodeListDocument {
    /// Format version.
    pub v: V1,
    /// The list's name, e.g. `agency-codes`.
    pub name: String,
    /// 1, 2, 3 …
    pub version: u64,
    /// SHA-256 over the version before; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// From when it is the current one.
    pub valid_from: Timestamp,
    /// The codes, by code.
    pub codes: Vec<CodeEntry>,
}

/// Why a code list is not read, published or served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeListError {
    /// The file is neither a table nor an array of entries.
    #[error("the list cannot be read: {0}")]
    Unreadable(String),
    /// The list has mistakes, or would change the past.
    #[error("the list is refused, nothing was published:\n  - {}", .0.join("\n  - "))]
    Refused(Vec<String>),
    /// A name that no list may have.
    #[error("{0:?} cannot be a list's name: write 1 to 64 of a-z, 0-9 and -, like agency-codes")]
    Name(String),
    /// Somebody else published at the same moment.
    #[error("version {0} was published by somebody else just now: look at it, then publish again")]
    Raced(u64),
    /// A version on disk is not what was published.
    #[error("{path}: {why}; restore the file from a backup")]
    Spoilt {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The disk.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}
