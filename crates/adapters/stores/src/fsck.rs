//! Checking a stopped node's journals byte by byte, without changing any.

mod away;
#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod chain_tests;
mod index_check;
mod log_check;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use truc_evidence::{Batch, ClassMonth, Decision, Decisions, Proof, StoreError, StoredRecord};
use truc_log::NoteKey;
use truc_message::{Header, manifest};
use truc_model::{Digest, MessageId, Timestamp};

use self::away::buried;
use self::index_check::IndexCheck;
use self::log_check::LogCheck;
use crate::bodies::{self, BodyRef};
use crate::evidence::STEM;
use crate::evidence::indexer::{decoded, group_of};
use crate::evidence::record_format::decode;
use crate::folder::{self, FolderError};
use crate::journal::cipher;
use crate::journal::format::{Frame, FrameType, Parsed, next_chain, parse, seed};
use crate::journal::scan::{self, Place, Segment, find_frame};
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

/// Where the chain stands; unknown after damage until the next segment.
struct Standing {
    frame: u32,
    sequence: u64,
    chain: Option<Digest>,
}

impl Check<'_> {
    fn problem(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.report.problems.push(Problem { path: path.to_owned(), offset, what: what.into() });
    }

    fn journal(&mut self, dir: &Path, stem: &str) -> Result<(), StoreError> {
        let mut segments = Vec::new();
        for (id, path) in scan::list_names(dir, stem)? {
            match scan::read_header(&path, crate::journal::format::SegmentKind::Journal) {
                Ok(Some(header)) if header.first == id.first => {
                    segments.push(Segment { id, path, header, shelf: None })
                }
                Ok(Some(_)) => self.problem(&path, 0, "the file's name and its header do not agree"),
                Ok(None) => {}
                Err(e) => self.problem(&path, 0, e.to_string()),
            }
        }
        if self.archive.is_some() {
            self.add_archived(dir, stem, &mut segments)?;
        }
        if segments.is_empty() && stem == STEM {
            self.all_away(dir)?;
        }
        let first = segments.first().filter(|s| s.header.first != 0 || s.header.chain != seed(stem));
        if let (Some(first), Some(log)) = (first, &mut self.log)
            && !log.begin_at(first.header.first)?
        {
            let what = "earlier segments are not here, and index/log does not have their records either: nothing can be compared";
            self.problem(&first.path, 0, what);
        }
        if let Some(first) = first.filter(|_| self.archive.is_some()) {
            let what =
                "earlier segments are neither here nor, by any stub, in the archive: they cannot be read";
            self.problem(&first.path, 0, what);
        }
        self.archived = first.is_some();
        if let Some(first) = first.filter(|_| self.log.is_some()) {
            self.report.not_read = first.header.first;
        }
        for (i, segment) in segments.iter().enumerate() {
            self.segment(stem, segment, segments.get(i + 1))?;
        }
        if let Some(first) = first
            && let Err(what) = self.accounted(first)
        {
            self.problem(&first.path, 0, what);
            self.report.first_affected = Some(0);
        }
        Ok(())
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

    fn segment(&mut self, stem: &str, segment: &Segment, next: Option<&Segment>) -> Result<(), StoreError> {
        self.report.segments += 1;
        let bytes = match segment.bytes() {
            Ok(bytes) => bytes,
            // Of this disk nothing can be said then; of an archive, that this segment is not there as it was.
            Err(error @ StoreError::Damaged(_)) => {
                self.problem(&segment.path, 0, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let start = segment.start();
        let mut at = Standing { frame: 0, sequence: start.sequence, chain: Some(start.chain) };
        let mut offset = usize::try_from(start.place.offset).unwrap_or(usize::MAX);
        let goes_on_at = |at: &Standing| {
            next.is_some_and(|n| match at.chain {
                Some(chain) => n.header.first == at.sequence && n.header.chain == chain,
                None => at.sequence >= n.header.first,
            })
        };
        while !goes_on_at(&at) {
            let rest = bytes.get(offset..).unwrap_or_default();
            if let Parsed::Frame(frame) = parse(rest)
                && frame.number == at.frame
                && frame.sequence == at.sequence
            {
                at.chain = at.chain.map(|c| next_chain(c, frame.bytes));
                let end = (offset + frame.bytes.len()) as u64;
                self.end = Some(Place { segment: segment.id, offset: end });
                self.chain = at.chain;
                self.step(stem, segment, offset as u64, &frame, &mut at);
                offset += frame.bytes.len();
                continue;
            }
            match find_frame(rest, at.frame) {
                Some((skip, frame)) if next.is_some() || frame.batch > at.frame => {
                    self.problem(
                        &segment.path,
                        offset as u64,
                        "frames that were acknowledged cannot be read",
                    );
                    at = Standing { frame: frame.number, sequence: frame.sequence, chain: None };
                    offset += skip;
                }
                _ if next.is_some() => {
                    self.problem(
                        &segment.path,
                        offset as u64,
                        "the next segment does not go on from what is here",
                    );
                    break;
                }
                _ => {
                    self.note_tail(segment, offset, rest);
                    break;
                }
            }
        }
        Ok(())
    }

    fn note_tail(&mut self, segment: &Segment, offset: usize, rest: &[u8]) {
        if rest.iter().any(|b| *b != 0) {
            let what = "a torn end, never acknowledged".to_owned();
            self.report.torn.push(Problem { path: segment.path.clone(), offset: offset as u64, what });
        }
    }

    fn step(&mut self, stem: &str, segment: &Segment, offset: u64, frame: &Frame<'_>, at: &mut Standing) {
        at.frame += 1;
        at.sequence += u64::from(frame.kind.counts());
        match frame.kind {
            FrameType::Record => self.report.records += 1,
            FrameType::Decision => {
                self.report.decisions += 1;
                if stem == crate::decisions::STEM {
                    let number = usize::try_from(at.sequence).unwrap_or(usize::MAX);
                    self.decisions.resize(number.max(self.decisions.len()), None);
                    self.decisions.last_mut().iter_mut().for_each(|last| **last = at.chain);
                }
            }
            FrameType::Artifact => self.report.artifacts += 1,
            FrameType::Proof => self.report.proofs += 1,
            FrameType::Body => {}
        }
        let fits = match frame.kind {
            FrameType::Record | FrameType::Artifact | FrameType::Proof => stem == STEM,
            FrameType::Decision => stem != STEM,
            FrameType::Body => false,
        };
        if !fits {
            return self.problem(&segment.path, offset, "a frame that does not belong into this journal");
        }
        let Some(keys) = self.keys else { return };
        let Some(key) = keys.by_id(frame.key_id) else {
            return self.problem(&segment.path, offset, format!("the key {} is missing", frame.key_id));
        };
        let Some(content) = cipher::open(frame, &segment.header.salt, &key) else {
            return self.problem(&segment.path, offset, "the frame cannot be decrypted with its key");
        };
        let Some(content) = decoded(frame.kind, segment.header.version, content) else {
            return self.problem(&segment.path, offset, "the frame's content has an unknown encoding");
        };
        let place = Place { segment: segment.id, offset };
        if let Err(what) = self.content(keys, frame, content, (segment, place)) {
            self.problem(&segment.path, offset, what);
        }
    }

    fn content(
        &mut self,
        keys: &dyn RecordKeys,
        frame: &Frame<'_>,
        content: Vec<u8>,
        (segment, place): (&Segment, Place),
    ) -> Result<(), String> {
        let index = self.index.as_ref();
        match frame.kind {
            FrameType::Artifact => {
                let digest = Digest::of(&content);
                self.known.insert(digest);
                self.artifact.iter().for_each(|shown| shown(&content));
                index.map_or(Ok(()), |index| index.artifact(&digest, place))
            }
            FrameType::Decision => serde_json::from_slice::<Decision>(&content)
                .map(drop)
                .map_err(|e| format!("not a decision: {e}")),
            FrameType::Proof => {
                let proof = Proof::decode(&content).map_err(|e| e.to_string())?;
                let found = index.map_or(Ok(()), |index| index.proof(&proof, place));
                self.proof(segment, place, proof);
                found
            }
            FrameType::Record | FrameType::Body => {
                let (record, body) =
                    decode(frame.sequence, content).ok_or("a record of an unknown format")?;
                let found = index.map_or(Ok(()), |index| index.record(record.sequence, place));
                let told = (record.local.at, self.chain);
                if let Some(log) = &mut self.log
                    && let Err(error) =
                        log.record(record.sequence, record.leaf().hash, group_of(&record), told)
                {
                    self.failed = Some(error);
                }
                self.record(keys, &record, &body, (segment, place))?;
                found
            }
        }
    }

    fn proof(&mut self, segment: &Segment, place: Place, proof: Proof) {
        let Some(log) = &mut self.log else { return };
        match proof {
            Proof::Batch(batch) => log.batch(&segment.path, place.offset, batch),
            Proof::Archived(archived) => log.archived.push(archived),
            Proof::Tombstone(tombstone) => match buried(&tombstone.note, self.log_keys) {
                Ok(of) => drop(self.buried.insert(of)),
                Err(what) => self.problem(&segment.path, place.offset, what),
            },
            Proof::Decisions(said) => {
                if let Err(what) = self.decided(&said) {
                    self.problem(&segment.path, place.offset, what);
                }
            }
            hold @ (Proof::Hold(_) | Proof::Release(_)) => self.holds.push(hold),
            Proof::Status(_) | Proof::Acknowledged(_) => {}
        }
    }

    /// Compares the journal of decisions with what the evidence says of it. Said once: later ones would say the same.
    fn decided(&mut self, said: &Decisions) -> Result<(), String> {
        let Ok(known) = self.decided else { return Ok(()) };
        let there = self.decisions.len() as u64;
        let last = said.next.checked_sub(1).and_then(|last| usize::try_from(last).ok());
        let chain = last.and_then(|last| self.decisions.get(last).copied());
        let what = match chain {
            None => format!(
                "the journal of decisions has {there}, and this says that there were {}: decision {there} and later ones are missing",
                said.next
            ),
            Some(chain) if chain == Some(said.chain) => {
                self.decided = Ok(known.max(said.next));
                return Ok(());
            }
            // What could not be read is told already.
            Some(None) => return Ok(()),
            Some(_) => format!(
                "the journal of decisions is another than this says: among the decisions {} to {} one was changed, removed or added",
                known.min(said.next - 1),
                said.next - 1
            ),
        };
        self.decided = Err(());
        Err(what)
    }

    fn record(
        &mut self,
        keys: &dyn RecordKeys,
        record: &StoredRecord,
        body: &BodyRef,
        (segment, place): (&Segment, Place),
    ) -> Result<(), String> {
        let missing = record.statuses.iter().find(|s| !self.known.contains(s) && !self.known_before(s));
        if let Some(status) = missing {
            return Err(format!("record {}: the status {status} is not in the journal", record.sequence));
        }
        // What lies in the archive is read when one is given; its digest was compared before it was removed here.
        if self.archive.is_none()
            && let Some(away) = bodies::lies_away(&self.bodies, body)
        {
            self.report.bodies_away += 1;
            self.away.entry(away).or_insert_with(|| (record.sequence, segment.path.clone(), place.offset));
            return Ok(());
        }
        let bytes = bodies::read(&self.bodies, keys, &self.shelf, record.sequence, body);
        let bytes = bytes.map_err(|e| format!("record {}: its body: {e}", record.sequence))?;
        self.report.bodies += u64::from(bytes.is_some());
        if let (None, BodyRef::At { class, month, .. }) = (&bytes, body) {
            let first = (record.sequence, segment.path.clone(), place.offset);
            self.gone.entry((class.clone(), month.0)).or_insert(first);
            self.gone_of.push((record.local.request, record.sequence));
        }
        let Some(kind) = record.kind.message_kind() else {
            return Ok(());
        };
        let header = Header::parse(&record.header).map_err(|e| format!("record {}: {e}", record.sequence))?;
        // Of a body that has expired the record still says what it was.
        let bytes = bytes.map(|bytes| Digest::of(&bytes));
        let Some(body) = bytes.or(record.body_digest) else {
            // Who never kept the body kept the manifest.
            let kept =
                self.known.contains(&record.manifest_digest) || self.known_before(&record.manifest_digest);
            return if kept {
                Ok(())
            } else {
                Err(format!("record {}: neither its body nor its manifest is here", record.sequence))
            };
        };
        let manifest = manifest::write(kind, header.id, Digest::of(&record.header), body);
        if Digest::of(&manifest) == record.manifest_digest
            && record.body_digest.is_none_or(|said| said == body)
        {
            Ok(())
        } else {
            Err(format!("record {}: header and body do not give its manifest digest", record.sequence))
        }
    }
}
