//! HTTP/2 used against its purpose, at every door that speaks it: the edge, plain and over TLS, the peer door, the registry.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ground::{Attack, ELSEWHERE, HERE, Victim, attack};
use crate::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, head,
};
use crate::raw::{self, Shown};
use crate::support::{DESK, ECHO, until};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
type Line = H2<Box<dyn Stream>>;

/// A door that speaks HTTP/2.
struct Door<'g> {
    victim: Victim,
    address: SocketAddr,
    tls: Option<Option<&'g Shown>>,
    /// A request's fields.
    head: Vec<u8>,
}

const INITIAL_WINDOW: u16 = 4;
const HELD: usize = 128;

impl Door<'_> {
    async fn begin(&self, settings: &[(u16, u32)], listens: bool) -> Option<Line> {
        let stream: Box<dyn Stream> = match self.tls {
            None => Box::new(raw::connect(HERE, self.address).await.ok()?),
            Some(shown) => Box::new(raw::tls(HERE, self.address, shown, "h2").await.ok()?),
        };
        Some(H2::begin(stream, settings, listens).await)
    }

    async fn line(&self) -> Line {
        self.begin(&[], true).await.expect("the door takes connections")
    }

    fn request(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | flags, stream, &self.head)
    }

    /// Streams that are opened and reset in one breath (CVE-2023-44487).
    async fn rapid_reset(&self) {
        for _ in 0..4 {
            let mut line = self.line().await;
            line.flood(5_000, |line| {
                let stream = line.stream();
                let mut both = self.request(stream, 0);
                both.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                both
            })
            .await;
        }
    }

    /// A header list that never ends (CVE-2024-27316), and one whose parts are empty.
    async fn endless_heads(&self) {
        let mut line = self.line().await;
        let mut filler = Vec::new();
        field(&mut filler, "x-filler", &[b'x'; 8000], false);
        let stream = line.stream();
        line.write(&frame(HEADERS, 0, stream, &self.head)).await;
        let taken = line.flood(8_000, |_| frame(CONTINUATION, 0, stream, &filler)).await;
        assert!(taken < 8_000, "64 MiB of one header list were taken");
        let mut line = self.line().await;
        let stream = line.stream();
        line.write(&frame(HEADERS, 0, stream, &[])).await;
        let taken = line.flood(100_000, |_| frame(CONTINUATION, 0, stream, &[])).await;
        assert!(taken < 100_000, "100 000 empty parts of a header list were taken");
    }

    /// One byte for each 4 KiB of fields: HPACK's table put to work.
    async fn header_bomb(&self) {
        let mut line = self.line().await;
        let mut block = self.head.clone();
        field(&mut block, "x-bomb", &[b'x'; 4000], true);
        block.resize(16_000, 0x80 | 62);
        line.flood(200, |line| {
            let stream = line.stream();
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
        })
        .await;
    }

    /// Frames that cost the sender nothing.
    async fn cheap_frames(&self) {
        let ping = frame(PING, 0, 0, &[0; 8]);
        let settings = frame(SETTINGS, 0, 0, &[]);
        let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
        let window = frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
        for cheap in [&ping, &settings, &priority, &window] {
            // With ears and without: answers must not heap up.
            for listens in [true, false] {
                if let Some(mut line) = self.begin(&[], listens).await {
                    line.flood(30_000, |_| cheap.clone()).await;
                }
            }
        }
        let mut line = self.line().await;
        let stream = line.stream();
        line.write(&self.request(stream, 0)).await;
        line.flood(50_000, |_| frame(DATA, 0, stream, &[])).await;
    }

    /// What RFC 9113 forbids ends the connection, or the stream.
    async fn broken_frames(&self) {
        let most = 0x7fff_ffff_u32.to_be_bytes();
        let broken: [Vec<u8>; 7] = [
            frame(WINDOW_UPDATE, 0, 0, &0u32.to_be_bytes()),
            [frame(WINDOW_UPDATE, 0, 0, &most), frame(WINDOW_UPDATE, 0, 0, &most)].concat(),
            frame(DATA, 0, 1, b"no stream yet"),
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            frame(SETTINGS, 0, 0, &[0; 5]),
            frame(CONTINUATION, END_HEADERS, 1, &self.head),
            frame(HEADERS, END_HEADERS, 2, &self.head),
        ];
        for bytes in broken {
            let mut line = self.line().await;
            line.write(&bytes).await;
            until("a broken connection is ended", || async { line.heard.over() }).await;
        }
    }

    /// Streams on which nothing follows.
    async fn idle_streams(&self, connections: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        for _ in 0..connections {
            if let Some(mut line) = self.begin(&[], true).await {
                line.flood(HELD, |line| {
                    let stream = line.stream();
                    self.request(stream, 0)
                })
                .await;
                lines.push(line);
            }
        }
        lines
    }

    /// Answers that are asked for and never read; at the edge each is a call that is carried out.
    async fn closed_windows(&self, connections: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        for _ in 0..connections {
            if let Some(mut line) = self.begin(&[(INITIAL_WINDOW, 0)], false).await {
                line.flood(24, |line| {
                    let stream = line.stream();
                    self.request(stream, END_STREAM)
                })
                .await;
                lines.push(line);
            }
        }
        lines
    }

    /// All of it, with honest callers in between.
    async fn everything(&self, ground: &Attack, connections: usize, memory: u64) {
        self.broken_frames().await;
        self.endless_heads().await;
        self.header_bomb().await;
        ground.honest(HERE).await;
        self.cheap_frames().await;
        self.rapid_reset().await;
        ground.bounded(self.victim, memory, 64).await;
        ground.honest(HERE).await;
        let idle = self.idle_streams(connections).await;
        let deaf = self.closed_windows(connections).await;
        ground.honest(HERE).await;
        ground.honest(ELSEWHERE).await;
        ground.bounded(self.victim, memory, 3 * connections + 64).await;
        drop((idle, deaf));
    }
}

