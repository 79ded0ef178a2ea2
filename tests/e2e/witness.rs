//! Logs that are witnessed (protocol P5.3): heads reach registry and peers, and a journal that was replaced by another history is found.

use std::path::Path;

use serde_json::Value;

use crate::office::{at, done, edit, folder, health, json};
use crate::support::{Bus, ECHO, Ran, arg, run, until};

/// `truc evidence heads` of a member's node, as the document it writes.
async fn heads(bus: &Bus, member: &str) -> Value {
    let file = folder(bus, member).join("heads-of-others.json");
    done(at(&folder(bus, member), &["evidence", "heads", "--out", arg(&file)]).await);
    json(&std::fs::read_to_string(&file).unwrap())
}

/// The size of the newest head that a witness holds of this node's log.
fn size_at(document: &Value, witness: &str) -> u64 {
    let all = document["witnesses"].as_array().unwrap();
    let of = all.iter().find(|one| one["witness"] == witness);
    let of = of.unwrap_or_else(|| panic!("{witness} holds nothing: {document}"));
    let note = of["logs"][0]["newest"]["note"].as_str().unwrap_or_else(|| panic!("{document}"));
    note.lines().nth(1).unwrap().parse().unwrap()
}

async fn audit(bus: &Bus, member: &str, peer: &str) -> (Ran, Value) {
    let ran = at(&folder(bus, member), &["evidence", "audit", peer, "--json"]).await;
    let told = json(&ran.stdout);
    (ran, told)
}

