//! Reading a request's body within its limits: whole, or as it comes when it is too big for memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use truc_exchange::DraftBody;
use truc_message::{Body, BodyStream, WHOLE_BODY};
use truc_model::{Fault, FaultCode};

use crate::config::EdgeConfig;
use crate::fields;
use crate::request_hash::{BodyHash, BodyHasher};
use crate::target::malformed;

/// Bodies above this are digested off the runtime.
const SMALL: usize = 256 * 1024;

/// What a request whose body is being read takes besides its body and its fields, bytes, about.
const REQUEST: usize = 4096;

/// Most bytes of memory taken for what is announced and not here yet.
const AHEAD: usize = 64 * 1024;

/// When a caller turned away with BUSY may try again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// How much of a body that nobody wants is read while the answer goes out, and for how long.
const DISCARD_BYTES: usize = 256 * 1024 * 1024;
const DISCARD: Duration = Duration::from_secs(5);

fn too_large(limit: u64) -> Fault {
    Fault::client(FaultCode::TooLarge, format!("this node takes bodies of at most {limit} bytes"))
}

/// Turns a caller away for a moment.
pub(crate) fn busy(detail: String) -> Fault {
    Fault::consumer(FaultCode::Busy, detail).with_retry_after(BUSY_RETRY)
}

/// What a body takes of the memory for bodies, until it is dropped.
struct Room {
    memory: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Never waits: readers that wait for each other's room would all wait in vain.
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let full = |_| busy("the bodies being read at the edge fill its body-memory".to_owned());
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.memory).try_acquire_many_owned(permits).map_err(full)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// The body of one request. It stays here so that what nobody wants can be read to its end.
pub(crate) struct CallerBody {
    incoming: Option<Incoming>,
    lent: Option<oneshot::Receiver<Incoming>>,
}

/// A body on loan to whoever reads it as it comes; goes back to its [`CallerBody`] when dropped.
struct Lent {
    incoming: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(incoming), Some(back)) = (self.incoming.take(), self.back.take()) {
            drop(back.send(incoming));
        }
    }
}

/// A request's body and, once it has all been read, its hash.
pub(crate) struct Read {
    pub(crate) body: DraftBody,
    pub(crate) hash: Arc<OnceLock<BodyHash>>,
}

impl CallerBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self { incoming: Some(incoming), lent: None }
    }

    /// Reads the whole body if it is small enough to be held; one that is bigger comes as it is read. Room is taken for what
    /// has arrived and not for what is announced: announcing costs nothing.
    ///
    /// # Errors
    /// TOO_LARGE, early when the length is announced; BUSY when `memory` has no room; MALFORMED when it does not arrive
    /// whole in time, or more slowly than the configured rate.
    pub(crate) async fn read(
        &mut self,
        config: &EdgeConfig,
        memory: &Arc<Semaphore>,
        head: &HeaderMap,
    ) -> Result<Read, Fault> {
        let Some(body) = self.incoming.as_mut().filter(|body| !body.is_end_stream()) else {
            return digest(Bytes::new()).await;
        };
        let (announced, start) = (body.size_hint().exact(), Instant::now());
        if body.size_hint().lower() > config.body_limit {
            return Err(too_large(config.body_limit));
        }
        let mut room = Room { memory: Arc::clone(memory), taken: None };
        room.take(REQUEST + fields::size(head))?;
        let mut first = Bytes::new();
        if announced.is_none_or(|length| length <= WHOLE_BODY) {
            match collect(body, config, &mut room).await? {
                Collected::Whole(bytes) => return digest(bytes).await,
                Collected::Beginning(bytes) => first = bytes,
            }
        }
        let hash = Arc::<OnceLock<BodyHash>>::default();
        let pieces = self.as_it_comes(first, start, *config, room, Arc::clone(&hash));
        Ok(Read { body: DraftBody::Coming { announced, pieces }, hash })
    }

    fn as_it_comes(
        &mut self,
        first: Bytes,
        start: Instant,
        config: EdgeConfig,
        room: Room,
        hash: Arc<OnceLock<BodyHash>>,
    ) -> BodyStream {
        let (back, lent) = oneshot::channel();
        self.lent = Some(lent);
        let coming = Coming {
            lent: Lent { incoming: self.incoming.take(), back: Some(back) },
            first,
            length: 0,
            start,
            config,
            room: Some(room),
            hasher: BodyHasher::default(),
            hash,
        };
        let step = |coming: Option<Coming>| async move {
            let mut coming = coming?;
            match coming.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(coming))),
                Ok(None) => None,
                Err(fault) => Some((Err(fault), None)),
            }
        };
        stream::unfold(Some(coming), step).boxed()
    }

    /// What is still to come of a body that nobody wants; nothing of a caller that waits for `100 Continue`.
    pub(crate) fn rest(&mut self, headers: &HeaderMap) -> Option<Incoming> {
        let lent = self.lent.as_mut().and_then(|lent| lent.try_recv().ok());
        let rest = self.incoming.take().or(lent)?;
        (!rest.is_end_stream() && !headers.contains_key(http::header::EXPECT)).then_some(rest)
    }
}

