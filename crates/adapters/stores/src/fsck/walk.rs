//! Frame by frame through a journal: checksums, numbers, sequences and the chain, from segment to segment.

use std::path::Path;

use truc_evidence::StoreError;
use truc_model::Digest;

use super::{Check, Problem};
use crate::evidence::STEM;
use crate::evidence::indexer::decoded;
use crate::journal::cipher;
use crate::journal::format::{Frame, FrameType, Parsed, SegmentKind, next_chain, parse, seed};
use crate::journal::scan::{self, Place, Segment, find_frame};

/// Where the chain stands; unknown after damage until the next segment.
struct Standing {
    frame: u32,
    sequence: u64,
    chain: Option<Digest>,
}

impl Check<'_> {
    pub(super) fn journal(&mut self, dir: &Path, stem: &str) -> Result<(), StoreError> {
        let mut segments = Vec::new();
        for (id, path) in scan::list_names(dir, stem)? {
            match scan::read_header(&path, SegmentKind::Journal) {
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
}
