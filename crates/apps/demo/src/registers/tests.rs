//! The registers over HTTP, and the golden digest of their records.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_model::Digest;

use super::{Population, RegisterConfig, RegisterError, RegisterKind, WATERMARK, record, run, showcase};

const SEED: u64 = 20_260_101;
const GOLDEN: &str = include_str!("golden/dancu-first-1000.sha256");

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RegisterError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Running {
    async fn start(kind: RegisterKind) -> Self {
        let mut config = RegisterConfig::new(kind, "127.0.0.1:0".parse().unwrap(), SEED);
        (config.citizens, config.parcels, config.mismatch_cap_per_minute) = (1_000, 500, 4);
        let (tell, told) = tokio::sync::oneshot::channel();
        let stop = CancellationToken::new();
        let ready = move |address| tell.send(address).unwrap();
        let task = tokio::spawn(run(config, ready, stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address: told.await.unwrap(), stop, task, client }
    }

    async fn send(&self, client: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("X-Road-Client", client)
            .body(Full::new(body.into()))
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Answer { status, retry_after, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("DEMO/GOV/H26/mot-cua-so-1", "GET", path, "").await
    }

    async fn look_up(&self, client: &str, id: &str, name: &str, birth: &str) -> Answer {
        let body = json!({"SoDinhDanh": id, "HoVaTen": name, "NgayThangNamSinh": birth}).to_string();
        self.send(client, "POST", "/cong-dan/tra-cuu", body).await
    }

    async fn calls(&self) -> u64 {
        let health = self.get("/health").await.json();
        assert_eq!(health["status"], "ok");
        health["calls"].as_u64().unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[test]
fn the_first_thousand_records_are_golden() {
    let all = Population::generate(SEED, 1_000);
    let records: Vec<_> = all.iter().map(|c| record::cong_dan(&all, c)).collect();
    let text: String = records.iter().map(|r| format!("{}\n", serde_json::to_string(r).unwrap())).collect();
    assert!(text.lines().all(|line| line.contains(WATERMARK)));
    assert_eq!(
        Digest::of(text.as_bytes()).to_string(),
        GOLDEN.trim(),
        "the synthetic data changed; if that was meant, update golden/dancu-first-1000.sha256"
    );
}

#[test]
fn restricted_people_show_nowhere() {
    let all = Population::generate(SEED, 5_000);
    let hidden: Vec<_> = all.iter().filter(|c| c.restricted).filter_map(|c| c.id).collect();
    assert!(!hidden.is_empty());
    for person in all.iter().filter(|c| !c.restricted) {
        let text = serde_json::to_string(&record::cong_dan(&all, person)).unwrap();
        let home = all.household(&all.household_name(person)).unwrap();
        let home = serde_json::to_string(&record::ho_gia_dinh(&all, &home)).unwrap();
        // Only relatives can appear, so looking near is looking everywhere.
        for id in all.iter().skip(person.index as usize / 4 * 4).take(4).filter(|c| c.restricted) {
            let id = id.id.unwrap().to_string();
            assert!(!text.contains(&id) && !home.contains(&id), "person {}", person.index);
        }
    }
}

#[tokio::test]
async fn a_matching_citizen_is_disclosed_with_household() {
    let register = Running::start(RegisterKind::DanCu).await;
    let who = showcase(SEED);
    let found = register.look_up("c", &who.id, &who.match_name, &who.birth).await;
    assert_eq!(found.status, 200);
    let body = found.json();
    assert_eq!(body["watermark"], WATERMARK);
    let person = &body["CongdanCollection"]["CongDan"][0];
    assert_eq!(person["SoDinhDanh"], who.id.as_str());
    assert_eq!(person["HoVaTen"], json!({"Ho": "Nguyễn", "ChuDem": "Thị Minh", "Ten": "Anh"}));
    assert_eq!(person["DanToc"], "01");
    assert_eq!(person["VoChong"]["SoDinhDanh"], "099085000011");
    assert_eq!(person["ChuHo"]["QuanHe"]["Ten"], "Vợ/chồng");
    assert_eq!(person["ThuongTru"]["MaTinhThanh"], "99");

    let home = register.get(&format!("/ho-gia-dinh/{}", person["MaHoGiaDinh"].as_str().unwrap())).await;
    assert_eq!(home.status, 200);
    assert_eq!(home.json()["ThanhVien"].as_array().unwrap().len(), 4);
    assert_eq!(register.get("/ho-gia-dinh/HGD-99001-0000000").await.status, 404);
    assert_eq!(register.calls().await, 3);
    register.end().await;
}

#[tokio::test]
async fn unknown_mismatched_and_restricted_are_answered_alike() {
    let register = Running::start(RegisterKind::DanCu).await;
    let who = showcase(SEED);
    let all = Population::generate(SEED, 1_000);
    let hidden = all.iter().find(|c| c.restricted).unwrap();
    let hidden_id = hidden.id.unwrap().to_string();
    let answers = [
        register.look_up("c", &who.id, &who.match_name, "19900313").await,
        register.look_up("c", &who.id, "NGUYENTHIMINHCHAU", &who.birth).await,
        register.look_up("c", "099190999999", &who.match_name, &who.birth).await,
        register.look_up("c", &hidden_id, &hidden.name.key(), &hidden.birth.to_string()).await,
    ];
    for answer in &answers {
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("NOT_MATCHING")));
        assert_eq!(answer.text, answers[0].text);
    }
    // Four failures are this register's cap: now the right question is refused too, others are not.
    let capped = register.look_up("c", &who.id, &who.match_name, &who.birth).await;
    assert_eq!((capped.status, capped.json()["code"].as_str()), (429, Some("TOO_MANY_MISMATCHES")));
    assert!((1..=60).contains(&capped.retry_after.unwrap().parse::<u64>().unwrap()));
    assert_eq!(register.look_up("d", &who.id, &who.match_name, &who.birth).await.status, 200);
    assert_eq!(register.calls().await, 5, "the refused call was not carried out");
    register.end().await;
}

#[tokio::test]
async fn bad_input_is_told_what_to_do_and_counts_nothing() {
    let register = Running::start(RegisterKind::DanCu).await;
    for _ in 0..6 {
        let bad = register.look_up("c", "123", "Nguyễn Văn A", "1/2/1990").await;
        assert_eq!((bad.status, bad.json()["code"].as_str()), (400, Some("BAD_INPUT")));
        for word in ["SoDinhDanh", "HoVaTen", "NgayThangNamSinh"] {
            assert!(bad.json()["message"]["vi"].as_str().unwrap().contains(word));
            assert!(bad.json()["message"]["en"].as_str().unwrap().contains(word));
        }
    }
    let large = register.send("c", "POST", "/cong-dan/tra-cuu", vec![b' '; 70_000]).await;
    assert_eq!((large.status, large.json()["code"].as_str()), (413, Some("TOO_LARGE")));
    assert_eq!(register.get("/nowhere").await.json()["code"], "NO_SUCH_PATH");
    assert_eq!(register.get("/cong-dan/tra-cuu").await.json()["code"], "NO_SUCH_METHOD");
    assert_eq!(register.calls().await, 0);
    register.end().await;
}

#[tokio::test]
async fn parcels_are_found_by_owner_and_by_id() {
    let register = Running::start(RegisterKind::DatDai).await;
    let who = showcase(SEED);
    let mine = register.get(&format!("/thua-dat?chuSuDung={}", who.id)).await;
    assert_eq!(mine.status, 200);
    let parcels = mine.json()["thuaDat"].as_array().unwrap().clone();
    assert!(parcels.len() >= 2 && mine.json()["tongSo"] == parcels.len());
    for parcel in &parcels {
        assert_eq!(parcel["watermark"], WATERMARK);
        assert!(parcel["chuSuDung"].as_array().unwrap().iter().any(|o| o["soDinhDanh"] == who.id.as_str()));
        let path = format!("/thua-dat/{}", parcel["maThuaDat"].as_str().unwrap());
        assert_eq!(register.get(&path).await.json(), *parcel);
    }
    let none = register.get("/thua-dat?chuSuDung=099000999999").await;
    assert_eq!((none.status, &none.json()["tongSo"]), (200, &json!(0)));
    assert_eq!(register.get("/thua-dat?chuSuDung=12").await.status, 400);
    assert_eq!(register.get("/thua-dat").await.status, 400);
    assert_eq!(register.get("/thua-dat/ZZDEMO999999").await.status, 404);
    assert_eq!(register.get("/health").await.json()["records"], 500);
    register.end().await;
}

#[tokio::test]
async fn the_description_names_each_route() {
    for (kind, routes) in [
        (
            RegisterKind::DanCu,
            &[("/cong-dan/tra-cuu", "post"), ("/ho-gia-dinh/{id}", "get"), ("/health", "get")][..],
        ),
        (
            RegisterKind::DatDai,
            &[("/thua-dat", "get"), ("/thua-dat/{parcelId}", "get"), ("/health", "get")][..],
        ),
    ] {
        let register = Running::start(kind).await;
        let description = register.get("/openapi.json").await.json();
        assert_eq!(description["openapi"], "3.0.3");
        for (path, method) in routes {
            let operation = &description["paths"][path][method];
            assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{path}");
        }
        assert_eq!(description["paths"].as_object().unwrap().len(), routes.len() + 1);
        assert_references(&description, &description);
        register.end().await;
    }
}

/// Every `$ref` must point at something in the document.
fn assert_references(whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                assert!(whole.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            fields.values().for_each(|v| assert_references(whole, v));
        }
        Value::Array(items) => items.iter().for_each(|v| assert_references(whole, v)),
        _ => {}
    }
}
