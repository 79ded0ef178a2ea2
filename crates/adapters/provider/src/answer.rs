//! What a service answered: taken whole, or as it comes when it is too big for memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CONNECTION, CONTENT_TYPE, DATE};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use truc_exchange::ports::{AnswerBody, ServiceAnswer, ServiceFailure};
use truc_message::WHOLE_BODY;

use crate::fields;

/// Longest wait for one piece of an answer that comes. The caller's node waits 30 s for each, so that this one gives up
/// first and says so in a signed refusal.
const NEXT_PIECE: Duration = Duration::from_secs(25);

/// Reads a service's answer, to its end unless it is longer than what is held in memory. Each piece of one that comes must
/// come within `timeout` and [`NEXT_PIECE`].
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

async fn next<B>(body: &mut B) -> Result<Option<Bytes>, ServiceFailure>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
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

fn as_it_comes<B>(
    first: Bytes,
    body: B,
    limit: u64,
    timeout: Duration,
) -> BoxStream<'static, Result<Bytes, ServiceFailure>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Send + Unpin + 'static,
{
    let timeout = timeout.min(NEXT_PIECE);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_does_not_come_ends_the_answer_before_the_other_node_gives_up() {
        for (service, waited) in
            [(Duration::from_secs(270), NEXT_PIECE), (Duration::from_secs(3), Duration::from_secs(3))]
        {
            let one = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"one")))]);
            let body = StreamBody::new(one.chain(stream::pending()).boxed());
            let mut pieces = as_it_comes(Bytes::new(), body, 10, service);
            assert_eq!(pieces.next().await, Some(Ok(Bytes::from_static(b"one"))));
            let began = tokio::time::Instant::now();
            assert_eq!(pieces.next().await, Some(Err(ServiceFailure::Timeout(waited.as_millis()))));
            assert!(began.elapsed() < waited + Duration::from_secs(1));
        }
    }
}
