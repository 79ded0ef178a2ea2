//! Takes a big body in: into memory up to what a record may hold, beyond that into the spool.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};
use truc_message::{Body, Spool, SpoolError, SpoolWriter, WHOLE_BODY};
use truc_model::{Digester, Fault, FaultCode, Fingerprint};

use crate::shares::{Shares, Taken};

/// How long one side waits for the other to begin, and then for each chunk.
pub(crate) const PROGRESS: Duration = Duration::from_secs(30);

/// Slowest body on average, bytes a second; the edge lets none in that is slower.
const RATE: u64 = 1024;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("too many big bodies are under way")]
    Busy,
    #[error("the spool has no room for this body")]
    Full,
    #[error("the node could not keep this body")]
    Failed,
    #[error("the body is not as long as announced, or short and not announced")]
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
            Self::Busy | Self::Full => FaultCode::Busy,
            Self::Failed => FaultCode::Internal,
            Self::Length => FaultCode::Malformed,
            Self::Late => FaultCode::Unavailable,
            Self::TooLong(_) => FaultCode::TooLarge,
        };
        let fault = Fault::provider(code, self.to_string());
        if code == FaultCode::Busy { fault.with_retry_after(ROOM_RETRY) } else { fault }
    }
}

/// What the spool says is for the operator; the peer is told the rest.
impl From<SpoolError> for NotTaken {
    fn from(error: SpoolError) -> Self {
        tracing::warn!(%error, "a big body was not kept");
        match error {
            SpoolError::Full => Self::Full,
            SpoolError::Failed(_) => Self::Failed,
        }
    }
}

/// A disk that does not answer must not hold an exchange for ever.
async fn in_time<T>(step: impl Future<Output = Result<T, SpoolError>>) -> Result<T, NotTaken> {
    let late = || SpoolError::Failed(format!("the disk did not answer within {} s", PROGRESS.as_secs()));
    Ok(timeout(PROGRESS, step).await.unwrap_or_else(|_| Err(late()))?)
}

/// By when the next piece of a body must have moved: each within [`PROGRESS`], and all of them at a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace(Instant);

impl Pace {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// When so many bytes have moved.
    pub(crate) fn patience(self, moved: u64) -> Instant {
        let at_rate = self.0 + PROGRESS + Duration::from_secs(moved / RATE);
        at_rate.min(Instant::now() + PROGRESS)
    }
}

/// Where bodies are taken in.
#[derive(Clone)]
pub(crate) struct Intake {
    memory: Shares,
    spool: Arc<dyn Spool>,
}

impl Intake {
    /// At most `memory` bytes of bodies lie in memory at once, half of them of one peer.
    pub(crate) fn new(memory: usize, spool: Arc<dyn Spool>) -> Self {
        Self { memory: Shares::new(memory), spool }
    }

    /// Begins to take a body of the announced length from `peer`, or of one that stays within `limit`. Memory is taken for
    /// what has arrived and not for what is announced: announcing costs nothing.
    pub(crate) async fn begin(
        &self,
        peer: Fingerprint,
        announced: Option<u64>,
        limit: u64,
    ) -> Result<Taking, NotTaken> {
        if announced.is_some_and(|length| length > limit) {
            return Err(NotTaken::TooLong(limit));
        }
        let content = match announced {
            Some(length) if length <= WHOLE_BODY => Content::Memory(Held {
                bytes: BytesMut::new(),
                room: Vec::new(),
                shares: self.memory.clone(),
                peer,
            }),
            announced => Content::Spool(in_time(self.spool.begin(announced)).await?),
        };
        Ok(Taking { content, digester: Digester::default(), announced, limit, pace: Pace::begin() })
    }
}

enum Content {
    Memory(Held),
    Spool(Box<dyn SpoolWriter>),
}

/// A body in memory, with the room that it takes.
struct Held {
    bytes: BytesMut,
    room: Vec<Taken>,
    shares: Shares,
    peer: Fingerprint,
}

