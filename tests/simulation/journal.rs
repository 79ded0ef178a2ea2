//! What happened, in order: two runs of a seed must have the same.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use truc_model::{Digest, MessageId};

/// The log of one run. It names exchanges by the caller's id, since the bus's own ids are random.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    /// Writes to connections so far: timing and number of segments show here.
    writes: u64,
    /// A running mix of when and where each write was.
    mix: u64,
    names: HashMap<MessageId, String>,
    violations: Vec<String>,
    asides: Vec<String>,
}

/// Simulated time as the current host sees it; none outside of hosts.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Journal {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an event at the current host's time.
    pub(crate) fn note(&self, what: impl std::fmt::Display) {
        self.note_at(elapsed(), what);
    }

    pub(crate) fn note_at(&self, at: Duration, what: impl std::fmt::Display) {
        let mut kept = self.kept();
        let line = format!("{:>7} #{} {what}", at.as_millis(), kept.writes);
        kept.lines.push(line);
    }

    /// For whoever looks at one seed; no part of the log, since it may name what is random.
    pub(crate) fn aside(&self, what: impl std::fmt::Display) {
        self.kept().asides.push(format!("{:>7} {what}", elapsed().as_millis()));
    }

    pub(crate) fn asides(&self) -> Vec<String> {
        self.kept().asides.clone()
    }

    /// Counts one write to a connection.
    pub(crate) fn write(&self, node: usize) {
        let at = u64::try_from(elapsed().as_micros()).unwrap_or_default();
        let mut kept = self.kept();
        kept.writes += 1;
        kept.mix = (kept.mix ^ at ^ ((node as u64) << 56)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(7);
    }

    /// Something that must not be.
    pub(crate) fn violation(&self, what: impl std::fmt::Display) {
        self.note(format_args!("VIOLATION {what}"));
        self.kept().violations.push(what.to_string());
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.kept().violations.clone()
    }

    /// From now on the exchange has this name.
    pub(crate) fn name(&self, request: MessageId, name: String) {
        self.kept().names.insert(request, name);
    }

    pub(crate) fn name_of(&self, request: MessageId) -> String {
        self.kept().names.get(&request).cloned().unwrap_or_else(|| "?".into())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let kept = self.kept();
        let mut lines = kept.lines.clone();
        lines.push(format!("{} writes, {:016x}", kept.writes, kept.mix));
        lines
    }

    /// The digest of the whole log.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.lines().join("\n").as_bytes())
    }
}
