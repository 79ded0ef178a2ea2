//! The edge's limits, and whether plain HTTP may be offered where it is.

use std::net::SocketAddr;
use std::time::Duration;

/// Limits of the edge. Every wait at this door has one, so that no caller can hold it open.
#[derive(Debug, Clone, Copy)]
pub struct EdgeConfig {
    /// Longest request body, bytes. A longer one is answered TOO_LARGE.
    pub body_limit: u64,
    /// Longest request head, bytes (at least 8 KiB).
    pub header_limit: usize,
    /// Longest wait for a whole request head; on a kept-open HTTP/1 connection, also for the next one.
    pub head_timeout: Duration,
    /// Longest wait for a whole request body that is held in memory, once its head is in; a bigger one is bounded by
    /// [`EdgeConfig::body_rate`] alone.
    pub body_timeout: Duration,
    /// After so long, a body must have arrived at [`EdgeConfig::body_rate`] on average.
    pub body_start: Duration,
    /// Slowest body, bytes per second since its head was in.
    pub body_rate: u32,
    /// Bytes of bodies being read at once, each counted with a little for its request. What does not fit is answered BUSY.
    pub body_memory: u32,
    /// A connection on which no byte moves and no call is under way is closed after this time; so is one whose caller takes
    /// an answer more slowly than [`EdgeConfig::body_rate`] for as long.
    pub idle_timeout: Duration,
    /// Calls under way at once, counted once their bodies are in; one more is answered BUSY. Memory for their bodies is at
    /// most this times 10 MiB, twice.
    pub max_calls: usize,
    /// Connections at once, half of them from one address. When there is no place, the connection on which nothing has been
    /// under way for longest makes way ([`truc_places::Places`]).
    pub max_connections: usize,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS handshakes at once, half of them from one address; one more takes the place of the oldest.
    pub max_handshakes: usize,
    /// After the order to stop: how long calls under way may take to end before they are cut.
    pub drain: Duration,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            body_limit: 16 * 1024 * 1024 * 1024,
            header_limit: 32 * 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            body_start: Duration::from_secs(10),
            body_rate: 1024,
            body_memory: 512 * 1024 * 1024,
            idle_timeout: Duration::from_secs(90),
            max_calls: 256,
            max_connections: 2048,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 512,
            drain: Duration::from_secs(30),
        }
    }
}

/// Plain HTTP would be reachable from the network and nobody said that this is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the edge would offer plain HTTP on {0}, where others on the network can read it and call in any subsystem's name: \
     bind it to a loopback address such as 127.0.0.1:8080 and let those on the network use HTTPS (https-listen = \
     \"0.0.0.0:8443\" with certificate-file and key-file), or set allow-plain-http-from-network = true if the network \
     between it and the information systems is closed"
)]
pub struct ExposedPlainHttp(pub SocketAddr);

/// Refuses an address other than loopback for plain HTTP, unless `allow_from_network`.
///
/// # Errors
/// [`ExposedPlainHttp`] says what to do.
pub const fn check_plain_http(address: SocketAddr, allow_from_network: bool) -> Result<(), ExposedPlainHttp> {
    if allow_from_network || address.ip().is_loopback() { Ok(()) } else { Err(ExposedPlainHttp(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_unless_permitted() {
        for (address, allowed, fine) in [
            ("127.0.0.1:8080", false, true),
            ("[::1]:8080", false, true),
            ("0.0.0.0:8080", false, false),
            ("[::]:8080", false, false),
            ("10.0.0.5:8080", false, false),
            ("10.0.0.5:8080", true, true),
        ] {
            assert_eq!(
                check_plain_http(address.parse().unwrap(), allowed).is_ok(),
                fine,
                "{address} {allowed}"
            );
        }
    }
}
