//! The one place where a fault becomes an HTTP answer of the edge (design §9, protocol P8, X-Road pr-rest 4.6).
//!
//! The status is the true one, `X-Road-Error` and `type` spell the fault as X-Road does, and the body has X-Road's three
//! fields (`type`, `message`, `detail`) plus ours: `code`, `text` in both languages, `blame`, `retry`, `requestId`, and where
//! they apply `reason`, `retryAfter` (seconds), `successor` and `successorSubsystem`.
//!
//! - `message` is Vietnamese unless `Accept-Language` prefers English: it may end up in front of a desk officer.
//! - `detail` is the trace id, as in X-Road: the exchange's id, or a fresh one that the log names too.
//! - The fault's own detail is for the operator and goes to the log only. Where the caller's own request is at fault it is
//!   also told to the caller, as `reason` and at the end of `message`: it speaks of the caller's input and of nothing else.
//!   So are the notice of a paused service, the message of a node in maintenance, and who is suspended.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use truc_model::{Fault, FaultCode, Lang, MessageId, Side};

/// How the caller wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Language of `message`.
    pub(crate) lang: Lang,
    /// The XML media type asked for; JSON otherwise.
    pub(crate) xml: Option<&'static str>,
    /// HEAD: no body.
    pub(crate) head: bool,
}

/// The items of a comma-separated header with their `q`, per mille.
fn weighted(headers: &HeaderMap, name: http::HeaderName) -> Vec<(String, u32)> {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let item = |text: &str| {
        let mut pieces = text.split(';').map(str::trim);
        let name = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let q = pieces.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        let q = q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)).clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let weight = (q * 1000.0) as u32;
        (name, weight)
    };
    values.map(item).filter(|(name, _)| !name.is_empty()).collect()
}

impl Wish {
    /// Reads `Accept` and `Accept-Language`. XML is given when it is named, and JSON is not named with at least its weight.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let languages = weighted(headers, ACCEPT_LANGUAGE);
        let tongue = |code: &str| {
            let fits = |tag: &str| tag.split('-').next() == Some(code);
            languages.iter().filter(|(tag, _)| fits(tag)).map(|(_, q)| *q).max().unwrap_or(0)
        };
        let lang = if tongue("en") > tongue("vi") { Lang::En } else { Lang::Vi };
        let types = weighted(headers, ACCEPT);
        let weight = |name: &str| types.iter().filter(|(t, _)| t == name).map(|(_, q)| *q).max().unwrap_or(0);
        let xml = [("text/xml", "text/xml"), ("application/xml", "application/xml"), ("text/*", "text/xml")]
            .into_iter()
            .map(|(asked, given)| (weight(asked), given))
            .filter(|(q, _)| *q > 0 && *q > weight("application/json"))
            .reduce(|best, other| if other.0 > best.0 { other } else { best })
            .map(|(_, given)| given);
        Self { lang, xml, head: *method == Method::HEAD }
    }
}

