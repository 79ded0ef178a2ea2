//! Starts every part of the bus as a process of its own, waits until it is up, and ends it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::BusError;
use super::layout::{Layout, NodePlan};
use super::services::admin_client;
use crate::http::HttpClient;

/// A part that is not up by then has failed.
const UP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// A part gets this long to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How one process is started by hand.
#[derive(Debug, Clone)]
pub struct Process {
    /// What it is called in the demo, e.g. `node h26`.
    pub name: String,
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// Its configuration file.
    pub config: PathBuf,
    up: Up,
}

/// How it is seen that a process is up.
#[derive(Debug, Clone)]
enum Up {
    /// `GET` of this URL answers 200.
    Get(String),
    /// The registry's port takes connections.
    Listens(u16),
    /// The node's admin API answers.
    Node(Box<NodePlan>),
}

impl Process {
    /// The command that starts it by hand.
    pub fn command(&self, program: &Path) -> String {
        let quote = |text: &str| if text.contains(' ') { format!("'{text}'") } else { text.to_owned() };
        let words = std::iter::once(program.display().to_string()).chain(self.args.iter().cloned());
        words.map(|word| quote(&word)).collect::<Vec<_>>().join(" ")
    }
}

/// Every process of the bus, running or stopped. Dropping it ends them all.
pub struct Processes {
    layout: Layout,
    program: PathBuf,
    http: HttpClient,
    running: Vec<(Process, Child)>,
}

impl Processes {
    /// Will start processes of `program`, the one binary.
    pub fn new(layout: Layout, program: PathBuf) -> Self {
        Self { layout, program, http: HttpClient::default(), running: Vec::new() }
    }

    /// The pilot PKI.
    pub fn pki(&self) -> Process {
        let config = self.layout.pki_folder().join("pki.toml");
        self.process("pki", &["pki", "run"], config, Up::Get(format!("{}/health", self.layout.pki_url())))
    }

    /// The registry.
    pub fn registry(&self) -> Process {
        let config = self.layout.registry_folder().join("registry.toml");
        self.process("registry", &["registry", "run"], config, Up::Listens(self.layout.registry.0))
    }

    /// The two registers' own systems.
    pub fn registers(&self) -> Vec<Process> {
        let (population, land) = self.layout.registers;
        [("csdl-dancu", population), ("csdl-datdai", land)]
            .map(|(code, port)| {
                let up = Up::Get(format!("http://127.0.0.1:{port}/health"));
                self.process(code, &["register", "run"], self.layout.register_config(code), up)
            })
            .to_vec()
    }

    /// A node.
    pub fn node(&self, plan: &NodePlan) -> Process {
        let name = format!("node {}", plan.folder);
        self.process(&name, &["node", "run"], self.layout.node_config(plan), Up::Node(Box::new(plan.clone())))
    }

    fn process(&self, name: &str, verb: &[&str], config: PathBuf, up: Up) -> Process {
        let mut args: Vec<String> = verb.iter().map(|&word| word.to_owned()).collect();
        args.extend(["--config".to_owned(), config.display().to_string()]);
        Process { name: name.to_owned(), args, config, up }
    }

    /// Starts everything, in the order in which the parts need each other.
    ///
    /// # Errors
    /// [`BusError::Process`] names what did not come up.
    pub async fn start_all(&mut self, tell: &mut (dyn FnMut(&str) + Send)) -> Result<(), BusError> {
        let mut first = vec![self.pki(), self.registry()];
        first.extend(self.registers());
        tell("pilot PKI, registry, two registers");
        self.start(first).await?;
        let enrolled: Vec<&NodePlan> = self.layout.enrolled().collect();
        let codes: Vec<String> = enrolled.iter().map(|plan| plan.member().code().to_owned()).collect();
        let nodes = enrolled.into_iter().map(|plan| self.node(plan)).collect();
        tell(&format!("nodes of {}", codes.join(", ")));
        self.start(nodes).await
    }

    /// Starts these together and waits until all are up.
    ///
    /// # Errors
    /// [`BusError::Process`] names the one that is not.
    pub async fn start(&mut self, processes: Vec<Process>) -> Result<(), BusError> {
        for process in &processes {
            let child = self.spawn(process)?;
            self.running.push((process.clone(), child));
        }
        for process in &processes {
            self.wait_until_up(process).await?;
        }
        Ok(())
    }

