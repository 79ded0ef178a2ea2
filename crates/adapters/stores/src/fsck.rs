//! Checking a stopped node's journals byte by byte, without changing any.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use truc_evidence::{Decision, StoreError, StoredRecord};
use truc_message::{Header, manifest};
use truc_model::Digest;

use crate::bodies::{self, BodyRef};
use crate::evidence::STEM;
use crate::evidence::record_format::decode;
use crate::files::io;
use crate::folder::{self, FolderError};
use crate::journal::cipher;
use crate::journal::format::{Frame, FrameType, Parsed, next_chain, parse, seed};
use crate::journal::scan::{self, Segment, find_frame};
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
    /// Artifacts read.
    pub artifacts: u64,
    /// Ends of segments that were never acknowledged, left by an unclean stop; no problem.
    pub torn: Vec<Problem>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Checks every journal under the data folder `path`: checksums, chain, sequences and, with `keys`, that everything can be decrypted,
/// that each stored body and header give the recorded manifest digest, and that each named status is there.
///
/// # Errors
/// [`StoreError::Failed`] when the folder is in use or cannot be read at all; what is wrong inside is in the report.
pub fn fsck(path: &Path, keys: Option<&dyn RecordKeys>) -> Result<FsckReport, StoreError> {
    let _lock = match folder::lock(path) {
        Ok(lock) => Some(lock),
        Err(e @ FolderError::InUse(_)) => return Err(StoreError::Failed(e.to_string())),
        // A read-only copy cannot be locked, and need not be.
        Err(_) => None,
    };
    let dir = path.join("journal");
    let mut check =
        Check { keys, bodies: path.join("bodies"), report: FsckReport::default(), known: HashSet::new() };
    for stem in scan::stems(&dir)? {
        check.known.clear();
        check.journal(&dir, &stem)?;
    }
    Ok(check.report)
}

struct Check<'a> {
    keys: Option<&'a dyn RecordKeys>,
    bodies: PathBuf,
    report: FsckReport,
    /// Artifacts seen so far.
    known: HashSet<Digest>,
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
                Ok(Some(header)) if header.first == id.first => segments.push(Segment { id, path, header }),
                Ok(Some(_)) => self.problem(&path, 0, "the file's name and its header do not agree"),
                Ok(None) => {}
                Err(e) => self.problem(&path, 0, e.to_string()),
            }
        }
        if let Some(first) = segments.first()
            && (first.header.first != 0 || first.header.chain != seed(stem))
        {
            self.problem(
                &first.path,
                0,
                "the journal does not begin with this segment: earlier ones are missing",
            );
        }
        for (i, segment) in segments.iter().enumerate() {
            self.segment(stem, segment, segments.get(i + 1))?;
        }
        Ok(())
    }

    fn segment(&mut self, stem: &str, segment: &Segment, next: Option<&Segment>) -> Result<(), StoreError> {
        self.report.segments += 1;
        let bytes = std::fs::read(&segment.path).map_err(|e| io(&segment.path, e))?;
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
            FrameType::Decision => self.report.decisions += 1,
            FrameType::Artifact => self.report.artifacts += 1,
            FrameType::Body => {}
        }
        let fits = match frame.kind {
            FrameType::Record | FrameType::Artifact => stem == STEM,
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
        if let Err(what) = self.content(keys, frame, content) {
            self.problem(&segment.path, offset, what);
        }
    }

    fn content(&mut self, keys: &dyn RecordKeys, frame: &Frame<'_>, content: Vec<u8>) -> Result<(), String> {
        match frame.kind {
            FrameType::Artifact => {
                self.known.insert(Digest::of(&content));
                Ok(())
            }
            FrameType::Decision => serde_json::from_slice::<Decision>(&content)
                .map(drop)
                .map_err(|e| format!("not a decision: {e}")),
            FrameType::Record | FrameType::Body => {
                let (record, body) =
                    decode(frame.sequence, content).ok_or("a record of an unknown format")?;
                self.record(keys, &record, &body)
            }
        }
    }

    fn record(&mut self, keys: &dyn RecordKeys, record: &StoredRecord, body: &BodyRef) -> Result<(), String> {
        let missing = record.statuses.iter().find(|s| !self.known.contains(s));
        if let Some(status) = missing {
            return Err(format!("record {}: the status {status} is not in the journal", record.sequence));
        }
        let bytes = bodies::read(&self.bodies, keys, record.sequence, body);
        let bytes = bytes.map_err(|e| format!("record {}: its body: {e}", record.sequence))?;
        self.report.bodies += u64::from(bytes.is_some());
        let Some(kind) = record.kind.message_kind() else {
            return Ok(());
        };
        let header = Header::parse(&record.header).map_err(|e| format!("record {}: {e}", record.sequence))?;
        let Some(bytes) = bytes else { return Ok(()) };
        let manifest = manifest::write(kind, header.id, Digest::of(&record.header), Digest::of(&bytes));
        if Digest::of(&manifest) == record.manifest_digest {
            Ok(())
        } else {
            Err(format!("record {}: header and body do not give its manifest digest", record.sequence))
        }
    }
}
