//! The container: one exchange as one file that a stranger can check (protocol P5.5, P5.6; ETSI EN 319 162-1, ASiC-E).
//!
//! [`collect_proved`] gathers what the store holds of an exchange, [`write()`] makes the file, [`verify`] judges one offline from
//! nothing but its bytes and an anchor. Everything in META-INF that is not part of ASiC bears a name without
//! `signature`, `timestamp`, `evidencerecord` or `manifest`, because some readers sort files by such words.

mod collect;
mod directories;
mod ending;
mod looked;
mod names;
mod notes;
mod read;
mod readme;
mod readme_time;
mod report;
mod signed_directory;
mod stamped;
mod status;
mod time;
mod trust;
mod verify;
mod write;

pub use collect::{Exchange, ExportError, collect};
pub use read::{ContainerError, is_stamped};
pub use report::{Check, CheckName, Report, State, Summary, Text, Verdict};
pub use stamped::collect_proved;
pub use verify::verify;
pub use write::write;

/// Longest container written or read, in bytes, packed or unpacked.
pub const SIZE_LIMIT: u64 = 256 * 1024 * 1024;
/// Most entries in one container.
pub const ENTRIES_LIMIT: usize = 1024;