/// Text in XML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What XML 1.0 cannot hold at all.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// An answer of the edge itself.
pub(crate) fn own(status: u16, media_type: &str, body: String, head: bool) -> Response<Full<Bytes>> {
    let body = if head { Bytes::new() } else { Bytes::from(body) };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(&format!("{media_type};charset=utf-8")) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// What a 401 must name (RFC 9110 §15.5.2). No registered scheme stands for TLS client certificates.
pub(crate) const CHALLENGE: &str = "TLS-Client-Certificate";

/// Longest reason told, in characters: part of it may come from another node.
const REASON_LIMIT: usize = 500;

/// What the caller may know beyond the code.
fn reason(fault: &Fault) -> Option<String> {
    if fault.code == FaultCode::Moved {
        let subsystem = fault.successor_subsystem.as_ref().map(ToString::to_string);
        return subsystem.or_else(|| fault.successor.as_ref().map(ToString::to_string));
    }
    // The provider's node says so of what the caller itself sent, and never repeats a path or a body.
    let of_the_request =
        matches!(fault.code, FaultCode::Malformed | FaultCode::NoRight | FaultCode::TooLarge);
    // This node says so of what the caller itself showed or named.
    let of_the_caller = matches!(
        fault.code,
        FaultCode::ClientNotAuthenticated
            | FaultCode::UnknownNode
            | FaultCode::UnknownMember
            | FaultCode::UnknownClient
    );
    // What the directory says of either end is public, and so is the message of a node in maintenance.
    let of_the_directory = matches!(fault.code, FaultCode::Maintenance | FaultCode::Suspended);
    let told = match fault.side {
        _ if of_the_directory => true,
        Side::Client => true,
        Side::ClientProxy => of_the_caller,
        // The notice of a paused service is written for callers (X-Road ug-ss 6.3).
        Side::ServerProxy => of_the_request || fault.code == FaultCode::ServiceDisabled,
    };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    (told && !fault.detail.is_empty()).then(|| fault.detail.chars().take(REASON_LIMIT).map(plain).collect())
}

/// Writes the answer. `trace` is the exchange's id or a fresh one.
pub(crate) fn render(
    fault: &Fault,
    request: Option<MessageId>,
    trace: &str,
    wish: Wish,
) -> Response<Full<Bytes>> {
    let kind = fault.x_road_type();
    let reason = reason(fault);
    let text = fault.code.public_text(wish.lang);
    let message = reason.as_ref().map_or_else(|| text.to_owned(), |reason| format!("{text} ({reason})"));
    let seconds = fault.retry_after.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0));
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("type", json!(kind));
    put("message", json!(message));
    put("detail", json!(trace));
    put("code", json!(fault.code.as_str()));
    put("text", json!({"vi": fault.code.public_text(Lang::Vi), "en": fault.code.public_text(Lang::En)}));
    put("blame", json!(fault.blame().as_str()));
    put("retry", json!(fault.code.retry().as_str()));
    put("requestId", json!(request.map(|id| id.to_string())));
    let rest = [
        ("reason", reason.as_ref().map(|r| json!(r))),
        ("retryAfter", seconds.map(|s| json!(s))),
        ("successor", fault.successor.as_ref().map(|s| json!(s.as_str()))),
        ("successorSubsystem", fault.successor_subsystem.as_ref().map(|s| json!(s.as_str()))),
    ];
    for (name, value) in rest {
        if let Some(value) = value {
            put(name, value);
        }
    }
    let mut response = match wish.xml {
        Some(media_type) => own(fault.code.http_status(), media_type, xml(&fields), wish.head),
        None => {
            own(fault.code.http_status(), "application/json", Value::Object(fields).to_string(), wish.head)
        }
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&kind) {
        headers.insert("x-road-error", value);
    }
    if fault.code == FaultCode::ClientNotAuthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if let Some(seconds) = seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(value) = request.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        headers.insert("x-road-request-id", value);
    }
    response
}

/// X-Road's `<error>`, with our further plain fields behind its three.
fn xml(fields: &Map<String, Value>) -> String {
    let element = |name: &str| {
        let text = match fields.get(name)? {
            Value::String(text) => escape(text),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(format!("<{name}>{text}</{name}>"))
    };
    let names = [
        "type",
        "message",
        "detail",
        "code",
        "blame",
        "retry",
        "requestId",
        "reason",
        "retryAfter",
        "successor",
        "successorSubsystem",
    ];
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>{}</error>",
        names.into_iter().filter_map(element).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(accept: &str, language: &str) -> Wish {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers.insert(ACCEPT_LANGUAGE, language.parse().unwrap());
        Wish::of(&Method::GET, &headers)
    }

    #[test]
    fn wishes_are_read_with_their_weights() {
        assert_eq!(wish("*/*", "vi, en;q=0.9").lang, Lang::Vi);
        assert_eq!(wish("*/*", "en-US,vi;q=0.5").lang, Lang::En);
        assert_eq!(wish("*/*", "fr").lang, Lang::Vi);
        for (accept, xml) in [
            ("*/*", None),
            ("text/html, application/xml;q=0.9, */*;q=0.8", Some("application/xml")),
            ("text/*", Some("text/xml")),
            ("text/xml;q=0.5, application/json", None),
            ("application/json;q=0.1, text/xml", Some("text/xml")),
            ("text/xml;q=0", None),
        ] {
            assert_eq!(wish(accept, "vi").xml, xml, "{accept}");
        }
    }

    #[test]
    fn xml_text_is_escaped() {
        assert_eq!(escape("a<b>&\"\u{1}é"), "a&lt;b&gt;&amp;&quot;\u{fffd}é");
    }
}
