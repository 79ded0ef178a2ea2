//! Slow, silent and too many callers at the edge, plain and over TLS; heads that are too big.

use std::net::Ipv4Addr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::ground::{Attack, ELSEWHERE, HERE, Victim, attack, call};
use crate::h2::H2;
use crate::raw::{self, ask, connect, many, open, rest, status};
use crate::support::{DESK, ECHO, until};

/// As [`truc_edge::EdgeConfig`] has them.
const CONNECTIONS: usize = 2048;
const OF_ONE_ADDRESS: usize = 1024;
const HANDSHAKES: usize = 512;

const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A byte on each, as slow callers send.
async fn drip(all: &mut [TcpStream], byte: &[u8]) {
    for stream in all {
        drop(stream.write_all(byte).await);
    }
}

/// At most so many are left of these.
async fn left(all: &[TcpStream], most: usize) {
    until("surplus connections are closed", || async { open(all) <= most }).await;
}

#[test]
fn slow_heads_and_idle_connections_crowd_out_only_each_other() {
    attack("slow heads", async |ground| {
        let partial = call("slow", "");
        let partial = &partial.as_bytes()[..partial.len() - 2];
        let mut slow = many(HERE, ground.edge(), OF_ONE_ADDRESS + 300, partial).await;
        left(&slow, OF_ONE_ADDRESS).await;
        for _ in 0..2 {
            drip(&mut slow, b"x").await;
            ground.honest(HERE).await;
            ground.honest(ELSEWHERE).await;
        }
        // A second address that says nothing: the door is full, and the limit holds.
        let silent = many(THIRD, ground.edge(), OF_ONE_ADDRESS + 1, b"").await;
        left(&silent, OF_ONE_ADDRESS).await;
        assert!(open(&slow) + open(&silent) <= CONNECTIONS);
        for from in [HERE, ELSEWHERE, THIRD] {
            ground.honest(from).await;
        }
        ground.bounded(Victim::Consumer, 128, CONNECTIONS + 32).await;
    });
}

#[test]
fn slow_bodies_are_given_up_and_hold_no_more_than_one_addresss_share() {
    attack("slow bodies", async |ground| {
        let head = format!(
            "POST /r1/{ECHO}/raw/slow HTTP/1.1\r\nHost: n\r\nX-Road-Client: {DESK}\r\nContent-Length: 100000\r\n\r\nslow"
        );
        let mut slow = many(HERE, ground.edge(), OF_ONE_ADDRESS, head.as_bytes()).await;
        ground.honest(ELSEWHERE).await;
        drip(&mut slow, b"x").await;
        ground.bounded(Victim::Consumer, 128, OF_ONE_ADDRESS + 32).await;
        // All of them are at work: who comes from there as well is turned away, until they are given up.
        ground.honest(ELSEWHERE).await;
        until("an honest call from there is answered", || async {
            ground.call_from(HERE).await == Some(200)
        })
        .await;
        let mut told = Vec::new();
        for stream in slow.split_off(OF_ONE_ADDRESS - 32) {
            told.push(status(&rest(stream).await));
        }
        // Some have made way for the honest calls meanwhile.
        assert!(told.contains(&Some(400)), "{told:?}");
        assert!(told.iter().all(|status| matches!(status, None | Some(400))), "{told:?}");
    });
}

/// The answers of a service that echoes, asked for and not read.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    attack("answers not read", async |ground| {
        let body = vec![b'x'; 4 << 20];
        let head = format!(
            "POST /r1/{ECHO}/raw/unread HTTP/1.1\r\nHost: n\r\nX-Road-Client: {DESK}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut unread = Vec::new();
        for _ in 0..12 {
            let mut stream = connect(HERE, ground.edge()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            stream.readable().await.unwrap();
            unread.push(stream);
        }
        ground.honest(HERE).await;
        ground.honest(ELSEWHERE).await;
        ground.bounded(Victim::Consumer, 256, 64).await;
    });
}

