//! What is not here any more, and whether it says so itself: archived segments, expired bodies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use truc_evidence::{Archived, ClassMonth, StoreError, holds_in_force};
use truc_log::{NoteKey, SignedNote};
use truc_model::{Digest, MessageId, Timestamp};

use super::Check;
use crate::evidence::STEM;
use crate::files::read_plain;
use crate::journal::scan::{self, Segment, segment_id};
use crate::keeping::{PLAN, Stub};

/// What a tombstone says, as far as it matters here (`docs/evidence.md` §6.2).
#[derive(Deserialize)]
struct Buried {
    class: String,
    month: String,
}

pub(super) fn buried(note: &str, keys: &[NoteKey]) -> Result<(String, u32), &'static str> {
    const UNREADABLE: &str = "a tombstone that says nothing readable";
    let note = SignedNote::parse(note).map_err(|_| UNREADABLE)?;
    let said = note.text().strip_prefix("truc tombstone 1\n").ok_or(UNREADABLE)?;
    let Buried { class, month } = serde_json::from_str(said).map_err(|_| UNREADABLE)?;
    if !keys.is_empty() && !keys.iter().any(|key| note.verify(key).is_ok()) {
        return Err("a tombstone that the key of the log did not sign");
    }
    Ok((class, month.parse().map_err(|_| UNREADABLE)?))
}

/// The plan of an expiry, as far as it matters here: the texts of its tombstones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    v: u32,
    texts: Vec<String>,
}

/// What each of those texts says.
#[derive(Deserialize)]
struct Planned {
    class: String,
    month: String,
    at: Timestamp,
}

/// When the expiry was begun that a plan tells of; none when it is not one of this class and month.
fn begun_at(plan: &[u8], of: &ClassMonth) -> Option<Timestamp> {
    let plan: Begun = serde_json::from_slice(plan).ok().filter(|plan: &Begun| plan.v == 1)?;
    let said = plan.texts.iter().map(|text| {
        let said: Planned = serde_json::from_str(text.strip_prefix("truc tombstone 1\n")?).ok()?;
        let fits = said.class == of.class.to_string() && said.month == of.month.to_string();
        fits.then_some(said.at)
    });
    said.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// What the stubs in a folder say is archived; one that cannot be read says nothing.
fn stubs_in(folder: &Path) -> Vec<Archived> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = entries.filter(|path| path.extension().is_some_and(|ending| ending == "away"));
    named.filter_map(|path| Some(Stub::read(&path.with_extension("seg")).ok()??.archived)).collect()
}

