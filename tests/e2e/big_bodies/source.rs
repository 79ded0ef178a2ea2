//! Big bodies that are made as they are read, and clients and services that hold them up.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use truc_model::{Digest, Digester};

/// How much a source gives at once.
const PIECE: usize = 256 * 1024;

/// Stands in every body at every 256 KiB: what must not be found on a disk.
pub(crate) const MARKER: &str = "So dinh danh 001099000001";

fn piece(number: u64) -> Bytes {
    static FIRST: OnceLock<Vec<u8>> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let mut state = 0x9e37_79b9_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut bytes: Vec<u8> = (0..PIECE).map(|_| random()).collect();
        bytes[64..64 + MARKER.len()].copy_from_slice(MARKER.as_bytes());
        bytes
    });
    let mut bytes = first.clone();
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// The bytes from `at` to the end of their piece, at most `most`.
fn bytes_at(at: u64, most: u64) -> Bytes {
    let whole = piece(at / PIECE as u64);
    let from = (at % PIECE as u64) as usize;
    let to = whole.len().min(from.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)));
    whole.slice(from..to)
}

/// Length and digest of the bytes from `from` to `to`.
pub(crate) fn digest_of(from: u64, to: u64) -> (u64, Digest) {
    let (mut digester, mut at) = (Digester::default(), from);
    while at < to {
        let bytes = bytes_at(at, to - at);
        at += bytes.len() as u64;
        digester.update(&bytes);
    }
    (digester.length(), digester.finish())
}

/// A body of the bytes from one place to another.
pub(crate) struct Source {
    at: u64,
    to: u64,
    announced: bool,
    /// How much has been taken of it.
    taken: Arc<AtomicU64>,
    /// Gives no more from here on, until told.
    hold: Option<(u64, watch::Receiver<bool>)>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Source {
    pub(crate) fn of(length: u64) -> Self {
        Self::between(0, length)
    }

    pub(crate) fn between(from: u64, to: u64) -> Self {
        Self { at: from, to, announced: true, taken: Arc::default(), hold: None, waiting: None }
    }

    /// Without saying how long it is.
    pub(crate) fn unannounced(mut self) -> Self {
        self.announced = false;
        self
    }

    /// Gives no more than `length` until what is returned says `true`.
    pub(crate) fn held_after(mut self, length: u64) -> (Self, watch::Sender<bool>) {
        let (go, wait) = watch::channel(false);
        self.hold = Some((self.at + length, wait));
        (self, go)
    }

    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some((from, wait)) = &self.hold
            && self.at >= *from
            && self.waiting.is_none()
        {
            let mut wait = wait.clone();
            // Nobody who could say so any more: it is held for ever.
            self.waiting = Some(Box::pin(async move {
                if wait.wait_for(|go| *go).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }));
        }
        if let Some(waiting) = &mut self.waiting {
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            (self.hold, self.waiting) = (None, None);
        }
        if self.at >= self.to {
            return Poll::Ready(None);
        }
        let bytes = bytes_at(self.at, self.to - self.at);
        self.at += bytes.len() as u64;
        self.taken.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.to - self.at) } else { SizeHint::default() }
    }
}
