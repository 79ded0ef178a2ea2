//! What a service answered: taken whole, or as it comes when it is too big for memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CONNECTION, CONTENT_TYPE, DATE};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use truc_exchange::ports::{AnswerBody, ServiceAnswer, ServiceFailure};
use truc_message::WHOLE_BODY;

use crate::fields;

/// Reads a service's answer, to its end unless it is longer than what is held in memory. Each piece of one that comes must
/// come within `timeout`.
///
/// # Errors
/// [`ServiceFailure::TooLarge`] above `limit`, [`ServiceFailure::Broken`] when it breaks off.
pub(crate) async fn read(
    response: Response<Incoming>,
    limit: u64,
    timeout: Duration,
) -> Result<ServiceAnswer, ServiceFailure> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(ServiceFailure::Broken(format!("{status} is not a final HTTP status")));
    }
    if body.size_hint().lower() > limit {
        return Err(ServiceFailure::TooLarge(limit));
    }
    let announced = body.size_hint().exact();
    let media_type =
        head.headers.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let first = match announced {
        Some(length) if length > WHOLE_BODY => Beginning::More(Bytes::new()),
        _ => begin(&mut body, limit).await?,
    };
    let body = match first {
        Beginning::Whole(bytes) => AnswerBody::Whole(bytes),
        Beginning::More(first) => {
            AnswerBody::Coming { announced, pieces: as_it_comes(first, body, limit, timeout) }
        }
    };
    Ok(ServiceAnswer { status, headers: travelling(&head.headers), media_type, body })
}

enum Beginning {
    Whole(Bytes),
    /// More than is held in memory; the rest is still to be read.
    More(Bytes),
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, ServiceFailure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ServiceFailure::Broken(format!("within its body: {e}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn begin(body: &mut Incoming, limit: u64) -> Result<Beginning, ServiceFailure> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = next(body).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > limit {
            return Err(ServiceFailure::TooLarge(limit));
        }
        if bytes.len() as u64 > WHOLE_BODY {
            return Ok(Beginning::More(bytes.freeze()));
        }
    }
    Ok(Beginning::Whole(bytes.freeze()))
}

fn as_it_comes(
    first: Bytes,
    body: Incoming,
    limit: u64,
    timeout: Duration,
) -> BoxStream<'static, Result<Bytes, ServiceFailure>> {
    let length = first.len() as u64;
    let rest = stream::try_unfold((body, length), move |(mut body, length)| async move {
        let late = |_| ServiceFailure::Timeout(timeout.as_millis());
        let Some(piece) = tokio::time::timeout(timeout, next(&mut body)).await.map_err(late)?? else {
            return Ok(None);
        };
        let length = length + piece.len() as u64;
        if length > limit { Err(ServiceFailure::TooLarge(limit)) } else { Ok(Some((piece, (body, length)))) }
    });
    if first.is_empty() { rest.boxed() } else { stream::iter([Ok(first)]).chain(rest).boxed() }
}

/// The fields that travel on, grouped by first appearance; `Date` once.
fn travelling(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let connection =
        headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let connection: Vec<String> = connection.map(|name| name.trim().to_ascii_lowercase()).collect();
    let mut out: Vec<(String, Vec<u8>)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let second_date = name == DATE && out.iter().any(|(there, _)| there == DATE.as_str());
        if name != CONTENT_TYPE && !second_date && !fields::stays_here(name.as_str(), &connection) {
            out.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
        }
    }
    out
}
