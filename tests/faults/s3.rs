//! An archive that is a real S3 server (s3s-fs): killed and started midway, a node killed while it moves segments there, and a
//! secret that is not the store's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use truc_admin::EvidenceSearch;
use truc_demo::bus::{Layout, NodePlan};
use truc_model::{Clock as _, MessageId, SystemClock, Timestamp};

use crate::archive::away;
use crate::clocks::{Clocks, OTHERS, library};
use crate::invariants::{NODES, check, finish, fsck, stamped_since};
use crate::load::Told;
use crate::office::{at, done, edit, folder, health};
use crate::process_ground::{Callers, free_port, skip, works_within};
use crate::support::{Bus, arg, rounds, run, truc, until};

const BUCKET: &str = "bang-chung";
const ACCESS: &str = "truc-test-access";
const SECRET: &str = "truc-test-secret";
const WORKS_AGAIN: Duration = Duration::from_secs(20);
/// The round of a start may find an archive that does not answer yet; the next one is half a minute later.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Seconds after which records are old enough for the archive, and more.
const LATER: u64 = 2 * 3600;

/// Where the server's program is.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"));
    std::env::split_paths(&path).chain(home).map(|dir| dir.join("s3s-fs")).find(|file| file.is_file())
}

/// The server with its bucket; it ends with this.
struct Store {
    program: PathBuf,
    dir: TempDir,
    port: u16,
    /// A store refuses who has another clock than its own.
    clock: Vec<(&'static str, String)>,
    server: Option<Child>,
}

impl Store {
    fn new(program: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("store").join(BUCKET)).unwrap();
        std::fs::write(dir.path().join("access"), format!("{ACCESS}\n")).unwrap();
        Self { program, dir, port: free_port(), clock: Vec::new(), server: None }
    }

