//! A node that means harm at another node's peer door: with a certificate that the registry knows, and with one that it does
//! not know.

use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use truc_model::{Clock as _, MessageId, SystemClock};
use truc_wire::peer::frame::Kind;
use truc_wire::peer::{BodyChunk, Data, Frame, Open, Ticket};

use crate::ground::{Attack, ELSEWHERE, HERE, Victim, attack};
use crate::h2::{DATA, END_HEADERS, END_STREAM, H2, HEADERS, RST_STREAM, WINDOW_UPDATE, frame, head};
use crate::raw::{self, Shown, many, open};
use crate::support::{DESK, ECHO, until};

type Line = H2<TlsStream<TcpStream>>;

/// As the peer door has them.
const OF_ONE_CERTIFICATE: usize = 8;
const HANDSHAKES: usize = 512;

const INITIAL_WINDOW: u16 = 4;

async fn line(ground: &Attack, shown: &Shown, settings: &[(u16, u32)], listens: bool) -> Option<Line> {
    let stream = raw::tls(HERE, ground.peer(), Some(shown), "h2").await.ok()?;
    Some(H2::begin(stream, settings, listens).await)
}

/// A call of a method on a new stream.
async fn begin(line: &mut Line, method: &str) -> u32 {
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let head = head("POST", &format!("/truc.peer.v1.Peer/{method}"), "https", &fields);
    let stream = line.stream();
    line.write(&frame(HEADERS, END_HEADERS, stream, &head)).await;
    stream
}

/// A gRPC message in DATA frames of at most 16 KiB.
fn message(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![0];
    all.extend((bytes.len() as u32).to_be_bytes());
    all.extend_from_slice(bytes);
    all.chunks(16_384).flat_map(|piece| frame(DATA, 0, stream, piece)).collect()
}

fn of_exchange(stream: u32, exchange: u64, kind: Kind) -> Vec<u8> {
    message(stream, &Frame { exchange, kind: Some(kind) }.encode_to_vec())
}

/// A header that the provider's node goes on to read the rest for.
fn header(number: u64, length: u64) -> Vec<u8> {
    let sent = SystemClock.now();
    let expires = sent.plus(Duration::from_secs(60));
    let mut random = [7; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    let id = MessageId::new(sent, random);
    format!(
        r#"{{"v":1,"kind":"request","id":"{id}","instance":"VN","client":"SUBSYSTEM:{DESK}","service":"SERVICE:{ECHO}","from":"NODE:VN/GOV/H26/ss1","to":"NODE:VN/GOV/G01/ss1","directory":{{"epoch":1,"version":1}},"sent":"{sent}","expires":"{expires}","method":"POST","path":"/raw/1","headers":[],"body":{{"mediaType":"text/plain","length":{length}}}}}"#
    )
    .into_bytes()
}

fn beginning(number: u64, length: u64) -> Open {
    Open { header: header(number, length).into(), body_length: length, ..Open::default() }
}

/// Connections of this certificate, as many as are taken.
async fn lines(ground: &Attack, shown: &Shown, number: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..number {
        lines.extend(line(ground, shown, &[], true).await);
    }
    lines
}

#[test]
fn exchanges_that_never_end_hold_no_more_than_one_certificates_share() {
    attack("exchanges that never end", async |ground| {
        // Room for every answer: this attacker listens.
        let mut line = line(ground, &ground.registered, &[(INITIAL_WINDOW, 1 << 24)], true).await.unwrap();
        line.write(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes())).await;
        let stream = begin(&mut line, "Exchange").await;
        for number in 1..=1_000 {
            line.write(&of_exchange(stream, number, Kind::Open(beginning(number, 10)))).await;
        }
        // Half of a thousand places are its own.
        until("surplus exchanges are told BUSY", || async { line.heard.said(b"BUSY") >= 500 }).await;
        assert_eq!((line.heard.said(b"BUSY"), line.heard.said(b"MALFORMED")), (500, 0));
        ground.honest(HERE).await;
        ground.bounded(Victim::Provider, 128, 16).await;
        // Bodies that were announced and never sent, under tickets.
        for number in 1_001..=1_100 {
            let ticket = Ticket { ticket: vec![number as u8; 32].into() };
            line.write(&of_exchange(stream, number, Kind::Open(beginning(number, 1 << 20)))).await;
            line.write(&of_exchange(stream, number, Kind::Ticket(ticket))).await;
        }
        ground.honest(HERE).await;
        drop(line);
        ground.honest(HERE).await;
    });
}

#[test]
fn exchange_numbers_without_end_and_ears_cost_little() {
    attack("exchange numbers, deaf", async |ground| {
        for shown in [&ground.registered, &ground.stranger] {
            // No window, so no answer can go out, and nothing is read.
            let mut line = line(ground, shown, &[(INITIAL_WINDOW, 0)], false).await.unwrap();
            let stream = begin(&mut line, "Exchange").await;
            let mut number = 0;
            line.flood(60_000, |_| {
                number += if number % 3 == 0 { 5_000 } else { 1 };
                of_exchange(stream, number, Kind::Open(Open::default()))
            })
            .await;
            ground.honest(HERE).await;
            ground.bounded(Victim::Provider, 128, 16).await;
        }
    });
}