fn edge_head(scheme: &str) -> Vec<u8> {
    head("POST", &format!("/r1/{ECHO}/raw/h2"), scheme, &[("x-road-client", DESK)])
}

fn rpc_head(path: &str) -> Vec<u8> {
    head("POST", path, "https", &[("content-type", "application/grpc"), ("te", "trailers")])
}

#[test]
fn the_plain_edge_withstands_http2() {
    attack("HTTP/2, plain edge", async |ground| {
        let (victim, address) = (Victim::Consumer, ground.edge());
        let door = Door { victim, address, tls: None, head: edge_head("http") };
        door.everything(ground, 8, 256).await;
    });
}

#[test]
fn the_edge_over_tls_withstands_http2() {
    attack("HTTP/2, HTTPS edge", async |ground| {
        let (victim, address) = (Victim::Consumer, ground.https);
        let door = Door { victim, address, tls: Some(None), head: edge_head("https") };
        door.everything(ground, 3, 256).await;
    });
}

#[test]
fn the_peer_door_withstands_http2_of_a_registered_node() {
    attack("HTTP/2, peer door, registered", async |ground| {
        let (victim, address, tls) = (Victim::Provider, ground.peer(), Some(Some(&*ground.registered)));
        let door = Door { victim, address, tls, head: rpc_head("/truc.peer.v1.Peer/Exchange") };
        door.everything(ground, 3, 256).await;
    });
}

#[test]
fn the_peer_door_withstands_http2_of_a_stranger() {
    attack("HTTP/2, peer door, stranger", async |ground| {
        let (victim, address, tls) = (Victim::Provider, ground.peer(), Some(Some(&*ground.stranger)));
        let door = Door { victim, address, tls, head: rpc_head("/truc.peer.v1.Peer/Send") };
        door.everything(ground, 3, 256).await;
    });
}

#[test]
fn the_registry_withstands_http2() {
    attack("HTTP/2, registry", async |ground| {
        let (victim, address) = (Victim::Registry, ground.registry());
        let door =
            Door { victim, address, tls: Some(None), head: rpc_head("/truc.registry.v1.Registry/Watch") };
        door.everything(ground, 20, 256).await;
    });
}
