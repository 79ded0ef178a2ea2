//! The network under the links and the door: the machine's TCP, or a simulated one in tests.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// One connection's bytes, both ways, in order.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Opens connections.
#[async_trait]
pub trait Network: Send + Sync {
    /// Connects to `address`, as `host:port`; the caller bounds the time.
    ///
    /// # Errors
    /// As the network says.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>>;
}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send {
    /// The next connection, and where it comes from. Dropping the future loses none.
    ///
    /// # Errors
    /// As the network says; the next call may succeed.
    async fn accept(&mut self) -> io::Result<(Box<dyn ByteStream>, SocketAddr)>;
}

/// The machine's own TCP, without Nagle's delay (RFC 896): frames are small, and each is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn ByteStream>, SocketAddr)> {
        let (stream, from) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%from, %error, "no TCP_NODELAY");
        }
        Ok((Box::new(stream), from))
    }
}
