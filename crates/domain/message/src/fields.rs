//! Which HTTP header fields never travel in a message: one rule for every door (protocol P10.1).

use std::borrow::Cow;

/// Fields of one connection, never passed on in either direction (X-Road pr-rest 4.3 and RFC 9110 §7.6.1).
const OF_A_CONNECTION: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "user-agent",
    "server",
    "content-length",
    "expect",
];

/// True for a field that belongs to one connection, as [`as_read`] spells it.
pub fn is_of_a_connection(read: &str) -> bool {
    OF_A_CONNECTION.contains(&read)
}

/// The name as WSGI, CGI and PHP hand it to an application: to them `_` and `-` are one (RFC 3875 §4.1.18).
pub fn as_read(name: &str) -> Cow<'_, str> {
    if name.contains('_') { name.replace('_', "-").into() } else { name.into() }
}
