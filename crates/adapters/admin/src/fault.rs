//! What the API answers when it does not do what was asked.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use truc_evidence::StoreError;
use truc_policy::PolicyError;

macro_rules! codes {
    ($( $variant:ident $name:literal $status:ident vi $vi:literal en $en:literal )+) => {
        /// The code of a fault of this API: stable, UPPER_SNAKE. They are apart from the faults of the bus.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum AdminCode { $( #[doc = $en] $variant, )+ }

        impl AdminCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code's name.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name),+ } }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode { match self { $(Self::$variant => StatusCode::$status),+ } }

            /// The sentence for people, Vietnamese and English.
            pub const fn texts(self) -> (&'static str, &'static str) { match self { $(Self::$variant => ($vi, $en)),+ } }
        }
    };
}

codes! {
    Malformed "MALFORMED" BAD_REQUEST
        vi "Yêu cầu không đúng. Xem phần chi tiết rồi sửa lại."
        en "The request is not right. See the detail and correct it."
    Unauthenticated "UNAUTHENTICATED" UNAUTHORIZED
        vi "Thiếu mã truy cập hoặc mã không đúng. Gửi tiêu đề Authorization: Bearer."
        en "The token is missing or not known here. Send the Authorization: Bearer header."
    Forbidden "FORBIDDEN" FORBIDDEN
        vi "Vai trò của mã truy cập không cho phép việc này. Dùng mã có vai trò phù hợp."
        en "The token's role does not permit this. Use a token with a fitting role."
    NotFound "NOT_FOUND" NOT_FOUND
        vi "Không tìm thấy. Xem phần chi tiết."
        en "There is no such thing here. See the detail."
    MethodNotAllowed "METHOD_NOT_ALLOWED" METHOD_NOT_ALLOWED
        vi "Đường dẫn này không nhận phương thức đó."
        en "This path does not take that method."
    Conflict "CONFLICT" CONFLICT
        vi "Thay đổi này không khớp với trạng thái hiện tại. Xem phần chi tiết."
        en "This change does not fit the present state. See the detail."
    UndeclaredClass "UNDECLARED_CLASS" CONFLICT
        vi "Dịch vụ nêu một lớp lưu giữ mà node.toml chưa khai báo. Khai báo lớp đó ([[evidence.retention]]) rồi khởi động lại nút, hoặc chọn lớp đã khai báo."
        en "The service names a retention class that node.toml does not declare. Declare it ([[evidence.retention]]) and start the node anew, or name a declared one."
    TooLarge "TOO_LARGE" PAYLOAD_TOO_LARGE
        vi "Nội dung yêu cầu quá lớn. Xem phần chi tiết."
        en "The request's body is too large. See the detail."
    DescriptionUnusable "DESCRIPTION_UNUSABLE" UNPROCESSABLE_ENTITY
        vi "Không lấy được hoặc không đọc được tài liệu OpenAPI của dịch vụ; chưa có gì thay đổi. Xem phần chi tiết."
        en "The service's OpenAPI document cannot be fetched or read; nothing was changed. See the detail."
    Busy "BUSY" SERVICE_UNAVAILABLE
        vi "Nút đang bận. Thử lại sau."
        en "The node is busy. Try again shortly."
    Timeout "TIMEOUT" GATEWAY_TIMEOUT
        vi "Không kịp thời hạn. Một thay đổi có thể đã được ghi, xem danh sách trước khi gửi lại."
        en "It took too long. A change may have been made: look at the list before sending it again."
    RecordingFailed "RECORDING_FAILED" SERVICE_UNAVAILABLE
        vi "Không ghi được quyết định vào nhật ký nên không thay đổi gì. Kiểm tra đĩa của nút."
        en "The decision could not be written to the journal, so nothing was changed. Check the node's disk."
    Internal "INTERNAL" INTERNAL_SERVER_ERROR
        vi "Lỗi nội bộ của nút. Xem nhật ký vận hành."
        en "Internal error of the node. See its log."
}

/// A refusal or failure: a code, and one sentence that says what was seen and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct AdminFault {
    /// What kind.
    pub code: AdminCode,
    /// The sentence; no secret.
    pub detail: String,
}

impl AdminFault {
    /// A fault with its detail.
    pub fn new(code: AdminCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
    /// A decision that could not be written to the journal: nothing has changed.
    pub fn not_recorded(error: &StoreError) -> Self {
        let code = if *error == StoreError::Busy { AdminCode::Busy } else { AdminCode::RecordingFailed };
        Self::new(code, error.to_string())
    }
    pub(crate) fn malformed(detail: impl std::fmt::Display) -> Self {
        Self::new(AdminCode::Malformed, detail.to_string())
    }
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(AdminCode::NotFound, format!("{what} is not here"))
    }
}

/// The JSON of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultBody {
    /// [`AdminCode::as_str`].
    pub code: String,
    /// The sentence for people.
    pub message: FaultText,
    /// What was seen.
    pub detail: String,
}

/// One sentence in two languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultText {
    /// Vietnamese.
    pub vi: String,
    /// English.
    pub en: String,
}

impl IntoResponse for AdminFault {
    fn into_response(self) -> Response {
        let (vi, en) = self.code.texts();
        let message = FaultText { vi: vi.to_owned(), en: en.to_owned() };
        let body = FaultBody { code: self.code.as_str().to_owned(), message, detail: self.detail };
        let mut response = (self.code.status(), Json(body)).into_response();
        if self.code == AdminCode::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"truc-admin\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<PolicyError> for AdminFault {
    fn from(error: PolicyError) -> Self {
        let code = match &error {
            PolicyError::NotHosted(_)
            | PolicyError::UnknownService(_)
            | PolicyError::UnknownRight(_)
            | PolicyError::UnknownGroup { .. }
            | PolicyError::NotInGroup(_) => AdminCode::NotFound,
            PolicyError::UndeclaredClass { .. } => AdminCode::UndeclaredClass,
            PolicyError::ServiceExists(_)
            | PolicyError::RightExists(_)
            | PolicyError::GroupExists { .. }
            | PolicyError::GroupInUse { .. }
            | PolicyError::Ambiguous(_)
            | PolicyError::AlreadyInGroup(_) => AdminCode::Conflict,
            PolicyError::ReservedCode(_)
            | PolicyError::Nested
            | PolicyError::Definition { .. }
            | PolicyError::ForeignSubject(_) => AdminCode::Malformed,
        };
        Self::new(code, error.to_string())
    }
}

/// As a read of the evidence fails; for a decision see [`AdminFault::not_recorded`].
impl From<StoreError> for AdminFault {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Full | StoreError::Busy => AdminCode::Busy,
            StoreError::NotFound => AdminCode::NotFound,
            StoreError::Failed(_) | StoreError::Damaged(_) => AdminCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_speaks_both_languages() {
        for code in AdminCode::ALL {
            let (vi, en) = code.texts();
            assert!(vi.ends_with('.') && en.ends_with('.') && vi != en, "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }
}
