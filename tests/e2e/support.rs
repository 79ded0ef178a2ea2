//! A bus for tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OnceCell};
use truc_admin::{AdminClient, Grant};
use truc_demo::bus::{BusOptions, Layout, Processes, admin_client, open_services, provision};
use truc_demo::http::{Answer, HttpClient};
use truc_policy::{MethodPattern, PathGlob, ServiceDefinition};

use crate::echo::Echo;

/// The binary under test.
pub(crate) const TRUC: &str = env!("CARGO_BIN_EXE_truc");

/// The service that answers with what it was asked, behind G01's node.
pub(crate) const ECHO: &str = "VN/GOV/G01/csdl-dancu/echo";
/// A desk that may call it.
pub(crate) const DESK: &str = "VN/GOV/H26/mot-cua-so-1";

/// Runs a test on the one runtime that the shared bus lives on.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(test)
}

/// A bus with an echo service.
pub(crate) struct Bus {
    pub(crate) layout: Layout,
    pub(crate) processes: Mutex<Processes>,
    pub(crate) http: HttpClient,
    pub(crate) echo: Echo,
    _folder: tempfile::TempDir,
}

impl Bus {
    /// The bus that every test without special wishes shares; it ends with the test process.
    pub(crate) async fn shared() -> Arc<Self> {
        static BUS: OnceCell<Arc<Bus>> = OnceCell::const_new();
        Arc::clone(BUS.get_or_init(|| async { Arc::new(Self::start().await) }).await)
    }

    /// A bus of its own.
    pub(crate) async fn start() -> Self {
        Self::start_prepared(|_| {}).await
    }

    /// A bus of its own, whose folders are handed to `prepare` before anything runs.
    pub(crate) async fn start_prepared(prepare: impl FnOnce(&Layout)) -> Self {
        let usual = |layout: &Layout| {
            prepare(layout);
            PathBuf::from(TRUC)
        };
        Self::start_as(usual).await
    }

    /// The same, where `prepare` also says which program the processes run.
    pub(crate) async fn start_as(prepare: impl FnOnce(&Layout) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = BusOptions::new(folder.path().to_owned(), None);
        options.population = (300, 100);
        let layout = provision(&options, &mut |_| {}).await.unwrap();
        for plan in layout.enrolled() {
            set(&layout.node_config(plan), crate::SETTINGS);
        }
        let program = prepare(&layout);
        let mut processes = Processes::new(layout.clone(), program);
        processes.start_all(&mut |_| {}).await.unwrap();
        open_services(&layout).await.unwrap();
        let echo = Echo::start().await;
        let bus = Self {
            layout,
            processes: Mutex::new(processes),
            http: HttpClient::default(),
            echo,
            _folder: folder,
        };
        bus.offer_echo().await;
        bus
    }

    async fn offer_echo(&self) {
        let admin = self.admin("G01");
        let service = ServiceDefinition::rest(ECHO.parse().unwrap(), self.echo.url().parse().unwrap());
        admin.add_service(&service).await.unwrap();
        self.grant(DESK, ECHO, "*", "/**").await;
    }

    /// A client of a node's admin API, as its administrator.
    pub(crate) fn admin(&self, member: &str) -> AdminClient {
        admin_client(&self.layout, self.layout.node(member).unwrap()).unwrap()
    }

    /// Grants a right on G01's node.
    pub(crate) async fn grant(&self, subject: &str, service: &str, method: &str, path: &str) {
        let grant = Grant {
            subject: format!("SUBSYSTEM:{subject}").parse().unwrap(),
            service: service.parse().unwrap(),
            method: method.parse::<MethodPattern>().unwrap(),
            path: path.parse::<PathGlob>().unwrap(),
            conditions: truc_policy::Conditions::default(),
        };
        self.admin("G01").grant(&grant).await.unwrap();
    }

    /// A URL on Hà Nội's edge.
    pub(crate) fn edge(&self, path: &str) -> String {
        format!("{}{path}", self.layout.node("H26").unwrap().edge_url())
    }

    /// A call by the usual desk.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut all = vec![("X-Road-Client", DESK)];
        all.extend_from_slice(headers);
        self.http.send(method, &self.edge(&format!("/r1/{path}")), &all, body).await.unwrap()
    }

    /// A node's configuration file.
    pub(crate) fn config(&self, member: &str) -> PathBuf {
        self.layout.node_config(self.layout.node(member).unwrap())
    }
}

/// Changes lines of a configuration file that are there: from what, to what.
fn set(file: &Path, settings: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (from, to) in settings {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

/// The exit code and output of one run of the binary.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary.
pub(crate) async fn truc(args: &[&str]) -> Ran {
    let output = Command::new(TRUC).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.expect("truc ends").unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How many rounds a fault test goes; `TRUC_ROUNDS` says otherwise.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("TRUC_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Waits until `done`, looking often; fails after a minute.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    for _ in 0..3000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within a minute");
}
