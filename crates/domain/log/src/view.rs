//! What a witness holds of one log, and how it judges a new head (`docs/evidence.md` §2.3).

use serde::{Deserialize, Serialize};
use truc_model::{Digest, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::head::{Head, MAX_HEAD};
use crate::note::SignedNote;
use crate::proof::verify_consistency;

/// Alarms kept of one log: the first ones, which say where it went wrong.
const ALARMS: usize = 16;
/// The first head of each day is kept this many days, then that of each 30 days for ever.
const DAYS: i64 = 400;
const PERIOD: i64 = 30;
const DAY: i64 = 86_400_000;

/// A head that a witness holds, as JSON `{"at":…,"note":…}`. Its signature was checked when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawHeld", into = "RawHeld")]
pub struct Held {
    /// When it came.
    pub at: Timestamp,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// The signed note.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeld {
    at: Timestamp,
    note: String,
}

impl Held {
    /// What the head says of the journal's hash chain (`docs/evidence.md` §2.2); older heads say nothing.
    pub fn chain(&self) -> Option<Digest> {
        let note = SignedNote::parse(&self.note).ok()?;
        Checkpoint::parse(note.text()).ok()?.chain()
    }

    /// Whether the two, of one size, cannot be of one journal.
    fn excludes(&self, other: &Self) -> bool {
        let chains = || self.chain().zip(other.chain());
        self.size == other.size && (self.root != other.root || chains().is_some_and(|(a, b)| a != b))
    }
}

impl TryFrom<RawHeld> for Held {
    type Error = String;
    fn try_from(RawHeld { at, note }: RawHeld) -> Result<Self, String> {
        if note.len() > MAX_HEAD {
            return Err("a head is not longer than 4 KiB".into());
        }
        let read = SignedNote::parse(&note).map_err(|e| e.to_string())?;
        let Checkpoint { size, root, .. } = Checkpoint::parse(read.text()).map_err(|e| e.to_string())?;
        Ok(Self { at, size, root, note })
    }
}

impl From<Held> for RawHeld {
    fn from(held: Held) -> Self {
        Self { at: held.at, note: held.note }
    }
}

/// How two heads of one log exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Two roots, or two hash chains, of one size. The two signatures alone prove it to anybody.
    Fork,
    /// The newer one has fewer records.
    Shrunk,
    /// The newer one could not be shown to continue the older one.
    Inconsistent,
}

/// Two heads that cannot both be of one log that only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What is wrong.
    pub why: Why,
    /// What was held.
    pub held: Held,
    /// What was shown.
    pub shown: Held,
}

/// A head with the proof that goes with it. Whoever hands it in answers for it that the log's keeper itself showed both, just now.
#[derive(Debug, Clone)]
pub struct NewHead {
    /// The head.
    pub head: Head,
    /// The size of the held head that the proof begins at.
    pub known: u64,
    /// That the log continues from there.
    pub proof: Vec<Digest>,
    /// Now.
    pub at: Timestamp,
}

/// What became of a new head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is the newest now.
    Kept,
    /// It was held already.
    Known,
    /// It was not judged: the proof does not begin at the newest head, which has this size.
    Again(u64),
    /// It excludes the head that is held. `first` the first time this is seen of this log.
    Alarm {
        /// What is wrong.
        alarm: Box<Alarm>,
        /// Whether there was none before.
        first: bool,
    },
}

/// What a witness holds of one log. Its JSON is the file of a witness, and what it tells others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogView {
    /// Format version, 1.
    pub v: u32,
    /// The log's origin.
    pub log: String,
    /// The newest head.
    pub newest: Held,
    /// The first of each day on which one came, for 400 days, then of each 30 days.
    pub days: Vec<Held>,
    /// Heads that exclude one that was held; nothing takes them away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
}

impl LogView {
    /// The view after a first head.
    pub fn begin(new: &NewHead) -> Self {
        let newest = held(new);
        let log = new.head.checkpoint().origin.clone();
        Self { v: 1, log, days: vec![newest.clone()], newest, alarms: Vec::new() }
    }

    /// Judges a new head of this log and takes it in: the newest head is replaced only by one that provably continues it. Returns what
    /// became of it, and whether the view has changed.
    pub fn note(&mut self, new: &NewHead) -> (Noted, bool) {
        let shown = held(new);
        let fork = self.days.iter().chain([&self.newest]).find(|held| held.excludes(&shown)).cloned();
        if let Some(held) = fork {
            return self.alarm(Why::Fork, held, shown);
        }
        if shown.size == self.newest.size {
            return (Noted::Known, self.keep_day(shown));
        }
        if new.known != self.newest.size {
            return (Noted::Again(self.newest.size), false);
        }
        if shown.size < self.newest.size {
            return self.alarm(Why::Shrunk, self.newest.clone(), shown);
        }
        let (newest, proof) = (&self.newest, &new.proof);
        if verify_consistency(newest.size, newest.root, shown.size, shown.root, proof).is_err() {
            return self.alarm(Why::Inconsistent, self.newest.clone(), shown);
        }
        self.newest = shown.clone();
        self.keep_day(shown);
        (Noted::Kept, true)
    }

    fn alarm(&mut self, why: Why, held: Held, shown: Held) -> (Noted, bool) {
        let first = self.alarms.is_empty();
        let again = self.alarms.iter().any(|a| a.why == why && a.shown.note == shown.note);
        let alarm = Alarm { why, held, shown };
        let keeps = !again && self.alarms.len() < ALARMS;
        if keeps {
            self.alarms.push(alarm.clone());
        }
        (Noted::Alarm { alarm: Box::new(alarm), first }, keeps)
    }

    /// Keeps the first head of a day, and thins what is old.
    fn keep_day(&mut self, shown: Held) -> bool {
        let day = |held: &Held| held.at.millis().div_euclid(DAY);
        let today = day(&shown);
        if self.days.last().is_some_and(|last| day(last) >= today) {
            return false;
        }
        let mut period = None;
        self.days.retain(|held| {
            let before = period.replace(day(held).div_euclid(PERIOD));
            today - day(held) <= DAYS || before != period
        });
        self.days.push(shown);
        true
    }
}

fn held(new: &NewHead) -> Held {
    let checkpoint = new.head.checkpoint();
    Held { at: new.at, size: checkpoint.size, root: checkpoint.root, note: new.head.note().to_string() }
}
