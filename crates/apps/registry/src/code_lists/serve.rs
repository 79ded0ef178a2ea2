//! The code lists over HTTP, as an information system behind a node offers them.

use std::future::ready;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use truc_admin::small_server::{self, Limits};
use truc_model::{Clock, Digest};

use super::CodeListError;
use super::shelf::{CodeLists, Version, current};
use crate::error::RegistryError;

/// The service's OpenAPI description, as `GET /openapi.json` gives it out.
pub const OPENAPI: &str = include_str!("../../data/code-lists.openapi.json");

/// Limit for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits {
    open: 256,
    head: Duration::from_secs(15),
    life: Duration::from_secs(600),
    drain: Duration::from_secs(5),
};

/// A current version may change at any time: it is asked for again, at the price of a 304.
const ASK_AGAIN: &str = "no-cache";
/// A numbered version never changes.
const KEEP: &str = "public, max-age=31536000, immutable";

struct Shop {
    lists: CodeLists,
    clock: Arc<dyn Clock>,
}

type Served = State<Arc<Shop>>;

/// Serves the code lists of `dir` until `stop`; `ready` is told the address once it listens. What it answers is public, and it takes
/// GET and HEAD only.
///
/// # Errors
/// [`RegistryError`]: the folder cannot be read, a list in it is spoilt, or the address cannot be listened on.
pub async fn serve_code_lists(
    listen: SocketAddr,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(SocketAddr),
    stop: CancellationToken,
) -> Result<(), RegistryError> {
    let shop = Arc::new(Shop { lists: CodeLists::new(dir), clock });
    off_runtime(&shop, |shop| {
        shop.lists.names()?.iter().try_for_each(|name| shop.lists.versions(name).map(drop))
    })
    .await?;
    let failed =
        |e: std::io::Error| RegistryError::Listen { address: listen.to_string(), why: e.to_string() };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    small_server::serve(listener, router(shop), LIMITS, stop).await;
    Ok(())
}

async fn off_runtime<T: Send + 'static>(
    shop: &Arc<Shop>,
    work: impl FnOnce(&Shop) -> Result<T, CodeListError> + Send + 'static,
) -> Result<T, RegistryError> {
    let shop = Arc::clone(shop);
    let done = spawn_blocking(move || work(&shop)).await;
    Ok(done.map_err(|e| RegistryError::Stopped(e.to_string()))??)
}

fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/openapi.json", get(description))
        .route("/code-lists", get(all))
        .route("/code-lists/{name}", get(newest))
        .route("/code-lists/{name}/versions", get(versions))
        .route("/code-lists/{name}/versions/{version}", get(version))
        .route("/code-lists/{name}/codes/{code}", get(code))
        .fallback(|| ready(nothing("địa chỉ này", "this address")))
        .layer(middleware::from_fn(deadline))
        .with_state(shop)
}

