//! What is sent to a service: everything from the signed, recorded request, in the form the service reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use truc_exchange::ports::ServiceFailure;
use truc_message::{Body, Header, Secret, reveal};
use truc_model::Fault;
use truc_policy::{Admitted, ServiceTarget};
use truc_trust::{Request as Asked, Verified};

use crate::{ext_value, fields};

/// What a request carries: bytes that are here, or a body as it is read.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Fault>;

/// One call to a service.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Method, upper case.
    pub(crate) method: String,
    /// The whole address.
    pub(crate) url: String,
    /// Every field but those of the connection, in order.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub(crate) body: Body,
    /// How long the service may take.
    pub(crate) timeout: Duration,
}

/// Nothing was sent.
fn unsent(why: impl Into<String>) -> ServiceFailure {
    ServiceFailure::Unreachable(why.into())
}

impl Outgoing {
    /// Reads it from the request at the end of the type chain.
    ///
    /// # Errors
    /// [`ServiceFailure::Unreachable`] when there is nothing to call.
    pub(crate) fn of(admitted: &Admitted<Verified<Asked>>) -> Result<Self, ServiceFailure> {
        let ServiceTarget::Service(service) = admitted.target() else {
            return Err(unsent("a metaservice is answered by the node itself, not by a service"));
        };
        let sealed = &admitted.request().message().sealed;
        let header = sealed.header();
        Ok(Self {
            method: header.method.clone().unwrap_or_default(),
            url: service.url.call(header.path.as_deref().unwrap_or_default(), header.query.as_deref()),
            fields: fields_of(header, sealed.secrets())?,
            body: sealed.body().clone(),
            timeout: service.timeout,
        })
    }

    /// The HTTP request; `sent` counts the bytes of its body as they leave.
    ///
    /// # Errors
    /// [`ServiceFailure::Unreachable`] when HTTP cannot write it.
    pub(crate) fn request(self, sent: Arc<AtomicU64>) -> Result<Request<RequestBody>, ServiceFailure> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| unsent("the method is not one of HTTP"))?;
        let uri: Uri =
            self.url.parse().map_err(|e| unsent(format!("the address cannot be written in HTTP: {e}")))?;
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            let cannot = |_| unsent(format!("the header field {name:?} cannot be written in HTTP"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| cannot(()))?;
            headers.append(name, HeaderValue::from_bytes(value).map_err(|_| cannot(()))?);
        }
        let gone = || unsent("its body is not held here any more");
        let body = match self.body.bytes() {
            Some(bytes) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
            None => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
                let count = move |piece: &Bytes| {
                    sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                };
                let pieces = self.body.read().ok_or_else(gone)?.inspect_ok(count);
                StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The caller's own fields, then those that say who asks and why, each exactly once.
pub(crate) fn fields_of(
    header: &Header,
    secrets: &[Secret],
) -> Result<Vec<(String, Vec<u8>)>, ServiceFailure> {
    let revealed = reveal(&header.headers, secrets).map_err(|e| unsent(e.to_string()))?;
    let mut out: Vec<(String, Vec<u8>)> =
        revealed.into_iter().filter(|(name, _)| !fields::ends_here(name)).collect();
    let request_id = header.id.to_string();
    let own_id =
        header.client_message_id.clone().unwrap_or_else(|| format!("{}-{request_id}", header.instance));
    let coded = |text: &Option<String>| text.as_deref().map(ext_value::encode);
    // Of the characters that an identifier may hold only `?` has to be encoded.
    let id = |text: &str| Some(text.replace('?', "%3F"));
    let ours = [
        (CONTENT_TYPE.as_str(), header.body.as_ref().and_then(|body| body.media_type.clone())),
        ("x-road-client", id(header.client.as_str())),
        ("x-road-service", id(header.service.as_str())),
        ("x-road-id", Some(own_id)),
        ("x-road-request-id", Some(request_id)),
        ("x-road-userid", header.user_id.clone()),
        ("x-road-issue", header.issue.clone()),
        ("x-road-represented-party", header.represented_party.clone()),
        ("truc-agency", coded(&header.agency)),
        ("truc-purpose", coded(&header.purpose)),
        ("truc-legal-basis", coded(&header.legal_basis)),
        ("truc-consent", coded(&header.consent)),
        ("traceparent", header.trace.clone()),
        ("idempotency-key", header.idempotency_key.clone()),
    ];
    out.extend(ours.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into_bytes()))));
    Ok(out)
}
