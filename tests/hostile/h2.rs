//! HTTP/2 by hand: any frame in any order (RFC 9113, RFC 7541).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A length with a prefix of 7 bits (RFC 7541 §5.1), no Huffman code.
fn length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return out.push(length as u8);
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// A field, literally; `indexed` puts it into the table as well.
pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &[u8], indexed: bool) {
    out.push(if indexed { 0x40 } else { 0 });
    length(out, name.len());
    out.extend_from_slice(name.as_bytes());
    length(out, value.len());
    out.extend_from_slice(value);
}

/// A request's fields.
pub(crate) fn head(method: &str, path: &str, scheme: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let pseudo = [(":method", method), (":path", path), (":scheme", scheme), (":authority", "n")];
    for (name, value) in pseudo.iter().chain(more) {
        field(&mut out, name, value.as_bytes(), false);
    }
    out
}

/// What has been heard on a connection.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) by_kind: [AtomicUsize; 16],
    pub(crate) closed: AtomicBool,
    /// The first mebibyte of what came as DATA.
    data: Mutex<Vec<u8>>,
}

impl Heard {
    pub(crate) fn count(&self, kind: u8) -> usize {
        self.by_kind[kind as usize].load(Ordering::SeqCst)
    }
    /// How often these bytes came as DATA.
    pub(crate) fn said(&self, bytes: &[u8]) -> usize {
        self.data.lock().unwrap().windows(bytes.len()).filter(|window| *window == bytes).count()
    }
    /// The other side wants no more of this.
    pub(crate) fn over(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.count(GOAWAY) > 0
    }
}

/// A connection. It acknowledges the other side's settings, and answers no pings.
pub(crate) struct H2<S> {
    write: WriteHalf<S>,
    pub(crate) heard: Arc<Heard>,
    reader: JoinHandle<()>,
    next: u32,
    /// The other side has not taken something.
    dead: bool,
}

impl<S> Drop for H2<S> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> H2<S> {
    /// Begins with these settings; `listens` says whether it reads what comes after the other side's.
    pub(crate) async fn begin(stream: S, settings: &[(u16, u32)], listens: bool) -> Self {
        let (mut read, write) = tokio::io::split(stream);
        let heard = Arc::<Heard>::default();
        let hears = Arc::clone(&heard);
        let reader = tokio::spawn(async move {
            let mut head = [0; 9];
            let mut payload = Vec::new();
            while read.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                payload.resize(length, 0);
                if read.read_exact(&mut payload).await.is_err() {
                    break;
                }
                hears.by_kind[usize::from(head[3]) % 16].fetch_add(1, Ordering::SeqCst);
                {
                    let mut data = hears.data.lock().unwrap();
                    if head[3] == DATA && data.len() < 1 << 20 {
                        data.extend_from_slice(&payload);
                    }
                }
                if head[3] == SETTINGS && !listens {
                    return std::future::pending().await;
                }
            }
            hears.closed.store(true, Ordering::SeqCst);
        });
        let mut this = Self { write, heard, reader, next: 1, dead: false };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        preface.extend(frame(SETTINGS, 0, 0, &payload));
        this.write(&preface).await;
        // Its windows count once its settings are acknowledged.
        for _ in 0..500 {
            if this.heard.over() || this.heard.count(SETTINGS) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        this.write(&frame(SETTINGS, END_STREAM, 0, &[])).await;
        this
    }

    /// The number of a new stream.
    pub(crate) fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Writes; false when the other side takes no more: it has closed, or has not read for a while.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        if self.dead {
            return false;
        }
        let written = timeout(Duration::from_secs(1), async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        });
        self.dead = !matches!(written.await, Ok(Ok(())));
        !self.dead
    }

    /// Writes so many times what `next` makes, until the other side ends it; returns how many were taken.
    pub(crate) async fn flood(&mut self, times: usize, mut next: impl FnMut(&mut Self) -> Vec<u8>) -> usize {
        let mut batch = Vec::new();
        for done in 0..times {
            let bytes = next(self);
            batch.extend(bytes);
            if batch.len() > 32 * 1024 || done + 1 == times {
                if self.heard.over() || !self.write(&batch).await {
                    return done;
                }
                batch.clear();
            }
        }
        times
    }
}