async fn deadline(request: Request, next: Next) -> Response {
    let in_time = tokio::time::timeout(DEADLINE, next.run(request)).await;
    in_time.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// Answers with what `work` finds, which the caller may have already.
async fn answer(
    shop: &Arc<Shop>,
    asked: &HeaderMap,
    keep: &'static str,
    work: impl FnOnce(&Shop) -> Result<Result<Bytes, Response>, CodeListError> + Send + 'static,
) -> Response {
    let bytes = match off_runtime(shop, work).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(told)) => return told,
        Err(error) => {
            tracing::error!(%error, "a code list cannot be given out");
            return told(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Danh mục không đọc được; người vận hành xem nhật ký của dịch vụ.",
                "The code list cannot be read; its operator finds the reason in the service's log.",
            );
        }
    };
    let tag = format!("\"{}\"", Digest::of(&bytes));
    let fields = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, keep.to_owned())];
    if has(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Whether the caller has this version already (RFC 9110 §13.1.2).
fn has(asked: &HeaderMap, tag: &str) -> bool {
    let given = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    given
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .any(|v| v == "*" || v.strip_prefix("W/").unwrap_or(v) == tag)
}

fn told(status: StatusCode, vi: &str, en: &str) -> Response {
    (status, axum::Json(json!({ "error": { "vi": vi, "en": en } }))).into_response()
}

fn nothing(vi: &str, en: &str) -> Response {
    told(StatusCode::NOT_FOUND, &format!("Không có {vi}."), &format!("There is nothing at {en}."))
}

fn no_list() -> Response {
    told(
        StatusCode::NOT_FOUND,
        "Không có danh mục này, hoặc chưa có hiệu lực. Xem /code-lists.",
        "There is no such code list, or it is not valid yet. See /code-lists.",
    )
}

fn json_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// A version in few words.
fn line(version: &Version) -> Value {
    let document = &version.document;
    json!({ "version": document.version, "digest": version.digest, "validFrom": document.valid_from, "codes": document.codes.len() })
}

async fn description(headers: HeaderMap, State(shop): Served) -> Response {
    answer(&shop, &headers, ASK_AGAIN, |_| Ok(Ok(Bytes::from_static(OPENAPI.as_bytes())))).await
}

async fn all(headers: HeaderMap, State(shop): Served) -> Response {
    let list = |shop: &Shop| {
        let mut lists = Vec::new();
        for name in shop.lists.names()? {
            let Some(versions) = shop.lists.versions(&name)? else { continue };
            if let Some(version) = current(&versions, shop.clock.now()) {
                let mut list = line(version);
                list["name"] = json!(name);
                lists.push(list);
            }
        }
        Ok(Ok(json_bytes(&json!({ "codeLists": lists }))))
    };
    answer(&shop, &headers, ASK_AGAIN, list).await
}

/// The current version of a list.
fn now_valid(shop: &Shop, name: &str) -> Result<Option<Arc<Version>>, CodeListError> {
    let versions = shop.lists.versions(name)?;
    Ok(versions.and_then(|versions| current(&versions, shop.clock.now()).cloned()))
}

async fn newest(headers: HeaderMap, UrlPath(name): UrlPath<String>, State(shop): Served) -> Response {
    let find = move |shop: &Shop| Ok(now_valid(shop, &name)?.map(|v| v.bytes.clone()).ok_or_else(no_list));
    answer(&shop, &headers, ASK_AGAIN, find).await
}

async fn versions(headers: HeaderMap, UrlPath(name): UrlPath<String>, State(shop): Served) -> Response {
    let find = move |shop: &Shop| {
        let Some(versions) = shop.lists.versions(&name)? else { return Ok(Err(no_list())) };
        let now = current(&versions, shop.clock.now()).map(|v| v.document.version);
        let lines: Vec<Value> = versions.iter().map(|v| line(v)).collect();
        Ok(Ok(json_bytes(&json!({ "name": name, "current": now, "versions": lines }))))
    };
    answer(&shop, &headers, ASK_AGAIN, find).await
}

async fn version(
    headers: HeaderMap,
    UrlPath((name, version)): UrlPath<(String, String)>,
    State(shop): Served,
) -> Response {
    let find = move |shop: &Shop| {
        let Some(versions) = shop.lists.versions(&name)? else { return Ok(Err(no_list())) };
        let number = version.parse::<u64>().ok().filter(|n| n.to_string() == version);
        let found = number.and_then(|n| versions.iter().find(|v| v.document.version == n));
        Ok(found.map(|v| v.bytes.clone()).ok_or_else(|| nothing("phiên bản này", "this version")))
    };
    answer(&shop, &headers, KEEP, find).await
}

async fn code(
    headers: HeaderMap,
    UrlPath((name, code)): UrlPath<(String, String)>,
    State(shop): Served,
) -> Response {
    let find = move |shop: &Shop| {
        let Some(version) = now_valid(shop, &name)? else { return Ok(Err(no_list())) };
        let Some(entry) = version.find(&code) else {
            return Ok(Err(told(
                StatusCode::NOT_FOUND,
                "Không có mã này trong danh mục.",
                "This code is not in the list.",
            )));
        };
        let mut found = line(&version);
        found["codeList"] = json!(name);
        found["entry"] = json!(entry);
        if let Some(members) = found.as_object_mut() {
            members.remove("codes");
        }
        Ok(Ok(json_bytes(&found)))
    };
    answer(&shop, &headers, ASK_AGAIN, find).await
}
