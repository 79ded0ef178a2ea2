//! The code-list service, as the node in front of it calls it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_model::{Clock, Digest, ManualClock, Timestamp};
use truc_policy::OpenApi;
use truc_registry::*;

fn at(day: u32) -> Timestamp {
    format!("2026-11-{day:02}T00:00:00.000Z").parse().unwrap()
}

struct Service {
    address: SocketAddr,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RegistryError>>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name} in {}", self.head))
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Service {
    async fn start(dir: &Path) -> Self {
        let clock = Arc::new(ManualClock::new(at(2)));
        let stop = CancellationToken::new();
        let (told, ready) = oneshot::channel();
        let (dir, time, end) = (dir.to_owned(), Arc::clone(&clock) as Arc<dyn Clock>, stop.clone());
        let listen = "127.0.0.1:0".parse().unwrap();
        let task = tokio::spawn(async move {
            serve_code_lists(listen, dir, time, |address| told.send(address).unwrap(), end).await
        });
        Self { address: ready.await.unwrap(), clock, stop, task }
    }

    async fn ask(&self, line: &str, fields: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "").await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn entries(rows: &str) -> Vec<CodeEntry> {
    read_entries(format!("code,name_vi,name_en,status,successor\n{rows}").as_bytes()).unwrap()
}

const FIRST: &str = "H02,Bắc Giang,Bac Giang,,\nH05,Bắc Ninh,Bac Ninh,,\n";
const MERGED: &str = "H02,Bắc Giang,Bac Giang,closed,H05\nH05,Bắc Ninh,Bac Ninh,,\n";

#[tokio::test]
async fn lists_are_served_with_all_their_versions() {
    let place = tempfile::tempdir().unwrap();
    let lists = CodeLists::new(place.path().to_owned());
    let one = lists.publish("agency-codes", entries(FIRST), at(1), &[]).unwrap().version;
    let service = Service::start(place.path()).await;

    let now = service.get("/code-lists/agency-codes").await;
    assert_eq!((now.status, now.field("content-type")), (200, "application/json"));
    assert_eq!(now.body, one.bytes);
    assert_eq!(now.field("etag"), format!("\"{}\"", Digest::of(&now.body)));
    assert_eq!(now.json()["codes"][0]["nameVi"], "Bắc Giang");

    // The merger is published while the service runs, and counts from day 9 on.
    let two = lists.publish("agency-codes", entries(MERGED), at(9), &[]).unwrap().version;
    assert_eq!(service.get("/code-lists/agency-codes").await.body, one.bytes);
    let versions = service.get("/code-lists/agency-codes/versions").await.json();
    assert_eq!((&versions["current"], versions["versions"].as_array().unwrap().len()), (&1.into(), 2));
    assert_eq!(versions["versions"][1]["digest"], two.digest.to_string());
    service.clock.set(at(9));
    assert_eq!(service.get("/code-lists/agency-codes").await.body, two.bytes);
    assert_eq!(service.get("/code-lists/agency-codes/versions/1").await.body, one.bytes, "old ones stay");
    let listed = service.get("/code-lists").await.json();
    assert_eq!(listed["codeLists"][0]["name"], "agency-codes");
    assert_eq!(
        (&listed["codeLists"][0]["version"], &listed["codeLists"][0]["codes"]),
        (&2.into(), &2.into())
    );

    for code in ["H02", "000.00.00.H02"] {
        let found = service.get(&format!("/code-lists/agency-codes/codes/{code}")).await.json();
        assert_eq!(
            (found["entry"]["code"].as_str(), found["entry"]["status"].as_str()),
            (Some("H02"), Some("closed"))
        );
        assert_eq!((&found["entry"]["successor"], &found["version"]), (&"H05".into(), &2.into()));
    }
    service.stop().await;
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    CodeLists::new(place.path().to_owned()).publish("a", entries(FIRST), at(1), &[]).unwrap();
    let service = Service::start(place.path()).await;
    for path in [
        "/code-lists",
        "/code-lists/a",
        "/code-lists/a/versions/1",
        "/code-lists/a/codes/H02",
        "/openapi.json",
    ] {
        let tag = service.get(path).await.field("etag").to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = service.ask(&format!("GET {path}"), &format!("If-None-Match: {known}\r\n")).await;
            assert_eq!(
                (again.status, again.field("etag"), again.body.len()),
                (304, tag.as_str(), 0),
                "{path} {known}"
            );
        }
        let other = service.ask(&format!("GET {path}"), "If-None-Match: \"x\"\r\n").await;
        assert_eq!(other.status, 200);
        let head = service.ask(&format!("HEAD {path}"), "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    assert!(service.get("/code-lists/a/versions/1").await.field("cache-control").contains("immutable"));
    assert_eq!(service.get("/code-lists/a").await.field("cache-control"), "no-cache");
    service.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_in_both_languages() {
    let place = tempfile::tempdir().unwrap();
    let lists = CodeLists::new(place.path().to_owned());
    lists.publish("a", entries(FIRST), at(1), &[]).unwrap();
    lists.publish("later", entries(FIRST), at(20), &[]).unwrap();
    let service = Service::start(place.path()).await;
    for path in [
        "/",
        "/x",
        "/code-lists/b",
        "/code-lists/later",
        "/code-lists/..%2Fa",
        "/code-lists/a/versions/2",
        "/code-lists/a/versions/01",
        "/code-lists/a/versions/x",
        "/code-lists/a/codes/H99",
        "/code-lists/b/codes/H02",
        "/code-lists/b/versions",
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.json()["error"]["vi"].is_string() && answer.json()["error"]["en"].is_string(),
            "{path}"
        );
    }
    assert_eq!(service.ask("POST /code-lists", "Content-Length: 0\r\n").await.status, 405);
    // A version that somebody changed by hand is not given out.
    let file = place.path().join("b/000001.json");
    std::fs::create_dir(place.path().join("b")).unwrap();
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(service.get("/code-lists/b").await.status, 500);
    service.stop().await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let clock = Arc::new(ManualClock::new(at(2)));
    let again =
        serve_code_lists(listen, place.path().to_owned(), clock, |_| {}, CancellationToken::new()).await;
    assert!(again.unwrap_err().to_string().contains("restore"), "nor served from the start");
}

/// `truc service add --openapi` lists these endpoints, and every path that the description names is answered.
#[tokio::test]
async fn the_description_is_one_that_a_node_reads() {
    let place = tempfile::tempdir().unwrap();
    CodeLists::new(place.path().to_owned()).publish("a", entries(FIRST), at(1), &[]).unwrap();
    let service = Service::start(place.path()).await;
    let document = service.get("/openapi.json").await.body;
    assert_eq!(document, OPENAPI.as_bytes());
    let found = OpenApi::parse(&document).unwrap().operations().unwrap();
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let endpoints: Vec<String> =
        found.endpoints.iter().map(|e| format!("{} {}", e.method, e.path.as_str())).collect();
    assert_eq!(
        endpoints,
        [
            "GET /code-lists",
            "GET /code-lists/*",
            "GET /code-lists/*/versions",
            "GET /code-lists/*/versions/*",
            "GET /code-lists/*/codes/*",
        ]
    );
    let values = [("{name}", "a"), ("{version}", "1"), ("{code}", "H02")];
    let described: Value = serde_json::from_slice(&document).unwrap();
    for template in described["paths"].as_object().unwrap().keys() {
        let path = values.iter().fold(template.clone(), |path, (name, value)| path.replace(name, value));
        assert_eq!(service.get(&path).await.status, 200, "{path}");
    }
    service.stop().await;
}
