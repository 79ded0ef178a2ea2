//! `csdl-datdai`: service `tra-cuu-thua-dat`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::WATERMARK;
use super::answers::{Problem, json};
use super::parcel::{Cadastre, ThuaDat};
use super::server::{Desk, client_of};

/// The OpenAPI description of this register.
pub(super) const OPENAPI: &str = include_str!("openapi/csdl-datdai.json");

struct DatDai {
    land: Cadastre,
    desk: Arc<Desk>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parcels {
    tong_so: usize,
    thua_dat: Vec<ThuaDat>,
    watermark: &'static str,
}

/// The business routes over `land`.
pub(super) fn routes(land: Cadastre, desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/thua-dat", get(of_owner))
        .route("/thua-dat/{parcel}", get(one))
        .with_state(Arc::new(DatDai { land, desk }))
}

/// An unknown id and a citizen without land get the same empty list.
async fn of_owner(
    State(register): State<Arc<DatDai>>,
    headers: HeaderMap,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Response {
    let DatDai { land, desk } = &*register;
    let owner = query.ok().and_then(|Query(q)| q.get("chuSuDung").and_then(|id| id.parse().ok()));
    let Some(owner) = owner else {
        return Problem::bad_input(&[(
            "Hãy gửi ?chuSuDung= kèm số định danh 12 chữ số (bắt đầu bằng 0) của chủ sử dụng đất.".to_owned(),
            "Send ?chuSuDung= with the owner's id of 12 digits, the first 0.".to_owned(),
        )])
        .into_response();
    };
    desk.business(client_of(&headers), || {
        let thua_dat = land.owned_by(owner);
        Ok(json(StatusCode::OK, &Parcels { tong_so: thua_dat.len(), thua_dat, watermark: WATERMARK }))
    })
}

async fn one(
    State(register): State<Arc<DatDai>>,
    headers: HeaderMap,
    Path(parcel): Path<String>,
) -> Response {
    let DatDai { land, desk } = &*register;
    desk.business(client_of(&headers), || {
        land.by_id(&parcel).map(|record| json(StatusCode::OK, &record)).ok_or_else(|| {
            Problem::not_found(
                "Không có thửa đất nào mang mã đã gửi. Hãy kiểm tra lại mã thửa đất 12 ký tự, ví dụ ZZDEMO000001.",
                "There is no parcel of this id. Check the 12-character parcel id, like ZZDEMO000001.",
            )
        })
    })
}