impl Check<'_> {
    /// All of the journal lies in the archive, or none of it is left: the stubs say how many records there were.
    pub(super) fn all_away(&mut self, dir: &Path) -> Result<(), StoreError> {
        let next = stubs_in(dir).into_iter().filter(|stub| segment_id(STEM, &stub.file).is_some());
        let next = next.map(|stub| stub.next).max().unwrap_or_default();
        if let Some(log) = &mut self.log
            && !log.begin_at(next)?
        {
            let what = "the journal lies in the archive, and index/log does not have its records: nothing can be compared without --archive";
            self.problem(dir, 0, what);
        }
        self.report.not_read = next;
        Ok(())
    }

    /// Whether the expiry of a class and month was begun, by a plan that a node could have made.
    pub(super) fn begun(&self, folder: &Path, class: &str, month: u32) -> Result<bool, (PathBuf, String)> {
        let path = folder.join("bodies").join(class).join(format!("{month:06}")).join(PLAN);
        let of = match (class.parse(), format!("{month:06}").parse()) {
            (Ok(class), Ok(month)) => ClassMonth { class, month },
            _ => return Ok(false),
        };
        if !path.exists() {
            return Ok(false);
        }
        let wrong =
            |why: &str| (path.clone(), format!("the bodies of {class} {month:06} are gone, and {why}"));
        let plan =
            read_plain(&path).map_err(|e| wrong(&format!("the plan of their expiry cannot be read: {e}")))?;
        let at = begun_at(&plan, &of).ok_or_else(|| wrong("what lies here is no plan of their expiry"))?;
        let due = self.expires.map(|expires| expires(&of));
        match due {
            Some(due) if due.is_none_or(|due| at < due) => Err(wrong(
                "the plan of their expiry was made before their time was over, by the classes of the configuration",
            )),
            _ => Ok(true),
        }
    }

    /// No body that a hold in force names is gone.
    pub(super) fn held(&mut self, folder: &Path) {
        let holds = holds_in_force(&std::mem::take(&mut self.holds));
        let mut held: Vec<(MessageId, &str)> = holds
            .values()
            .flat_map(|hold| hold.requests.iter().map(|id| (*id, hold.case.as_str())))
            .collect();
        held.sort_unstable();
        for (request, sequence) in std::mem::take(&mut self.gone_of) {
            if let Ok(at) = held.binary_search_by_key(&request, |(id, _)| *id)
                && let Some((_, case)) = held.get(at)
            {
                let what = format!(
                    "record {sequence}: its body is gone, though the hold of the case {case:?} was in force"
                );
                self.problem(&folder.join("bodies"), 0, what);
            }
        }
    }

    /// Adds the segments that lie in the archive, to be read from there.
    pub(super) fn add_archived(
        &mut self,
        dir: &Path,
        stem: &str,
        segments: &mut Vec<Segment>,
    ) -> Result<(), StoreError> {
        for (id, path) in scan::list_away(dir, stem)? {
            match Stub::read(&path) {
                Ok(Some(stub)) if !path.exists() => {
                    let shelf = Some(Arc::clone(&self.shelf));
                    segments.push(Segment { id, path, header: stub.header, shelf });
                }
                Ok(_) => {}
                Err(e) => self.problem(&path, 0, e.to_string()),
            }
        }
        segments.sort_by_key(|segment| segment.id);
        Ok(())
    }

    /// Whether an artifact may lie before the first segment, as far as the index knows.
    pub(super) fn known_before(&self, digest: &Digest) -> bool {
        self.archived && self.index.as_ref().is_none_or(|index| index.knows(digest))
    }

    /// Whether what comes before the first segment lies in the archive, all of it, and leads here.
    pub(super) fn accounted(&self, first: &Segment) -> Result<(), String> {
        let proved = self.log.as_ref().map(|log| log.archived.as_slice()).unwrap_or_default();
        // What proves the oldest segments lies in segments that have been archived since: then their stubs tell.
        let stubs = first.path.parent().map(stubs_in).unwrap_or_default();
        let mut by_place: Vec<_> = proved
            .iter()
            .chain(&stubs)
            .filter_map(|a| Some((segment_id(a.file.rsplit('/').next()?, STEM)?, a)))
            .filter(|(id, _)| *id < first.id)
            .collect();
        by_place.sort_by_key(|(id, _)| *id);
        by_place.dedup_by_key(|(id, _)| *id);
        let mut reached = 0;
        for (id, archived) in &by_place {
            if id.first != reached {
                return Err(format!(
                    "earlier segments are missing: none is archived that begins with record {reached}"
                ));
            }
            reached = archived.next;
        }
        if by_place.is_empty() || reached != first.header.first {
            return Err("the journal does not begin with this segment: earlier ones are missing".to_owned());
        }
        match by_place.last().and_then(|(_, archived)| archived.chain) {
            Some(chain) if chain != first.header.chain => {
                Err("it does not go on from the archived segment before it: their chains differ".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Every stub of a body segment is that of the segment that was proved to be archived. A proof may lie in the archive itself.
    pub(super) fn stubs(&mut self, folder: &Path) {
        let archived = self.log.as_ref().map(|log| log.archived.clone()).unwrap_or_default();
        for (path, (record, place, offset)) in std::mem::take(&mut self.away) {
            let name = path.strip_prefix(folder.join("bodies")).ok().and_then(|name| name.to_str());
            let stub = Stub::read(&path).ok().flatten().map(|stub| stub.archived);
            let proved = archived.iter().rfind(|a| Some(a.file.as_str()) == name);
            let same = match (&stub, proved) {
                (Some(stub), Some(proved)) => (&stub.file, stub.sha256) == (&proved.file, proved.sha256),
                (Some(stub), None) => self.archived && Some(stub.file.as_str()) == name,
                (None, _) => false,
            };
            if !same {
                let what = format!(
                    "record {record}: its body is said to be archived, and no proof of that segment says so"
                );
                self.problem(&place, offset, what);
            }
        }
    }
}
