//! The bus of these tests, with callers that send and take bodies as they come.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use truc_demo::bus::Layout;
use truc_model::{Digest, Digester, MessageId};
use truc_policy::ServiceDefinition;

use super::depot::Depot;
use super::source::{MARKER, Source};
use crate::support::{Bus, DESK, until};

pub(crate) const DEPOT: &str = "VN/GOV/G01/csdl-dancu/kho";
/// Takes at most 20 MiB.
pub(crate) const SMALL_DEPOT: &str = "VN/GOV/G01/csdl-dancu/kho-nho";
pub(crate) const MIB: u64 = 1024 * 1024;

/// A bus with a service for big bodies.
pub(crate) struct Ground {
    pub(crate) bus: Arc<Bus>,
    pub(crate) depot: Depot,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::prepared(|_| {}).await
    }

    pub(crate) async fn prepared(prepare: impl FnOnce(&Layout)) -> Self {
        let bus = Arc::new(Bus::start_prepared(prepare).await);
        let depot = Depot::start().await;
        for (id, most) in [(DEPOT, 1 << 40), (SMALL_DEPOT, 20 * MIB)] {
            let mut service = ServiceDefinition::rest(id.parse().unwrap(), depot.url.parse().unwrap());
            service.max_body = most;
            service.timeout = Duration::from_secs(120);
            bus.admin("G01").add_service(&service).await.unwrap();
            bus.grant(DESK, id, "*", "/**").await;
        }
        Self { bus, depot }
    }

    pub(crate) fn name(&self, member: &str) -> String {
        format!("node {}", self.bus.layout.node(member).unwrap().folder)
    }

    pub(crate) async fn pid(&self, member: &str) -> u32 {
        self.bus.processes.lock().await.pid(&self.name(member)).unwrap()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&self, member: &str) {
        self.bus.processes.lock().await.kill(&self.name(member)).await.unwrap();
    }

    pub(crate) async fn start_again(&self, member: &str) {
        let mut processes = self.bus.processes.lock().await;
        let process = processes.node(self.bus.layout.node(member).unwrap());
        processes.start(vec![process]).await.unwrap();
    }

    /// Lets a node stand still, or go on.
    pub(crate) async fn signal(&self, member: &str, signal: &str) {
        let command = format!("kill -{signal} {}", self.pid(member).await);
        let done = tokio::process::Command::new("sh").args(["-c", &command]).status().await.unwrap();
        assert!(done.success(), "{command}");
    }

    pub(crate) fn data_folder(&self, member: &str) -> PathBuf {
        self.bus.layout.node_folder(self.bus.layout.node(member).unwrap()).join("data")
    }

    /// Begins a call by the usual desk.
    pub(crate) async fn begin(&self, method: &str, path: &str, body: Source) -> Calling {
        self.begin_as(DESK, method, path, body, &[]).await
    }

    pub(crate) async fn begin_as(
        &self,
        client: &str,
        method: &str,
        path: &str,
        body: Source,
        headers: &[(&str, &str)],
    ) -> Calling {
        let address = self.bus.edge("").trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&address).await.unwrap();
        let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("/r1/{path}"));
        for (name, value) in [("Host", address.as_str()), ("X-Road-Client", client)].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        Calling(tokio::spawn(async move { send.send_request(request).await.map_err(|e| e.to_string()) }))
    }

    /// The whole call: what the depot took, and what came back.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Source) -> Came {
        self.begin(method, path, body).await.whole().await
    }

    /// Small calls, one after the other, until told to stop; each must be answered. Says how many, and the slowest.
    pub(crate) fn small_calls(&self) -> (Arc<AtomicBool>, JoinHandle<(u32, Duration)>) {
        let stop = Arc::new(AtomicBool::new(false));
        let (bus, stopped) = (Arc::clone(&self.bus), Arc::clone(&stop));
        let calling = tokio::spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::SeqCst) {
                let begun = tokio::time::Instant::now();
                let answer = bus.call("POST", &format!("{}/nho", crate::support::ECHO), &[], "nhỏ").await;
                assert_eq!(answer.status, 200, "{:?}", answer.body);
                slowest = slowest.max(begun.elapsed());
                count += 1;
            }
            (count, slowest)
        });
        (stop, calling)
    }

    /// Both nodes have given all room of their spools back.
    pub(crate) async fn spools_are_empty(&self) {
        for member in ["H26", "G01"] {
            let pid = self.pid(member).await;
            until("the spool is empty", || async { spooled(pid) == 0 }).await;
            let entries = std::fs::read_dir(self.data_folder(member).join("spool")).unwrap();
            assert_eq!(entries.count(), 0, "{member}: nothing in the spool has a name");
        }
    }

    /// No file of a node holds a body in clear.
    pub(crate) fn nothing_in_clear(&self, member: &str) {
        let mut folders = vec![self.data_folder(member)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    assert!(!holds_marker(&path), "{} holds a body in clear", path.display());
                }
            }
        }
    }
}

