//! `truc evidence subject`: who looked at a person's data, as that person can read it.

use std::collections::HashMap;
use std::fmt::Write as _;

use clap::Args;
use serde::{Deserialize, Serialize};
use truc_admin::{DirectoryView, EvidenceEntry, EvidenceSearch, EvidenceShown};
use truc_evidence::{Outcome, RecordKind};
use truc_model::{MemberId, MessageId, ServiceId, SubsystemId, Timestamp, visible};

use super::clock;
use super::evidence::{Source, patiently};
use super::evidence_list::{gather, given};
use super::target::Target;
use crate::out;

/// Who asked for a person's data: a report that the person can read
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence subject - --config node.toml\n\nThe number is then read from standard input, so that it stays in no shell's \
                  history. The report covers what this node recorded: ask every node that serves data about the person."
)]
pub(crate) struct Subject {
    /// The person's number as services are told it; - reads it from standard input
    #[arg(value_name = "NUMBER")]
    number: String,
    /// From this moment on, in UTC, like 2026-11-21T00:00:00.000Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this moment, written the same way
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Name the officers too: for whoever may know them
    #[arg(long)]
    with_officer: bool,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    number: String,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<Timestamp>,
    /// The oldest record that was looked at; none where the token does not let it be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// There is more than this report holds.
    more: bool,
    accesses: Vec<Access>,
}

/// One time that the person's data was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    time: Timestamp,
    member: MemberId,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_name: Option<String>,
    client: SubsystemId,
    service: ServiceId,
    #[serde(flatten)]
    said: Said,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    evidence: MessageId,
}

/// What the request said of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    agency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legal_basis: Option<String>,
    #[serde(rename(deserialize = "issue"), skip_serializing_if = "Option::is_none")]
    dossier: Option<String>,
    #[serde(rename(deserialize = "userId"), skip_serializing_if = "Option::is_none")]
    officer: Option<String>,
}

impl Said {
    fn of(shown: &EvidenceShown) -> Self {
        let request = shown.records.iter().find(|record| record.kind == RecordKind::Request);
        let header = request.and_then(|record| record.header.as_ref());
        header.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
    }
}

/// Names of members, in Vietnamese and English.
fn names(directory: Option<DirectoryView>) -> HashMap<MemberId, String> {
    let members = directory.into_iter().flat_map(|directory| directory.members);
    members.map(|m| (m.id, format!("{} / {}", m.name_vi, m.name_en))).collect()
}

impl Subject {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let number = given(self.number.clone(), &mut false).await?;
        let source = Source::open(&self.target).await?;
        let search = EvidenceSearch {
            subject: Some(number.clone()),
            since: self.since,
            until: self.until,
            ..EvidenceSearch::default()
        };
        let (found, next) = gather(&source, search, self.limit as usize).await?;
        let names = names(source.directory().await);
        let mut accesses = Vec::with_capacity(found.len());
        for entry in found {
            accesses.push(self.access(&source, entry, &names).await?);
        }
        let first = EvidenceSearch { after: Some(1), limit: Some(1), ..EvidenceSearch::default() };
        let oldest = source.search(&first).await?.exchanges.pop();
        let report = Report {
            number,
            node: source.node(&self.target).await?,
            made: Some(clock().now()),
            recorded_since: oldest.map(|exchange| exchange.time),
            since: self.since,
            until: self.until,
            more: next.is_some(),
            accesses,
        };
        if self.json {
            return out::json(&report);
        }
        Ok(out::data(report.text()?.as_bytes())?)
    }

    async fn access(
        &self,
        source: &Source,
        entry: EvidenceEntry,
        names: &HashMap<MemberId, String>,
    ) -> anyhow::Result<Access> {
        let mut said = Said::of(&patiently(async || source.show(entry.id, false).await).await?);
        if !self.with_officer {
            said.officer = None;
        }
        let member = entry.client.member();
        Ok(Access {
            time: entry.time,
            member_name: names.get(&member).cloned(),
            member,
            client: entry.client,
            service: entry.service,
            said,
            outcome: entry.outcome,
            fault: entry.fault,
            evidence: entry.id,
        })
    }
}

