//! What a tombstone says; written down before anything is destroyed.

use serde::{Deserialize, Serialize};
use truc_evidence::{ClassMonth, Proof};
use truc_model::{Digest, Timestamp};

use crate::error::KeepingError;

/// The first line of a tombstone's text.
pub const TOMBSTONE: &str = "truc tombstone 1";
/// Most segments that one tombstone names; more make further ones, so that each stays a readable note.
const SEGMENTS: usize = 2000;

/// The second line of a tombstone's text, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TombstoneText {
    /// The class whose bodies are gone.
    pub class: String,
    /// The month in which their records were made, as `202611`.
    pub month: String,
    /// The segments in which they lay.
    pub segments: Vec<TombstoneSegment>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// When their expiry was begun.
    pub at: Timestamp,
}

/// One segment that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TombstoneSegment {
    /// Its name below `bodies/`.
    pub file: String,
    /// SHA-256 of all its bytes.
    pub sha256: Digest,
    /// How many there were.
    #[serde(skip)]
    pub(crate) length: u64,
}

/// The texts of the tombstones of one class and month, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    v: u32,
    texts: Vec<String>,
}

impl Plan {
    pub(crate) fn new(
        of: &ClassMonth,
        segments: &[TombstoneSegment],
        at: Timestamp,
    ) -> Result<Self, KeepingError> {
        let text = |segments: &[TombstoneSegment]| {
            let (class, month) = (of.class.to_string(), of.month.to_string());
            let bytes = segments.iter().map(|s| s.length).sum();
            let text = TombstoneText { class, month, segments: segments.to_vec(), bytes, at };
            let line = serde_json::to_string(&text).map_err(|_| KeepingError::Plan(of.folder()))?;
            Ok(format!("{TOMBSTONE}\n{line}\n"))
        };
        let texts = if segments.is_empty() {
            vec![text(segments)?]
        } else {
            segments.chunks(SEGMENTS).map(text).collect::<Result<_, KeepingError>>()?
        };
        Ok(Self { v: 1, texts })
    }

    pub(crate) fn encode(&self, of: &ClassMonth) -> Result<Vec<u8>, KeepingError> {
        serde_json::to_vec(self).map_err(|_| KeepingError::Plan(of.folder()))
    }

    /// Reads what was planned. Its texts are signed with the key of the log: so each must be a tombstone of this class and month, in its one
    /// form, and nothing else that somebody put into the file.
    pub(crate) fn decode(of: &ClassMonth, bytes: &[u8]) -> Result<Self, KeepingError> {
        let plan: Option<Self> = serde_json::from_slice(bytes).ok();
        plan.filter(|plan| plan.v == 1 && !plan.texts.is_empty())
            .filter(|plan| plan.texts.iter().all(|text| is_tombstone(of, text)))
            .ok_or_else(|| KeepingError::Plan(of.folder()))
    }

    /// Whether the tombstones will name exactly these segments: while all of them can be read, nobody else's list is signed.
    pub(crate) fn names(&self, segments: &[TombstoneSegment]) -> bool {
        let told = self.said().flat_map(|said| said.segments);
        told.map(|s| (s.file, s.sha256)).eq(segments.iter().map(|s| (s.file.clone(), s.sha256)))
    }

    /// Whether it was made when the time was over, and not in the future.
    pub(crate) fn begun_within(&self, due: Timestamp, now: Timestamp) -> bool {
        self.said().all(|said| due <= said.at && said.at <= now)
    }

    fn said(&self) -> impl Iterator<Item = TombstoneText> {
        let line = |text: &String| text.lines().nth(1).and_then(|line| serde_json::from_str(line).ok());
        self.texts.iter().filter_map(line)
    }

    /// The texts of which no tombstone is among the proofs yet.
    pub(crate) fn unsaid<'a>(&'a self, marks: &'a [Proof]) -> impl Iterator<Item = &'a String> {
        let said = move |text: &str| {
            marks.iter().any(|mark| matches!(mark, Proof::Tombstone(t) if t.note.starts_with(text)))
        };
        self.texts.iter().filter(move |text| !said(text))
    }
}

fn is_tombstone(of: &ClassMonth, text: &str) -> bool {
    let line = text.strip_prefix(TOMBSTONE).and_then(|rest| rest.strip_prefix('\n')?.strip_suffix('\n'));
    let said = line.and_then(|line| Some((line, serde_json::from_str::<TombstoneText>(line).ok()?)));
    said.is_some_and(|(line, said)| {
        serde_json::to_string(&said).is_ok_and(|written| written == line)
            && said.class == of.class.to_string()
            && said.month == of.month.to_string()
            && said.segments.iter().all(|segment| of.holds(&segment.file))
    })
}
