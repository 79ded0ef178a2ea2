//! Takes a big body in: into memory up to what a record may hold, beyond that into the spool.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use truc_message::{Body, Spool, SpoolError, SpoolWriter, WHOLE_BODY};
use truc_model::{Digester, Fault, FaultCode};

/// How long one side waits for the other to begin, and then for each chunk.
pub(crate) const PROGRESS: Duration = Duration::from_secs(30);

/// Slowest body on average, bytes a second; the edge lets none in that is slower.
const RATE: u64 = 1024;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("too many big bodies are under way")]
    Busy,
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the body is not as long as announced")]
    Length,
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    #[error("the body stopped coming, or came too slowly")]
    Late,
}

/// When a peer turned away for want of room may try again.
const ROOM_RETRY: Duration = Duration::from_secs(1);

impl NotTaken {
    /// What the peer is told.
    pub(crate) fn fault(&self) -> Fault {
        let code = match self {
            Self::Busy | Self::Spool(SpoolError::Full) => FaultCode::Busy,
            Self::Spool(SpoolError::Failed(_)) => FaultCode::Internal,
            Self::Length | Self::Late => FaultCode::Malformed,
            Self::TooLong(_) => FaultCode::TooLarge,
        };
        let fault = Fault::provider(code, self.to_string());
        if code == FaultCode::Busy { fault.with_retry_after(ROOM_RETRY) } else { fault }
    }
}

/// Where bodies are taken in.
#[derive(Clone)]
pub(crate) struct Intake {
    memory: Arc<Semaphore>,
    spool: Arc<dyn Spool>,
}

impl Intake {
    /// At most `memory` bytes of bodies lie in memory at once.
    pub(crate) fn new(memory: usize, spool: Arc<dyn Spool>) -> Self {
        Self { memory: Arc::new(Semaphore::new(memory)), spool }
    }

    /// Begins to take a body of the announced length, or of one that stays within `limit`.
    pub(crate) async fn begin(&self, announced: Option<u64>, limit: u64) -> Result<Taking, NotTaken> {
        if announced.is_some_and(|length| length > limit) {
            return Err(NotTaken::TooLong(limit));
        }
        let content = match announced {
            Some(length) if length <= WHOLE_BODY => {
                let permits = u32::try_from(length).map_err(|_| NotTaken::Busy)?;
                let room = Arc::clone(&self.memory).try_acquire_many_owned(permits);
                Content::Memory(BytesMut::new(), room.map_err(|_| NotTaken::Busy)?)
            }
            announced => Content::Spool(self.spool.begin(announced).await?),
        };
        let (digester, start) = (Digester::default(), Instant::now());
        Ok(Taking { content, digester, announced, limit, start })
    }
}

enum Content {
    Memory(BytesMut, OwnedSemaphorePermit),
    Spool(Box<dyn SpoolWriter>),
}

/// A body on its way in.
pub(crate) struct Taking {
    content: Content,
    digester: Digester,
    announced: Option<u64>,
    limit: u64,
    start: Instant,
}

impl Taking {
    /// By when the next chunk must be here.
    pub(crate) fn patience(&self) -> Instant {
        let at_rate = self.start + PROGRESS + Duration::from_secs(self.digester.length() / RATE);
        at_rate.min(Instant::now() + PROGRESS)
    }

    pub(crate) async fn push(&mut self, chunk: Bytes) -> Result<(), NotTaken> {
        self.digester.update(&chunk);
        let length = self.digester.length();
        if self.announced.is_some_and(|announced| length > announced) {
            return Err(NotTaken::Length);
        }
        if length > self.limit {
            return Err(NotTaken::TooLong(self.limit));
        }
        match &mut self.content {
            Content::Memory(bytes, _) => bytes.extend_from_slice(&chunk),
            Content::Spool(writer) => writer.write(chunk).await?,
        }
        Ok(())
    }

    /// The body, if it is whole.
    pub(crate) async fn whole(self) -> Result<Body, NotTaken> {
        if self.announced.is_some_and(|announced| announced != self.digester.length()) {
            return Err(NotTaken::Length);
        }
        match self.content {
            Content::Memory(bytes, room) => Ok(Body::digested(held(bytes.freeze(), room), self.digester)),
            Content::Spool(writer) => Ok(Body::kept(writer.finish().await?, self.digester)),
        }
    }
}

/// A big body with the room that it takes in memory.
struct HeldBody {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The body, with the room that it takes given back when nobody holds it any more.
fn held(body: Bytes, room: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(HeldBody { body, _room: room })
}

#[cfg(test)]
mod tests {
    use truc_testkit::MemorySpool;

    use super::*;

    fn intake() -> Intake {
        Intake::new(16, Arc::new(MemorySpool::with_room(64 * 1024 * 1024)))
    }

    async fn take(announced: Option<u64>, limit: u64, chunks: &[&'static [u8]]) -> Result<Body, NotTaken> {
        let mut taking = intake().begin(announced, limit).await?;
        for chunk in chunks {
            taking.push(Bytes::from_static(chunk)).await?;
        }
        taking.whole().await
    }

    #[tokio::test]
    async fn a_body_has_exactly_its_length() {
        assert_eq!(take(Some(4), 4, &[b"bod"]).await, Err(NotTaken::Length));
        assert_eq!(take(Some(4), 9, &[b"bod", b"y!"]).await, Err(NotTaken::Length));
        assert_eq!(take(Some(5), 4, &[]).await, Err(NotTaken::TooLong(4)));
        assert_eq!(take(Some(17), 99, &[]).await, Err(NotTaken::Busy));
        for announced in [Some(4), None] {
            let body = take(announced, 4, &[b"bo", b"dy"]).await.unwrap();
            assert_eq!(body, Body::new(Bytes::from_static(b"body")));
        }
        assert_eq!(take(None, 4, &[b"body", b"!"]).await, Err(NotTaken::TooLong(4)));
    }

    #[tokio::test]
    async fn memory_is_given_back_with_the_body() {
        let intake = intake();
        let mut taking = intake.begin(Some(16), 16).await.unwrap();
        taking.push(Bytes::from_static(&[7; 16])).await.unwrap();
        let body = taking.whole().await.unwrap();
        assert_eq!(intake.begin(Some(1), 16).await.err(), Some(NotTaken::Busy));
        drop(body);
        assert!(intake.begin(Some(1), 16).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_runs_out_of_patience() {
        let mut taking = intake().begin(None, 1_000_000).await.unwrap();
        let start = Instant::now();
        for _ in 0..3 {
            taking.push(Bytes::from_static(b".")).await.unwrap();
            tokio::time::advance(Duration::from_secs(20)).await;
        }
        assert!(taking.patience() < Instant::now());
        taking.push(Bytes::from(vec![7; 100 * 1024])).await.unwrap();
        assert_eq!(taking.patience(), start + Duration::from_secs(60) + PROGRESS);
    }
}