async fn call(bus: &Bus, path: &str) -> String {
    let answer = bus.call("GET", &format!("{ECHO}/{path}"), &[], "").await;
    assert_eq!(answer.status, 200);
    answer.header("x-road-request-id").unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Stops a node, has its data folder changed, and starts it again.
async fn while_stopped(bus: &Bus, member: &str, change: impl FnOnce(&Path)) {
    let plan = bus.layout.node(member).unwrap();
    let mut processes = bus.processes.lock().await;
    let node = processes.node(plan);
    processes.stop(&node.name).await.unwrap();
    change(&folder(bus, member).join("data"));
    processes.start(vec![node]).await.unwrap();
}

#[test]
fn heads_reach_registry_and_peers_and_another_history_is_found() {
    run(async {
        let bus = Bus::start().await;
        let kept = tempfile::tempdir().unwrap();
        call(&bus, "truoc").await;

        // The consumer's head is with the registry and the provider, and the provider's log holds what it acknowledged.
        let told = heads(&bus, "H26").await;
        assert!(size_at(&told, "registry") >= 2, "{told}");
        assert_eq!(size_at(&told, "NODE:VN/GOV/G01/ss1"), size_at(&told, "registry"));
        // The provider connects to nobody: what its client's node holds of its log was brought to it.
        let told = heads(&bus, "G01").await;
        assert!(size_at(&told, "NODE:VN/GOV/H26/ss1") >= 2, "{told}");
        let (ran, told) = audit(&bus, "H26", "VN/GOV/G01/ss1").await;
        assert_eq!((ran.code, &told["holds"]), (0, &true.into()), "{told}{}", ran.stderr);
        assert!(told["checked"].as_u64() >= Some(1) && told["heads"].as_u64() >= Some(1), "{told}");

        // A copy of the provider's journal; what comes after it is acknowledged, and witnessed.
        while_stopped(&bus, "G01", |data| copy(data, &kept.path().join("data"))).await;
        let denied = call(&bus, "sau").await;
        call(&bus, "sau-nua").await;
        let before = size_at(&heads(&bus, "G01").await, "registry");
        let (ran, told) = audit(&bus, "H26", "VN/GOV/G01/ss1").await;
        assert_eq!((ran.code, told["checked"].as_u64()), (0, Some(3)), "{told}{}", ran.stderr);
        let g01 = bus.layout.node("G01").unwrap();
        assert_eq!(health(&bus, g01).await["logAlarms"], Value::Null);

        // Its operator puts the copy back, and another history grows on it.
        while_stopped(&bus, "G01", |data| {
            for part in ["journal", "bodies", "index"] {
                std::fs::remove_dir_all(data.join(part)).unwrap();
                copy(&kept.path().join("data").join(part), &data.join(part));
            }
        })
        .await;
        for n in 0..3 {
            call(&bus, &format!("khac/{n}")).await;
        }

        // The node itself, the registry and the peer all see it.
        let told = heads(&bus, "G01").await;
        assert_eq!(size_at(&told, "registry"), before, "the head that was witnessed stays");
        let registry = &told["witnesses"][0]["logs"][0];
        assert!(!registry["alarms"].as_array().unwrap().is_empty(), "{registry}");
        let own = health(&bus, g01).await;
        assert!(own["logAlarms"][0].as_str().unwrap().contains("journal"), "{own}");
        assert_ne!(own["state"], "fresh");
        let (ran, told) = audit(&bus, "H26", "VN/GOV/G01/ss1").await;
        assert_eq!((ran.code, &told["holds"]), (1, &false.into()), "{told}{}", ran.stderr);
        assert_eq!(told["missing"]["exchange"], denied.as_str(), "the first that is denied: {told}");
        assert!(!told["problems"].as_array().unwrap().is_empty(), "{told}");
        let peer = health(&bus, bus.layout.node("H26").unwrap()).await;
        assert!(peer["logAlarms"][0].as_str().unwrap().contains("VN/GOV/G01/ss1"), "{peer}");
        let people = at(&folder(&bus, "H26"), &["evidence", "audit", "VN/GOV/G01/ss1"]).await;
        assert!(people.code == 1 && people.stdout.contains(&denied), "{}{}", people.stdout, people.stderr);
    });
}

/// A consumer's node signs no leaf of its records to the provider's: its `recorded` frames say them, and the provider's node keeps them.
#[test]
fn a_consumers_log_is_audited_by_its_provider() {
    run(async {
        let bus = Bus::start_prepared(|layout| {
            edit(&layout.node_config(layout.node("G01").unwrap()), |text| {
                assert!(text.contains("every = \"1m\""), "{text}");
                text.replace("every = \"1m\"", "every = \"1s\"")
            });
        })
        .await;
        let kept = tempfile::tempdir().unwrap();
        let checked = async |count: u64| {
            until("the provider's node keeps what was acknowledged", || async {
                let (ran, told) = audit(&bus, "G01", "VN/GOV/H26/ss1").await;
                assert_eq!((ran.code, &told["holds"]), (0, &true.into()), "{told}{}", ran.stderr);
                told["checked"] == count
            })
            .await;
        };
        call(&bus, "truoc").await;
        checked(1).await;
        while_stopped(&bus, "H26", |data| copy(data, &kept.path().join("data"))).await;
        let denied = call(&bus, "sau").await;
        call(&bus, "sau-nua").await;
        checked(3).await;

        // The consumer's operator puts the copy back: the records are gone, then others stand in their places.
        while_stopped(&bus, "H26", |data| {
            for part in ["journal", "bodies", "index"] {
                std::fs::remove_dir_all(data.join(part)).unwrap();
                copy(&kept.path().join("data").join(part), &data.join(part));
            }
        })
        .await;
        for rewritten in [false, true] {
            if rewritten {
                for n in 0..3 {
                    call(&bus, &format!("khac/{n}")).await;
                }
            }
            let (ran, told) = audit(&bus, "G01", "VN/GOV/H26/ss1").await;
            assert_eq!((ran.code, &told["holds"]), (1, &false.into()), "{told}{}", ran.stderr);
            assert_eq!(told["missing"]["exchange"], denied.as_str(), "the first that is denied: {told}");
            assert!(!told["problems"].as_array().unwrap().is_empty(), "{told}");
        }
        let own = health(&bus, bus.layout.node("G01").unwrap()).await;
        assert!(own["logAlarms"][0].as_str().unwrap().contains("VN/GOV/H26/ss1"), "{own}");

        // A node that cannot be reached is not audited, and whoever asks is told what to do.
        let plan = bus.layout.node("H26").unwrap();
        let mut processes = bus.processes.lock().await;
        let name = processes.node(plan).name;
        processes.stop(&name).await.unwrap();
        drop(processes);
        let away = at(&folder(&bus, "G01"), &["evidence", "audit", "VN/GOV/H26/ss1"]).await;
        assert!(away.code != 0 && away.stderr.contains("cannot be reached from here"), "{}", away.stderr);
        assert!(away.stderr.contains("truc evidence export"), "{}", away.stderr);
    });
}
