//! `kill -9` under load: every answered exchange is in both journals and verifies, nothing is carried out twice, and what is
//! not known is told as unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use truc_directory::Anchor;
use truc_evidence::container;
use truc_model::MessageId;

use crate::support::{Bus, DESK, ECHO, arg, rounds, run, truc, until};

/// What one call came to.
struct Called {
    status: u16,
    id: Option<MessageId>,
    told: String,
}

async fn call(bus: &Bus, number: u32) -> Option<Called> {
    let url = bus.edge(&format!("/r1/{ECHO}/load/{number}"));
    let answer = bus.http.send("POST", &url, &[("X-Road-Client", DESK)], format!("{number}")).await.ok()?;
    let id = answer.header("x-road-request-id").map(str::to_owned);
    let id = id.or_else(|| answer.json()["requestId"].as_str().map(str::to_owned));
    Some(Called {
        status: answer.status.as_u16(),
        id: id.and_then(|text| text.parse().ok()),
        told: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

/// Calls from eight desks until told to stop.
async fn load(bus: &Arc<Bus>, stop: &Arc<AtomicBool>) -> Vec<Called> {
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (bus, stop) = (Arc::clone(bus), Arc::clone(stop));
            tokio::spawn(async move {
                let mut called = Vec::new();
                let mut number = worker * 1_000_000;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    match call(&bus, number).await {
                        Some(one) => called.push(one),
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                called
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all
}

#[test]
fn kill_9_of_a_node_under_load_loses_nothing_that_was_answered() {
    run(async {
        let bus = Arc::new(Bus::start().await);
        let anchor = Anchor::parse(&std::fs::read(bus.layout.anchor()).unwrap()).unwrap();
        for round in 0..rounds(3) {
            let victim = if round % 2 == 0 { "G01" } else { "H26" };
            let stop = Arc::new(AtomicBool::new(false));
            let calls_before = bus.echo.total();
            let loading = tokio::spawn({
                let (bus, stop) = (Arc::clone(&bus), Arc::clone(&stop));
                async move { load(&bus, &stop).await }
            });
            until("the load runs", || async { bus.echo.total() > calls_before + 40 }).await;
            let plan = bus.layout.node(victim).unwrap().clone();
            {
                let mut processes = bus.processes.lock().await;
                let process = processes.node(&plan);
                processes.kill(&process.name).await.unwrap();
                processes.start(vec![process]).await.unwrap();
            }
            let calls_then = bus.echo.total();
            until("the load runs again", || async { bus.echo.total() > calls_then + 20 }).await;
            stop.store(true, Ordering::SeqCst);
            let called = loading.await.unwrap();
            check(&bus, &called, &anchor, round, victim).await;
        }
        finish(&bus).await;
    });
}

async fn check(bus: &Bus, called: &[Called], anchor: &Anchor, round: usize, victim: &str) {
    let answered: Vec<MessageId> = called.iter().filter(|c| c.status == 200).filter_map(|c| c.id).collect();
    assert!(answered.len() > 40, "round {round}: too few answers to say anything");
    for (at, id) in answered.iter().enumerate() {
        assert_eq!(
            bus.echo.carried_out(&id.to_string()),
            1,
            "round {round}, {victim}: {id} was not carried out once"
        );
        let mut seen = Vec::new();
        for member in ["H26", "G01"] {
            let shown = bus.admin(member).evidence_show(*id, false).await.unwrap();
            seen.push(shown.records.iter().map(|record| (record.kind, record.digest)).collect::<Vec<_>>());
        }
        assert!(
            seen[0].len() == 2 && seen[0] == seen[1],
            "round {round}, {victim}: of the answered {id} the nodes hold {seen:?}"
        );
        // Verifying costs: every tenth, and the last ones before and after the kill among them by chance of the load.
        if at % 10 == 0 {
            let bytes = bus.admin("G01").evidence_container(*id).await.unwrap();
            let report = container::verify(&bytes, anchor).unwrap();
            assert!(report.failed().next().is_none(), "round {round}: {report}");
        }
    }
    let twice =
        bus.echo.calls.lock().unwrap().iter().find(|(_, times)| **times > 1).map(|(id, _)| id.clone());
    assert_eq!(twice, None, "round {round}, {victim}: carried out twice");
    for failed in called.iter().filter(|c| c.status != 200) {
        // BUSY, unreachable, interrupted: each is a stated outcome with a true status.
        assert!(
            [502, 503, 504].contains(&failed.status),
            "round {round}: HTTP {}: {}",
            failed.status,
            failed.told
        );
        let carried_out = failed.id.map_or(0, |id| bus.echo.carried_out(&id.to_string()));
        // Whatever may have been carried out is told so: ask first, do not just send it again.
        let ask_first = failed.told.contains("\"ask-first\"");
        assert!(
            carried_out == 0 || ask_first,
            "round {round}, {victim}: {:?} was carried out, but told {}: {}",
            failed.id,
            failed.status,
            failed.told
        );
    }
}

/// After the rounds: nothing stays open, and both journals are whole.
async fn finish(bus: &Bus) {
    for member in ["H26", "G01"] {
        let admin = bus.admin(member);
        until("no exchange stays open", || async {
            let list = admin.evidence(&truc_admin::EvidenceFilter::default()).await.unwrap();
            list.iter().all(|entry| {
                entry.fault.is_some() || serde_json::to_value(entry.outcome).unwrap() != "unknown"
            })
        })
        .await;
    }
    let mut processes = bus.processes.lock().await;
    for member in ["H26", "G01"] {
        let name = processes.node(bus.layout.node(member).unwrap()).name;
        processes.stop(&name).await.unwrap();
        let config = bus.config(member);
        let ran = truc(&["evidence", "fsck", "--config", arg(&config)]).await;
        assert_eq!(ran.code, 0, "{member}: {}{}", ran.stdout, ran.stderr);
    }
}