/// To the minute, in the time of Việt Nam.
fn ict(at: Timestamp) -> String {
    let text = at.in_vietnam();
    text.rsplit_once(':').map_or_else(|| text.clone(), |(minute, _)| minute.to_owned())
}

const fn ended(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Ok => ("dịch vụ đã trả lời", "the service answered"),
        Outcome::Refused => ("bị từ chối, không có dữ liệu nào được cung cấp", "refused, no data was given"),
        Outcome::Failed => ("không thực hiện được", "it failed"),
        Outcome::Unknown => ("không rõ, chưa ghi nhận trả lời", "not known, no answer is recorded"),
    }
}

impl Report {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        let made = self.made.map_or_else(String::new, |at| format!(" · lập lúc / made at {}", ict(at)));
        writeln!(out, "BÁO CÁO: AI ĐÃ TRA CỨU DỮ LIỆU CỦA TÔI")?;
        writeln!(out, "REPORT: WHO LOOKED AT MY DATA\n")?;
        writeln!(out, "Số định danh / number: {}", visible(&self.number))?;
        writeln!(out, "Nút / node: {}{made}", self.node)?;
        writeln!(out, "Giờ Việt Nam (UTC+7) / times are Vietnamese (UTC+7)\n")?;
        self.scope(&mut out)?;
        for (number, access) in (1..).zip(&self.accesses) {
            access.text(number, &mut out)?;
        }
        let total = self.accesses.len();
        writeln!(out, "Tổng số lần / in all: {total}")?;
        if total == 0 {
            writeln!(out, "Không có lần tra cứu nào được ghi nhận trong phạm vi trên.")?;
            writeln!(out, "No request is on record within what this report covers.")?;
        } else {
            writeln!(
                out,
                "Mỗi mã bằng chứng ứng với một hồ sơ có chữ ký số: đề nghị cơ quan lập báo cáo này xuất ra để tự kiểm tra."
            )?;
            writeln!(
                out,
                "Behind each evidence id there is signed evidence: ask whoever made this report for it, and check it yourself."
            )?;
        }
        if self.more {
            writeln!(out, "CHƯA ĐẦY ĐỦ: còn nhiều lần cũ hơn; tăng --limit hoặc dùng --until.")?;
            writeln!(out, "NOT COMPLETE: there are older ones; raise --limit or use --until.")?;
        }
        Ok(out)
    }

    /// What the report covers, and what it cannot say.
    fn scope(&self, out: &mut String) -> std::fmt::Result {
        let from = self.since.max(self.recorded_since).map(ict);
        let (vi, en) = match (&from, self.until.map(ict)) {
            (Some(from), Some(until)) => {
                (format!("từ {from} đến trước {until}"), format!("from {from} to {until}"))
            }
            (Some(from), None) => (format!("từ {from}"), format!("since {from}")),
            (None, Some(until)) => (format!("đến trước {until}"), format!("before {until}")),
            (None, None) => ("toàn bộ thời gian".into(), "all time".into()),
        };
        writeln!(
            out,
            "Phạm vi: các lần tra cứu qua nút này, {vi}, tới những dịch vụ đã khai báo vị trí của số"
        )?;
        writeln!(
            out,
            "trong yêu cầu, kể từ khi khai báo. Lần tra cứu qua nút khác, tới dịch vụ chưa khai báo, hoặc"
        )?;
        writeln!(
            out,
            "xem thẳng trong hệ thống của cơ quan không có ở đây. Cơ quan và mục đích là do bên yêu cầu khai."
        )?;
        writeln!(
            out,
            "This covers: requests through this node, {en}, to services that declare where the number is in a"
        )?;
        writeln!(
            out,
            "request, since they declare it. Requests through other nodes, to services that do not declare it, or"
        )?;
        writeln!(
            out,
            "looks inside an agency's own system are not here. Agency and purpose are what the requester stated.\n"
        )
    }
}

