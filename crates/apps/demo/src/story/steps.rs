//! What happens, in order.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use truc_model::MessageId;

use super::forger::Forger;
use super::teller::{Ended, Teller};
use super::{enrolment, merger, past, proof};
use crate::bus::{Layout, Processes};
use crate::http::{Answer, HttpClient};
use crate::registers::showcase;

/// What the steps share.
pub(crate) struct Tale<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) processes: &'a mut Processes,
    pub(crate) http: HttpClient,
    pub(crate) program: PathBuf,
    /// The id of the first call, for the forger and the court.
    pub(crate) first_call: Option<MessageId>,
    /// Its container, once exported.
    pub(crate) container: Option<PathBuf>,
    /// What others hold of the ministry's log, once asked.
    pub(crate) heads: Option<PathBuf>,
}

/// How the steps ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) well: usize,
    pub(crate) skipped: usize,
    pub(crate) failed: usize,
}

pub(super) type Told = Result<Ended, String>;

macro_rules! steps {
    ($tale:ident, $teller:ident, $( $vi:literal $en:literal => $step:expr ),+ $(,)?) => {{
        let mut tally = Tally::default();
        let mut number = 0;
        $(
            number += 1;
            $teller.step(number, $vi, $en);
            let begun = Instant::now();
            let ended: Told = $step.await;
            match &ended {
                Ok(Ended::Well(_)) => tally.well += 1,
                Ok(Ended::Skipped(_)) => tally.skipped += 1,
                Err(_) => tally.failed += 1,
            }
            $teller.ended(&ended, begun.elapsed());
        )+
        tally
    }};
}

/// Tells every step.
pub(crate) async fn tell(tale: &mut Tale<'_>, teller: &Teller) -> Tally {
    steps! { tale, teller,
        "Cán bộ một cửa ở Hà Nội tra cứu một công dân tại CSDL dân cư (xác minh rồi mới cung cấp)."
        "An officer at a Hà Nội one-stop desk asks the population register about a citizen (verify, then disclose)."
            => verify_citizen(tale),
        "Cùng cán bộ đó lấy các thửa đất của công dân này từ CSDL đất đai."
        "The same officer pulls that citizen's parcels from the land register."
            => pull_parcels(tale),
        "Sai ngày sinh: CSDL dân cư trả lời KHÔNG KHỚP; đó là câu trả lời của CSDL, không phải lỗi của trục."
        "A wrong date of birth: the register answers NOT_MATCHING; its own answer, not a fault of the bus."
            => wrong_birth(tale),
        "Một cửa số 10 chưa được cấp quyền: bị từ chối, và lời từ chối có chữ ký của Bộ Công an."
        "Desk number 10 has no right: it is refused, and the refusal is signed by the Ministry of Public Security."
            => unapproved_desk(tale),
        "Thông điệp bị sửa sau khi ký (đổi số định danh): nút của Bộ Công an phát hiện và từ chối."
        "A message changed after signing (another citizen's number): the ministry's node notices and rejects it."
            => tampered(tale),
        "Thông điệp cũ được gửi lại: không lần nào được thực hiện lần hai; dùng lại mã cho nội dung khác thì bị từ chối."
        "An old message is sent again: it is never carried out twice; its id on other content is rejected."
            => replayed(tale),
        "Một nút có chứng thư hợp lệ nhưng chưa đăng ký trong danh bạ thử gọi: bị từ chối."
        "A node with a valid certificate that is not registered in the directory tries to call: it is rejected."
            => unregistered(tale),
        "Sổ đăng ký dừng hẳn; trao đổi dữ liệu vẫn tiếp tục."
        "The registry is stopped; the exchange goes on."
            => registry_away(tale),
        "Xuất bằng chứng của lời gọi đầu tiên, có dấu thời gian, và kiểm chứng ngoại tuyến bằng truc verify."
        "The evidence of the first call, with its time-stamp, is exported and verified offline by truc verify."
            => proof::verified_by_truc(tale),
        "Kiểm chứng lại bằng openssl thông thường, không cần Trục."
        "Verified again by plain openssl, without Trục."
            => proof::verified_by_openssl(tale),
        "Công dân hỏi: ai đã xem dữ liệu của tôi? Nút của Bộ Công an trả lời bằng một lệnh."
        "The citizen asks: who looked at my data? The ministry's node answers with one command."
            => past::citizen_asks(tale),
        "Khởi động lại sổ đăng ký."
        "The registry is started again."
            => registry_back(tale),
        "Đầu nhật ký của Bộ Công an được sổ đăng ký và các nút khác cùng giữ."
        "The head of the ministry's log lies with the registry and with other nodes."
            => past::heads_lie_elsewhere(tale),
        "Người vận hành nút, có mọi khóa, xóa dấu vết một lần tra cứu (trên bản sao): fsck phát hiện."
        "An operator with every key wipes out the trace of one look-up (on a copy of the node): fsck finds it."
            => past::rewriting_is_found(tale),
        "Tỉnh Quảng Ninh kết nối: nút chạy init, enroll, run; sổ đăng ký mời và duyệt một lần."
        "The province of Quảng Ninh joins: its node runs init, enroll, run; the registry invites and approves once."
            => enrolment::newcomer_enrols(tale),
        "Một cửa Quảng Ninh chưa có quyền; được đưa vào nhóm đã phê duyệt thì tra cứu được ngay."
        "Quảng Ninh's desk has no right yet; put in the approved group, it may ask at once."
            => enrolment::newcomer_calls(tale),
        "Sổ đăng ký thu hồi chứng thư của nút Quảng Ninh: mọi nút từ chối ngay; đăng ký lại thì chạy tiếp."
        "The registry withdraws the Quảng Ninh node's certificate: every node refuses it at once; registered again, it goes on."
            => enrolment::certificate_is_revoked(tale),
        "Bắc Giang sáp nhập vào Bắc Ninh: mã cũ trả lời MOVED, quyền được bên cung cấp cho tiếp nối."
        "Bắc Giang merges into Bắc Ninh: the old code answers MOVED, its rights go on by the provider's decision."
            => merger::provinces_merge(tale),
    }
}

