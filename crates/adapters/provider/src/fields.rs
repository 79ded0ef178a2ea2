//! Which header fields end at this door.

use truc_message::{as_read, is_of_a_connection};

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

/// Fields by which a framework lets a request call itself by another method: the method authorised is the method called.
const OTHER_METHOD: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// True for a field of a signed request that must not reach the service from its list: whoever sealed it may not play
/// tricks with the connection, nor with the method, nor with the fields that say who is asking.
pub(crate) fn ends_here(name: &str) -> bool {
    let read = as_read(name);
    // With an underscore even a name that we never write could pass for one of ours.
    let posing = name.contains('_') && (read.starts_with("x-road-") || read.starts_with("truc-"));
    posing || is_of_a_connection(&read) || OURS.contains(&&*read) || OTHER_METHOD.contains(&&*read)
}

/// True for a field of a service's answer that must not travel on.
pub(crate) fn stays_here(name: &str, connection: &[String]) -> bool {
    let read = as_read(name);
    is_of_a_connection(&read) || SYSTEM.contains(&&*read) || connection.iter().any(|c| c == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_service_reads_as_ours_end_here() {
        for name in [
            "x_road_userid",
            "x_road_client",
            "x-road_client",
            "x_road_request_id",
            "x_road_custom",
            "truc_purpose",
            "idempotency_key",
            "transfer_encoding",
            "content_length",
        ] {
            assert!(ends_here(name), "{name}");
        }
        for name in ["x_custom", "x-road-custom", "accept", "authorization", "x-forwarded-for"] {
            assert!(!ends_here(name), "{name}");
        }
        assert!(stays_here("x_road_error", &[]) && !stays_here("x_custom", &[]));
    }

    #[test]
    fn the_method_called_is_the_method_authorised() {
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method_override"]
        {
            assert!(ends_here(name), "{name}");
        }
    }
}
