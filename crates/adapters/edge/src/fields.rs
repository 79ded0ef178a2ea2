//! The header fields of a request: which are words around the call, which travel on, which end here (protocol P10.1).

use http::{HeaderMap, HeaderName};
use truc_exchange::CallContext;
use truc_message::{as_read, is_of_a_connection};
use truc_model::{Fault, SubsystemId, is_unseen};

use crate::ext_value;
use crate::target::{self, malformed};

/// Fields that only nodes write; a caller's or a service's own are dropped.
const NODES_OWN: [&str; 4] = ["x-road-request-id", "x-road-request-hash", "x-road-service", "x-road-error"];

/// Fields that a request carries in named places of its message instead of the list.
const NAMED: [&str; 13] = [
    "x-road-client",
    "x-road-id",
    "x-road-userid",
    "x-road-issue",
    "x-road-represented-party",
    "x-road-security-server",
    "truc-agency",
    "truc-purpose",
    "truc-legal-basis",
    "truc-consent",
    "idempotency-key",
    "traceparent",
    "content-type",
];

/// Most fields in one message (protocol P1.2).
const FIELD_LIMIT: usize = 200;

/// Names and values in order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// A request's fields, sorted out.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The calling subsystem.
    pub(crate) client: SubsystemId,
    /// The words around the call.
    pub(crate) context: CallContext,
    /// The body's media type.
    pub(crate) media_type: Option<String>,
    /// What travels on in the list.
    pub(crate) forwarded: Fields,
    /// Everything that was not removed, as received: the block that the request hash covers.
    pub(crate) surviving: Fields,
}

/// What the fields take in memory, bytes, about.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
}

/// True for a field that ends at this door, whoever sent it.
pub(crate) fn is_removed(name: &str, connection: &[String]) -> bool {
    let read = as_read(name);
    is_of_a_connection(&read) || NODES_OWN.contains(&&*read) || connection.iter().any(|c| c == name)
}

/// Refuses a field that a service could take for one of ours or X-Road's: it would say who asks, and nobody has checked it.
fn not_mistakable(name: &str) -> Result<(), Fault> {
    let read = as_read(name);
    let ours = NAMED.contains(&&*read)
        || NODES_OWN.contains(&&*read)
        || read.starts_with("x-road-")
        || read.starts_with("truc-");
    if name.contains('_') && ours {
        return Err(malformed(format!(
            "a service may take the header {name} for {read}: write it with hyphens or leave it out"
        )));
    }
    Ok(())
}

/// The names that `Connection` declares as being of this connection only.
fn connection_names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(http::header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Sorts out a request's fields. `split_cookies` says that the caller's protocol may have split `Cookie` (RFC 9113 §8.2.3).
///
/// # Errors
/// MALFORMED names the field; never its value, which may be personal.
pub(crate) fn take(headers: &HeaderMap, split_cookies: bool) -> Result<Taken, Fault> {
    if headers.len() > FIELD_LIMIT {
        return Err(malformed(format!(
            "a request has at most {FIELD_LIMIT} header fields, this has {}",
            headers.len()
        )));
    }
    headers.keys().try_for_each(|name| not_mistakable(name.as_str()))?;
    let client = client(headers)?;
    let connection: Vec<String> =
        connection_names(headers).into_iter().filter(|name| !NAMED.contains(&name.as_str())).collect();
    let mut surviving = Fields::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !is_removed(name.as_str(), &connection)) {
        match surviving.iter_mut().find(|(there, _)| split_cookies && there == "cookie" && name == "cookie") {
            Some((_, cookie)) => {
                cookie.extend_from_slice(b"; ");
                cookie.extend_from_slice(value.as_bytes());
            }
            None => surviving.push((name.as_str().to_owned(), value.as_bytes().to_vec())),
        }
    }
    let forwarded = surviving.iter().filter(|(name, _)| !NAMED.contains(&name.as_str())).cloned().collect();
    Ok(Taken {
        client,
        context: context(headers)?,
        media_type: one(headers, "content-type", 1024)?,
        forwarded,
        surviving,
    })
}

/// The subsystem that `X-Road-Client` names.
///
/// # Errors
/// MALFORMED.
pub(crate) fn client(headers: &HeaderMap) -> Result<SubsystemId, Fault> {
    let client = one(headers, "x-road-client", 1024)?.ok_or_else(|| {
        malformed("the X-Road-Client header is missing: {instance}/{class}/{member}/{subsystem}")
    })?;
    target::subsystem(&client, "X-Road-Client")
}

