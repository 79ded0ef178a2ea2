//! `csdl-dancu`: services `tra-cuu-cong-dan` and `ho-gia-dinh`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Map, Value};

use super::WATERMARK;
use super::answers::{Problem, json};
use super::population::{Number, Population, Question};
use super::record::{self, CongDan};
use super::server::{Desk, client_of};

/// The OpenAPI description of this register.
pub(super) const OPENAPI: &str = include_str!("openapi/csdl-dancu.json");

/// What the caller says of itself (QCVN 109:2017); taken, and left to the node's evidence.
const CALLER_FIELDS: [&str; 7] =
    ["MaYeuCau", "MaDVC", "MaTichHop", "MaCanBo", "MaDonVi", "TaiKhoan", "SoDienThoai"];

struct DanCu {
    people: Population,
    desk: Arc<Desk>,
}

#[derive(Serialize)]
struct Found {
    #[serde(rename = "CongdanCollection")]
    collection: Collection,
    watermark: &'static str,
}

#[derive(Serialize)]
struct Collection {
    #[serde(rename = "CongDan")]
    citizens: [CongDan; 1],
}

/// The business routes over `people`.
pub(super) fn routes(people: Population, desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/cong-dan/tra-cuu", post(look_up))
        .route("/ho-gia-dinh/{id}", get(household))
        .with_state(Arc::new(DanCu { people, desk }))
}

async fn look_up(
    State(register): State<Arc<DanCu>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let DanCu { people, desk } = &*register;
    let question = match body.map_err(unreadable_body).and_then(|body| read_question(&body)) {
        Ok(question) => question,
        Err(problem) => return problem.into_response(),
    };
    desk.business(client_of(&headers), || {
        let person = people.verify(&question).ok_or_else(Problem::not_matching)?;
        let collection = Collection { citizens: [record::cong_dan(people, person)] };
        Ok(json(StatusCode::OK, &Found { collection, watermark: WATERMARK }))
    })
}

/// Household numbers are spread over ten million and guesses are capped, so that the register
/// cannot be counted through.
async fn household(
    State(register): State<Arc<DanCu>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let DanCu { people, desk } = &*register;
    desk.business(client_of(&headers), || {
        people
            .household(&id)
            .and_then(|members| record::ho_gia_dinh(people, &members))
            .map(|household| json(StatusCode::OK, &household))
            .ok_or_else(|| {
                Problem::not_found(
                    "Không có hộ gia đình nào mang mã đã gửi. Hãy dùng đúng MaHoGiaDinh trong kết quả tra cứu công dân.",
                    "There is no household of this number. Use MaHoGiaDinh as the citizen look-up answered it.",
                )
            })
    })
}

fn unreadable_body(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            "Nội dung yêu cầu vượt quá 64 KiB. Hãy chỉ gửi các trường của yêu cầu tra cứu.",
            "The request body is over 64 KiB. Send only the fields of the look-up.",
        );
    }
    mistake(
        "Không đọc được nội dung yêu cầu. Hãy gửi lại.",
        "The request body could not be read. Send it again.",
    )
}

fn mistake(vi: &str, en: &str) -> Problem {
    Problem::bad_input(&[(vi.to_owned(), en.to_owned())])
}

/// Reads `{SoDinhDanh | SoCMND, HoVaTen, NgayThangNamSinh}`, reporting every mistake at once.
fn read_question(body: &[u8]) -> Result<Question, Problem> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Err(mistake(
            "Nội dung phải là một đối tượng JSON có SoDinhDanh (hoặc SoCMND), HoVaTen và NgayThangNamSinh.",
            "The body must be a JSON object with SoDinhDanh (or SoCMND), HoVaTen and NgayThangNamSinh.",
        ));
    };
    let mut mistakes = Vec::new();
    let mut wrong = |vi: &str, en: &str| mistakes.push((vi.to_owned(), en.to_owned()));
    let known = ["SoDinhDanh", "SoCMND", "HoVaTen", "NgayThangNamSinh"];
    if fields.keys().any(|k| !known.contains(&k.as_str()) && !CALLER_FIELDS.contains(&k.as_str())) {
        wrong(
            "Có trường không có trong đặc tả; hãy xem /openapi.json và bỏ trường đó.",
            "A field is not in the specification; see /openapi.json and leave it out.",
        );
    }
    let number = read_number(&fields);
    if number.is_none() {
        wrong(
            "Gửi đúng một trong hai: SoDinhDanh (12 chữ số, bắt đầu bằng 0) hoặc SoCMND (9 chữ số).",
            "Send exactly one of SoDinhDanh (12 digits, the first 0) and SoCMND (9 digits).",
        );
    }
    let name = text(&fields, "HoVaTen");
    let name = name.filter(|n| (1..=150).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_uppercase()));
    if name.is_none() {
        wrong(
            "HoVaTen phải viết hoa, không dấu, không khoảng trắng, ví dụ NGUYENVANA (Đ viết là D).",
            "HoVaTen must be upper case without diacritics or spaces, like NGUYENVANA (Đ becomes D).",
        );
    }
    let birth = text(&fields, "NgayThangNamSinh").and_then(|b| b.parse().ok());
    if birth.is_none() {
        wrong(
            "NgayThangNamSinh phải có dạng yyyyMMdd, hoặc yyyy nếu chỉ biết năm sinh.",
            "NgayThangNamSinh must be yyyyMMdd, or yyyy when only the year is known.",
        );
    }
    match (number, name, birth) {
        (Some(number), Some(name), Some(birth)) if mistakes.is_empty() => {
            Ok(Question { number, match_name: name.to_owned(), birth })
        }
        _ => Err(Problem::bad_input(&mistakes)),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

fn read_number(fields: &Map<String, Value>) -> Option<Number> {
    let given = |key| fields.get(key).filter(|v| !v.is_null());
    match (given("SoDinhDanh"), given("SoCMND")) {
        (Some(id), None) => id.as_str()?.parse().ok().map(Number::Id),
        (None, Some(cmnd)) => {
            let digits = cmnd.as_str().filter(|t| t.len() == 9 && t.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse().ok().map(Number::Cmnd)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_strictly() {
        let good = r#"{"MaYeuCau":"1","SoDinhDanh":"099190000025","HoVaTen":"NGUYENTHIMINHANH","NgayThangNamSinh":"19900312"}"#;
        assert!(read_question(good.as_bytes()).is_ok());
        let cmnd = r#"{"SoCMND":"990000001","SoDinhDanh":null,"HoVaTen":"A","NgayThangNamSinh":"1940"}"#;
        assert!(matches!(
            read_question(cmnd.as_bytes()),
            Ok(Question { number: Number::Cmnd(990_000_001), .. })
        ));
        for bad in [
            "",
            "[]",
            "{}",
            &good.replace("099190000025", "99190000025"),
            &good.replace("NGUYENTHI", "NGUYEN THI"),
            &good.replace("NGUYEN", "Nguyễn"),
            &good.replace("19900312", "12/03/1990"),
            &good.replace("MaYeuCau", "MaYeuCua"),
            &good.replace("\"1\",", "\"1\",\"SoCMND\":\"990000001\","),
        ] {
            assert!(read_question(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
