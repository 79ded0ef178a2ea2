//! What is kept, where, and until when, as the API shows it.

use serde::{Deserialize, Serialize};
use truc_model::{MessageId, Timestamp};

/// A legal hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldView {
    /// What it is called.
    pub case: String,
    /// Why.
    pub reason: String,
    /// The token's name of who ordered it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The requests whose exchanges are held.
    pub requests: Vec<MessageId>,
}

/// A hold to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// What it is called; a case that is in force gets more exchanges.
    pub case: String,
    /// Why.
    pub reason: String,
    /// The requests whose exchanges are held.
    pub requests: Vec<MessageId>,
}

/// A hold that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldAnswer {
    /// It.
    pub hold: HoldView,
    /// Requests of which a body had expired before.
    pub gone: Vec<MessageId>,
}

/// A hold to be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRelease {
    /// Which.
    pub case: String,
    /// Why.
    pub reason: String,
}

/// What is kept, where and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeepingView {
    /// Bodies by class and month.
    pub months: Vec<MonthView>,
    /// Bytes of the data folder's disk.
    pub disk: DiskView,
    /// Closed segments that are not in the archive yet; 0 without an archive.
    pub waiting: u64,
    /// What went wrong in the last round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// The bodies of one class and month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MonthView {
    /// The class.
    pub class: String,
    /// The month, as `202611`.
    pub month: String,
    /// How long the class is kept; none when it is not configured, and kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// When they expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Bytes here.
    pub bytes: u64,
    /// Bytes that lie only in the archive.
    pub archived_bytes: u64,
    /// True while their expiry is under way.
    pub expiring: bool,
}

/// What lies where, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskView {
    /// Free.
    pub free: u64,
    /// Of the whole disk.
    pub total: u64,
    /// Journal segments of evidence.
    pub journal: u64,
    /// Body segments and held bodies.
    pub bodies: u64,
    /// The index.
    pub index: u64,
    /// Only in the archive.
    pub archived: u64,
    /// How many records there are.
    pub records: u64,
}
