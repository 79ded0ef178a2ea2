//! What a verification found, for people (Vietnamese and English) and for programs (JSON).

use std::fmt;

use serde::{Deserialize, Serialize};
use truc_model::{MessageId, ServiceId, SubsystemId, Timestamp, visible};

use crate::record::Outcome;

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Vietnamese.
    pub vi: String,
    /// English.
    pub en: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It holds.
    Ok,
    /// It does not hold.
    Failed,
    /// Neither: the container does not carry what would show it.
    NotShown,
}

/// What everything together says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that a conclusion rests on holds.
    Holds,
    /// Nothing fails, but something a conclusion rests on is not shown.
    Incomplete,
    /// Something fails: do not rely on the container.
    Fails,
}

macro_rules! checks {
    ($( $variant:ident $rests:literal vi $vi:literal en $en:literal )+) => {
        /// The checks, by stable names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum CheckName { $( #[doc = $en] $variant, )+ }

        impl CheckName {
            /// What is checked.
            pub fn what(self) -> Text {
                let (vi, en) = match self { $( Self::$variant => ($vi, $en), )+ };
                Text { vi: vi.to_owned(), en: en.to_owned() }
            }
            /// Whether the verdict rests on it: not shown then means incomplete.
            pub const fn verdict_rests_on_it(self) -> bool { match self { $( Self::$variant => $rests, )+ } }
        }
    };
}

checks! {
    Notes true
        vi "Tệp hướng dẫn đi kèm đúng với nội dung hồ sơ"
        en "The notes for checking by hand belong to these very files"
    Manifest true
        vi "Tiêu đề và nội dung thông điệp khớp với bản kê đã ký"
        en "Header and body are those that the signed manifest names"
    Body false
        vi "Nội dung thông điệp có trong hồ sơ"
        en "The body of the message is in the container"
    Signature true
        vi "Chữ ký số (CAdES-B) trên bản kê hợp lệ"
        en "The signature (CAdES-B) over the manifest holds"
    SigningTime true
        vi "Thời điểm ký trùng với thời điểm gửi ghi trong tiêu đề"
        en "The signing time is the header's time of sending"
    Directory true
        vi "Danh bạ có chữ ký, dẫn về neo tin cậy và có hiệu lực khi gửi"
        en "The signed directory leads back to the anchor and was in force at the time of sending"
    Path true
        vi "Chứng thư của bên ký do tổ chức chứng thực được danh bạ chấp thuận cấp"
        en "The signer's certificate leads to a CA that the directory approves"
    Registered true
        vi "Chứng thư đã đăng ký cho đúng thành viên nêu trong tiêu đề"
        en "The certificate was registered to the member that the header names"
    Node false
        vi "Nút gửi được phép thay mặt phân hệ gửi"
        en "The sending node was registered to speak for the sending subsystem"
    Status true
        vi "Chứng thư còn hiệu lực khi ký (phản hồi OCSP)"
        en "The certificate was good at the time (OCSP response)"
    Answer true
        vi "Trả lời đúng là trả lời cho yêu cầu này"
        en "The answer names this very request"
    Record true
        vi "Bản ghi của nút khớp với thông điệp và với mã băm lá nhật ký"
        en "The node's record fits the message and its leaf hash"
    ProviderLeaf false
        vi "Trả lời đã ký nêu đúng bản ghi yêu cầu tại bên cung cấp"
        en "The signed answer names the provider's record of the request"
    Fault false
        vi "Lỗi do nút ghi nhận, không có bên nào ký"
        en "A fault that the node noted; nobody signed it"
    StatusAfter false
        vi "Trạng thái chứng thư công bố sau dấu thời gian xác nhận chứng thư còn hiệu lực khi ký"
        en "A status issued after the time-stamp confirms that the certificate was good when it signed"
    Authority true
        vi "Tổ chức cấp dấu thời gian được danh bạ chấp thuận"
        en "The time-stamp authority is one that the directory approves"
    EvidenceRecord true
        vi "Bản ghi bằng chứng (RFC 4998) dẫn từ bản kê, chữ ký và trạng thái tới dấu thời gian"
        en "The evidence record (RFC 4998) leads from manifest, signature and statuses to the time-stamp"
    Log false
        vi "Bản ghi nằm trong nhật ký đã công bố của nút"
        en "The record is part of the node's published log"
    Timestamp false
        vi "Dấu thời gian của bên thứ ba (RFC 3161)"
        en "A time-stamp of a third party (RFC 3161)"
}

