//! The registers' own answers, errors in Vietnamese and English that say what to do.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::WATERMARK;

/// What a register says instead of data. The text never repeats what the caller sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    vi: String,
    en: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Written<'a> {
    code: &'static str,
    message: Message<'a>,
    watermark: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    vi: &'a str,
    en: &'a str,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        vi: impl Into<String>,
        en: impl Into<String>,
    ) -> Self {
        Self { status, code, vi: vi.into(), en: en.into(), retry_after: None }
    }

    /// The one answer for unknown, mismatched and restricted persons (protocol P4.7).
    pub(super) fn not_matching() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NOT_MATCHING",
            "Không có công dân nào khớp đồng thời số định danh, họ tên và ngày sinh đã gửi. Hãy đối chiếu lại với \
             giấy tờ của công dân rồi tra cứu lại.",
            "No citizen matches the number, the name and the date of birth together. Compare them with the \
             citizen's papers and ask again.",
        )
    }

    pub(super) fn not_found(vi: &str, en: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", vi, en)
    }

    /// All that is wrong with the request, as (vi, en) sentences.
    pub(super) fn bad_input(mistakes: &[(String, String)]) -> Self {
        let join = |texts: Vec<&str>| texts.join(" ");
        let vi = join(mistakes.iter().map(|m| m.0.as_str()).collect());
        let en = join(mistakes.iter().map(|m| m.1.as_str()).collect());
        Self::new(StatusCode::BAD_REQUEST, "BAD_INPUT", vi, en)
    }

    pub(super) fn too_many(seconds: u64) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_MISMATCHES",
            format!("Hệ thống này đã gửi quá nhiều lượt tra cứu không khớp. Hãy thử lại sau {seconds} giây."),
            format!("This client has sent too many requests that matched nothing. Try again in {seconds} s."),
        );
        problem.retry_after = Some(seconds);
        problem
    }

    pub(super) fn into_response(self) -> Response {
        let message = Message { vi: &self.vi, en: &self.en };
        let mut answer = json(self.status, &Written { code: self.code, message, watermark: WATERMARK });
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// An answer in JSON that no cache keeps.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, text) = match serde_json::to_vec(value) {
        Ok(text) => (status, text),
        // Our own types always write; an empty 500 is all that could be said otherwise.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
