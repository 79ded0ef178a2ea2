//! A [`Spool`] without a disk.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use truc_message::{BodyStream, KeptBody, Spool, SpoolError, SpoolWriter};

/// Counts room in units of 4 KiB.
const UNIT: u64 = 4096;

/// Keeps bodies in memory, up to its room.
pub struct MemorySpool {
    room: Arc<Semaphore>,
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl MemorySpool {
    /// A spool with room for a few big bodies.
    pub fn for_tests() -> Arc<Self> {
        Arc::new(Self::with_room(256 << 20))
    }

    /// A spool for about `bytes`.
    pub fn with_room(bytes: u64) -> Self {
        Self { room: Arc::new(Semaphore::new(units(bytes) as usize)) }
    }
}

struct Kept {
    pieces: Vec<Bytes>,
    _room: Vec<OwnedSemaphorePermit>,
}

impl KeptBody for Kept {
    fn read(&self) -> BodyStream {
        stream::iter(self.pieces.clone().into_iter().map(Ok)).boxed()
    }
}

struct Writer {
    spool: Arc<Semaphore>,
    kept: Kept,
}

#[async_trait]
impl Spool for MemorySpool {
    async fn begin(&self, announced: Option<u64>) -> Result<Box<dyn SpoolWriter>, SpoolError> {
        if units(announced.unwrap_or_default()) as usize > self.room.available_permits() {
            return Err(SpoolError::Full);
        }
        let kept = Kept { pieces: Vec::new(), _room: Vec::new() };
        Ok(Box::new(Writer { spool: Arc::clone(&self.room), kept }))
    }
}

#[async_trait]
impl SpoolWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<(), SpoolError> {
        let room = Arc::clone(&self.spool).try_acquire_many_owned(units(piece.len() as u64));
        self.kept._room.push(room.map_err(|_| SpoolError::Full)?);
        self.kept.pieces.push(piece);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Arc<dyn KeptBody>, SpoolError> {
        Ok(Arc::new(self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract_of_a_spool() {
        truc_message::contract::spool(&MemorySpool::with_room(32 << 20), 32 << 20).await.unwrap();
    }
}