/// What [`CheckName::Manifest`] checks of a message whose body is not in the container.
pub(super) fn header_alone() -> Text {
    Text {
        vi: "Tiêu đề khớp với bản kê đã ký; nội dung chưa được so vì không có trong hồ sơ".to_owned(),
        en: "The header is the one that the signed manifest names; the body is not here and was not compared"
            .to_owned(),
    }
}

/// One check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Which check.
    pub name: CheckName,
    /// The message it is about, `request-<id>`; none for the container as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The record it is about, by its place in the node's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// What is checked.
    pub what: Text,
    /// How it came out.
    pub state: State,
    /// Values and reasons, in English.
    pub detail: String,
}

/// The exchange in short, from the signed headers. Read it only together with the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The request's id.
    pub id: MessageId,
    /// The calling subsystem.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// HTTP method.
    pub method: String,
    /// Path and query, as forwarded.
    pub path: String,
    /// The officer (`X-Road-UserId`).
    pub officer: Option<String>,
    /// The officer's agency.
    pub agency: Option<String>,
    /// Purpose of use.
    pub purpose: Option<String>,
    /// Legal basis.
    pub legal_basis: Option<String>,
    /// When the request was sealed.
    pub sent: Timestamp,
    /// When the answer was sealed, if there is one.
    pub answered: Option<Timestamp>,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// How the exchange ended, by the signed answer. Unknown without a fault: nothing signed in this container tells it.
    pub outcome: Outcome,
    /// The fault's code, by the signed refusal; what a node only noted is under [`CheckName::Fault`].
    pub fault: Option<String>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Format version, 1.
    pub v: u32,
    /// Everything together.
    pub verdict: Verdict,
    /// The exchange; none when its request is not in the container.
    pub summary: Option<Summary>,
    /// Every check that was made, and those that could not be.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(summary: Option<Summary>, checks: Vec<Check>) -> Self {
        let missing = |c: &Check| c.state == State::NotShown && c.name.verdict_rests_on_it();
        let verdict = if checks.iter().any(|c| c.state == State::Failed) {
            Verdict::Fails
        } else if checks.iter().any(missing) || summary.is_none() {
            Verdict::Incomplete
        } else {
            Verdict::Holds
        };
        Self { v: 1, verdict, summary, checks }
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.state == State::Failed)
    }

    /// The checks that could not be made.
    pub fn not_shown(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.state == State::NotShown)
    }
}

impl Summary {
    /// The outcome in a word; what nobody here signed is told apart from the signed word that it is unknown.
    const fn ending(&self) -> &'static str {
        match (self.outcome, &self.fault, self.answered) {
            (Outcome::Unknown, None, None) => "không có trong hồ sơ này / not in this container",
            (Outcome::Unknown, None, Some(_)) => "hồ sơ này không chứng minh / not shown by this container",
            (outcome, _, _) => outcome.as_str(),
        }
    }
}

