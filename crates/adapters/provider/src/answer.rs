//! What a service answered, taken whole.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, DATE};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use truc_exchange::ports::{ServiceAnswer, ServiceFailure};

use crate::fields;

/// Reads a service's answer to its end.
///
/// # Errors
/// [`ServiceFailure::TooLarge`] above `limit`, [`ServiceFailure::Broken`] when it breaks off.
pub(crate) async fn read(response: Response<Incoming>, limit: u64) -> Result<ServiceAnswer, ServiceFailure> {
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(ServiceFailure::Broken(format!("{status} is not a final HTTP status")));
    }
    if body.size_hint().lower() > limit {
        return Err(ServiceFailure::TooLarge(limit));
    }
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let body: Bytes = match limited.collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(ServiceFailure::TooLarge(limit)),
        Err(error) => return Err(ServiceFailure::Broken(format!("within its body: {error}"))),
    };
    let media_type =
        head.headers.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    Ok(ServiceAnswer { status, headers: travelling(&head.headers), media_type, body })
}

/// The fields that travel on, grouped by first appearance; `Date` once.
fn travelling(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let connection =
        headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let connection: Vec<String> = connection.map(|name| name.trim().to_ascii_lowercase()).collect();
    let mut out: Vec<(String, Vec<u8>)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let second_date = name == DATE && out.iter().any(|(there, _)| there == DATE.as_str());
        if name != CONTENT_TYPE && !second_date && !fields::stays_here(name.as_str(), &connection) {
            out.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
        }
    }
    out
}
