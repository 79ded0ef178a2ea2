//! Faults of the bus: one code per way to fail, each with a page in `docs/faults/` (design §9, protocol P8).
//!
//! What a register itself answers (NOT_FOUND, NOT_MATCHING …) is no fault: it passes through as the register's own answer.

use std::fmt;
use std::time::Duration;

use crate::{MemberId, SubsystemId};

/// A language of the public texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// Vietnamese, first for desk officers.
    Vi,
    /// English.
    En,
}

/// Who has to act so that the same call can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The calling information system: its request is wrong or not permitted.
    Caller,
    /// The operator of the caller's own node.
    ConsumerNode,
    /// The operator of the provider's node.
    ProviderNode,
    /// The owner of the service behind the provider's node.
    Provider,
    /// A trust service or the registry, or the operators who reach it.
    TrustService,
    /// Nobody yet: load or bad luck.
    Nobody,
}

impl Blame {
    /// A stable word for JSON and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::ConsumerNode => "consumer-node",
            Self::ProviderNode => "provider-node",
            Self::Provider => "provider",
            Self::TrustService => "trust-service",
            Self::Nobody => "nobody",
        }
    }
}

/// What a caller may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again until something is changed.
    AfterChange,
    /// The same request may be sent again after a while; it was not carried out.
    Later,
    /// It is not known whether the request was carried out: ask or check before sending it again.
    AskFirst,
}

impl Retry {
    /// A stable word for JSON and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterChange => "after-change",
            Self::Later => "later",
            Self::AskFirst => "ask-first",
        }
    }
}

/// Where a fault was raised; X-Road's error types begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The calling information system's request was at fault.
    Client,
    /// The consumer's node.
    ClientProxy,
    /// The provider's node.
    ServerProxy,
}

impl Side {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientProxy => "server.clientproxy",
            Self::ServerProxy => "server.serverproxy",
        }
    }
}

macro_rules! codes {
    ($( $variant:ident $name:literal $status:literal $blame:ident $retry:ident $xroad:literal
        vi $vi:literal en $en:literal )+) => {
        /// The code of a fault: stable, UPPER_SNAKE, documented one page each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultCode { $( #[doc = $en] $variant, )+ }

        impl FaultCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code's name, e.g. `NO_RIGHT`.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name),+ } }

            /// The HTTP status at the edge.
            pub const fn http_status(self) -> u16 { match self { $(Self::$variant => $status),+ } }

            /// Who has to act.
            pub const fn blame(self) -> Blame { match self { $(Self::$variant => Blame::$blame),+ } }

            /// What the caller may do next.
            pub const fn retry(self) -> Retry { match self { $(Self::$variant => Retry::$retry),+ } }

            /// X-Road's spelling without its prefix (X-Road 7.8), or ours in the same manner where X-Road has none.
            pub const fn x_road(self) -> &'static str { match self { $(Self::$variant => $xroad),+ } }

            /// The sentence a desk officer may read; holds no detail and no data.
            pub const fn public_text(self, lang: Lang) -> &'static str {
                match (self, lang) { $( (Self::$variant, Lang::Vi) => $vi, (Self::$variant, Lang::En) => $en, )+ }
            }
        }
    };
}

