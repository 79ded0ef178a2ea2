//! A service that misbehaves as the path of the call says, byte by byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How often each request (`X-Road-Request-Id`) came.
type Came = Arc<Mutex<HashMap<String, u32>>>;

pub(crate) struct Fake {
    pub(crate) port: u16,
    /// A port on which bytes come that are not TLS, whatever is said.
    pub(crate) no_tls: u16,
    came: Came,
    greeted: Arc<Mutex<u32>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, no_tls) = (listener.local_addr().unwrap().port(), other.local_addr().unwrap().port());
        let fake = Self { port, no_tls, came: Came::default(), greeted: Arc::default() };
        let (came, greeted) = (Arc::clone(&fake.came), Arc::clone(&fake.greeted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(misbehave(stream, Arc::clone(&came)));
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = other.accept().await {
                *greeted.lock().unwrap() += 1;
                stream.write_all(b"220 this is no TLS\r\n").await.ok();
            }
        });
        fake
    }

    /// How often a request came.
    pub(crate) fn came(&self, request: &str) -> u32 {
        self.came.lock().unwrap().get(request).copied().unwrap_or(0)
    }

    /// Connections to the port without TLS.
    pub(crate) fn greeted(&self) -> u32 {
        *self.greeted.lock().unwrap()
    }
}

/// Reads one head, counts it, and does what its path says. The connection ends with it.
async fn misbehave(mut stream: TcpStream, came: Came) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        head.extend_from_slice(&some[..n]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let id = text.split("x-road-request-id: ").nth(1)?.split("\r\n").next()?.to_owned();
    *came.lock().unwrap().entry(id).or_default() += 1;
    let way = text.split_whitespace().nth(1)?.rsplit('/').next()?.to_owned();
    if way == "answers-before-the-body" {
        say(&mut stream, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!")
            .await?;
        stream.shutdown().await.ok()?;
        return drain(&mut stream).await;
    }
    // Every other body is small and came with the head or right behind it.
    let length: usize = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let there = head.len() - (text.find("\r\n\r\n")? + 4);
    let mut rest = vec![0; length - there];
    stream.read_exact(&mut rest).await.ok()?;
    answer(&mut stream, &way).await
}

async fn say(stream: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()
}

/// Reads until the other side ends: a close with unread bytes would be a reset.
async fn drain(stream: &mut TcpStream) -> Option<()> {
    let mut some = vec![0; 64 << 10];
    while stream.read(&mut some).await.ok()? > 0 {}
    Some(())
}

const FOR_EVER: Duration = Duration::from_secs(300);

async fn answer(stream: &mut TcpStream, way: &str) -> Option<()> {
    let whole: &[u8] = match way {
        "slow-head" => {
            tokio::time::sleep(FOR_EVER).await;
            b""
        }
        "slow-body" => {
            say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await?;
            return drip(stream, b"x", Duration::from_millis(100)).await;
        }
        "slow-fields" => {
            say(stream, b"HTTP/1.1 200 OK\r\n").await?;
            return drip(stream, b"x-more: 1\r\n", Duration::from_millis(100)).await;
        }
        "fields-without-end" => {
            say(stream, b"HTTP/1.1 200 OK\r\n").await?;
            return drip(stream, &b"x-more: 1\r\n".repeat(100), Duration::ZERO).await;
        }
        "hints-without-end" => {
            return drip(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n", Duration::from_millis(5)).await;
        }
        "hints-then-an-answer" => {
            let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(50);
            say(stream, &hints).await?;
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright"
        }
        "stops-within-the-body" => {
            say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nright").await?;
            tokio::time::sleep(FOR_EVER).await;
            b""
        }
        "dies-within-the-body" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nright",
        "dies-within-a-chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nright",
        "dies-between-chunks" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nright\r\n",
        "no-number-of-a-chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nright\r\n0\r\n\r\n",
        "says-more-than-its-length" => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nrightHTTP/1.1 200 OK\r\n\r\nwrong",
        "length-and-chunks" => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n"
        }
        "two-lengths" => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 4\r\n\r\nright",
        "closes" => b"",
        "half-a-head" => b"HTTP/1.1 200 OK\r\ncontent-le",
        "no-http" => b"bonjour!\r\n\r\n",
        "body-alone" => b"<html>right</html>",
        "no-status" => b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        "switches" => b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "a-nul-in-a-field" => b"HTTP/1.1 200 OK\r\nx-odd: a\0b\r\ncontent-length: 0\r\n\r\n",
        "http-1.0" => b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nright",
        "empty" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "nothing-to-say" => b"HTTP/1.1 204 No Content\r\n\r\n",
        "too-many-fields" => {
            let fields = "x-many: 1\r\n".repeat(300);
            say(stream, format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n").as_bytes()).await?;
            b""
        }
        "a-huge-field" => {
            let value = "v".repeat(1 << 20);
            say(stream, format!("HTTP/1.1 200 OK\r\nx-huge: {value}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await?;
            b""
        }
        "more-fields-than-a-header-holds" => {
            let value = "v".repeat(100 << 10);
            say(stream, format!("HTTP/1.1 200 OK\r\nx-big: {value}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await?;
            b""
        }
        other => panic!("the fake does not know {other}"),
    };
    say(stream, whole).await?;
    stream.shutdown().await.ok()?;
    drain(stream).await
}

/// Says the same again and again, until nobody listens.
async fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> Option<()> {
    loop {
        say(stream, bytes).await?;
        tokio::time::sleep(pause).await;
    }
}