/// As the files have it, and as a reader in Việt Nam expects it.
fn both_times(at: Timestamp) -> String {
    format!("{at} (giờ Việt Nam / in Việt Nam: {})", at.in_vietnam())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = || "—".to_owned();
        let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
        let status = self.status.map_or_else(none, |s| s.to_string());
        let answered = self.answered.map_or_else(none, both_times);
        let fault = self.fault.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
        let lines = [
            ("Mã yêu cầu / request", self.id.to_string()),
            ("Bên gọi / client", self.client.to_string()),
            ("Dịch vụ / service", self.service.to_string()),
            ("Thao tác / operation", format!("{} {}", self.method, self.path)),
            ("Cán bộ / officer", text(&self.officer)),
            ("Cơ quan / agency", text(&self.agency)),
            ("Mục đích / purpose", text(&self.purpose)),
            ("Căn cứ / legal basis", text(&self.legal_basis)),
            ("Gửi lúc / sent", both_times(self.sent)),
            ("Trả lời lúc / answered", answered),
            ("Trạng thái / status", status),
            ("Kết quả / outcome", format!("{}{fault}", self.ending())),
        ];
        lines.iter().try_for_each(|(label, value)| writeln!(f, "  {label}: {}", visible(value)))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ĐẠT / OK",
            State::Failed => "KHÔNG ĐẠT / FAILED",
            State::NotShown => "CHƯA CHỨNG MINH / NOT SHOWN",
        };
        write!(f, "[{state}] {} / {}", self.what.vi, self.what.en)?;
        if self.detail.is_empty() { writeln!(f) } else { writeln!(f, ": {}", visible(&self.detail)) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vi, en) = match self.verdict {
            Verdict::Holds => ("HỒ SƠ BẰNG CHỨNG HỢP LỆ", "THE EVIDENCE HOLDS"),
            Verdict::Incomplete => ("HỒ SƠ BẰNG CHỨNG CHƯA ĐẦY ĐỦ", "THE EVIDENCE IS INCOMPLETE"),
            Verdict::Fails => ("HỒ SƠ BẰNG CHỨNG KHÔNG HỢP LỆ", "THE EVIDENCE DOES NOT HOLD"),
        };
        writeln!(f, "{vi} / {en}")?;
        let open = self.not_shown().count();
        if open > 0 {
            writeln!(f, "số điều hồ sơ này chưa chứng minh / things that it does not show: {open}")?;
        }
        for check in self.not_shown().filter(|c| c.name == CheckName::Body) {
            let message = visible(check.message.as_deref().unwrap_or_default());
            writeln!(f, "nội dung của {message} không có trong hồ sơ, chưa được so với bản kê đã ký")?;
            writeln!(
                f,
                "the body of {message} is not in the container and was not compared with the signed manifest"
            )?;
        }
        writeln!(f)?;
        if let Some(summary) = &self.summary {
            writeln!(f, "{summary}")?;
        }
        let mut about: Option<(&Option<String>, Option<u64>)> = None;
        for check in &self.checks {
            if about != Some((&check.message, check.record)) {
                about = Some((&check.message, check.record));
                let message = check.message.as_deref().map(visible);
                let message = message.as_deref().unwrap_or("toàn bộ hồ sơ / the whole container");
                let record = check.record.map_or_else(String::new, |n| format!(", bản ghi / record {n}"));
                writeln!(f, "— {message}{record}")?;
            }
            write!(f, "{check}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever signs may write a purpose that reads from right to left, or as a line of the report.
    #[test]
    fn signed_texts_stand_on_their_line_and_read_as_they_are() {
        let odd = "Xác minh\u{202e}3.1\u{2066}\u{2028}[ĐẠT / OK]\n[ĐẠT / OK] \u{1b}[2J";
        let at: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
        let summary = Summary {
            id: MessageId::new(at, [1; 10]),
            client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
            service: "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
            method: "GET".into(),
            path: odd.into(),
            officer: Some(odd.into()),
            agency: Some(odd.into()),
            purpose: Some(odd.into()),
            legal_basis: Some(odd.into()),
            sent: at,
            answered: None,
            status: None,
            outcome: Outcome::Refused,
            fault: Some(odd.into()),
        };
        let check = Check {
            name: CheckName::Body,
            message: Some(odd.into()),
            record: None,
            what: CheckName::Body.what(),
            state: State::NotShown,
            detail: odd.into(),
        };
        let text = Report::new(Some(summary), vec![check]).to_string();
        assert!(!text.chars().any(|c| c != '\n' && truc_model::is_unseen(c)), "{text:?}");
        assert!(!text.contains("\n[ĐẠT"), "{text}");
        assert!(text.contains("Xác minh\\u{202e}3.1"), "{text}");
    }
}