#[test]
fn heads_that_are_too_big_are_refused_early() {
    attack("header bombs", async |ground| {
        let to = ground.edge();
        let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
        let names: String = (0..10_000).map(|n| format!("x-{n}: 1\r\n")).collect();
        let same = "x: 1\r\n".repeat(5_000);
        let some: String = (0..230).map(|n| format!("x-{n}: 1\r\n")).collect();
        for (more, told) in [(&long, 431), (&names, 431), (&same, 431), (&some, 400)] {
            let said = ask(HERE, to, &call("bomb", &format!("Connection: close\r\n{more}"))).await;
            // A head of a megabyte may be cut before the answer is read.
            assert!(said == Some(told) || (said.is_none() && more.len() > 32 * 1024), "{told}: {said:?}");
        }
        let path =
            format!("GET /r1/{ECHO}/{} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n", "a".repeat(30_000));
        assert!(ask(HERE, to, &path).await.is_some_and(|told| (400..500).contains(&told)));
        // Heads that never end, on many connections at once.
        let mut endless = many(HERE, to, 200, b"GET / HTTP/1.1\r\nX-Endless: ").await;
        for _ in 0..4 {
            drip(&mut endless, &[b'x'; 16 * 1024]).await;
        }
        left(&endless, 0).await;
        ground.honest(HERE).await;
        ground.bounded(Victim::Consumer, 128, 64).await;
    });
}

#[test]
fn requests_one_after_the_other_on_one_connection_are_answered_in_order() {
    attack("pipelining", async |ground| {
        let mut stream = connect(HERE, ground.edge()).await.unwrap();
        let mut all: String = (0..50).map(|n| call(&format!("pipe-{n}"), "")).collect();
        all += &call("pipe-last", "Connection: close\r\n");
        stream.write_all(all.as_bytes()).await.unwrap();
        let said = String::from_utf8(rest(stream).await).unwrap();
        let places: Vec<_> = (0..50).map(|n| said.find(&format!("pipe-{n}\"")).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(said.matches("HTTP/1.1 200").count(), 51);
        // Ten thousand at once, nothing of it read.
        let flood = call("flood", "").repeat(10_000);
        let mut deaf = connect(HERE, ground.edge()).await.unwrap();
        let writing =
            tokio::time::timeout(std::time::Duration::from_secs(2), deaf.write_all(flood.as_bytes()));
        drop(writing.await);
        ground.honest(HERE).await;
        ground.bounded(Victim::Consumer, 128, 32).await;
    });
}

/// An honest call over HTTPS.
async fn honest_over_tls(ground: &Attack, from: Ipv4Addr) {
    until("an honest HTTPS call is answered", || async {
        let Ok(mut stream) = raw::tls(from, ground.https, None, "http/1.1").await else { return false };
        let request = call("tls", "Connection: close\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await);
        status(&said) == Some(200)
    })
    .await;
}

#[test]
fn handshakes_that_never_end_or_make_no_sense_keep_nobody_out() {
    attack("half-open handshakes", async |ground| {
        let silent = many(HERE, ground.https, 1_500, b"").await;
        left(&silent, HANDSHAKES / 2).await;
        honest_over_tls(ground, HERE).await;
        // The beginning of a handshake, and a promise of 16 KiB more.
        let begun = many(THIRD, ground.https, 1_500, b"\x16\x03\x01\x40\x00\x01").await;
        left(&begun, HANDSHAKES / 2).await;
        ground.bounded(Victim::Consumer, 128, HANDSHAKES + 64).await;
        for from in [HERE, ELSEWHERE, THIRD] {
            honest_over_tls(ground, from).await;
        }
        let garbage: Vec<u8> = (0..2048_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for bytes in [&garbage[..], call("plain", "").as_bytes(), &[0; 5], &[0x16; 600]] {
            let wrong = many(HERE, ground.https, 100, bytes).await;
            honest_over_tls(ground, HERE).await;
            drop(wrong);
        }
    });
}

#[test]
fn idle_http2_connections_crowd_out_only_each_other() {
    attack("idle HTTP/2 connections", async |ground| {
        let mut idle = Vec::new();
        for _ in 0..=OF_ONE_ADDRESS {
            idle.push(H2::begin(connect(HERE, ground.edge()).await.unwrap(), &[], true).await);
        }
        let still = || idle.iter().filter(|line| !line.heard.over()).count();
        until("one too many makes way", || async { still() <= OF_ONE_ADDRESS }).await;
        ground.honest(HERE).await;
        ground.honest(ELSEWHERE).await;
        ground.bounded(Victim::Consumer, 128, OF_ONE_ADDRESS + 32).await;
    });
}
