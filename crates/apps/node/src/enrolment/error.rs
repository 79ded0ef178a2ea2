//! Why a management request came to nothing.

use truc_model::{MemberId, NodeId};

use crate::error::NodeError;

/// Why a management request came to nothing; the sentences are for the node's operator.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The node's own files.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An enrolment without an invitation, and none under way.
    #[error(
        "không có hồ sơ ghi danh đang chờ: đã xong thì chạy truc node run, chưa gửi thì cần mã mời --invitation-file / no enrolment is under way here: if it is done, truc node run; if not, give the code that the registrar handed out with --invitation-file"
    )]
    NoInvitation,
    /// The node's address is not known.
    #[error(
        "không rõ địa chỉ các nút khác dùng để kết nối; ghi rõ --address TÊN-MÁY:CỔNG / where do other nodes connect? {0} says nothing that they could use: give --address HOST:PORT"
    )]
    NoAddress(std::net::SocketAddr),
    /// An address or a name outside the rules.
    #[error("{0}")]
    Invalid(String),
    /// Not a member that this node speaks for.
    #[error("{0} không có trong tệp cấu hình / the configuration has no [[member]] {0}; add it first")]
    NotHosted(MemberId),
    /// The registry's answer to the document: sending it again changes nothing.
    #[error("sổ đăng ký từ chối / the registry refused: {0}")]
    Refused(String),
    /// The registry asks for patience, or cannot be reached; the same may be tried again.
    #[error(
        "chưa gửi được tới sổ đăng ký, chạy lại lệnh này để gửi tiếp / not with the registry yet, run the same again: {0}"
    )]
    Away(String),
    /// An officer said no.
    #[error("yêu cầu số {number} không được duyệt / request {number} was refused: {why}")]
    Declined {
        /// Its number at the registry.
        number: u64,
        /// The officer's reason.
        why: String,
    },
    /// The answer does not fit the request.
    #[error(
        "câu trả lời của sổ đăng ký không khớp với yêu cầu / the registry's answer does not fit the request: {0}; nothing was changed"
    )]
    Answer(String),
    /// A certificate does not fit its key.
    #[error(
        "chứng thư cấp cho {holder} không dùng được / the certificate issued for {holder} cannot be used: {why}; nothing was written"
    )]
    Certificate {
        /// Whose.
        holder: String,
        /// What is wrong.
        why: String,
    },
    /// One renewal at a time.
    #[error(
        "đợt thay khóa trước chưa xong ({0}); chờ nút hoàn tất / the former renewal is not finished ({0}); it ends by itself while the node runs"
    )]
    UnderWay(String),
    /// Signing failed.
    #[error(transparent)]
    Signer(#[from] truc_keys::SignerError),
    /// The node is not there any more.
    #[error("{0} không có trong danh bạ / the directory does not know {0}")]
    Unknown(NodeId),
}

impl From<tokio::task::JoinError> for EnrolmentError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Node(NodeError::Task(error))
    }
}

impl From<truc_keystores::KeyStoreError> for EnrolmentError {
    fn from(error: truc_keystores::KeyStoreError) -> Self {
        Self::Node(NodeError::Keys(error))
    }
}
