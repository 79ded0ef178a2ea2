//! The service's answer on its way to the information system.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::Frame;
use truc_exchange::Reply;
use truc_message::Body;
use truc_model::{Fault, ServiceId, SubsystemId};

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
    /// The body's hash, once it has been read.
    pub(crate) body: Arc<OnceLock<BodyHash>>,
}

/// What this door answers with: bytes that are here, or a service's body as it is read.
pub(crate) type ReplyBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Fault>>;

/// A verified answer's body, handed on piece by piece when it is too big for memory.
fn body_of(body: &Body) -> ReplyBody {
    match (body.bytes(), body.read()) {
        (Some(bytes), _) => Either::Left(Full::new(bytes.clone())),
        (None, Some(pieces)) => {
            let pieces = pieces.inspect_err(|fault| tracing::error!(%fault, "an answer breaks off"));
            Either::Right(StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync())
        }
        (None, None) => Either::Left(Full::default()),
    }
}

/// The fields that this node writes behind the service's own, in X-Road's order.
const APPENDED: [&str; 5] =
    ["x-road-id", "x-road-client", "x-road-service", "x-road-request-id", "x-road-request-hash"];

/// Writes the answer: status, fields and body are the service's, the `x-road-*` ones that it may not write are ours.
pub(crate) fn render(reply: Reply, asked: &Asked) -> Response<ReplyBody> {
    let id = reply.request.to_string();
    let generated = asked.own_id.is_none().then(|| format!("{}-{id}", asked.client.instance()));
    let block = block(&asked.method, &asked.target, &asked.surviving, &id, generated.as_deref());
    let hash = request_hash(&block, asked.body.get().copied().unwrap_or(BodyHash::of(&[])));
    let own_id = asked.own_id.clone().or(generated).unwrap_or_default();
    let mut response = Response::new(body_of(&reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in &reply.headers {
        let ours = APPENDED.contains(&name.as_str()) || name == CONTENT_TYPE.as_str();
        let second_date = name == "date" && headers.contains_key(http::header::DATE);
        if !ours && !second_date && !fields::is_removed(name, &[]) {
            put(headers, name, value);
        }
    }
    if reply.body.bytes().is_none() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
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