const OFFICER: &str = "cb-0123";
/// The administrative procedure that the officer works on.
const PURPOSE: &str = "1.004194";

impl Tale<'_> {
    pub(super) async fn call(
        &self,
        desk: &str,
        method: &str,
        service: &str,
        body: &Value,
    ) -> Result<Answer, String> {
        let node = self.layout.node("H26").map_err(|e| e.to_string())?;
        let url = format!("{}/r1/{service}", node.edge_url());
        let client = format!("VN/GOV/H26/{desk}");
        let headers = [
            ("X-Road-Client", client.as_str()),
            ("X-Road-UserId", OFFICER),
            ("Truc-Purpose", PURPOSE),
            ("Content-Type", "application/json"),
            ("Accept-Language", "en"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.http.send(method, &url, &headers, body).await
    }

    /// How many calls the population register has carried out.
    pub(crate) async fn calls_carried_out(&self) -> Result<u64, String> {
        let health = self.http.get(&format!("http://127.0.0.1:{}/health", self.layout.registers.0)).await?;
        health.json()["calls"]
            .as_u64()
            .ok_or_else(|| "the register does not say how many calls it carried out".into())
    }

    /// The question about the showcase citizen.
    pub(crate) fn question(&self) -> Value {
        let citizen = showcase(self.layout.seed);
        json!({ "SoDinhDanh": citizen.id, "HoVaTen": citizen.match_name, "NgayThangNamSinh": citizen.birth })
    }
}

pub(super) const LOOK_UP: &str = "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan/cong-dan/tra-cuu";

pub(super) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub(super) fn shown(answer: &Answer) -> String {
    let body: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
    format!("HTTP {} {body}", answer.status.as_u16())
}

async fn verify_citizen(tale: &mut Tale<'_>) -> Told {
    let answer = tale.call("mot-cua-so-1", "POST", LOOK_UP, &tale.question()).await?;
    expect(answer.status == 200, || shown(&answer))?;
    let citizen = showcase(tale.layout.seed);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    expect(text.contains(&citizen.id), || shown(&answer))?;
    let id = answer.header("x-road-request-id").ok_or("the answer carries no X-Road-Request-Id")?;
    tale.first_call = Some(id.parse().map_err(|_| format!("X-Road-Request-Id {id} is no message id"))?);
    Ok(Ended::Well(format!("{} · {} · id {id}", citizen.display_name, citizen.id)))
}

async fn pull_parcels(tale: &mut Tale<'_>) -> Told {
    let citizen = showcase(tale.layout.seed);
    let service = format!("VN/GOV/G10/csdl-datdai/tra-cuu-thua-dat/thua-dat?chuSuDung={}", citizen.id);
    let answer = tale.call("mot-cua-so-1", "GET", &service, &Value::Null).await?;
    expect(answer.status == 200, || shown(&answer))?;
    let parcels = answer.json();
    let list = parcels["thuaDat"].as_array().cloned().unwrap_or_default();
    expect(list.len() >= 2, || shown(&answer))?;
    let text = |parcel: &Value, key: &str| parcel[key].to_string().trim_matches('"').to_owned();
    let lines: Vec<String> = list
        .iter()
        .map(|p| {
            format!(
                "xã {} tờ {} thửa {}, {} m²",
                text(p, "maXa"),
                text(p, "soHieuToBanDo"),
                text(p, "soThuTuThua"),
                text(p, "dienTich")
            )
        })
        .collect();
    Ok(Ended::Well(lines.join(" · ")))
}

async fn wrong_birth(tale: &mut Tale<'_>) -> Told {
    let mut question = tale.question();
    question["NgayThangNamSinh"] = json!("19900313");
    let answer = tale.call("mot-cua-so-1", "POST", LOOK_UP, &question).await?;
    expect(answer.status == 404 && answer.json()["code"] == "NOT_MATCHING", || shown(&answer))?;
    expect(answer.header("x-road-error").is_none(), || {
        "a register's own answer must not carry X-Road-Error".into()
    })?;
    Ok(Ended::Well("HTTP 404 NOT_MATCHING, không có X-Road-Error / no X-Road-Error".into()))
}

async fn unapproved_desk(tale: &mut Tale<'_>) -> Told {
    let before = tale.calls_carried_out().await?;
    let answer = tale.call("mot-cua-so-10", "POST", LOOK_UP, &tale.question()).await?;
    let error = answer.header("x-road-error").unwrap_or_default().to_owned();
    expect(answer.status == 403 && error == "server.serverproxy.access_denied", || shown(&answer))?;
    expect(tale.calls_carried_out().await? == before, || "the register was called all the same".into())?;
    let id = answer.json()["requestId"].as_str().or(answer.header("x-road-request-id")).map(str::to_owned);
    let id = id.ok_or("the refusal names no request")?;
    let id: MessageId = id.parse().map_err(|_| format!("{id} is no message id"))?;
    let kinds = proof::record_kinds(tale, "H26", id).await?;
    expect(kinds == ["request", "refusal"], || {
        format!("the desk's node holds {kinds:?}, not a signed refusal")
    })?;
    let kinds = proof::record_kinds(tale, "G01", id).await?;
    expect(kinds == ["request", "refusal"], || {
        format!("the ministry's node holds {kinds:?}, not its signed refusal")
    })?;
    Ok(Ended::Well(format!(
        "HTTP 403 {error}; lời từ chối đã ký có ở cả hai nút / the signed refusal is on record at both nodes"
    )))
}

async fn tampered(tale: &mut Tale<'_>) -> Told {
    let before = tale.calls_carried_out().await?;
    let forger = Forger::with_stolen_node(tale.layout).await?;
    let fault = forger.tampered(tale.question().to_string()).await?;
    expect(fault.code.as_str() == "UNTRUSTED", || fault.to_string())?;
    expect(tale.calls_carried_out().await? == before, || "the register was called all the same".into())?;
    Ok(Ended::Well(fault.to_string()))
}

async fn replayed(tale: &mut Tale<'_>) -> Told {
    let id = tale.first_call.ok_or("there was no first call")?;
    let before = tale.calls_carried_out().await?;
    let forger = Forger::with_stolen_node(tale.layout).await?;
    let captured = proof::captured_request(tale, id).await?;
    let again = forger.same_again(captured).await?;
    expect(tale.calls_carried_out().await? == before, || "the register was called a second time".into())?;
    let fault = forger.same_id(id, tale.question().to_string()).await?;
    expect(fault.code.as_str() == "REPLAYED", || fault.to_string())?;
    expect(tale.calls_carried_out().await? == before, || "the register was called all the same".into())?;
    Ok(Ended::Well(format!("gửi lại nguyên văn / the very same message: {again}\n{fault}")))
}

async fn unregistered(tale: &mut Tale<'_>) -> Told {
    let forger = Forger::unregistered(tale.layout).await?;
    let fault = forger.plain(tale.question().to_string()).await?;
    expect(fault.code.as_str() == "UNTRUSTED", || fault.to_string())?;
    Ok(Ended::Well(fault.to_string()))
}

async fn registry_away(tale: &mut Tale<'_>) -> Told {
    tale.processes.stop("registry").await.map_err(|e| e.to_string())?;
    let gone = tokio::net::TcpStream::connect(("127.0.0.1", tale.layout.registry.0)).await.is_err();
    expect(gone, || "the registry still answers".into())?;
    let answer = tale.call("mot-cua-so-2", "POST", LOOK_UP, &tale.question()).await?;
    expect(answer.status == 200, || shown(&answer))?;
    Ok(Ended::Well("HTTP 200 khi không có sổ đăng ký / with no registry".into()))
}

async fn registry_back(tale: &mut Tale<'_>) -> Told {
    let registry = tale.processes.registry();
    tale.processes.start(vec![registry]).await.map_err(|e| e.to_string())?;
    Ok(Ended::Well("sổ đăng ký đã chạy lại / it is up".into()))
}
