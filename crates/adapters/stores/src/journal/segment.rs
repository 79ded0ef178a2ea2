//! A segment that is being written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use truc_evidence::StoreError;

use super::cipher::{Ciphers, FrameHead};
use super::format::{FrameType, HEADER, SegmentHeader};
use crate::files::{self, Ask};
use crate::keys::RecordKey;
use crate::options::JournalOptions;

/// The only writer of one segment. Frames gather in a buffer until [`Active::flush`].
pub(crate) struct Active {
    path: PathBuf,
    file: File,
    ciphers: Ciphers,
    options: JournalOptions,
    allocated: u64,
    written: u64,
    /// Bytes of the batch being gathered, whether they are in the buffer yet or not.
    claimed: u64,
    next_frame: u32,
    batch: u32,
    buffer: Vec<u8>,
}

impl Active {
    /// Creates the file with its header, durably, with room for the frames asked for.
    pub(crate) fn create(
        path: &Path,
        header: &SegmentHeader,
        ask: Ask,
        options: &JournalOptions,
    ) -> Result<Self, StoreError> {
        let file = files::create_new(path)?;
        let made = (|| {
            let allocated = files::allocate(path, &file, 0, ask.with(HEADER as u64))?;
            file.write_all_at(&header.encode(), 0).map_err(|e| files::io(path, e))?;
            options.hooks.sync_surely(&file, path.parent()).map_err(|e| files::io(path, e))?;
            Ok(allocated)
        })();
        match made {
            Ok(allocated) => Ok(Self {
                path: path.to_owned(),
                file,
                ciphers: Ciphers::new(header.salt),
                options: options.clone(),
                allocated,
                written: HEADER as u64,
                claimed: 0,
                next_frame: 0,
                batch: 0,
                buffer: Vec::new(),
            }),
            Err(error) => {
                // Nothing was acknowledged from it. If it cannot be removed, a later scan sees that it is empty.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
    /// Bytes that can still be claimed without asking the disk for more.
    pub(crate) const fn free(&self) -> u64 {
        self.allocated.saturating_sub(self.written + self.claimed)
    }
    /// Sets `bytes` aside for frames that are pushed before the next flush.
    pub(crate) const fn claim(&mut self, bytes: u64) {
        self.claimed += bytes;
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    pub(crate) const fn next_frame(&self) -> u32 {
        self.next_frame
    }

    /// Takes more disk, at least `least` bytes, durably: what is written there later needs nothing but its own bytes on disk.
    pub(crate) fn grow(&mut self, least: u64) -> Result<(), StoreError> {
        let more = files::allocate(&self.path, &self.file, self.allocated, self.options.ask(least))?;
        self.options.hooks.sync_surely(&self.file, None).map_err(|e| files::io(&self.path, e))?;
        self.allocated += more;
        Ok(())
    }

    /// As [`Active::grow`], by what other segments gave back.
    pub(crate) fn grow_back(&mut self, least: u64) -> Result<(), StoreError> {
        let more = files::allocate(&self.path, &self.file, self.allocated, Ask::back(least))?;
        self.options.hooks.sync_surely(&self.file, None).map_err(|e| files::io(&self.path, e))?;
        self.allocated += more;
        Ok(())
    }

    /// Gives back up to `most` bytes that nothing was claimed of; returns how many.
    pub(crate) fn shrink(&mut self, most: u64) -> Result<u64, StoreError> {
        let less = most.min(self.free());
        if less > 0 {
            self.file.set_len(self.allocated - less).map_err(|e| files::io(&self.path, e))?;
            self.allocated -= less;
        }
        Ok(less)
    }

    /// Adds a frame to the buffer; returns its offset in the segment and its bytes.
    pub(crate) fn push(
        &mut self,
        kind: FrameType,
        sequence: u64,
        key: &RecordKey,
        parts: &[&[u8]],
    ) -> Result<(u64, &[u8]), StoreError> {
        let (offset, start) = (self.end(), self.buffer.len());
        let head = FrameHead { kind, number: self.next_frame, batch: self.batch, sequence };
        self.ciphers.seal(&mut self.buffer, &head, key, parts)?;
        self.next_frame += 1;
        Ok((offset, self.buffer.get(start..).unwrap_or_default()))
    }

    /// Writes the buffer and waits for stable storage. After an error this segment must not be written again.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            self.claimed = 0;
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.written).map_err(|e| files::io(&self.path, e))?;
        self.options.hooks.sync(&self.file).map_err(|e| files::io(&self.path, e))?;
        self.written += self.buffer.len() as u64;
        self.batch = self.next_frame;
        self.claimed = 0;
        self.buffer.clear();
        self.buffer.shrink_to(4 << 20);
        Ok(())
    }

    /// Leaves the segment after a failure, for ever. What was flushed stays as it is; what lies behind it was acknowledged to
    /// nobody and is given back with the room, so that a restart before the next segment's header does not find it.
    pub(crate) fn abandon(self) {
        // On a failing disk this may fail too: then the next segment's header says what counts.
        let _ = self.file.set_len(self.written);
    }

    /// Gives back the room that was never written.
    pub(crate) fn finish(self) {
        if let Err(error) = self.file.set_len(self.written) {
            tracing::warn!(path = %self.path.display(), %error, "the unused end of a segment could not be given back");
        }
    }
}