fn context(headers: &HeaderMap) -> Result<CallContext, Fault> {
    let represented_party = one(headers, "x-road-represented-party", 256)?;
    represented_party.as_deref().map(target::represented_party).transpose()?;
    let target = one(headers, "x-road-security-server", 1024)?;
    Ok(CallContext {
        user_id: one(headers, "x-road-userid", 256)?,
        agency: ours(headers, "truc-agency", 256)?,
        purpose: ours(headers, "truc-purpose", 1024)?,
        legal_basis: ours(headers, "truc-legal-basis", 1024)?,
        consent: ours(headers, "truc-consent", 1024)?,
        represented_party,
        issue: one(headers, "x-road-issue", 256)?,
        client_message_id: one(headers, "x-road-id", 256)?,
        idempotency_key: once(headers, "idempotency-key")?
            .map(|v| text("idempotency-key", v, 256))
            .transpose()?
            .flatten(),
        trace: trace(headers),
        target: target.map(|text| target::node(&text, "X-Road-Security-Server")).transpose()?,
    })
}

/// The one value of a field of X-Road's. Equal repetitions count as one; different ones are refused, where X-Road lets
/// the last one win: two officers or two clients on one request is a mistake that must not be guessed away.
fn one(headers: &HeaderMap, name: &'static str, limit: usize) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(malformed(format!("{name} is given more than once with different values")));
    }
    text(name, first.as_bytes(), limit)
}

/// The one value of a field that may be given once only.
fn once<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h [u8]>, Fault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() {
        Err(malformed(format!("{name} is given more than once")))
    } else {
        Ok(first)
    }
}

/// One of our own fields: once, ASCII or RFC 8187.
fn ours(headers: &HeaderMap, name: &'static str, limit: usize) -> Result<Option<String>, Fault> {
    let Some(raw) = once(headers, name)? else { return Ok(None) };
    let decoded = ext_value::decode(raw).map_err(|e| malformed(format!("{name} {e}")))?;
    text(name, decoded.as_bytes(), limit)
}

