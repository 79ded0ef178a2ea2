//! Connections that are made by hand.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use truc_testkit::Anybody;

use crate::ground::PATIENCE;

/// A certificate to show, with its key.
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A connection from this address.
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = timeout(PATIENCE, socket.connect(to)).await.expect("a connection takes no minute")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// So many connections, each with these bytes sent. One that is closed at once counts too.
pub(crate) async fn many(from: Ipv4Addr, to: SocketAddr, number: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(number);
    for _ in 0..number {
        let mut stream = connect(from, to).await.unwrap();
        drop(stream.write_all(bytes).await);
        all.push(stream);
    }
    all
}

/// True when the other side has closed the connection, or sent something.
pub(crate) fn is_over(stream: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// How many of these are still open and silent.
pub(crate) fn open(all: &[TcpStream]) -> usize {
    all.iter().filter(|stream| !is_over(stream)).count()
}

/// Everything until the other side closes; a reset is an end too.
pub(crate) async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the door closes in the end"));
    said
}

/// The status of an HTTP/1.1 answer.
pub(crate) fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Sends a whole request and hears the status; `None` when there was no answer.
pub(crate) async fn ask(from: Ipv4Addr, to: SocketAddr, request: &str) -> Option<u16> {
    let mut stream = connect(from, to).await.ok()?;
    drop(stream.write_all(request.as_bytes()).await);
    status(&rest(stream).await)
}

/// A TLS connection that offers this protocol.
pub(crate) async fn tls(
    from: Ipv4Addr,
    to: SocketAddr,
    shown: Option<&Shown>,
    alpn: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match shown {
        Some(shown) => builder.with_client_auth_cert(shown.chain.clone(), shown.key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = connect(from, to).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, shaking).await.expect("a handshake takes no minute")
}
