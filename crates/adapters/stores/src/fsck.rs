//! Checking a stopped node's journals byte by byte, without changing any.

mod away;
#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod chain_tests;
mod frames;
mod index_check;
mod log_check;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use truc_evidence::{Batch, ClassMonth, Proof, StoreError};
use truc_log::NoteKey;
use truc_model::{Digest, MessageId, Timestamp};

use self::index_check::IndexCheck;
use self::log_check::LogCheck;
use crate::evidence::STEM;
use crate::folder::{self, FolderError};
use crate::journal::scan::{self, Place};
use crate::keeping::{ArchiveReader, Shelf};
use crate::keys::RecordKeys;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Bytes from its beginning.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.what)
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Segments read.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// Decisions read.
    pub decisions: u64,
    /// Bodies read; 0 without keys.
    pub bodies: u64,
    /// Bodies that lie in the archive and were not read.
    pub bodies_away: u64,
    /// So many records, from the first on, lie in the archive and were not read.
    pub not_read: u64,
    /// Classes and months of which an expiry was begun and not ended; the next start ends it.
    pub expiring: Vec<String>,
    /// Artifacts read.
    pub artifacts: u64,
    /// Proofs read.
    pub proofs: u64,
    /// Batches that are as their tokens and heads say.
    pub batches: u64,
    /// So many records, from the first on, have a time-stamp.
    pub stamped: u64,
    /// The longest that a record waited for its time-stamp, and which record: by the node's own word when it was made.
    pub waited: Option<(u64, Duration)>,
    /// So many records, from the first on, are those that somebody outside saw; 0 when no head was given, or none holds.
    pub anchored: u64,
    /// Who saw them.
    pub anchored_by: Option<String>,
    /// So many records, from the first on, up to the last of which everything in the journal, counted or not, is what a batch's head or one from
    /// outside says; 0 when none says it.
    pub chained: u64,
    /// The first record that is not as it was, or is missing, as far as that can be told.
    pub first_affected: Option<u64>,
    /// Ends of segments that were never acknowledged, left by an unclean stop; no problem.
    pub torn: Vec<Problem>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// A head of the node's log that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideHead {
    /// Who holds it, for people.
    pub source: String,
    /// The log's name.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
    /// What it says of the journal's hash chain; older heads say nothing.
    pub chain: Option<Digest>,
}

/// Reads what a batch's token is over.
pub type ImprintOf<'a> = &'a dyn Fn(&Batch) -> Result<Digest, String>;

/// When the bodies of a class and month expire; never, where there is no time.
pub type Expires<'a> = &'a dyn Fn(&ClassMonth) -> Option<Timestamp>;

/// Is shown the bytes of an artifact.
pub type Look<'a> = &'a dyn Fn(&[u8]);

/// What a check is told beside the folder.
#[derive(Default)]
pub struct FsckOptions<'a> {
    /// Without them nothing encrypted is looked into.
    pub keys: Option<&'a dyn RecordKeys>,
    /// The logs of this node by name, with the keys that signed their heads, the one in force last; without any no signature is checked.
    pub log_keys: Vec<NoteKey>,
    /// Without it tokens are not looked into.
    pub imprint: Option<ImprintOf<'a>>,
    /// Heads from outside; those of other logs than the one in force are passed over.
    pub heads: Vec<OutsideHead>,
    /// Without it an expiry that was begun is believed to have been due.
    pub expires: Option<Expires<'a>>,
    /// Segments that lie there are read too.
    pub archive: Option<ArchiveReader>,
    /// Is shown every artifact of the journal of evidence, before any token is asked about.
    pub artifact: Option<Look<'a>>,
}

/// [`fsck_with`] these keys and nothing else.
///
/// # Errors
/// As [`fsck_with`].
pub fn fsck(path: &Path, keys: Option<&dyn RecordKeys>) -> Result<FsckReport, StoreError> {
    fsck_with(path, &FsckOptions { keys, ..FsckOptions::default() })
}