/// Reads on and throws away while the answer goes out, so that a caller still sending hears the refusal instead of a broken
/// connection. Bounded in bytes and time.
pub(crate) async fn discard(mut body: Incoming) {
    let all = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Time-out or not: by now the caller has heard.
    let _unfinished = tokio::time::timeout(DISCARD, all).await;
}

/// A body that is read as it is wanted.
struct Coming {
    lent: Lent,
    /// What was read before it proved too big to hold.
    first: Bytes,
    length: u64,
    start: Instant,
    config: EdgeConfig,
    /// Given back once `first` has gone on.
    room: Option<Room>,
    hasher: BodyHasher,
    hash: Arc<OnceLock<BodyHash>>,
}

impl Coming {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return self.take(first).map(Some);
        }
        self.room = None;
        loop {
            let Some(body) = self.lent.incoming.as_mut() else { return Ok(None) };
            let frame = match next(body, &self.config, self.start, self.length, Duration::MAX).await? {
                Some(frame) => frame.map_err(|_| malformed("the body broke off"))?,
                None => {
                    let _only_once = self.hash.set(self.hasher.hash());
                    return Ok(None);
                }
            };
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return self.take(data).map(Some);
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, Fault> {
        self.length += piece.len() as u64;
        if self.length > self.config.body_limit {
            return Err(too_large(self.config.body_limit));
        }
        self.hasher.update(&piece);
        Ok(piece)
    }
}

enum Collected {
    Whole(Bytes),
    /// More than is held in memory; the rest is still to be read.
    Beginning(Bytes),
}

async fn collect(body: &mut Incoming, config: &EdgeConfig, room: &mut Room) -> Result<Collected, Fault> {
    let start = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let so_far = (first.len() + rest.len()) as u64;
        let Some(frame) = next(body, config, start, so_far, config.body_timeout).await? else { break };
        let frame = frame.map_err(|_| malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = so_far + data.len() as u64;
        if length > config.body_limit {
            return Err(too_large(config.body_limit));
        }
        room.take(data.len())?;
        match (first.is_empty(), rest.is_empty()) {
            (true, true) => first = data,
            (_, true) => {
                let ahead = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(AHEAD);
                rest.reserve(first.len() + data.len() + ahead);
                rest.extend_from_slice(&first);
                rest.extend_from_slice(&data);
                first = Bytes::new();
            }
            _ => rest.extend_from_slice(&data),
        }
        if length > WHOLE_BODY {
            return Ok(Collected::Beginning(if rest.is_empty() { first } else { rest.freeze() }));
        }
    }
    Ok(Collected::Whole(if rest.is_empty() { first } else { rest.freeze() }))
}

/// The next frame, waited for until the body, with `so_far` bytes of it here, is late or too slow.
async fn next(
    body: &mut Incoming,
    config: &EdgeConfig,
    start: Instant,
    so_far: u64,
    body_timeout: Duration,
) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Fault> {
    let EdgeConfig { body_start, body_rate, .. } = *config;
    let at_rate = Duration::from_millis(so_far.saturating_mul(1000) / u64::from(body_rate.max(1)));
    let patience = body_start.max(at_rate);
    let late = || malformed(format!("the body did not arrive within {} s", body_timeout.as_secs_f32()));
    let slow = || malformed(format!("the body did not arrive at {body_rate} bytes/s at least"));
    // A frame that is there already must not save a body that is late: the time-out alone would take it.
    if start.elapsed() > body_timeout {
        return Err(late());
    }
    tokio::time::timeout_at(start + patience.min(body_timeout), body.frame())
        .await
        .map_err(|_| if patience < body_timeout { slow() } else { late() })
}

/// Digests a body for the message and for the request hash.
async fn digest(bytes: Bytes) -> Result<Read, Fault> {
    let both = |bytes: Bytes| {
        let hash = BodyHash::of(&bytes);
        Read { body: Body::new(bytes).into(), hash: Arc::new(OnceLock::from(hash)) }
    };
    if bytes.len() <= SMALL {
        return Ok(both(bytes));
    }
    let task = tokio::task::spawn_blocking(move || both(bytes));
    task.await.map_err(|e| Fault::consumer(FaultCode::Internal, format!("digesting the body: {e}")))
}
