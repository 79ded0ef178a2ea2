//! Why a decision was not taken or not published.

use truc_directory::{DirectoryError, Usage};
use truc_evidence::StoreError;
use truc_keys::SignerError;
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::filed::RequestState;

use crate::officer::OfficerRole;
use crate::ports::PartStoreError;
use crate::request::{InvitationId, RequestError};

/// Why a decision was not taken. Nothing changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceError {
    /// The registry holds no instance yet.
    #[error(
        "this registry holds no instance yet: run `truc registry init`, or have its root-1.json signed and installed (`truc registry root install`)"
    )]
    NotInitialised,
    /// The registry already holds one.
    #[error("this registry already holds instance {0}; a folder holds one instance for good")]
    AlreadyInitialised(String),
    /// Something of another instance.
    #[error("{found} belongs to another instance; this registry keeps {expected}")]
    WrongInstance {
        /// The registry's instance.
        expected: String,
        /// What was given.
        found: String,
    },
    /// It is there already.
    #[error("{0} is already registered; nothing was changed")]
    Duplicate(String),
    /// No such member.
    #[error("{0} is not a member; add it first with `truc registry member add`")]
    UnknownMember(MemberId),
    /// The member is closed.
    #[error("{0} is closed; a closed member cannot be changed or used")]
    MemberClosed(MemberId),
    /// No such subsystem.
    #[error("{0} is not registered; add it first with `truc registry subsystem add`")]
    UnknownSubsystem(SubsystemId),
    /// No such node.
    #[error("{0} is not a registered node; add it first with `truc registry node add`")]
    UnknownNode(NodeId),
    /// No such group.
    #[error("there is no global group {0:?}; create it first")]
    UnknownGroup(String),
    /// No such entry to take away.
    #[error("{0} is not registered; nothing was changed")]
    NotRegistered(String),
    /// No such certificate.
    #[error("certificate {0} is not registered; `truc registry directory show` lists those that are")]
    UnknownCertificate(Fingerprint),
    /// The certificate does not fit.
    #[error("the certificate cannot be used for {usage:?}: {why}")]
    Certificate {
        /// What it was meant for.
        usage: Usage,
        /// What the inspector found.
        why: String,
    },
    /// The certificate names somebody else.
    #[error("the certificate names {named}, not {expected}; ask the CA for one in the right name")]
    CertificateOfAnother {
        /// Whom it should name.
        expected: String,
        /// Whom it names.
        named: String,
    },
    /// Somebody still depends on what was to be closed.
    #[error("node {node} still serves {subsystem}; let another node serve it, then close the member")]
    StillServing {
        /// The member's node.
        node: NodeId,
        /// Another member's subsystem.
        subsystem: SubsystemId,
    },
    /// What the root keys signed does not hold.
    #[error("what the root keys signed is refused: {0}")]
    Endorsement(String),
    /// The officer's role does not cover it.
    #[error(
        "{name} is {role}, who may not do this; ask an officer whose role covers it (docs/registry.md §4)"
    )]
    NotPermitted {
        /// The officer.
        name: String,
        /// The officer's role.
        role: OfficerRole,
    },
    /// A management request cannot be taken.
    #[error(transparent)]
    Request(#[from] RequestRefusal),
    /// A value outside the rules.
    #[error("{0}")]
    Invalid(String),
    /// The journal did not take it.
    #[error("the decision was not recorded and so not taken: {0}")]
    Store(#[from] StoreError),
    /// The journal cannot be understood.
    #[error("the registry's journal cannot be replayed: {0}; restore it from a backup and open a new epoch")]
    Journal(String),
}

/// Why a management request was not taken, or not decided. The sentences go to the node's operator too, so they are in both
/// languages and say nothing of other members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// Its time is off.
    #[error(
        "yêu cầu lập lúc {made}, sổ đăng ký đang là {now}: kiểm tra đồng hồ rồi gửi lại / the request was made at {made}, the registry's clock says {now}: check the clock and send it again"
    )]
    NotNow {
        /// When it says it was made.
        made: Timestamp,
        /// The registry's time.
        now: Timestamp,
    },
    /// The id is another request's.
    #[error(
        "mã yêu cầu này đã dùng cho một yêu cầu khác / this request id belongs to another request already; make a new request"
    )]
    IdTaken,
    /// There is no such invitation, it is another node's, or the MAC is not its.
    #[error(
        "lời mời không có giá trị với nút này; xin mã mời mới / the invitation does not hold for this node; ask the registrar for a new one"
    )]
    NotInvited,
    /// The invitation is over.
    #[error(
        "lời mời {id} đã hết hạn lúc {at}; xin mã mời mới / invitation {id} expired at {at}; ask the registrar for a new one"
    )]
    InvitationExpired {
        /// Which.
        id: InvitationId,
        /// When.
        at: Timestamp,
    },
    /// The invitation served another request.
    #[error(
        "lời mời {id} đã được dùng cho yêu cầu số {number}; nếu không phải của bạn, báo ngay cho cán bộ đăng ký / invitation {id} was used for request {number}; if that was not you, tell the registrar at once"
    )]
    InvitationUsed {
        /// Which.
        id: InvitationId,
        /// The request.
        number: u64,
    },
    /// The invitation was taken back.
    #[error("lời mời {0} đã bị thu hồi / invitation {0} was withdrawn; ask the registrar")]
    InvitationWithdrawn(InvitationId),
    /// A signature is missing or does not hold.
    #[error("thiếu hoặc sai chữ ký của {who} / the signature of {who} is missing or does not hold: {why}")]
    Signature {
        /// Whose.
        who: String,
        /// What is wrong.
        why: String,
    },
    /// Not its own to ask for.
    #[error("nút {node} không được yêu cầu điều này với {what} / node {node} may not ask this of {what}")]
    NotItsOwn {
        /// The node.
        node: NodeId,
        /// What it asked about.
        what: String,
    },
    /// A key serves already.
    #[error(
        "khóa của {holder} đã được đăng ký trước đây; hãy tạo khóa mới / the key of {holder} was registered before; make a new key"
    )]
    KeyUsed {
        /// Whose.
        holder: String,
    },
    /// A certificate request or certificate does not fit.
    #[error(
        "chứng thư hoặc CSR của {holder} không dùng được / the certificate or certificate request of {holder} cannot be used: {why}"
    )]
    Certificate {
        /// Whose.
        holder: String,
        /// What the inspector found.
        why: String,
    },
    /// No such request.
    #[error("không có yêu cầu số {0} / there is no request {0}; `truc registry request list` shows them")]
    Unknown(u64),
    /// It was decided already.
    #[error("yêu cầu số {number} đã {state} bởi {by} / request {number} was decided already: {state} by {by}; nothing was changed", state = state.as_str())]
    Decided {
        /// Which.
        number: u64,
        /// How.
        state: RequestState,
        /// By whom.
        by: String,
    },
    /// It has waited too long.
    #[error(
        "yêu cầu số {number} đã nộp từ {since}, quá hạn; yêu cầu nút nộp lại / request {number} has waited since {since} and is stale; refuse it and let the node ask again"
    )]
    Stale {
        /// Which.
        number: u64,
        /// Since when.
        since: Timestamp,
    },
    /// No security level.
    #[error(
        "yêu cầu số {0} chưa có cấp độ an toàn / request {0} has no security level yet; give --security-level and --security-decision"
    )]
    NoLevel(u64),
    /// Certificates are missing.
    #[error(
        "yêu cầu số {number} còn thiếu chứng thư của {holders} / request {number} lacks the certificates of {holders}; export its certificate requests, have a CA sign them, and bring the certificates (truc registry request export, certify)"
    )]
    NotCertified {
        /// Which.
        number: u64,
        /// Whose.
        holders: String,
    },
    /// The same officer twice.
    #[error(
        "{0} đã duyệt lần một; cần cán bộ khác duyệt lần hai / {0} has approved once; another officer must approve too"
    )]
    SecondOfficer(String),
}

impl From<DirectoryError> for GovernanceError {
    fn from(error: DirectoryError) -> Self {
        Self::Endorsement(error.to_string())
    }
}

/// Why nothing was published. What was published before still counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing to publish, or the journal refused.
    #[error(transparent)]
    Governance(#[from] GovernanceError),
    /// The publishing key did not sign.
    #[error("the publishing key did not sign the head: {0}")]
    Signer(#[from] SignerError),
    /// The parts could not be kept.
    #[error(transparent)]
    Parts(#[from] PartStoreError),
    /// Nodes would refuse what was about to be published.
    #[error("nodes would refuse this directory, so it is not published: {0}")]
    Refused(#[from] DirectoryError),
    /// The journal lacks decisions that were already published.
    #[error(
        "version {published} was published, but the journal ends at {journal}: it was restored from an old backup; open a new epoch with the root keys"
    )]
    JournalBehind {
        /// Highest version published.
        published: u64,
        /// The journal's.
        journal: u64,
    },
}