impl Access {
    fn text(&self, number: usize, out: &mut String) -> std::fmt::Result {
        let (vi, en) = ended(self.outcome);
        let fault = self.fault.as_ref().map_or_else(String::new, |code| format!(" ({})", visible(code)));
        let name = self.member_name.as_ref().map_or_else(String::new, |name| format!(" · {}", visible(name)));
        writeln!(out, "{number}. {}", ict(self.time))?;
        writeln!(out, "   Cơ quan / agency: {}{name}", self.member)?;
        let mut said = |vi: &str, en: &str, text: &Option<String>| match text {
            Some(text) => writeln!(out, "   {vi} / {en}: {}", visible(text)),
            None => Ok(()),
        };
        said("Đơn vị khai trong yêu cầu", "unit stated in the request", &self.said.agency)?;
        said("Hệ thống", "system", &Some(self.client.to_string()))?;
        said("Dịch vụ", "service", &Some(self.service.to_string()))?;
        let unstated = Some("không nêu / not stated".to_owned());
        said("Mục đích", "purpose", &self.said.purpose.clone().or_else(|| unstated.clone()))?;
        said("Căn cứ pháp lý", "legal basis", &self.said.legal_basis.clone().or(unstated))?;
        said("Hồ sơ", "dossier", &self.said.dossier)?;
        said("Cán bộ", "officer", &self.said.officer)?;
        writeln!(out, "   Kết quả / result: {vi} / {en}{fault}")?;
        writeln!(out, "   Mã bằng chứng / evidence id: {}\n", self.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let access = Access {
            time: "2026-11-21T18:04:05.678Z".parse().unwrap(),
            member: "VN/GOV/H26".parse().unwrap(),
            member_name: Some("UBND thành phố Hà Nội / Hanoi People's Committee".into()),
            client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
            service: "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
            said: Said {
                purpose: Some("Xác minh\u{202e}\n2. 22/11/2026 01:00\u{2028}".into()),
                ..Said::default()
            },
            outcome: Outcome::Refused,
            fault: Some("NO_RIGHT".into()),
            evidence: "0199aaaa-bbbb-7ccc-8ddd-000000000001".parse().unwrap(),
        };
        Report {
            number: "001099012345".into(),
            node: "VN/GOV/G01/ss1".into(),
            made: "2026-11-22T03:00:00.000Z".parse().ok(),
            recorded_since: "2026-11-01T00:00:00.000Z".parse().ok(),
            since: None,
            until: None,
            more: false,
            accesses: vec![access],
        }
    }

    #[test]
    fn a_citizen_reads_when_who_why_and_how_it_ended() {
        let text = report().text().unwrap();
        for part in [
            "1. 22/11/2026 01:04\n",
            "UBND thành phố Hà Nội / Hanoi",
            "Dịch vụ / service: VN/GOV/G01/csdl-dancu/tra-cuu\n",
            "Căn cứ pháp lý / legal basis: không nêu / not stated\n",
            "bị từ chối",
            "(NO_RIGHT)",
            "0199aaaa-bbbb-7ccc-8ddd-000000000001",
            "từ 01/11/2026 07:00",
            "in all: 1\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("officer:") && !text.contains("NOT COMPLETE"), "{text}");
        assert!(!text.contains("\n2. "), "a purpose cannot pretend to be another line: {text}");
        assert!(text.contains("Xác minh\\u{202e}\\u{a}2. "), "nor read otherwise than it is: {text}");
        assert!(!text.chars().any(|c| c != '\n' && truc_model::is_unseen(c)), "{text:?}");
        let cut = Report { more: true, ..report() };
        assert!(cut.text().unwrap().contains("NOT COMPLETE"));
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["accesses"][0]["outcome"], "refused");
    }

    #[test]
    fn what_a_request_says_is_read_from_its_header() {
        let header = r#"{"v":1,"userId":"cb-01","issue":"H26.1","legalBasis":"Luật","purpose":"p"}"#;
        let said: Said = serde_json::from_str(header).unwrap();
        let told = [&said.officer, &said.dossier, &said.legal_basis, &said.purpose, &said.agency];
        assert_eq!(told.map(Option::as_deref), [Some("cb-01"), Some("H26.1"), Some("Luật"), Some("p"), None]);
    }
}
