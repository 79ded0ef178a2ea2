//! Requests that two readers could divide differently (RFC 9112 §11.2): what is refused, and that nothing hides in what is not.

use crate::ground::{HERE, attack, call};
use crate::raw::{connect, rest};
use crate::support::{DESK, ECHO};
use tokio::io::AsyncWriteExt as _;

/// A request that must never be taken for one of its own.
fn hidden() -> String {
    call("hidden", "X-Road-Id: hidden\r\n")
}

/// A request whose body hides another, with these fields to say how long it is.
fn hiding(fields: &str, body: &str) -> String {
    format!("POST /r1/{ECHO}/raw/s HTTP/1.1\r\nHost: n\r\nX-Road-Client: {DESK}\r\n{fields}\r\n{body}")
}

/// Every way that is tried, by name.
fn attempts() -> Vec<(&'static str, String)> {
    let whole = hidden();
    let length = whole.len();
    let chunked = format!("0\r\n\r\n{whole}");
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunked.len());
    let turned = format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunked.len());
    vec![
        ("both lengths", hiding(&both, &chunked)),
        ("both lengths, turned", hiding(&turned, &chunked)),
        ("two lengths", hiding(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &whole)),
        (
            "two lengths, turned",
            hiding(&format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), &whole),
        ),
        ("two lengths in a list", hiding(&format!("Content-Length: 0, {length}\r\n"), &whole)),
        ("a length with a sign", hiding("Content-Length: +0\r\n", &whole)),
        ("a length below nothing", hiding("Content-Length: -1\r\n", &whole)),
        ("a length in hexadecimal", hiding("Content-Length: 0x0\r\n", &whole)),
        ("a length beyond 64 bits", hiding("Content-Length: 18446744073709551616\r\n", &whole)),
        ("an unknown coding", hiding("Transfer-Encoding: xchunked\r\n", &whole)),
        ("chunked not last", hiding("Transfer-Encoding: chunked, identity\r\n", &chunked)),
        ("a space before the colon", hiding("Transfer-Encoding : chunked\r\n", &chunked)),
        ("a folded field", hiding("X-Folded: a\r\n Transfer-Encoding: chunked\r\n", &chunked)),
        ("a field that begins with a space", hiding(" Content-Length: 0\r\n", &whole)),
        ("a name with a NUL", hiding("Content-Length\0: 0\r\n", &whole)),
        ("a bare CR in a value", hiding("X-Bare: a\rContent-Length: 0\r\n", &whole)),
        (
            "a chunk's length beyond 64 bits",
            hiding("Transfer-Encoding: chunked\r\n", &format!("10000000000000000\r\n{whole}")),
        ),
        (
            "a chunk's length with a sign",
            hiding("Transfer-Encoding: chunked\r\n", &format!("+0\r\n\r\n{whole}")),
        ),
        (
            "a chunk's extension with a bare LF",
            hiding("Transfer-Encoding: chunked\r\n", &format!("2;a\nab\r\n0\r\n\r\n{whole}")),
        ),
        (
            "an endless chunk extension",
            hiding(
                "Transfer-Encoding: chunked\r\n",
                &format!("2;{}\r\nab\r\n0\r\n\r\n", "x".repeat(100_000)),
            ),
        ),
        (
            "an HTTP/1.0 request that is chunked",
            hiding("Transfer-Encoding: chunked\r\n", &chunked).replacen("HTTP/1.1", "HTTP/1.0", 1),
        ),
        ("no protocol", format!("GET /r1/{ECHO}/doc/old\r\n\r\n")),
        ("a space in the target", hiding("Content-Length: 0\r\n", "").replacen("/raw/s", "/raw/s x", 1)),
    ]
}

#[test]
fn no_request_hides_in_another() {
    attack("smuggling", async |ground| {
        for (name, bytes) in attempts() {
            let mut stream = connect(HERE, ground.edge()).await.unwrap();
            drop(stream.write_all(bytes.as_bytes()).await);
            let said = String::from_utf8_lossy(&rest(stream).await).into_owned();
            let answers: Vec<&str> =
                said.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
            eprintln!("smuggling: {name}: {answers:?}");
            assert!(answers.len() <= 1, "{name}: {answers:?}");
            // Where both lengths are given, chunks count, and the connection ends after the answer (RFC 9112 §6.3).
            let fine: &[&str] =
                if name.starts_with("both") { &["200", "400"] } else { &["400", "413", "431"] };
            assert!(answers.iter().all(|status| fine.contains(status)), "{name}: {said}");
            assert_eq!(ground.bus.echo.asked("hidden"), 0, "{name}: what it hid was carried out");
        }
    });
}
