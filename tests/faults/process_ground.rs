//! What the tests of processes and networks stand on: callers at a bearable rate, a service that is a process of its own, a
//! network of its own, signals.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use truc_policy::ServiceDefinition;

use crate::load::{Called, Told, call};
use crate::support::{Bus, ECHO, run, until};

/// Set in a test process that has a network of its own.
const ISOLATED: &str = "TRUC_FAULTS_ISOLATED";
/// Set in a process that is a relay: where it listens and where it carries to.
const RELAY: &str = "TRUC_FAULTS_RELAY";

/// Says loudly that a test was not run; where everything is required, that is a failure.
pub(crate) fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none_or(|v| v != "1"), "{test} cannot run: {why}");
    eprintln!("SKIPPED: {test}: {why}");
}

/// Runs `body`, the test called `name`, in a network namespace of its own: the whole bus with it, and nobody else. The
/// namespace goes when its last process does. Needs root, unshare, ip and nft.
pub(crate) fn isolated<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(ISOLATED).is_some() {
        return run(body());
    }
    let works = std::process::Command::new("unshare")
        .args(["--net", "--", "sh", "-c", "ip link set lo up && nft list tables"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        return skip(name, "it needs root, unshare, ip (iproute2) and nft (nftables)");
    }
    let own = std::env::current_exe().unwrap();
    let ended = std::process::Command::new("unshare")
        .args([
            "--net",
            "--",
            "sh",
            "-c",
            "ip link set lo up && ip link set lo mtu 1500 && exec \"$0\" \"$@\"",
        ])
        .arg(own)
        .args(["--exact", name, "--nocapture"])
        .env(ISOLATED, "1")
        .status()
        .unwrap();
    assert!(ended.success(), "{name} failed in its own network; see above");
}

/// Four callers, each about fifteen times a second: enough to be hit in the middle, few enough to check every call.
pub(crate) struct Callers {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Called>>>,
}

impl Callers {
    /// Sets them to work; returns when the first calls were carried out.
    pub(crate) async fn start(bus: &Arc<Bus>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let before = bus.echo.total();
        let one = |_| {
            let (bus, stop) = (Arc::clone(bus), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut called = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    called.push(call(&bus).await);
                    tokio::time::sleep(Duration::from_millis(60)).await;
                }
                called
            })
        };
        let callers = (0..4).map(one).collect();
        until("the callers are at work", || async { bus.echo.total() > before + 8 }).await;
        Self { stop, callers }
    }

    /// Stops them; what each call came to.
    pub(crate) async fn stop(self) -> Vec<Called> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for caller in self.callers {
            all.extend(caller.await.unwrap());
        }
        all
    }
}

/// Calls until one is answered, which must be within `bound`; all of these calls.
pub(crate) async fn works_within(bus: &Bus, about: &str, bound: Duration) -> Vec<Called> {
    let (began, mut called) = (Instant::now(), Vec::new());
    loop {
        called.push(call(bus).await);
        let last = called.last().unwrap();
        if last.is_answered() {
            assert!(began.elapsed() < bound, "{about}: works again only after {:?}", began.elapsed());
            return called;
        }
        assert!(began.elapsed() < bound, "{about}: not within {bound:?}; the last call: {:?}", last.told);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Works on all of these at the same time; their outputs in order.
pub(crate) async fn at_once<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut done = true;
        for (future, output) in &mut all {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => done = false,
                }
            }
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

/// True when the call was told this fault.
pub(crate) fn is_fault(one: &Called, wanted: &str) -> bool {
    matches!(&one.told, Told::Fault { code, .. } if code == wanted)
}

/// How many calls were told each thing, for people.
pub(crate) fn tally(called: &[Called]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for one in called {
        let told = match &one.told {
            Told::Answered { status, .. } => status.to_string(),
            Told::Fault { code, .. } => code.clone(),
            Told::Nothing(_) => "nothing".to_owned(),
        };
        *counts.entry(told).or_insert(0) += 1;
    }
    format!("{counts:?}")
}

/// Sends a signal to a process that this test started.
pub(crate) async fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await.unwrap();
    assert!(sent.success(), "signal {name} to {pid}");
}

/// A process between the provider's node and the service, so that the service can be killed, stopped and cut off.
pub(crate) struct Relay {
    pub(crate) port: u16,
    upstream: String,
    child: Child,
}

impl Relay {
    /// Starts it in front of the bus's service, and lets the provider's node call it there.
    pub(crate) async fn in_front_of_the_service(bus: &Bus) -> Self {
        let port = free_port();
        let upstream = bus.echo.url().trim_start_matches("http://").to_owned();
        let relay = Self { port, child: spawn(port, &upstream).await, upstream };
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let service = ServiceDefinition::rest(ECHO.parse().unwrap(), url);
        bus.admin("G01").change_service(&service).await.unwrap();
        relay
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.upstream).await;
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn spawn(port: u16, upstream: &str) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_ground::the_relay", "--nocapture"])
        .env(RELAY, format!("{port} {upstream}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the relay listens", || async {
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
    })
    .await;
    child
}

/// Not a test: the relay's own process, when it is told to be one. It ends when its standard input does.
#[test]
fn the_relay() {
    let Ok(told) = std::env::var(RELAY) else { return };
    let (port, upstream) = told.split_once(' ').unwrap();
    let (port, upstream): (u16, SocketAddr) = (port.parse().unwrap(), upstream.parse().unwrap());
    std::thread::spawn(|| {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        std::process::exit(0);
    });
    run(async move {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(upstream).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
}
