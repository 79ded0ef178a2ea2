//! Which header fields end at this door.

/// Fields of one connection, never passed on in either direction (X-Road pr-rest 4.3 and RFC 9110 §7.6.1).
const REMOVED: [&str; 14] = [
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

/// Fields that this door writes exactly once on a request; others' are dropped.
const OURS: [&str; 16] = [
    "x-road-client",
    "x-road-service",
    "x-road-id",
    "x-road-request-id",
    "x-road-request-hash",
    "x-road-userid",
    "x-road-issue",
    "x-road-represented-party",
    "x-road-security-server",
    "truc-agency",
    "truc-purpose",
    "truc-legal-basis",
    "truc-consent",
    "traceparent",
    "idempotency-key",
    "content-type",
];

/// Fields of an answer that only nodes write.
const SYSTEM: [&str; 6] = [
    "x-road-client",
    "x-road-service",
    "x-road-id",
    "x-road-request-id",
    "x-road-request-hash",
    "x-road-error",
];

/// True for a field of a signed request that must not reach the service from its list: whoever sealed it may not play
/// tricks with the connection, nor with the fields that say who is asking.
pub(crate) fn ends_here(name: &str) -> bool {
    REMOVED.contains(&name) || OURS.contains(&name)
}

/// True for a field of a service's answer that must not travel on.
pub(crate) fn stays_here(name: &str, connection: &[String]) -> bool {
    REMOVED.contains(&name) || SYSTEM.contains(&name) || connection.iter().any(|c| c == name)
}