    async fn start(&mut self) {
        let server = Command::new(&self.program)
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--access-key", ACCESS, "--secret-key", SECRET])
            .arg(self.dir.path().join("store"))
            .envs(self.clock.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(server);
        until("the S3 server listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Where a node finds its secret.
    fn secret(&self, member: &str) -> PathBuf {
        self.dir.path().join(format!("secret-{member}"))
    }

    fn say(&self, member: &str, secret: &str) {
        std::fs::write(self.secret(member), format!("{secret}\n")).unwrap();
    }

    fn configure(&self, layout: &Layout, member: &str) {
        self.say(member, SECRET);
        let (access, secret) = (self.dir.path().join("access"), self.secret(member));
        edit(&layout.node_config(layout.node(member).unwrap()), |text| {
            format!(
                "{text}\n[evidence.archive]\nendpoint = \"http://127.0.0.1:{}\"\nbucket = \"{BUCKET}\"\nprefix = \"{member}\"\n\
                 access-key-file = {access:?}\nsecret-key-file = {secret:?}\n",
                self.port
            )
        });
    }

    /// How many objects the bucket holds of a node.
    fn objects(&self, member: &str) -> usize {
        let prefix = self.dir.path().join("store").join(BUCKET).join(member);
        files(&prefix).into_iter().filter(|file| file.extension().is_some_and(|end| end == "seg")).count()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// One node, and what is asked of it here.
struct Victim<'a> {
    bus: &'a Arc<Bus>,
    plan: &'a NodePlan,
    member: &'static str,
    about: String,
}

impl Victim<'_> {
    fn data(&self) -> PathBuf {
        self.bus.layout.node_folder(self.plan).join("data")
    }

    /// Waits until the service has heard of so many more calls.
    async fn goes_on(&self, more: u32) {
        let before = self.bus.echo.total();
        until("calls go on", || async { self.bus.echo.total() > before + more }).await;
    }

    /// `kill -9` in the middle of whatever it does, and a start, which closes the segments and moves them.
    async fn killed(&self) {
        let mut processes = self.bus.processes.lock().await;
        let node = processes.node(self.plan);
        processes.kill(&node.name).await.unwrap();
        fsck(self.bus, &self.about, self.member).await;
        if let Err(error) = processes.start(vec![node]).await {
            let log = self.bus.layout.dir.join(format!("logs/node-{}.log", self.plan.folder));
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            panic!("{}: {error}: {last:?}", self.about);
        }
    }

    async fn alarms(&self) -> String {
        health(self.bus, self.plan).await["keepingAlarms"].to_string()
    }

    async fn alarmed(&self, with: &str) {
        until(&format!("{}: /healthz says {with:?}", self.about), || async {
            self.alarms().await.contains(with)
        })
        .await;
    }

    /// Waits until more than `before` segments below a folder are in the archive alone, and nothing waits.
    async fn moved(&self, below: &Path, before: usize) {
        let began = Instant::now();
        loop {
            let (there, alarms) = (away(below), self.alarms().await);
            let waiting = self.bus.admin(self.member).keeping().await.map(|kept| kept.waiting);
            if there > before && matches!(waiting, Ok(0)) && !alarms.contains("archive") {
                return;
            }
            let about = &self.about;
            assert!(
                began.elapsed() < MOVED_WITHIN,
                "{about}: {there} of more than {before} segments are moved, {waiting:?} wait: {alarms}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The exchange is found in the index, wherever its records lie.
    async fn finds(&self, id: MessageId) {
        let search = EvidenceSearch { message: Some(id), ..EvidenceSearch::default() };
        let found = self.bus.admin(self.member).evidence_search(&search).await.unwrap().exchanges;
        assert_eq!(found.len(), 1, "{}: {id} is not found", self.about);
    }

    /// `truc evidence export` reaches into the archive, and what it writes convinces a stranger.
    async fn exports(&self, id: MessageId) {
        let out = tempfile::tempdir().unwrap();
        let (file, anchor) = (out.path().join("one.asice"), self.bus.layout.anchor());
        let home = folder(self.bus, self.member);
        done(at(&home, &["evidence", "export", &id.to_string(), "--out", arg(&file)]).await);
        done(truc(&["verify", arg(&file), "--anchor", arg(&anchor)]).await);
        let shown = self.bus.admin(self.member).evidence_show(id, true).await.unwrap();
        let whole = shown.records.len() == 2 && shown.records.iter().all(|record| record.body.is_some());
        assert!(whole, "{}: {id}: its bodies are in the archive", self.about);
    }
}

#[test]
fn a_store_that_dies_refuses_or_comes_back_loses_nothing() {
    let test = "s3::a_store_that_dies_refuses_or_comes_back_loses_nothing";
    let Some(program) = program() else {
        return skip(
            test,
            "it needs s3s-fs: cargo install s3s-fs --version 0.14.1 --features binary --locked",
        );
    };
    let Some(library) = library(test) else { return };
    run(async {
        let mut store = Store::new(program);
        let mut clocks = None;
        let bus = Bus::start_as(|layout| {
            NODES.iter().for_each(|member| store.configure(layout, member));
            let (set, program) = Clocks::new(&layout.dir, library, &[], 0);
            clocks = Some(set);
            program
        });
        let (bus, clocks) = (Arc::new(bus.await), clocks.unwrap());
        store.clock = clocks.of_others(library).into();
        store.start().await;
        for round in 0..rounds(2) {
            let member = NODES[round % 2];
            let (about, plan) = (format!("S3, {member}, round {round}"), bus.layout.node(member).unwrap());
            let victim = Victim { bus: &bus, plan, member, about };
            let later = || {
                let ahead = (round as u64 + 1) * LATER;
                clocks.set(OTHERS, ahead as i64);
                SystemClock.now().plus(Duration::from_secs(ahead)).whole_second()
            };
            one_round(&mut store, &victim, later).await;
        }
        finish(&bus, "S3").await;
        // The nodes are stopped; what asks the store now goes by the machine's clock.
        clocks.set(OTHERS, 0);
        for member in NODES {
            let config = bus.config(member);
            let ran = truc(&["evidence", "fsck", "--archive", "--json", "--config", arg(&config)]).await;
            assert_eq!(ran.code, 0, "{member}, with the archive: {}{}", ran.stdout, ran.stderr);
            let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(found["stamped"], found["records"], "{member}: {found}");
            assert_eq!(found["bodiesAway"].as_u64().unwrap_or(0), 0, "{member}: all was read: {found}");
        }
    });
}

/// `later` lets the records of before become old enough for the archive; it says what time it is then.
async fn one_round(store: &mut Store, victim: &Victim<'_>, later: impl FnOnce() -> Timestamp) {
    let (bus, about) = (victim.bus, &victim.about);
    let mut called = works_within(bus, about, WORKS_AGAIN).await;
    let Some(Told::Answered { id, .. }) = called.last().map(|last| &last.told) else { unreachable!() };
    let id = *id;
    let (all, journal) = (victim.data(), victim.data().join("journal"));
    // Two segments of the journal and of bodies, whose time comes; the node is killed while it moves them.
    let callers = Callers::start(bus).await;
    let before = away(&journal);
    for _ in 0..2 {
        victim.goes_on(10).await;
        victim.killed().await;
    }
    called.extend(callers.stop().await);
    let now = later();
    called.extend(works_within(bus, about, WORKS_AGAIN).await);
    stamped_since(bus, about, victim.member, now).await;
    victim.killed().await;
    victim.killed().await;
    victim.moved(&journal, before).await;
    victim.finds(id).await;
    victim.exports(id).await;

    // The server dies: nodes start and serve without it, and tell.
    let callers = Callers::start(bus).await;
    victim.goes_on(10).await;
    store.kill();
    let before = away(&all);
    victim.killed().await;
    victim.goes_on(10).await;
    called.extend(callers.stop().await);
    victim.alarmed("the archive is away").await;
    victim.finds(id).await;
    match bus.admin(victim.member).evidence_container(id).await {
        Ok(_) => panic!("{about}: {id} lies in an archive that is away"),
        Err(error) => assert!(error.to_string().contains("archive"), "{about}: {error}"),
    }
    store.start().await;
    victim.killed().await;
    victim.moved(&all, before).await;
    victim.exports(id).await;

    // Another secret than the store's: nothing is moved, nothing is removed, and it is told.
    called.extend(works_within(bus, about, WORKS_AGAIN).await);
    let (before, objects) = (away(&all), store.objects(victim.member));
    store.say(victim.member, "not the secret");
    victim.killed().await;
    victim.alarmed("the archive refuses").await;
    assert_eq!((away(&all), store.objects(victim.member)), (before, objects), "{about}");
    store.say(victim.member, SECRET);
    victim.killed().await;
    victim.moved(&all, before).await;
    victim.exports(id).await;
    check(bus, about, &called).await;
}
