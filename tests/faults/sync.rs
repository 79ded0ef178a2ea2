//! `fsync` that fails or takes its time, made by strace at a running node.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::disk::able;
use crate::invariants::{NODES, check, finish};
use crate::load::Load;
use crate::office::health;
use crate::support::{Bus, rounds, run, until};

/// strace at work on one process, until it is let go.
struct Injected(Child);

impl Injected {
    /// Does `what` to every `fsync` and `fdatasync` of the process, once strace holds all its threads.
    async fn into(pid: u32, what: &str) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
            .args(["-e", &format!("inject=fsync,fdatasync:{what}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap_or_default();
        assert!(line.contains("attached"), "strace: {line}");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self(strace)
    }

    /// Ends it; the process goes on by itself.
    async fn let_go(mut self) {
        let pid = self.0.id().unwrap().to_string();
        assert!(Command::new("kill").arg(&pid).status().await.unwrap().success());
        self.0.wait().await.unwrap();
    }
}

#[test]
fn a_failing_fsync_stops_answers_and_traffic_goes_on_by_itself_afterwards() {
    if !able(&["strace"]) {
        return;
    }
    run(async {
        let bus = Arc::new(Bus::start().await);
        for round in 0..rounds(2) {
            let member = NODES[round % 2];
            let plan = bus.layout.node(member).unwrap().clone();
            let pid = bus.processes.lock().await.pid(&format!("node {}", plan.folder)).unwrap();
            let first = 1 + round * 11 % 40;
            let about = format!("fsync fails, {member}, round {round}, {first} on");
            let load = Load::start(&bus).await;
            let error = if (round + round / 2) % 2 == 0 { "EIO" } else { "ENOSPC" };
            let injected = Injected::into(pid, &format!("error={error}:when={first}+")).await;
            load.until_told("RECORDING_FAILED", 10).await;
            let before = bus.echo.total();
            let answered = load.answered();
            load.until_told("RECORDING_FAILED", 20).await;
            assert_eq!(load.answered(), answered, "{about}: answered although nothing can be recorded");
            let told = health(&bus, &plan).await;
            let alarms = told["keepingAlarms"].to_string();
            assert!(alarms.contains("could not be kept"), "{about}: /healthz does not tell why: {told}");
            assert_eq!((&told["state"], &told["serving"]), (&"degraded".into(), &true.into()), "{about}");
            assert_eq!(
                bus.echo.total(),
                before,
                "{about}: the service is called although nothing can be recorded"
            );
            injected.let_go().await;
            load.answers(40).await;
            until("/healthz tells that records are kept again", || async {
                !health(&bus, &plan).await["keepingAlarms"].to_string().contains("could not be kept")
            })
            .await;
            check(&bus, &about, &load.stop().await).await;
            let log = bus.layout.dir.join(format!("logs/node-{}.log", plan.folder));
            let log = std::fs::read_to_string(log).unwrap();
            assert!(log.contains("could not be written"), "{about}: the log does not tell the operator");
        }
        finish(&bus, "fsync fails").await;
    });
}

#[test]
fn a_slow_fsync_only_slows() {
    if !able(&["strace"]) {
        return;
    }
    run(async {
        let bus = Arc::new(Bus::start().await);
        for round in 0..rounds(2) {
            let member = NODES[round % 2];
            let plan = bus.layout.node(member).unwrap().clone();
            let pid = bus.processes.lock().await.pid(&format!("node {}", plan.folder)).unwrap();
            let load = Load::start(&bus).await;
            let injected = Injected::into(pid, "delay_enter=200000").await;
            load.answers(24).await;
            injected.let_go().await;
            load.answers(20).await;
            let called = load.stop().await;
            let others: Vec<_> = called.iter().filter(|call| !call.is_answered()).collect();
            assert!(others.is_empty(), "slow fsync, {member}: {others:?}");
            check(&bus, &format!("slow fsync, {member}"), &called).await;
        }
        finish(&bus, "slow fsync").await;
    });
}
