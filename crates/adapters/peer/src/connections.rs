//! Which connections are open with which certificate, so that one that stops being trusted is cut (protocol P3).

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use truc_model::Fingerprint;

/// Connections with one certificate: a pair of nodes has one each way, and old ones take a moment to end.
const OF_ONE: usize = 8;
/// Connections in all.
const OF_ALL: usize = 2000;
/// Connections of certificates that no node has, together: enough for nodes that are just being registered.
const OF_STRANGERS: usize = 64;

/// One open connection.
struct Open {
    certificate: Fingerprint,
    /// Its certificate was a node's when it was opened.
    known: bool,
    cut: CancellationToken,
}

/// The open connections of one node, both directions.
#[derive(Clone, Default)]
pub struct Connections {
    open: Arc<Mutex<HashMap<u64, Open>>>,
    next: Arc<AtomicU64>,
}

impl Connections {
    /// Cuts every connection whose peer certificate is no longer among the trusted ones; returns how many.
    pub fn close_untrusted(&self, trusted: impl Fn(&Fingerprint) -> bool) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let cut: Vec<_> = open.values().filter(|one| !trusted(&one.certificate)).collect();
        for Open { certificate, cut, .. } in &cut {
            tracing::warn!(%certificate, "closing a connection: its certificate is no longer trusted");
            cut.cancel();
        }
        cut.len()
    }

    /// Ends every connection, because this node is stopping.
    pub fn close_all(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            connections = open.len(),
            "closing the connections to other nodes: this node is stopping"
        );
        open.values().for_each(|one| one.cut.cancel());
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Follows a new connection until it is dropped; `None` when this certificate, all that are not `known`, or everybody
    /// together, has as many as are allowed.
    pub(crate) fn follow<S>(&self, stream: S, certificate: Fingerprint, known: bool) -> Option<Followed<S>> {
        let token = CancellationToken::new();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = open.values().filter(|other| other.certificate == certificate).count();
        let strangers = if known { 0 } else { open.values().filter(|other| !other.known).count() };
        if theirs >= OF_ONE || strangers >= OF_STRANGERS || open.len() >= OF_ALL {
            return None;
        }
        open.insert(number, Open { certificate, known, cut: token.clone() });
        drop(open);
        let cut = Box::pin(token.clone().cancelled_owned());
        Some(Followed { stream, over: token, cut, number, connections: self.clone() })
    }
}

/// A connection that ends when its certificate stops being trusted.
pub(crate) struct Followed<S> {
    stream: S,
    over: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    number: u64,
    connections: Connections,
}

impl<S> Drop for Followed<S> {
    fn drop(&mut self) {
        self.over.cancel();
        self.connections.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl<S> Followed<S> {
    /// Cancelled once the connection is cut or has ended.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this node has closed the connection"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

use std::future::Future as _;

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
