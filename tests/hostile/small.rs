//! The doors of operators and the pilot PKI: few places, and still none for those who do nothing; and the registry's own door.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::ground::{Attack, ELSEWHERE, HERE, Victim, attack};
use crate::h2::{DATA, END_HEADERS, END_STREAM, H2, HEADERS, frame, head};
use crate::raw::{self, ask, many, open};
use crate::support::until;

/// Idle and slow callers, more than there are places, and heads that are too big.
async fn small_door(ground: &Attack, victim: Victim, to: SocketAddr, places: usize, path: &str, told: u16) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
    let idle = many(HERE, to, places + 1, b"").await;
    let mut slow = many(HERE, to, 3 * places, &request.as_bytes()[..request.len() - 2]).await;
    for _ in 0..2 {
        for stream in &mut slow {
            drop(stream.write_all(b"x").await);
        }
        assert_eq!(ask(HERE, to, &request).await, Some(told), "an honest caller beside the attacker");
        assert_eq!(ask(ELSEWHERE, to, &request).await, Some(told), "an honest caller elsewhere");
    }
    until("surplus connections are closed", || async { open(&idle) + open(&slow) <= places / 2 }).await;
    ground.bounded(victim, 64, places + 16).await;
    for more in ["x: 1\r\n".repeat(120), format!("x: {}\r\n", "x".repeat(30_000))] {
        let bomb = request.replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1);
        let said = ask(HERE, to, &bomb).await;
        assert!(said == Some(431) || said == Some(told), "{said:?}");
    }
    let mut endless = many(HERE, to, 32, b"GET / HTTP/1.1\r\nx: ").await;
    for _ in 0..8 {
        for stream in &mut endless {
            drop(stream.write_all(&[b'x'; 8 * 1024]).await);
        }
    }
    until("endless heads are cut", || async { open(&endless) == 0 }).await;
    ground.bounded(victim, 64, places + 16).await;
}

#[test]
fn the_admin_api_of_a_node_is_there_for_its_operators() {
    attack("admin API", async |ground| {
        small_door(ground, Victim::Consumer, ground.admin(), 128, "/api/v1/status", 401).await;
        ground.bus.admin("H26").status().await.unwrap();
    });
}

#[test]
fn the_admin_api_of_the_registry_is_there_for_its_operators() {
    attack("registry's admin API", async |ground| {
        small_door(ground, Victim::Registry, ground.registry_admin(), 64, "/api/v1/status", 401).await;
    });
}

#[test]
fn the_pilot_pki_answers() {
    attack("pilot PKI", async |ground| {
        small_door(ground, Victim::Pki, ground.pki(), 256, "/health", 200).await;
        // Bodies that do not come, at the responder and the time-stamp authority.
        for (path, media_type) in [("ocsp", "ocsp-request"), ("tsa", "timestamp-query")] {
            let begun = format!(
                "POST /{path} HTTP/1.1\r\nHost: n\r\nContent-Type: application/{media_type}\r\nContent-Length: 100\r\n\r\n"
            );
            let slow = many(HERE, ground.pki(), 128, begun.as_bytes()).await;
            let health = "GET /health HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
            assert_eq!(ask(ELSEWHERE, ground.pki(), health).await, Some(200));
            drop(slow);
            let big = format!("{}{}", begun.replace(": 100", ": 1000000"), "x".repeat(20_000));
            let said = ask(HERE, ground.pki(), &big).await;
            assert!(matches!(said, None | Some(413)), "{said:?}");
        }
    });
}

/// A node that follows the directory: it hears the head in force.
async fn watches(ground: &Attack, from: std::net::Ipv4Addr) {
    until("a node hears the directory", || async {
        let Ok(stream) = raw::tls(from, ground.registry(), None, "h2").await else { return false };
        let mut line = H2::begin(stream, &[], true).await;
        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        let head = head("POST", "/truc.registry.v1.Registry/Watch", "https", &fields);
        line.write(&frame(HEADERS, END_HEADERS, 1, &head)).await;
        line.write(&frame(DATA, END_STREAM, 1, &[0; 5])).await;
        for _ in 0..200 {
            if line.heard.count(DATA) > 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    })
    .await;
}

#[test]
fn the_registry_is_there_for_its_nodes() {
    attack("registry", async |ground| {
        let to = ground.registry();
        let silent = many(HERE, to, 1_000, b"").await;
        until("surplus handshakes are closed", || async { open(&silent) <= 256 }).await;
        let garbage = many(HERE, to, 200, b"GET / HTTP/1.1\r\n\r\n").await;
        watches(ground, HERE).await;
        watches(ground, ELSEWHERE).await;
        // Through the handshake, and then nothing.
        let mut idle = Vec::new();
        for _ in 0..200 {
            if let Ok(stream) = raw::tls(HERE, to, None, "h2").await {
                idle.push(stream);
            }
        }
        watches(ground, HERE).await;
        ground.bounded(Victim::Registry, 128, 600).await;
        drop((silent, garbage, idle));
    });
}