/// Checks every journal under the data folder `path`: checksums, chain, sequences and, with keys, that everything can be decrypted,
/// that each stored body and header give the recorded manifest digest, that each named status is there, that tree and index are those
/// of the records, and that records, batches and heads fit together. Blocks; needs room for 64 bytes a record and a copy of the
/// index in the folder for temporary files.
///
/// # Errors
/// [`StoreError::Failed`] when the folder is in use or cannot be read at all; what is wrong inside is in the report.
pub fn fsck_with(path: &Path, options: &FsckOptions<'_>) -> Result<FsckReport, StoreError> {
    let _lock = match folder::lock(path) {
        Ok(lock) => Some(lock),
        Err(e @ FolderError::InUse(_)) => return Err(StoreError::Failed(e.to_string())),
        // A read-only copy cannot be locked, and need not be.
        Err(_) => None,
    };
    let dir = path.join("journal");
    let mut check = Check {
        keys: options.keys,
        bodies: path.join("bodies"),
        archive: options.archive.clone(),
        shelf: Arc::new(Shelf::temporary(options.archive.clone())?),
        report: FsckReport::default(),
        known: HashSet::new(),
        log: None,
        index: None,
        archived: false,
        end: None,
        chain: None,
        decisions: Vec::new(),
        decided: Ok(0),
        gone: BTreeMap::new(),
        gone_of: Vec::new(),
        holds: Vec::new(),
        away: BTreeMap::new(),
        buried: BTreeSet::new(),
        log_keys: &options.log_keys,
        expires: options.expires,
        artifact: options.artifact,
        failed: None,
    };
    // A journal of which nothing is left is judged like any other. Decisions first: the evidence speaks of them.
    let mut stems: BTreeSet<String> = scan::stems(&dir)?.into_iter().collect();
    stems.extend([crate::decisions::STEM.to_owned(), STEM.to_owned()]);
    for stem in stems {
        check.known.clear();
        let with_log = stem == STEM && options.keys.is_some();
        if with_log {
            check.log = Some(LogCheck::new(path)?);
            check.index = IndexCheck::open(path)?;
        }
        check.journal(&dir, &stem)?;
        if let Some(failed) = check.failed.take() {
            return Err(failed);
        }
        if with_log {
            check.ended(path);
            if let Some(log) = check.log.take() {
                log.finish(options, &mut check.report)?;
            }
        }
    }
    Ok(check.report)
}

struct Check<'a> {
    keys: Option<&'a dyn RecordKeys>,
    bodies: PathBuf,
    archive: Option<ArchiveReader>,
    shelf: Arc<Shelf>,
    report: FsckReport,
    /// Artifacts seen so far.
    known: HashSet<Digest>,
    log: Option<LogCheck>,
    index: Option<IndexCheck>,
    /// The journal's beginning is not here.
    archived: bool,
    /// The end of the last frame read.
    end: Option<Place>,
    /// The chain after that frame, as far as it is known.
    chain: Option<Digest>,
    /// The chain after each decision.
    decisions: Vec<Option<Digest>>,
    /// So many decisions are those that the evidence speaks of; an error once they are not.
    decided: Result<u64, ()>,
    /// Bodies that are not there, by class and month: the first record that names one, and where it lies.
    gone: BTreeMap<(String, u32), (u64, PathBuf, u64)>,
    /// The records of those bodies, by request.
    gone_of: Vec<(MessageId, u64)>,
    /// What was held and released.
    holds: Vec<Proof>,
    /// Body segments of which only a stub is here, by path: the first record with a body there, and where it lies.
    away: BTreeMap<PathBuf, (u64, PathBuf, u64)>,
    /// Classes and months that a tombstone speaks of.
    buried: BTreeSet<(String, u32)>,
    log_keys: &'a [NoteKey],
    expires: Option<Expires<'a>>,
    artifact: Option<Look<'a>>,
    /// What keeps the check itself from going on.
    failed: Option<StoreError>,
}

impl Check<'_> {
    fn problem(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.report.problems.push(Problem { path: path.to_owned(), offset, what: what.into() });
    }

    /// What can be said only when all of the journal of evidence was read.
    fn ended(&mut self, folder: &Path) {
        if let Some(index) = self.index.take()
            && index.reaches.sequence > self.report.not_read
            && self.end.is_none_or(|end| index.reaches.place > end)
        {
            let record = index.reaches.sequence;
            let what = format!(
                "the index knows {record} records, which the journal does not have: was it cut off, or replaced by an older one?"
            );
            self.problem(&index.path, 0, what);
        }
        self.stubs(folder);
        for ((class, month), (record, path, offset)) in std::mem::take(&mut self.gone) {
            if self.buried.contains(&(class.clone(), month)) {
                continue;
            }
            match self.begun(folder, &class, month) {
                // It is ended at the next start.
                Ok(true) => self.report.expiring.push(format!("{class}/{month:06}")),
                Ok(false) => {
                    let what = format!(
                        "record {record}: the bodies of {class} {month:06} are gone, and no tombstone says why"
                    );
                    self.problem(&path, offset, what);
                }
                Err((plan, what)) => self.problem(&plan, 0, what),
            }
        }
        self.held(folder);
    }
}