codes! {
    Malformed "MALFORMED" 400 Caller AfterChange "bad_request"
        vi "Yêu cầu không đúng định dạng. Xem lý do (reason), sửa yêu cầu rồi gửi lại."
        en "The request is not well-formed. See the reason, correct the request and send it again."
    UnknownClient "UNKNOWN_CLIENT" 403 Caller AfterChange "unknown_member"
        vi "Phân hệ gọi (X-Road-Client) chưa được đăng ký tại nút này. Kiểm tra mã hoặc đề nghị đơn vị vận hành đăng ký."
        en "The calling subsystem (X-Road-Client) is not registered at this node. Check the code or ask the operator to register it."
    ClientNotAuthenticated "CLIENT_NOT_AUTHENTICATED" 401 Caller AfterChange "ssl_authentication_failed"
        vi "Phân hệ gọi phải kết nối theo cách đã đăng ký tại nút này (HTTPS hoặc HTTPS với chứng thư). Xem lý do (reason), sửa kết nối rồi gửi lại."
        en "The calling subsystem must connect as it is set at this node (HTTPS, or HTTPS with its certificate). See the reason, correct the connection and send it again."
    UnknownMember "UNKNOWN_MEMBER" 404 Caller AfterChange "unknown_member"
        vi "Không có phân hệ cung cấp nào với mã này trong danh bạ. Kiểm tra lại đường dẫn."
        en "No providing subsystem with this code is in the directory. Check the path."
    UnknownService "UNKNOWN_SERVICE" 404 Caller AfterChange "unknown_service"
        vi "Phân hệ cung cấp không có dịch vụ này. Kiểm tra mã dịch vụ hoặc xem listMethods."
        en "The providing subsystem has no such service. Check the service code or see listMethods."
    UnknownNode "UNKNOWN_NODE" 404 Caller AfterChange "invalid_security_server"
        vi "Nút nêu trong X-Road-Security-Server không phục vụ phân hệ cung cấp này. Sửa mã nút hoặc bỏ tiêu đề này."
        en "The node named in X-Road-Security-Server does not serve this providing subsystem. Correct the node's id or leave the header out."
    NoRight "NO_RIGHT" 403 Caller AfterChange "access_denied"
        vi "Phân hệ gọi chưa được cấp quyền dùng dịch vụ này. Đề nghị bên cung cấp cấp quyền truy cập."
        en "The calling subsystem has no right to this service. Ask the provider to grant access."
    OfficerRequired "OFFICER_REQUIRED" 403 Caller AfterChange "officer_required"
        vi "Dịch vụ này yêu cầu mã cán bộ. Gửi kèm tiêu đề X-Road-UserId."
        en "This service requires the officer's id. Send the X-Road-UserId header."
    PurposeRequired "PURPOSE_REQUIRED" 403 Caller AfterChange "purpose_required"
        vi "Dịch vụ này yêu cầu mục đích khai thác. Gửi kèm tiêu đề Truc-Purpose."
        en "This service requires the purpose of use. Send the Truc-Purpose header."
    LegalBasisRequired "LEGAL_BASIS_REQUIRED" 403 Caller AfterChange "legal_basis_required"
        vi "Dịch vụ này yêu cầu căn cứ pháp lý. Gửi kèm tiêu đề Truc-Legal-Basis."
        en "This service requires the legal basis. Send the Truc-Legal-Basis header."
    ServiceDisabled "SERVICE_DISABLED" 503 Provider Later "service_disabled"
        vi "Bên cung cấp đang tạm dừng dịch vụ này. Thử lại sau hoặc liên hệ bên cung cấp."
        en "The provider has paused this service. Try again later or contact the provider."
    Maintenance "MAINTENANCE" 503 ProviderNode Later "maintenance_mode"
        vi "Nút của bên cung cấp đang bảo trì. Yêu cầu chưa được thực hiện; xem lý do (reason) và thử lại sau."
        en "The provider's node is in maintenance. The request was not carried out; see the reason and try again later."
    Suspended "SUSPENDED" 403 TrustService AfterChange "suspended"
        vi "Thành viên, nút hoặc phân hệ nêu trong lý do (reason) đang tạm dừng theo danh bạ. Liên hệ đơn vị đó hoặc sổ đăng ký."
        en "The member, node or subsystem named in the reason is suspended in the directory. Contact it or the registry."
    Moved "MOVED" 410 Caller AfterChange "moved"
        vi "Thành viên này đã chấm dứt hoạt động và có đơn vị kế thừa. Gọi tới đơn vị kế thừa nêu trong lý do (reason)."
        en "This member is closed and has a successor. Call the successor named in the reason."
    TooLarge "TOO_LARGE" 413 Caller AfterChange "too_large"
        vi "Nội dung vượt quá kích thước cho phép. Giảm kích thước hoặc chia nhỏ."
        en "The body is larger than permitted. Make it smaller or split it."
    QuotaExceeded "QUOTA_EXCEEDED" 429 Caller Later "quota_exceeded"
        vi "Đã vượt giới hạn tần suất khai thác. Chờ theo thời gian Retry-After rồi gửi lại."
        en "The rate limit is exceeded. Wait for the Retry-After time and send it again."
    Busy "BUSY" 503 Nobody Later "busy"
        vi "Hệ thống đang quá tải. Yêu cầu chưa được thực hiện, thử lại sau ít phút."
        en "The system is overloaded. The request was not carried out; try again shortly."
    Timeout "TIMEOUT" 504 Provider AskFirst "service_failed.timeout"
        vi "Bên cung cấp không trả lời kịp thời hạn. Chưa rõ yêu cầu đã được thực hiện hay chưa, hãy kiểm tra trước khi gửi lại."
        en "The provider did not answer in time. It is not known whether the request was carried out; check before sending it again."
    Unavailable "UNAVAILABLE" 502 ProviderNode Later "network_error"
        vi "Không kết nối được tới nút của bên cung cấp. Yêu cầu chưa được thực hiện, thử lại sau."
        en "The provider's node cannot be reached. The request was not carried out; try again later."
    ServiceFailed "SERVICE_FAILED" 502 Provider AskFirst "service_failed.network_error"
        vi "Nút của bên cung cấp không nhận được trả lời hợp lệ từ hệ thống cung cấp dịch vụ. Kiểm tra trước khi gửi lại."
        en "The provider's node got no valid answer from the system behind the service. Check before sending it again."
    Untrusted "UNTRUSTED" 502 ConsumerNode AfterChange "signature_verification"
        vi "Chữ ký, chứng thư hoặc nút gửi không được tin cậy. Thông điệp bị từ chối; báo cho đơn vị vận hành nút."
        en "The signature, the certificate or the sending node is not trusted. The message was rejected; tell the node's operator."
    StatusUnknown "STATUS_UNKNOWN" 503 TrustService Later "incorrect_validation_info"
        vi "Chưa xác định được trạng thái chứng thư (OCSP) và đã quá thời gian ân hạn. Thử lại sau."
        en "The certificate status (OCSP) could not be established and the grace period has passed. Try again later."
    Expired "EXPIRED" 400 ConsumerNode AfterChange "message_expired"
        vi "Thông điệp đã hết hạn hoặc đồng hồ hai nút lệch nhau quá 60 giây. Kiểm tra đồng hồ rồi gửi lại."
        en "The message has expired or the two nodes' clocks differ by more than 60 seconds. Check the clocks and send it again."
    Replayed "REPLAYED" 409 ConsumerNode AfterChange "replayed"
        vi "Mã thông điệp này đã được dùng cho một thông điệp khác. Thông điệp bị từ chối."
        en "This message id was already used for another message. The message was rejected."
    InconsistentResponse "INCONSISTENT_RESPONSE" 502 ProviderNode AskFirst "inconsistent_response"
        vi "Trả lời không khớp với yêu cầu đã gửi nên bị từ chối. Báo cho đơn vị vận hành nút."
        en "The response does not belong to the request that was sent, so it was rejected. Tell the node's operator."
    OutcomeUnknown "OUTCOME_UNKNOWN" 504 Nobody AskFirst "outcome_unknown"
        vi "Kết nối bị gián đoạn giữa chừng, chưa rõ yêu cầu đã được thực hiện hay chưa. Kiểm tra với bên cung cấp trước khi gửi lại."
        en "The exchange was interrupted; it is not known whether the request was carried out. Check with the provider before sending it again."
    DirectoryExpired "DIRECTORY_EXPIRED" 503 TrustService Later "global_conf_outdated"
        vi "Danh bạ tại nút đã quá hạn, không thể xác định ai được tin cậy. Đơn vị vận hành kiểm tra kết nối tới sổ đăng ký."
        en "The node's directory has expired, so it cannot tell whom to trust. The operator must check the link to the registry."
    DirectoryConflict "DIRECTORY_CONFLICT" 503 TrustService AfterChange "directory_conflict"
        vi "Hai nút giữ hai danh bạ khác nhau dưới cùng một số phiên bản nên không nói chuyện với nhau. Báo ngay cho đơn vị vận hành nút và sổ đăng ký."
        en "The two nodes hold different directories under one version number, so they do not talk. Tell the operators of the node and of the registry at once."
    UnsupportedVersion "UNSUPPORTED_VERSION" 400 ConsumerNode AfterChange "unsupported_version"
        vi "Hai nút không có phiên bản giao thức chung. Nâng cấp nút cũ hơn."
        en "The two nodes have no protocol version in common. Upgrade the older node."
    RecordingFailed "RECORDING_FAILED" 503 ConsumerNode Later "logging_failed"
        vi "Nút không ghi được bằng chứng (đĩa đầy hoặc lỗi) nên không thực hiện yêu cầu. Báo cho đơn vị vận hành."
        en "The node cannot record evidence (disk full or failing), so it does not carry out the request. Tell the operator."
    TimeStampOverdue "TIME_STAMP_OVERDUE" 503 TrustService Later "timestamping_failed"
        vi "Nút chưa lấy được dấu thời gian cho bằng chứng trong thời hạn cho phép nên không nhận yêu cầu mới. Yêu cầu chưa được thực hiện, thử lại sau."
        en "The node has not had its evidence time-stamped within the time allowed, so it takes no new requests. The request was not carried out; try again later."
    SigningFailed "SIGNING_FAILED" 503 ConsumerNode Later "cannot_create_signature"
        vi "Nút không ký được thông điệp. Báo cho đơn vị vận hành kiểm tra khóa và chứng thư."
        en "The node cannot sign the message. Tell the operator to check the key and the certificate."
    Internal "INTERNAL" 500 ConsumerNode AskFirst "internal_error"
        vi "Lỗi nội bộ của nút. Báo mã truy vết cho đơn vị vận hành."
        en "Internal error of the node. Give the trace id to the operator."
}