#[test]
fn frames_that_are_too_big_or_too_many_end_where_they_begin() {
    attack("big frames", async |ground| {
        for shown in [&ground.registered, &ground.stranger] {
            let lines = lines(ground, shown, OF_ONE_CERTIFICATE).await;
            for (at, mut line) in lines.into_iter().enumerate() {
                let stream = begin(&mut line, "Exchange").await;
                match at {
                    // A promise of 4 GiB, and of 16 MiB that come.
                    0 => drop(line.write(&frame(DATA, 0, stream, &[0, 0xff, 0xff, 0xff, 0xff, 0])).await),
                    1 => drop(line.flood(1, |_| message(stream, &vec![7; 16 << 20])).await),
                    // Statuses, each another, as many as a frame holds.
                    2 => {
                        let mut made = 0_u32;
                        line.flood(100, |_| {
                            let statuses = (0..30)
                                .map(|_| {
                                    made += 1;
                                    made.to_be_bytes().repeat(4_000).into()
                                })
                                .collect();
                            let open = Open { statuses, ..Open::default() };
                            of_exchange(stream, u64::from(made), Kind::Open(open))
                        })
                        .await;
                    }
                    // Bodies upon bodies for exchanges that wait.
                    3 => {
                        for number in 1..=30 {
                            line.write(&of_exchange(stream, number, Kind::Open(beginning(number, 1 << 20))))
                                .await;
                            line.flood(3, |_| {
                                let data = Data { bytes: vec![7; 60_000].into() };
                                of_exchange(stream, number, Kind::Data(data))
                            })
                            .await;
                        }
                    }
                    // Not protobuf.
                    4 => drop(line.flood(200, |_| message(stream, &[0xff; 1000])).await),
                    // Compressed, which nobody offered.
                    5 => drop(line.write(&frame(DATA, 0, stream, &[1, 0, 0, 0, 1, 0])).await),
                    _ => {}
                }
                ground.honest(HERE).await;
            }
            ground.bounded(Victim::Provider, 128, 32).await;
        }
    });
}

/// Bodies under tickets that nobody announced.
#[test]
fn bodies_that_nobody_waits_for_are_not_kept() {
    attack("bodies without tickets", async |ground| {
        for shown in [&ground.registered, &ground.stranger] {
            let mut lines = lines(ground, shown, OF_ONE_CERTIFICATE).await;
            for (at, line) in lines.iter_mut().enumerate() {
                for number in 0..14_u8 {
                    let stream = begin(line, "Send").await;
                    let ticket = vec![at as u8 ^ number; 32].into();
                    let chunk = BodyChunk { ticket, bytes: vec![7; 256 * 1024].into() };
                    line.flood(1, |_| message(stream, &chunk.encode_to_vec())).await;
                }
            }
            ground.honest(HERE).await;
            ground.bounded(Victim::Provider, 192, 32).await;
            // Who is nobody's node is told so before anything is read.
            if std::ptr::eq(shown, &ground.stranger) {
                until("a stranger's bodies are refused", || async { lines[0].heard.count(HEADERS) > 0 })
                    .await;
            }
        }
    });
}

#[test]
fn fetches_and_streams_that_are_reset_leave_nothing() {
    attack("resets at the peer door", async |ground| {
        for shown in [&ground.registered, &ground.stranger] {
            for method in ["Exchange", "Fetch", "Outcome", "Send"] {
                let mut line = line(ground, shown, &[], true).await.unwrap();
                let fields = [("content-type", "application/grpc"), ("te", "trailers")];
                let head = head("POST", &format!("/truc.peer.v1.Peer/{method}"), "https", &fields);
                line.flood(3_000, |line| {
                    let stream = line.stream();
                    let mut all = frame(HEADERS, END_HEADERS, stream, &head);
                    all.extend(frame(DATA, END_STREAM, stream, &[0, 0, 0, 0, 0]));
                    all.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                    all
                })
                .await;
            }
            ground.honest(HERE).await;
            ground.bounded(Victim::Provider, 128, 32).await;
        }
    });
}

/// True when a node shakes hands and is spoken to.
async fn gets_in(to: SocketAddr, from: std::net::Ipv4Addr, shown: &Shown) -> bool {
    let Ok(stream) = raw::tls(from, to, Some(shown), "h2").await else { return false };
    let line = H2::begin(stream, &[], true).await;
    for _ in 0..200 {
        if line.heard.over() || line.heard.count(crate::h2::SETTINGS) > 0 {
            return !line.heard.over();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[test]
fn handshakes_that_never_end_keep_no_node_out() {
    attack("half-open peer handshakes", async |ground| {
        let to = ground.peer();
        let silent = many(HERE, to, 1_200, b"").await;
        until("surplus handshakes are closed", || async { open(&silent) <= HANDSHAKES / 2 }).await;
        for from in [HERE, ELSEWHERE] {
            until("a node gets in", || gets_in(to, from, &ground.registered)).await;
        }
        ground.bounded(Victim::Provider, 64, HANDSHAKES / 2 + 32).await;
        let garbage = many(HERE, to, 200, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        until("garbage is closed", || async { open(&garbage) == 0 }).await;
        // No certificate, and none that an approved CA issued.
        assert!(!gets_in_without_a_certificate(to).await);
        ground.honest(HERE).await;
    });
}

async fn gets_in_without_a_certificate(to: SocketAddr) -> bool {
    let Ok(stream) = raw::tls(HERE, to, None, "h2").await else { return false };
    let line = H2::begin(stream, &[], true).await;
    until("it is refused", || async { line.heard.over() }).await;
    line.heard.count(crate::h2::SETTINGS) > 0
}

#[test]
fn a_certificate_has_eight_connections_and_no_more() {
    attack("connections of one certificate", async |ground| {
        let mut lines = lines(ground, &ground.registered, 3 * OF_ONE_CERTIFICATE).await;
        let still = |lines: &[Line]| lines.iter().filter(|line| !line.heard.over()).count();
        until("surplus connections are closed", || async { still(&lines) <= OF_ONE_CERTIFICATE }).await;
        ground.honest(HERE).await;
        lines.clear();
        until("places are given back", || gets_in(ground.peer(), HERE, &ground.registered)).await;
    });
}
