//! The service's answer on its way to the information system.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::Full;
use truc_exchange::Reply;
use truc_model::{ServiceId, SubsystemId};

use crate::fields::{self, put};
use crate::request_hash::{BodyHash, block, request_hash};
use crate::target::encode;

/// What has to be remembered of a request until its answer is written.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The calling subsystem.
    pub(crate) client: SubsystemId,
    /// The called service.
    pub(crate) service: ServiceId,
    /// The caller's own `X-Road-Id`.
    pub(crate) own_id: Option<String>,
    /// The method.
    pub(crate) method: String,
    /// Path and query after `/r1`, as the request hash has them.
    pub(crate) target: String,
    /// The fields that were forwarded.
    pub(crate) surviving: fields::Fields,
    /// The body's hash.
    pub(crate) body: BodyHash,
}

/// The fields that this node writes behind the service's own, in X-Road's order.
const APPENDED: [&str; 5] =
    ["x-road-id", "x-road-client", "x-road-service", "x-road-request-id", "x-road-request-hash"];

/// Writes the answer: status, fields and body are the service's, the `x-road-*` ones that it may not write are ours.
pub(crate) fn render(reply: Reply, asked: &Asked) -> Response<Full<Bytes>> {
    let id = reply.request.to_string();
    let generated = asked.own_id.is_none().then(|| format!("{}-{id}", asked.client.instance()));
    let block = block(&asked.method, &asked.target, &asked.surviving, &id, generated.as_deref());
    let hash = request_hash(&block, asked.body);
    let own_id = asked.own_id.clone().or(generated).unwrap_or_default();
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in &reply.headers {
        let ours = APPENDED.contains(&name.as_str()) || name == CONTENT_TYPE.as_str();
        let second_date = name == "date" && headers.contains_key(http::header::DATE);
        if !ours && !second_date && !fields::is_removed(name, &[]) {
            put(headers, name, value);
        }
    }
    if let Some(media_type) = &reply.media_type {
        put(headers, CONTENT_TYPE.as_str(), media_type.as_bytes());
    }
    let values = [own_id, encode(asked.client.as_str()), encode(asked.service.as_str()), id, hash];
    for (name, value) in APPENDED.into_iter().zip(values) {
        put(headers, name, value.as_bytes());
    }
    response
}
