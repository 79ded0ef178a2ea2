//! A registry killed while it decides: every decision is before or after, and nobody else notices.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use truc_demo::bus::NodePlan;

use crate::office::{
    Api, Calling, add_member, alarms, at, current, done, folder, names, new_node, registry, submit_enrolment,
};
use crate::support::{Bus, arg, rounds, run};

/// A decision that was answered: where it stands in the journal, and what it says.
#[derive(Debug)]
struct Acknowledged {
    sequence: u64,
    kind: &'static str,
    about: String,
}

/// Officers who decide without pause.
struct Officers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Acknowledged>>>,
}

impl Officers {
    fn start(bus: &Arc<Bus>, round: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            tokio::spawn(admits(Api::new(&bus.layout), round, Arc::clone(&stop))),
            tokio::spawn(suspends(Api::new(&bus.layout), Arc::clone(&stop))),
        ];
        Self { stop, tasks }
    }

    async fn stop(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

/// One decision; `None` when there was no answer.
async fn decide(
    api: &Api,
    path: &str,
    body: &Value,
    kind: &'static str,
    about: &str,
) -> Option<Acknowledged> {
    let (status, outcome) = api.post(path, body).await.ok()?;
    let sequence = outcome["sequence"].as_u64().filter(|_| status == 200)?;
    Some(Acknowledged { sequence, kind, about: about.to_owned() })
}

async fn admits(api: Api, round: usize, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let id = format!("VN/GOV/Y{round}.{number}");
        let body = json!({"id": id, "nameVi": "Đơn vị", "nameEn": "Unit"});
        acknowledged.extend(decide(&api, "members", &body, "member.added", &id).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

async fn suspends(api: Api, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let (mut acknowledged, id) = (Vec::new(), "VN/GOV/G10/ss1");
    let body = json!({"node": id, "reason": "thử"});
    while !stop.load(Ordering::SeqCst) {
        for (path, kind) in [("nodes/suspend", "node.suspended"), ("nodes/reinstate", "node.reinstated")] {
            acknowledged.extend(decide(&api, path, &body, kind, id).await);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

/// What the directory has of a new node, its certificates, seal and subsystem: all or nothing.
async fn enrolled(api: &Api, about: &str, plan: &NodePlan, subsystem: &str) -> bool {
    let member = plan.member().to_string();
    let entry = api.member(&member).await.unwrap_or_else(|| panic!("{about}: {member} was admitted"));
    let list = |value: &Value| value.as_array().map_or(0, Vec::len);
    let (nodes, node) = (list(&entry["nodes"]), &entry["nodes"][0]);
    let serves = node["serves"].as_array().is_some_and(|serves| serves.iter().any(|s| names(s, subsystem)));
    let there = [
        nodes == 1,
        list(&node["authCertificates"]) == 1,
        list(&entry["signCertificates"]) == 1,
        list(&entry["subsystems"]) == 1,
        serves,
    ];
    assert!(there.iter().all(|part| *part == there[0]), "{about}: between before and after: {entry}");
    there[0]
}

/// Every acknowledged decision stands where it was said to stand, and the chain is what was published, here and at a node.
async fn audited(bus: &Bus, about: &str, acknowledged: &[Acknowledged]) {
    let log: Vec<Value> =
        done(registry(bus, &["audit", "list", "--json"]).await).lines().map(crate::office::json).collect();
    for one in acknowledged {
        let found = log.iter().find(|entry| entry["sequence"] == one.sequence);
        let found = found.unwrap_or_else(|| panic!("{about}: {one:?} was answered and is gone"));
        let text = found["payload"].to_string();
        assert!(found["kind"] == one.kind && text.contains(&one.about), "{about}: {one:?} is {found}");
    }
    let mut verify = vec!["audit", "verify"];
    let heads = ["H26", "G01"].map(|member| folder(bus, member).join("data/directory/head.json"));
    heads.iter().for_each(|head| verify.extend(["--head", arg(head)]));
    let verified = registry(bus, &verify).await;
    assert_eq!(verified.code, 0, "{about}: {}{}", verified.stdout, verified.stderr);
}

/// One round: an enrolment waits, officers decide, a node asks, the enrolment is approved, and the registry is killed.
async fn round(bus: &Arc<Bus>, round: usize, usual: &mut Duration) -> (usize, bool) {
    let about = format!("round {round}");
    let (member, api) = (format!("VN/GOV/T{round}"), Api::new(&bus.layout));
    let subsystem = format!("{member}/mot-cua");
    let plan = new_node(&format!("{member}/ss1"), &format!("t{round}"));
    add_member(bus, &member).await;
    let number = submit_enrolment(bus, &plan, &[&subsystem]).await;

    let officers = Officers::start(bus, round);
    let asking = {
        let (bus, id) = (Arc::clone(bus), format!("VN/GOV/H26/them-{round}"));
        tokio::spawn(async move {
            let ask = ["node", "request", "register-subsystem", &id, "--name", "Thêm", "--json"];
            let node = folder(&bus, "H26");
            // As its operator does who reads that the registry is away: the same again.
            for _ in 0..200 {
                let ran = at(&node, &ask).await;
                if ran.code == 0 || !ran.stderr.contains("run the same again") {
                    return ran;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("the registry stays away");
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let approving = tokio::spawn({
        let api = api.clone();
        async move { api.approve(number).await }
    });
    // Each time at another moment of it, and sometimes just after it.
    tokio::time::sleep(usual.mul_f64((round * 3 % 7) as f64 / 2.0)).await;
    {
        let mut processes = bus.processes.lock().await;
        processes.kill("registry").await.unwrap();
    }
    let acknowledged = officers.stop().await;
    let approved = matches!(approving.await.unwrap(), Ok((200, _)));
    {
        let mut processes = bus.processes.lock().await;
        let registry = processes.registry();
        processes.start(vec![registry]).await.unwrap();
    }

    audited(bus, &about, &acknowledged).await;
    for one in acknowledged.iter().filter(|one| one.kind == "member.added") {
        assert!(api.member(&one.about).await.is_some(), "{about}: {one:?}");
    }
    let after = enrolled(&api, &about, &plan, &subsystem).await;
    let shown = api.get(&format!("requests/{number}")).await;
    assert_eq!(shown["state"], if after { "approved" } else { "submitted" }, "{about}: {shown}");
    assert!(after || !approved, "{about}: the approval was answered and is gone");
    // What was before is decided now, and the node gets its certificates either way.
    if !after {
        let began = Instant::now();
        let (status, told) = api.approve(number).await.unwrap();
        *usual = began.elapsed();
        assert_eq!(status, 200, "{about}: {told}");
        assert!(enrolled(&api, &about, &plan, &subsystem).await);
    }
    done(at(&bus.layout.node_folder(&plan), &["node", "enroll"]).await);
    // The node's request outlives the registry: it is sent again until it is there, once.
    let asked = asking.await.unwrap();
    assert_eq!(asked.code, 0, "{about}: {}{}", asked.stdout, asked.stderr);
    let list = api.get("requests").await;
    let of_it = |request: &&Value| request["kind"] == "register-subsystem";
    let there = list.as_array().unwrap().iter().filter(of_it).count();
    assert_eq!(there, round + 1, "{about}: {list}");
    // A node may have 20 requests waiting.
    let asked = api.last_request("VN/GOV/H26/ss1").await;
    api.decide("requests/refuse", &json!({"number": asked, "reason": "thử"})).await;
    (acknowledged.len(), after)
}

#[test]
fn a_registry_killed_while_it_decides_is_before_or_after_each_decision() {
    run(async {
        let bus = Arc::new(Bus::start().await);
        let calling = Calling::echo(&bus);
        let (mut after, mut usual) = (0, Duration::from_millis(60));
        for number in 0..rounds(4) {
            let (acknowledged, decided) = round(&bus, number, &mut usual).await;
            eprintln!(
                "registry killed, round {number}: {acknowledged} decisions answered, the approval was {}",
                if decided { "after" } else { "before" }
            );
            after += usize::from(decided);
        }
        eprintln!("of {} approvals {after} had been made when the registry was killed", rounds(4));
        // Nodes have it all, without an alarm, and nobody was kept from working.
        current(&bus, &["H26", "G01", "G10"]).await;
        audited(&bus, "at the end", &[]).await;
        assert!(["H26", "G01", "G10"].iter().all(|m| alarms(&bus, bus.layout.node(m).unwrap()).is_empty()));
        calling.none_lost().await;
    });
}
