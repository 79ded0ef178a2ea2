//! Reading a request's body within its limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use truc_message::Body;
use truc_model::{Fault, FaultCode};

use crate::config::EdgeConfig;
use crate::request_hash::BodyHash;
use crate::target::malformed;

/// Bodies above this are digested off the runtime.
const SMALL: usize = 256 * 1024;

/// What a request whose body is being read takes besides its body, bytes, about.
const REQUEST: usize = 4096;

/// Most bytes of memory taken for what is announced and not here yet.
const AHEAD: usize = 64 * 1024;

/// When a caller turned away with BUSY may try again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// How long an answer waits for the rest of a body that nobody wants.
const DISCARD: Duration = Duration::from_secs(5);

fn too_large(limit: usize) -> Fault {
    Fault::client(FaultCode::TooLarge, format!("this node takes bodies of at most {limit} bytes"))
}

/// Turns a caller away for a moment.
pub(crate) fn busy(detail: String) -> Fault {
    Fault::consumer(FaultCode::Busy, detail).with_retry_after(BUSY_RETRY)
}

/// What [`read`] holds of the memory for bodies, until it is dropped.
pub(crate) struct Room<'a> {
    memory: &'a Semaphore,
    taken: Option<SemaphorePermit<'a>>,
}

impl Room<'_> {
    /// Never waits: readers that wait for each other's room would all wait in vain.
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let full = |_| busy("the bodies being read at the edge fill its body-memory".to_owned());
        let more = self.memory.try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).map_err(full)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Reads the whole body. Room is taken for what has arrived and not for what is announced: announcing costs nothing.
///
/// # Errors
/// TOO_LARGE, early when the length is announced; BUSY when `memory` has no room; MALFORMED when it does not arrive whole
/// in time, or more slowly than the configured rate.
pub(crate) async fn read<'a>(
    body: &mut Incoming,
    config: &EdgeConfig,
    memory: &'a Semaphore,
) -> Result<(Bytes, Room<'a>), Fault> {
    let mut room = Room { memory, taken: None };
    if body.is_end_stream() {
        return Ok((Bytes::new(), room));
    }
    if body.size_hint().lower() > config.body_limit as u64 {
        return Err(too_large(config.body_limit));
    }
    room.take(REQUEST)?;
    let bytes = collect(body, config, &mut room).await?;
    Ok((bytes, room))
}

async fn collect(body: &mut Incoming, config: &EdgeConfig, room: &mut Room<'_>) -> Result<Bytes, Fault> {
    let start = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let so_far = first.len() + rest.len();
        let Some(frame) = next(body, config, start, so_far).await? else { break };
        let frame = frame.map_err(|_| malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if so_far + data.len() > config.body_limit {
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
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// The next frame, waited for until the body, with `so_far` bytes of it here, is late or too slow.
async fn next(
    body: &mut Incoming,
    config: &EdgeConfig,
    start: Instant,
    so_far: usize,
) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Fault> {
    let EdgeConfig { body_timeout, body_start, body_rate, .. } = *config;
    let at_rate = Duration::from_millis(so_far as u64 * 1000 / u64::from(body_rate.max(1)));
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

/// Reads on and throws away, so that a caller still sending hears the refusal instead of a broken connection. Bounded in
/// bytes and time; does nothing for a caller that waits for `100 Continue`.
pub(crate) async fn discard(body: &mut Incoming, headers: &HeaderMap, limit: usize, wait: Duration) {
    if body.is_end_stream() || headers.contains_key(http::header::EXPECT) {
        return;
    }
    let all = async {
        let mut left = limit;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Time-out or not: the answer goes out now.
    let _unfinished = tokio::time::timeout(wait.min(DISCARD), all).await;
}

/// Digests a body for the message and for the request hash.
///
/// # Errors
/// INTERNAL when the digesting task died.
pub(crate) async fn digest(bytes: Bytes) -> Result<(Body, BodyHash), Fault> {
    let both = |bytes: Bytes| {
        let hash = BodyHash::of(&bytes);
        (Body::new(bytes), hash)
    };
    if bytes.len() <= SMALL {
        return Ok(both(bytes));
    }
    let task = tokio::task::spawn_blocking(move || both(bytes));
    task.await.map_err(|e| Fault::consumer(FaultCode::Internal, format!("digesting the body: {e}")))
}