fn holds_marker(file: &Path) -> bool {
    // Gone meanwhile: then nothing of it is there.
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).contains(MARKER)
}

/// The spool's files that a process holds open; they have no names.
fn spool_files(pid: u32) -> Vec<PathBuf> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map(|dir| dir.flatten().collect::<Vec<_>>());
    let mut files = Vec::new();
    for entry in open.unwrap_or_default() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if target.to_string_lossy().contains("/data/spool/") {
            files.push(entry.path());
        }
    }
    files
}

/// Bytes that a process holds in its spool.
pub(crate) fn spooled(pid: u32) -> u64 {
    spool_files(pid).iter().map(|file| std::fs::metadata(file).map_or(0, |m| m.len())).sum()
}

/// What lies in the spool of a process is not readable.
pub(crate) fn spool_is_encrypted(pid: u32) {
    let files = spool_files(pid);
    assert!(!files.is_empty(), "something lies in the spool");
    assert!(!files.iter().any(|file| holds_marker(file)), "the spool holds a body in clear");
}

/// The most memory that a process has had, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A call on its way.
pub(crate) struct Calling(pub(crate) JoinHandle<Result<Response<Incoming>, String>>);

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) length: u64,
    pub(crate) digest: Digest,
    /// Its first bytes.
    pub(crate) text: String,
}

impl Calling {
    /// The answer's head, and its body to be read.
    pub(crate) async fn head(self) -> Result<Response<Incoming>, String> {
        self.0.await.unwrap()
    }

    pub(crate) async fn whole(self) -> Came {
        Came::of(self.head().await.unwrap()).await
    }

    /// The caller goes away.
    pub(crate) fn hang_up(self) {
        self.0.abort();
    }
}

impl Came {
    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let (head, mut body) = response.into_parts();
        let (mut digester, mut first) = (Digester::default(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(data): Result<Bytes, _> = frame.unwrap().into_data() else { continue };
            digester.update(&data);
            if first.len() < 4096 {
                first.extend_from_slice(&data[..data.len().min(4096)]);
            }
        }
        let (length, text) = (digester.length(), String::from_utf8_lossy(&first).into_owned());
        Self { status: head.status.as_u16(), headers: head.headers, length, digest: digester.finish(), text }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> MessageId {
        let told: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        let id = told["requestId"].as_str().unwrap_or_else(|| self.header("x-road-request-id"));
        id.parse().unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of a fault of the bus.
    pub(crate) fn code(&self) -> String {
        let told: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        told["code"].as_str().unwrap_or_default().to_owned()
    }

    /// What the depot says to have taken.
    pub(crate) fn took(&self) -> (u64, String) {
        let told: serde_json::Value = serde_json::from_str(self.header("x-took")).unwrap_or_default();
        (told["length"].as_u64().unwrap_or(0), told["sha256"].as_str().unwrap_or_default().to_owned())
    }
}
