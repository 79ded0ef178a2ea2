//! One connection: what is under way on it, and when it is closed.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use truc_places::{AtWork, Place};

use crate::config::EdgeConfig;
use crate::connection::Caller;
use crate::edge::Edge;
use crate::reply::ReplyBody;
use crate::watched::Moved;

/// Smallest head buffer that hyper accepts.
const SMALLEST_HEAD: usize = 8 * 1024;

/// Most header fields that are parsed; a request with more is answered 431.
const MOST_FIELDS: usize = 256;

/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Longest piece of an answer that is handed to the connection at once.
const PIECE: usize = 64 * 1024;

/// What a connection is served with.
pub(crate) struct Served {
    pub(crate) caller: Arc<Caller>,
    pub(crate) place: Place,
    pub(crate) moved: Moved,
    pub(crate) edge: Arc<Edge>,
}

/// What is under way on one connection.
#[derive(Debug, Default)]
struct UnderWay {
    /// Requests that are not answered yet.
    asked: AtomicUsize,
    /// Answers that are being written.
    answers: AtomicUsize,
    /// Answers that have been written, or given up.
    written: AtomicUsize,
}

/// Adds one until it is dropped.
struct One(Arc<UnderWay>, fn(&UnderWay) -> &AtomicUsize);

impl One {
    fn of(under_way: &Arc<UnderWay>, count: fn(&UnderWay) -> &AtomicUsize) -> Self {
        count(under_way).fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(under_way), count)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body in pieces: it is there until the last of it is with the connection.
struct Answer {
    body: ReplyBody,
    rest: Bytes,
    counted: One,
    _work: AtWork,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.counted.0.written.fetch_add(1, Ordering::Relaxed);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, here) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + here);
        }
        hint.set_lower(inner.lower() + here);
        hint
    }
}

fn protocol(config: &EdgeConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.header_limit.max(SMALLEST_HEAD))
        .max_headers(MOST_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.header_limit).unwrap_or(u32::MAX))
        .max_concurrent_streams(Some(u32::try_from(config.max_calls).unwrap_or(u32::MAX).min(STREAMS)));
    builder
}

/// Serves a connection to its end: the caller's, that of its place, of patience with it, or of the edge.
pub(crate) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    served: Served,
    shutdown: CancellationToken,
) {
    let Served { caller, place, moved, edge } = served;
    let (config, halt, gone) = (edge.config, edge.halt.clone(), place.gone());
    let (place, under_way) = (Arc::new(place), Arc::<UnderWay>::default());
    let (at, counts) = (Arc::clone(&place), Arc::clone(&under_way));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&caller));
        let (edge, work) = (Arc::clone(&edge), at.work());
        let (counts, asked) = (Arc::clone(&counts), One::of(&counts, |counts| &counts.asked));
        async move {
            let answer = edge.answer(request).await;
            let counted = One::of(&counts, |counts| &counts.answers);
            drop(asked);
            answer.map(|answer| answer.map(|body| Answer { body, rest: Bytes::new(), counted, _work: work }))
        }
    });
    let builder = protocol(&config);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let (mut stopping, mut patience) = (false, Patience::default());
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the edge ended early");
                }
                return;
            }
            () = halt.cancelled() => return,
            () = gone.cancelled() => return tracing::debug!("an idle connection to the edge made way for another"),
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(config.idle_timeout) => {
                if patience.ends(&config, &moved, &under_way) {
                    return;
                }
            }
        }
    }
}

/// What a connection looked like when it was looked at last.
#[derive(Default)]
struct Patience {
    moved: u64,
    answers: usize,
    written: usize,
}

impl Patience {
    /// Looks again after [`EdgeConfig::idle_timeout`]. True when nothing happened in between, or when the same answer was being
    /// written all the time and the caller took less of it than the slowest that bodies may come.
    fn ends(&mut self, config: &EdgeConfig, moved: &Moved, under_way: &UnderWay) -> bool {
        let before = std::mem::replace(
            self,
            Self {
                moved: moved.so_far(),
                answers: under_way.answers.load(Ordering::Relaxed),
                written: under_way.written.load(Ordering::Relaxed),
            },
        );
        if under_way.asked.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let bytes = self.moved - before.moved;
        let same = before.answers > 0 && self.answers > 0 && self.written == before.written;
        let least = config.idle_timeout.as_secs() * u64::from(config.body_rate);
        if self.answers == 0 || same { bytes == 0 || (same && bytes < least) } else { false }
    }
}
