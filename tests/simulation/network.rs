//! The simulated network under the real links and the real door.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use truc_peer::{ByteStream, Listener, Network};
use turmoil::net::{TcpListener, TcpStream};

use crate::journal::Journal;

/// The network as one node sees it.
pub(crate) struct SimNetwork {
    pub(crate) node: usize,
    pub(crate) journal: Arc<Journal>,
}

impl SimNetwork {
    fn counted(&self, stream: TcpStream) -> Box<dyn ByteStream> {
        Box::new(Counted { stream, node: self.node, journal: Arc::clone(&self.journal) })
    }
}

#[async_trait]
impl Network for SimNetwork {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        Ok(self.counted(TcpStream::connect(address).await?))
    }
}

/// The door of one node.
pub(crate) struct SimListener {
    network: SimNetwork,
    listener: TcpListener,
}

impl SimListener {
    pub(crate) async fn bind(network: SimNetwork) -> io::Result<Self> {
        Ok(Self { network, listener: TcpListener::bind("0.0.0.0:5500").await? })
    }
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn ByteStream>, SocketAddr)> {
        let (stream, from) = self.listener.accept().await?;
        Ok((self.network.counted(stream), from))
    }
}

/// Counts what is written.
struct Counted {
    stream: TcpStream,
    node: usize,
    journal: Arc<Journal>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.journal.write(self.node);
        }
        written
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        self.poll_write(cx, first)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
