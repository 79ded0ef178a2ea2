//! Taking requests apart, with faults in our own form.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;
use truc_model::{MemberId, ServiceId, SubsystemId};
use truc_policy::GroupCode;

use crate::explain;
use crate::fault::{AdminCode, AdminFault};
use crate::router::POLICY_PATH;

/// A JSON body; the media type must say so, which keeps plain forms of foreign web pages out.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = AdminFault;
    async fn from_request(request: Request, state: &S) -> Result<Self, AdminFault> {
        let media = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if media.split(';').next().unwrap_or_default().trim() != "application/json" {
            return Err(AdminFault::malformed("the body is JSON: send Content-Type: application/json"));
        }
        let most = if request.uri().path().starts_with(POLICY_PATH) { "16 MiB" } else { "1 MiB" };
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let large = rejection.status() == AdminCode::TooLarge.status();
            let code = if large { AdminCode::TooLarge } else { AdminCode::Malformed };
            let detail = match large {
                true => format!("send at most {most}"),
                false => "the body did not arrive whole: send it again".to_owned(),
            };
            AdminFault::new(code, detail)
        })?;
        let json: Value =
            serde_json::from_slice(&bytes).map_err(|e| AdminFault::malformed(explain::syntax(&e)))?;
        serde_path_to_error::deserialize(json)
            .map(Self)
            .map_err(|e| AdminFault::malformed(explain::value(&e.path().to_string(), &e.inner().to_string())))
    }
}

/// The parameters of the query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = AdminFault;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminFault> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                Err(AdminFault::malformed(format!("query: {}", explain::query(&rejection.body_text()))))
            }
        }
    }
}

/// The path's parameters as texts, in order.
async fn path_texts<T, S>(parts: &mut Parts, state: &S) -> Result<T, AdminFault>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(texts)| texts)
        .map_err(|_| AdminFault::malformed("path: percent-encode it as UTF-8, see docs/admin-api.md"))
}

/// A service named by five path segments.
pub(crate) struct ServicePath(pub(crate) ServiceId);

impl<S: Send + Sync> FromRequestParts<S> for ServicePath {
    type Rejection = AdminFault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminFault> {
        let [instance, class, member, subsystem, service] =
            path_texts::<[String; 5], S>(parts, state).await?;
        let id = ServiceId::new(&instance, &class, &member, &subsystem, &service);
        id.map(Self).map_err(AdminFault::malformed)
    }
}

/// A local group named by its owner's four path segments and its code.
pub(crate) struct GroupPath(pub(crate) SubsystemId, pub(crate) GroupCode);

impl<S: Send + Sync> FromRequestParts<S> for GroupPath {
    type Rejection = AdminFault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminFault> {
        let [instance, class, member, subsystem, code] = path_texts::<[String; 5], S>(parts, state).await?;
        let owner =
            SubsystemId::new(&instance, &class, &member, &subsystem).map_err(AdminFault::malformed)?;
        Ok(Self(owner, code.parse().map_err(AdminFault::malformed)?))
    }
}

/// A member named by three path segments.
pub(crate) struct MemberPath(pub(crate) MemberId);

impl<S: Send + Sync> FromRequestParts<S> for MemberPath {
    type Rejection = AdminFault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminFault> {
        let [instance, class, member] = path_texts::<[String; 3], S>(parts, state).await?;
        MemberId::new(&instance, &class, &member).map(Self).map_err(AdminFault::malformed)
    }
}

/// One path segment that is read as a `T`.
pub(crate) struct Named<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
    S: Send + Sync,
{
    type Rejection = AdminFault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminFault> {
        let text = path_texts::<String, S>(parts, state).await?;
        text.parse().map(Self).map_err(AdminFault::malformed)
    }
}