    fn log(&self, process: &Process) -> PathBuf {
        self.layout.dir.join("logs").join(format!("{}.log", process.name.replace(' ', "-")))
    }

    fn spawn(&self, process: &Process) -> Result<Child, BusError> {
        let log = self.log(process);
        let failed = |reason: std::io::Error| BusError::Process {
            name: process.name.clone(),
            reason: reason.to_string(),
            log: log.clone(),
        };
        std::fs::create_dir_all(self.layout.dir.join("logs")).map_err(failed)?;
        let file = File::options().create(true).append(true).open(&log).map_err(failed)?;
        // The child ends when its standard input does: so none outlives this process, however this one ends.
        Command::new(&self.program)
            .args(&process.args)
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)
    }

    async fn wait_until_up(&mut self, process: &Process) -> Result<(), BusError> {
        let log = self.log(process);
        let not_up =
            |reason: String| BusError::Process { name: process.name.clone(), reason, log: log.clone() };
        let until = Instant::now() + UP_WITHIN;
        loop {
            let up = self.is_up(process).await;
            // Looked at after the answer, which might be another process's.
            if let Some((_, child)) = self.running.iter_mut().find(|(p, _)| p.name == process.name)
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(not_up(format!("it ended with {status}")));
            }
            if up {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(not_up("it does not answer".into()));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn is_up(&self, process: &Process) -> bool {
        match &process.up {
            Up::Get(url) => self.http.get(url).await.is_ok_and(|answer| answer.status.is_success()),
            Up::Listens(port) => tokio::net::TcpStream::connect(("127.0.0.1", *port)).await.is_ok(),
            Up::Node(plan) => match admin_client(&self.layout, plan) {
                Ok(admin) => {
                    admin.status().await.is_ok_and(|status| Some(status.pid) == self.pid(&process.name))
                }
                Err(_) => false,
            },
        }
    }

    /// Takes out the parts that have ended by themselves, with their logs.
    pub fn ended(&mut self) -> Vec<(Process, PathBuf)> {
        let (running, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .map(|(process, mut child)| {
                let alive = matches!(child.try_wait(), Ok(None));
                (process, child, alive)
            })
            .partition(|(_, _, alive)| *alive);
        self.running = running.into_iter().map(|(process, child, _)| (process, child)).collect();
        ended.into_iter().map(|(process, _, _)| (process.clone(), self.log(&process))).collect()
    }

    /// The process id of a running part.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.running.iter().find(|(process, _)| process.name == name)?.1.id()
    }

    /// Ends one part in good order.
    ///
    /// # Errors
    /// [`BusError::Process`] when it is not running or cannot be ended.
    pub async fn stop(&mut self, name: &str) -> Result<(), BusError> {
        let (process, mut child) = self.take(name)?;
        drop(child.stdin.take());
        match timeout(STOP_WITHIN, child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            _ => child.kill().await.map_err(|e| BusError::Process {
                name: process.name.clone(),
                reason: e.to_string(),
                log: self.log(&process),
            }),
        }
    }

    /// Ends one part at once, as `kill -9` does.
    ///
    /// # Errors
    /// [`BusError::Process`] when it is not running or cannot be ended.
    pub async fn kill(&mut self, name: &str) -> Result<(), BusError> {
        let (process, mut child) = self.take(name)?;
        let log = self.log(&process);
        child.kill().await.map_err(|e| BusError::Process { name: process.name, reason: e.to_string(), log })
    }

    fn take(&mut self, name: &str) -> Result<(Process, Child), BusError> {
        let place = self.running.iter().position(|(process, _)| process.name == name);
        let place = place.ok_or_else(|| BusError::part(name, "is not running"))?;
        Ok(self.running.remove(place))
    }

    /// Ends everything in good order.
    pub async fn stop_all(&mut self) {
        for (_, child) in &mut self.running {
            drop(child.stdin.take());
        }
        for (process, mut child) in self.running.drain(..) {
            if timeout(STOP_WITHIN, child.wait()).await.is_err() {
                tracing::warn!(process = %process.name, "did not end in good order; killed");
                drop(child.kill().await);
            }
        }
    }
}
