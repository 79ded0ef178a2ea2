//! Sizes of a journal, and the two things tests replace.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};
use truc_evidence::StoreError;

use crate::keeping::ArchiveReader;

/// How a journal uses memory and disk. The defaults suit a node.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Disk is taken in steps of so many bytes.
    pub(crate) step: u64,
    /// A segment is followed by the next when it is longer, in bytes.
    pub(crate) segment_limit: u64,
    /// So many bytes of the disk are never taken: the index and everything else must go on when the journal is refused room.
    pub(crate) spare: u64,
    /// Appends that may wait; one more is refused as busy.
    pub(crate) queue: usize,
    /// Records the index may trail by; with more, appends are refused as busy.
    pub(crate) trail: usize,
    /// Where closed segments lie that are not here any more.
    pub(crate) archive: Option<ArchiveReader>,
    pub(crate) hooks: Hooks,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            step: 8 << 20,
            segment_limit: 64 << 20,
            spare: 16 << 20,
            queue: 4096,
            trail: 100_000,
            archive: None,
            hooks: Hooks::default(),
        }
    }
}

impl JournalOptions {
    /// What to ask the disk for when `least` bytes are needed.
    pub(crate) fn ask(&self, least: u64) -> crate::files::Ask {
        crate::files::Ask { least, wanted: self.step.max(least), spare: self.spare }
    }
    /// Sizes for a journal of few, small entries, to which the rest of a full disk may go: a decision must be possible
    /// when traffic is refused.
    pub(crate) fn small() -> Self {
        Self { step: 256 << 10, segment_limit: 16 << 20, spare: 0, ..Self::default() }
    }
    /// Takes disk in steps of `step` bytes and begins a new segment after `limit` bytes.
    #[must_use]
    pub fn sizes(mut self, step: u64, limit: u64) -> Self {
        (self.step, self.segment_limit) = (step.max(4096), limit.max(4096));
        self
    }
    /// Reads segments that lie in an archive.
    #[must_use]
    pub fn archive(mut self, archive: ArchiveReader) -> Self {
        self.archive = Some(archive);
        self
    }
    /// Leaves `bytes` of the disk free.
    #[must_use]
    pub fn spare(mut self, bytes: u64) -> Self {
        self.spare = bytes;
        self
    }
    /// Lets `waiting` appends wait before one is refused as busy.
    #[must_use]
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting.max(1);
        self
    }
}

/// Random numbers and disk errors, replaced by tests of this crate only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    /// Random bytes become a counter, so that segments are the same each time.
    #[cfg(test)]
    pub(crate) counted: Option<std::sync::Arc<std::sync::atomic::AtomicU8>>,
    /// So many of the next syncs fail.
    #[cfg(test)]
    pub(crate) failing_syncs: std::sync::Arc<std::sync::atomic::AtomicU32>,
    /// A clock that stands, so many milliseconds after its instant.
    #[cfg(test)]
    pub(crate) standing: Option<(Instant, std::sync::Arc<std::sync::atomic::AtomicU64>)>,
}

impl Hooks {
    pub(crate) fn random32(&self) -> Result<[u8; 32], StoreError> {
        #[cfg(test)]
        if let Some(counter) = &self.counted {
            return Ok([counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst); 32]);
        }
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| StoreError::Failed("the system gives no random numbers".into()))?;
        Ok(bytes)
    }

    /// For pauses; not the time of day.
    pub(crate) fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some((start, later)) = &self.standing {
            return *start
                + std::time::Duration::from_millis(later.load(std::sync::atomic::Ordering::SeqCst));
        }
        Instant::now()
    }

    /// Makes what the file system itself must remember durable: names, lengths and room.
    ///
    /// ext4 and xfs may answer such a sync with success while their journal dies under it, and refuse everything only
    /// afterwards. So they are asked twice: the second answer says that they were alive when the first was given.
    pub(crate) fn sync_surely(&self, file: &File, folder: Option<&Path>) -> std::io::Result<()> {
        self.sync(file)?;
        if let Some(folder) = folder {
            File::open(folder)?.sync_all()?;
        }
        self.sync(file)
    }

    /// `fdatasync`, the one place that makes anything durable. Enough for bytes written over bytes.
    pub(crate) fn sync(&self, file: &File) -> std::io::Result<()> {
        #[cfg(test)]
        {
            use std::sync::atomic::Ordering::SeqCst;
            let failing = self.failing_syncs.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
            if failing.is_ok() {
                return Err(std::io::Error::other("injected"));
            }
        }
        Ok(rustix::fs::fdatasync(file)?)
    }
}