/// A text within the header's rules; an empty one counts as not given.
fn text(name: &str, raw: &[u8], limit: usize) -> Result<Option<String>, Fault> {
    let text = std::str::from_utf8(raw).map_err(|_| malformed(format!("{name} is not UTF-8")))?.trim();
    if text.len() > limit || text.chars().any(is_unseen) {
        return Err(malformed(format!(
            "{name} has at most {limit} bytes, and no control characters nor such as nobody sees (direction, line separator, no width)"
        )));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A well-formed `traceparent`. A broken one is dropped, as W3C Trace Context §3.2 has it: tracing must not fail a call.
fn trace(headers: &HeaderMap) -> Option<String> {
    let text = once(headers, "traceparent").ok()??;
    let text = std::str::from_utf8(text).ok()?.trim();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return None };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let good = hex(version, 2) && *version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    (good && !zero(trace) && !zero(parent)).then(|| text.to_owned())
}

/// Puts a field on an answer; one that HTTP cannot write is left out and said so.
pub(crate) fn put(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    match (HeaderName::from_bytes(name.as_bytes()), http::HeaderValue::from_bytes(value)) {
        (Ok(name), Ok(value)) => {
            headers.append(name, value);
        }
        _ => tracing::warn!(
            field = name,
            "a header field of an answer cannot be written in HTTP and was left out"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            put(&mut headers, name, value.as_bytes());
        }
        headers
    }

    const CLIENT: (&str, &str) = ("x-road-client", "VN/GOV/H26/mot-cua-so-1");

    #[test]
    fn fields_are_sorted_out_and_keep_their_order() {
        let taken = take(
            &map(&[
                CLIENT,
                ("accept", "a"),
                ("x-multi", "1"),
                ("connection", "close, X-Gone, x-road-userid"),
                ("x-multi", "2"),
                ("x-gone", "1"),
                ("host", "x"),
                ("x-road-userid", "cb-1"),
                ("truc-purpose", "UTF-8''%C4%91"),
                ("content-type", "text/plain; charset=x"),
                ("x-road-request-id", "forged"),
                ("x-road-service", "forged"),
                ("x-road-custom", "kept"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ("authorization", "Bearer s"),
            ]),
            false,
        )
        .unwrap();
        let names: Vec<&str> = taken.forwarded.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["accept", "x-multi", "x-multi", "x-road-custom", "authorization"]);
        let names: Vec<&str> = taken.surviving.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names[..5], ["x-road-client", "accept", "x-multi", "x-multi", "x-road-userid"]);
        assert_eq!(taken.context.user_id.as_deref(), Some("cb-1"));
        assert_eq!(taken.context.purpose.as_deref(), Some("đ"));
        assert_eq!(taken.media_type.as_deref(), Some("text/plain; charset=x"));
        assert!(taken.context.trace.is_some());
    }

    #[test]
    fn what_is_ambiguous_is_refused_and_never_quoted() {
        for fields in [
            vec![],
            vec![CLIENT, ("x-road-client", "VN/GOV/H26/other")],
            vec![("x-road-client", "VN/GOV/H26")],
            vec![CLIENT, ("x-road-userid", "secret-1"), ("x-road-userid", "secret-2")],
            vec![CLIENT, ("truc-consent", "secret"), ("truc-consent", "secret")],
            vec![CLIENT, ("truc-purpose", "secret \u{111}")],
            vec![CLIENT, ("idempotency-key", "secret"), ("idempotency-key", "secret")],
            vec![CLIENT, ("x-road-security-server", "secret")],
        ] {
            let fault = take(&map(&fields), false).unwrap_err();
            assert!(!fault.detail.contains("secret"), "{}", fault.detail);
        }
        let long = "x".repeat(257);
        assert!(take(&map(&[CLIENT, ("x-road-issue", &long)]), false).is_err());
    }

    #[test]
    fn names_that_a_service_may_take_for_verified_ones_are_refused() {
        for name in [
            "X_Road_UserId",
            "x_road_client",
            "x-road_client",
            "truc_purpose",
            "x_road_request_id",
            "x_road-security-server",
            "x_road_custom",
            "idempotency_key",
            "content_type",
        ] {
            let fault = take(&map(&[CLIENT, (name, "secret")]), false).unwrap_err();
            assert_eq!(fault.code, truc_model::FaultCode::Malformed, "{name}");
            let hyphens = name.to_ascii_lowercase().replace('_', "-");
            assert!(fault.detail.contains(&hyphens) && !fault.detail.contains("secret"), "{}", fault.detail);
        }
        let others = map(&[CLIENT, ("x_custom", "1"), ("content_length", "9"), ("transfer_encoding", "x")]);
        let taken = take(&others, false).unwrap();
        assert_eq!(taken.forwarded, [("x_custom".into(), b"1".to_vec())]);
        assert!(is_removed("x_road_error", &[]), "an answer may not play with them either");
    }

    /// They are signed and shown for years: to officers, auditors, and the citizen.
    #[test]
    fn words_that_read_otherwise_than_they_are_do_not_enter() {
        for odd in ["%E2%80%AE", "%E2%81%A6", "%E2%80%A8", "%C2%85", "%EF%BB%BF", "%1B", "%0A"] {
            for name in ["truc-purpose", "truc-agency", "truc-legal-basis", "truc-consent"] {
                let fault =
                    take(&map(&[CLIENT, (name, &format!("UTF-8''secret{odd}x"))]), false).unwrap_err();
                assert_eq!(fault.code, truc_model::FaultCode::Malformed, "{name} {odd}");
                assert!(fault.detail.contains(name) && !fault.detail.contains("secret"), "{}", fault.detail);
            }
        }
        for name in ["x-road-userid", "x-road-issue", "x-road-id"] {
            assert!(take(&map(&[CLIENT, (name, "cb-\u{202e}1")]), false).is_err(), "{name}");
            assert!(take(&map(&[CLIENT, (name, "Nguyễn Văn Ánh")]), false).is_ok(), "{name}");
        }
    }

    #[test]
    fn equal_repetitions_empty_texts_and_broken_traces_do_no_harm() {
        let taken = take(&map(&[CLIENT, CLIENT, ("x-road-userid", " "), ("traceparent", "nonsense")]), false)
            .unwrap();
        assert_eq!(taken.context, CallContext::default());
    }

    #[test]
    fn http2_cookies_are_joined_again() {
        let fields = [CLIENT, ("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(take(&map(&fields), true).unwrap().forwarded, [("cookie".into(), b"a=1; b=2".to_vec())]);
        assert_eq!(take(&map(&fields), false).unwrap().forwarded.len(), 2);
    }
}