impl FaultCode {
    /// Reads a code's name; an unknown name is `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure, as it travels inside a node: the public part is the code's, the detail is for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Fault {
    /// What kind of failure.
    pub code: FaultCode,
    /// Where it was raised.
    pub side: Side,
    /// One sentence for the operator: what was seen and what to do; no personal data, no secret.
    pub detail: String,
    /// When a retry makes sense, where that is known.
    pub retry_after: Option<Duration>,
    /// With [`FaultCode::Moved`]: who took over.
    pub successor: Option<MemberId>,
    /// With [`FaultCode::Moved`]: as which subsystem the named one goes on, where the succession says so (protocol P6.4).
    pub successor_subsystem: Option<SubsystemId>,
}

impl Fault {
    /// Who has to act: as the code says, but what a node could not do itself is for its own operator to mend.
    pub const fn blame(&self) -> Blame {
        use FaultCode::{Internal, RecordingFailed, SigningFailed};
        match (self.code, self.side) {
            (RecordingFailed | SigningFailed | Internal, Side::ServerProxy) => Blame::ProviderNode,
            (code, _) => code.blame(),
        }
    }
    /// A fault raised on the consumer's node.
    pub fn consumer(code: FaultCode, detail: impl Into<String>) -> Self {
        Self::at(Side::ClientProxy, code, detail)
    }
    /// A fault raised on the provider's node.
    pub fn provider(code: FaultCode, detail: impl Into<String>) -> Self {
        Self::at(Side::ServerProxy, code, detail)
    }
    /// A fault of the calling information system's own request.
    pub fn client(code: FaultCode, detail: impl Into<String>) -> Self {
        Self::at(Side::Client, code, detail)
    }
    /// A fault raised at `side`.
    pub fn at(side: Side, code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            side,
            detail: detail.into(),
            retry_after: None,
            successor: None,
            successor_subsystem: None,
        }
    }
    /// Adds when a retry makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
    /// Names the successor of a closed member.
    #[must_use]
    pub fn with_successor(mut self, successor: Option<MemberId>) -> Self {
        self.successor = successor;
        self
    }
    /// Names the subsystem that goes on in place of a closed member's.
    #[must_use]
    pub fn with_successor_subsystem(mut self, successor: Option<SubsystemId>) -> Self {
        self.successor_subsystem = successor;
        self
    }
    /// X-Road's error type, e.g. `server.serverproxy.access_denied`.
    pub fn x_road_type(&self) -> String {
        format!("{}.{}", self.side.prefix(), self.code.x_road())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_unique_and_found_again() {
        for code in FaultCode::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert_eq!(FaultCode::from_name(code.as_str()), Some(*code));
            for lang in [Lang::Vi, Lang::En] {
                assert!(code.public_text(lang).ends_with('.'), "{code}");
            }
        }
    }

    #[test]
    fn what_a_node_could_not_do_itself_is_for_its_own_operator() {
        for code in [FaultCode::RecordingFailed, FaultCode::SigningFailed, FaultCode::Internal] {
            assert_eq!(Fault::provider(code, "").blame(), Blame::ProviderNode);
            assert_eq!(Fault::consumer(code, "").blame(), Blame::ConsumerNode);
        }
        // The provider's node says it, and the caller's operator mends it.
        assert_eq!(Fault::provider(FaultCode::Expired, "").blame(), Blame::ConsumerNode);
    }

    #[test]
    fn x_road_clients_find_their_own_spelling() {
        assert_eq!(Fault::provider(FaultCode::NoRight, "").x_road_type(), "server.serverproxy.access_denied");
    }
}
