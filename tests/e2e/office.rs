//! Officers and operators at work: the registry's verbs and its API, a node's verbs, callers that never pause, and a relay between
//! a node and whatever it connects to.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_demo::bus::{Layout, NodePlan};
use truc_demo::http::HttpClient;

use crate::support::{Bus, Ran, arg, truc, until};

pub(crate) fn done(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

pub(crate) fn refused(ran: &Ran, why: &str) {
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(why), "{why:?} is not told: {}", ran.stderr);
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// `truc registry …`.
pub(crate) async fn registry(bus: &Bus, args: &[&str]) -> Ran {
    let config = bus.layout.registry_folder().join("registry.toml");
    truc(&[&["registry"], args, &["--config", arg(&config)]].concat()).await
}

/// A verb at the node whose folder this is.
pub(crate) async fn at(folder: &Path, args: &[&str]) -> Ran {
    truc(&[args, &["--config", arg(&folder.join("node.toml"))]].concat()).await
}

/// The folder of a member's node.
pub(crate) fn folder(bus: &Bus, member: &str) -> PathBuf {
    bus.layout.node_folder(bus.layout.node(member).unwrap())
}

/// The registry's API in the hands of one officer.
#[derive(Clone)]
pub(crate) struct Api {
    http: HttpClient,
    base: String,
    token: String,
}

impl Api {
    pub(crate) fn new(layout: &Layout) -> Self {
        let token = std::fs::read_to_string(layout.registry_folder().join("admin-token")).unwrap();
        Self::with(layout, token.trim())
    }

    pub(crate) fn with(layout: &Layout, token: &str) -> Self {
        let base = format!("http://127.0.0.1:{}/api/v1/", layout.registry.1);
        Self { http: HttpClient::default(), base, token: token.to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<(u16, Value), String> {
        let bearer = format!("Bearer {}", self.token);
        let url = format!("{}{path}", self.base);
        let answer = self.http.send(method, &url, &[("Authorization", &bearer)], body).await?;
        Ok((answer.status.as_u16(), answer.json()))
    }

    /// The answer, or why there was none.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), String> {
        self.ask("POST", path, body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, String::new()).await.unwrap();
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Decides, and is not refused.
    pub(crate) async fn decide(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.post(path, body).await.unwrap();
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    pub(crate) async fn approve(&self, number: u64) -> Result<(u16, Value), String> {
        let level = json!({"level": 3, "decision": "12/QĐ-UBND"});
        self.post("requests/approve", &json!({"number": number, "reason": "", "level": level})).await
    }

    /// The number of the last request of a node.
    pub(crate) async fn last_request(&self, node: &str) -> u64 {
        let list = self.get("requests").await;
        let of_it = list.as_array().unwrap().iter().rfind(|request| request["node"] == node);
        of_it.unwrap_or_else(|| panic!("no request of {node}: {list}"))["number"].as_u64().unwrap()
    }

    /// A member's entry in the directory.
    pub(crate) async fn member(&self, id: &str) -> Option<Value> {
        let members = self.get("members").await;
        members.as_array().unwrap().iter().find(|m| names(&m["id"], id)).cloned()
    }
}

/// Whether a directory id (`VN/GOV/H26`, or with the kind before it) is this one.
pub(crate) fn names(id: &Value, plain: &str) -> bool {
    id.as_str().is_some_and(|id| id == plain || id.ends_with(&format!(":{plain}")))
}

/// Three ports that nobody uses, below those that the system gives to outgoing connections.
fn free_ports() -> (u16, u16, u16) {
    let mut next = 10_000 + u16::try_from(RandomState::new().hash_one(1) % 20_000).unwrap();
    let mut held = Vec::new();
    while held.len() < 3 {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, next)) {
            held.push((next, listener));
        }
        next += 1;
    }
    (held[0].0, held[1].0, held[2].0)
}

/// A node that is not there yet.
pub(crate) fn new_node(id: &str, folder: &str) -> NodePlan {
    let (id, names) = (id.parse().unwrap(), (folder.to_owned(), folder.to_owned()));
    NodePlan { id, folder: folder.to_owned(), names, subsystems: vec![], ports: free_ports() }
}

pub(crate) async fn add_member(bus: &Bus, id: &str) {
    let names = ["--name-vi", "Đơn vị thử", "--name-en", "Test unit"];
    done(registry(bus, &[&["member", "add", id][..], &names].concat()).await);
}

/// Invitation, `init` and `enroll` of a new node; the number of its request, which waits.
pub(crate) async fn submit_enrolment(bus: &Bus, plan: &NodePlan, subsystems: &[&str]) -> u64 {
    let node = plan.id.to_string();
    let node = node.rsplit(':').next().unwrap();
    let made = json(&done(registry(bus, &["node", "invite", node, "--json"]).await));
    let code = made["code"].as_str().unwrap().to_owned();
    let (dir, anchor) = (bus.layout.node_folder(plan), bus.layout.anchor());
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let (peer, edge, admin) = (listen(plan.ports.0), listen(plan.ports.1), listen(plan.ports.2));
    let mut init = vec!["node", "init", "--dir", arg(&dir), "--node", node, "--anchor", arg(&anchor)];
    init.extend(["--peer-listen", &peer, "--edge-listen", &edge, "--admin-listen", &admin]);
    for subsystem in subsystems {
        init.extend(["--subsystem", subsystem]);
    }
    done(truc(&init).await);
    done(at(&dir, &["node", "enroll", "--invitation", &code, "--no-wait", "--address", &peer]).await);
    Api::new(&bus.layout).last_request(node).await
}

/// The whole way of a new node, up to its certificates.
pub(crate) async fn enrol(bus: &Bus, plan: &NodePlan, subsystems: &[&str]) {
    let number = submit_enrolment(bus, plan, subsystems).await;
    let (status, told) = Api::new(&bus.layout).approve(number).await.unwrap();
    assert_eq!(status, 200, "{told}");
    done(at(&bus.layout.node_folder(plan), &["node", "enroll"]).await);
}

pub(crate) async fn start(bus: &Bus, plan: &NodePlan) {
    let mut processes = bus.processes.lock().await;
    let node = processes.node(plan);
    processes.start(vec![node]).await.unwrap();
}

/// Stops a node in good order, lets `change` change its folder, and starts it.
pub(crate) async fn restart(bus: &Bus, plan: &NodePlan, change: impl FnOnce(&Path)) {
    let mut processes = bus.processes.lock().await;
    let node = processes.node(plan);
    processes.stop(&node.name).await.unwrap();
    change(&bus.layout.node_folder(plan));
    processes.start(vec![node]).await.unwrap();
}

/// Changes a text file.
pub(crate) fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

/// The lines of a node's log with a rollback or a split view.
pub(crate) fn alarms(bus: &Bus, plan: &NodePlan) -> Vec<String> {
    let log = bus.layout.dir.join(format!("logs/node-{}.log", plan.folder));
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.contains("ALARM")).map(str::to_owned).collect()
}

/// What a node's `/healthz` says.
pub(crate) async fn health(bus: &Bus, plan: &NodePlan) -> Value {
    bus.http.get(&format!("{}/healthz", plan.admin_url())).await.unwrap().json()
}

/// Waits until these nodes have the registry's directory, connected and without an alarm.
pub(crate) async fn current(bus: &Bus, members: &[&str]) {
    let status = Api::new(&bus.layout).get("status").await;
    let version = (status["epoch"].as_u64().unwrap(), status["version"].as_u64().unwrap());
    for member in members {
        let admin = bus.admin(member);
        until(&format!("{member} has the directory {version:?}"), || async {
            let directory = admin.status().await.ok().and_then(|status| status.directory);
            directory.is_some_and(|d| (d.epoch, d.version) >= version)
        })
        .await;
        let plan = bus.layout.node(member).unwrap();
        assert_eq!(alarms(bus, plan), Vec::<String>::new(), "{member}");
        assert_eq!(health(bus, plan).await["directory"]["alarm"], false, "{member}");
    }
}

/// One caller that calls without pause.
pub(crate) struct Calling {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    task: JoinHandle<Vec<String>>,
}

impl Calling {
    pub(crate) fn start(url: String, client: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ends, counts, client) = (Arc::clone(&stop), Arc::clone(&answered), client.to_owned());
        let task = tokio::spawn(async move {
            let (http, mut failed) = (HttpClient::default(), Vec::new());
            while !ends.load(Ordering::SeqCst) {
                match http.send("GET", &url, &[("X-Road-Client", &client)], "").await {
                    Ok(answer) if answer.status == 200 => drop(counts.fetch_add(1, Ordering::SeqCst)),
                    Ok(answer) => {
                        failed.push(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
                    }
                    Err(why) => failed.push(why),
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            failed
        });
        Self { stop, answered, task }
    }

    /// The usual desk at Hà Nội's node.
    pub(crate) fn echo(bus: &Bus) -> Self {
        Self::start(bus.edge(&format!("/r1/{}/x", crate::support::ECHO)), crate::support::DESK)
    }

    /// Waits until so many more calls were answered.
    pub(crate) async fn go_on(&self, more: u32) {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        until("calls go on", || async { self.answered.load(Ordering::SeqCst) >= wanted }).await;
    }

    /// Stops; the calls that were not answered with 200.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }

    /// Stops; every call was answered with 200.
    pub(crate) async fn none_lost(self) {
        self.go_on(1).await;
        let failed = self.stop().await;
        assert!(failed.is_empty(), "calls were lost: {failed:?}");
    }
}

/// Carries connections to a port of this machine, each from an address of its own; or takes them and says nothing.
pub(crate) struct Relay {
    pub(crate) port: u16,
    carried: Arc<AtomicU32>,
    silent: Arc<AtomicBool>,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (carried, silent) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let cut = CancellationToken::new();
        let (count, mute, ends) = (Arc::clone(&carried), Arc::clone(&silent), cut.clone());
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((from, _)) = listener.accept().await {
                if mute.load(Ordering::SeqCst) {
                    held.push(from);
                    continue;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let ends = ends.clone();
                tokio::spawn(async move { ends.run_until_cancelled(carry(from, to, number)).await });
            }
        });
        Self { port, carried, silent, cut, task }
    }

    /// How many connections it carried.
    pub(crate) fn carried(&self) -> u32 {
        self.carried.load(Ordering::SeqCst)
    }

    /// Cuts what is open; what comes is taken and never answered.
    pub(crate) fn black_hole(&self) {
        self.silent.store(true, Ordering::SeqCst);
        self.cut.cancel();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut.cancel();
        self.task.abort();
    }
}

async fn carry(mut from: TcpStream, to: u16, number: u32) {
    let socket = TcpSocket::new_v4().unwrap();
    let own = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 250).unwrap() + 1);
    socket.bind((own, 0).into()).unwrap();
    let Ok(mut there) = socket.connect((Ipv4Addr::LOCALHOST, to).into()).await else { return };
    drop(tokio::io::copy_bidirectional(&mut from, &mut there).await);
}

/// Sends a node's connections to the registry to these ports, in this order.
pub(crate) fn registry_at(node_folder: &Path, ports: &[u16]) {
    edit(&node_folder.join("anchor.json"), |text| {
        let mut anchor = json(&text);
        let one = anchor["registry"][0].clone();
        let to = |port: &u16| {
            let mut address = one.clone();
            address["address"] = json!(format!("127.0.0.1:{port}"));
            address
        };
        anchor["registry"] = ports.iter().map(to).collect();
        anchor.to_string()
    });
}

/// Sends a signal to a process of the bus.
pub(crate) async fn signal(bus: &Bus, name: &str, signal: &str) {
    let pid = bus.processes.lock().await.pid(name).unwrap();
    let sent = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
}