impl Held {
    fn push(&mut self, chunk: &[u8]) -> Result<(), NotTaken> {
        self.room.push(self.shares.take(self.peer, chunk.len()).ok_or(NotTaken::Busy)?);
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// A body on its way in.
pub(crate) struct Taking {
    content: Content,
    digester: Digester,
    announced: Option<u64>,
    limit: u64,
    pace: Pace,
}

impl Taking {
    /// By when the next chunk must be here.
    pub(crate) fn patience(&self) -> Instant {
        self.pace.patience(self.digester.length())
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
            Content::Memory(held) => held.push(&chunk)?,
            Content::Spool(writer) => in_time(writer.write(chunk)).await?,
        }
        Ok(())
    }

    /// The body, if it is whole. One that is short enough to be recorded must have been announced: how it is sent must not
    /// decide whether this node keeps it.
    pub(crate) async fn whole(self) -> Result<Body, NotTaken> {
        let length = self.digester.length();
        if self.announced.map_or(length <= WHOLE_BODY, |announced| announced != length) {
            return Err(NotTaken::Length);
        }
        match self.content {
            Content::Memory(Held { bytes, room, .. }) => {
                Ok(Body::digested(held(bytes.freeze(), room), self.digester))
            }
            Content::Spool(writer) => Ok(Body::kept(in_time(writer.finish()).await?, self.digester)),
        }
    }
}

/// A big body with the room that it takes in memory.
struct HeldBody<R> {
    body: Bytes,
    _room: R,
}

impl<R> AsRef<[u8]> for HeldBody<R> {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The body, with the room that it takes given back when nobody holds it any more.
pub(crate) fn held(body: Bytes, room: impl Send + 'static) -> Bytes {
    Bytes::from_owner(HeldBody { body, _room: room })
}

#[cfg(test)]
mod tests {
    use truc_testkit::MemorySpool;

    use super::*;

    fn intake() -> Intake {
        Intake::new(16, Arc::new(MemorySpool::with_room(64 * 1024 * 1024)))
    }

    const PEER: Fingerprint = Fingerprint([1; 32]);

    async fn take(announced: Option<u64>, limit: u64, chunks: &[&'static [u8]]) -> Result<Body, NotTaken> {
        let mut taking = intake().begin(PEER, announced, limit).await?;
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
        let body = take(Some(4), 4, &[b"bo", b"dy"]).await.unwrap();
        assert_eq!(body, Body::new(Bytes::from_static(b"body")));
        assert_eq!(take(None, 4, &[b"body", b"!"]).await, Err(NotTaken::TooLong(4)));
    }

    /// Else the other side could decide that this node keeps the digest only.
    #[tokio::test]
    async fn a_body_that_is_recorded_is_announced() {
        assert_eq!(take(None, 4, &[b"bo", b"dy"]).await, Err(NotTaken::Length));
        static LONG: [u8; WHOLE_BODY as usize] = [7; WHOLE_BODY as usize];
        assert_eq!(take(None, u64::MAX, &[&LONG]).await, Err(NotTaken::Length));
        assert!(take(None, u64::MAX, &[&LONG, b"!"]).await.is_ok());
    }

    #[tokio::test]
    async fn memory_is_taken_by_what_arrives_and_given_back_with_the_body() {
        let intake = intake();
        let _announced = intake.begin(PEER, Some(WHOLE_BODY), WHOLE_BODY).await.unwrap();
        let mut taking = intake.begin(PEER, Some(8), 16).await.unwrap();
        taking.push(Bytes::from_static(&[7; 8])).await.unwrap();
        let body = taking.whole().await.unwrap();
        let mut more = intake.begin(PEER, Some(1), 16).await.unwrap();
        assert_eq!(
            more.push(Bytes::from_static(b".")).await,
            Err(NotTaken::Busy),
            "half of it is this peer's"
        );
        drop(body);
        let mut more = intake.begin(PEER, Some(1), 16).await.unwrap();
        assert_eq!(more.push(Bytes::from_static(b".")).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_runs_out_of_patience() {
        let mut taking = intake().begin(PEER, None, 1_000_000).await.unwrap();
        let start = Instant::now();
        for _ in 0..3 {
            taking.push(Bytes::from_static(b".")).await.unwrap();
            tokio::time::advance(Duration::from_secs(20)).await;
        }
        assert!(taking.patience() < Instant::now());
        taking.push(Bytes::from(vec![7; 100 * 1024])).await.unwrap();
        assert_eq!(taking.patience(), start + Duration::from_secs(60) + PROGRESS);
    }

    /// A disk that never answers.
    struct Stuck;

    #[async_trait::async_trait]
    impl Spool for Stuck {
        async fn begin(&self, _announced: Option<u64>) -> Result<Box<dyn SpoolWriter>, SpoolError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_not_waited_for() {
        let intake = Intake::new(16, Arc::new(Stuck));
        assert_eq!(intake.begin(PEER, None, 9).await.err(), Some(NotTaken::Failed));
    }
}
