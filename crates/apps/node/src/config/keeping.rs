//! What `[evidence]` says of keeping: where closed segments go, how long bodies stay, how much of the disk stays free.

use std::collections::BTreeMap;
use std::path::PathBuf;

use truc_archives::S3Settings;
use truc_evidence::{BodyClass, Retention};
use truc_keeping::Threshold;

/// Left free of the data folder's disk unless the file says otherwise.
const REFUSE_FREE: u64 = 256 << 20;

/// The keys of `[evidence]` about what is kept where, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepingSettings {
    /// Where closed segments go; `None` keeps them here.
    pub archive: Option<ArchiveSettings>,
    /// How long bodies of each class are kept; those of other classes for ever.
    pub retention: BTreeMap<BodyClass, Retention>,
    /// With less free, health and metrics warn.
    pub alarm_free: Threshold,
    /// With so many bytes free, new exchanges are refused.
    pub refuse_free: u64,
}

impl Default for KeepingSettings {
    fn default() -> Self {
        let (archive, retention, alarm_free) = (None, BTreeMap::new(), Threshold::default());
        Self { archive, retention, alarm_free, refuse_free: REFUSE_FREE }
    }
}

/// `[evidence.archive]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveSettings {
    /// A folder, mostly of another disk.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store.
    S3(Box<S3Settings>),
}
