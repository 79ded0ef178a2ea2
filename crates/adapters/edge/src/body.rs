//! Reading a request's body within its limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use truc_message::Body;
use truc_model::{Fault, FaultCode};

use crate::request_hash::BodyHash;
use crate::target::malformed;

/// Bodies above this are digested off the runtime.
const SMALL: usize = 256 * 1024;

/// How long an answer waits for the rest of a body that nobody wants.
const DISCARD: Duration = Duration::from_secs(5);

fn too_large(limit: usize) -> Fault {
    Fault::client(FaultCode::TooLarge, format!("this node takes bodies of at most {limit} bytes"))
}

/// Reads the whole body.
///
/// # Errors
/// TOO_LARGE, early when the length is announced; MALFORMED when it does not arrive whole within `wait`.
pub(crate) async fn read(body: &mut Incoming, limit: usize, wait: Duration) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let slow = |_| malformed(format!("the body did not arrive within {} s", wait.as_secs_f32()));
    tokio::time::timeout(wait, collect(body, limit)).await.map_err(slow)?
}

async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, Fault> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        match (first.is_empty(), rest.is_empty()) {
            (true, true) => first = data,
            (_, true) => {
                let ahead = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit);
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
