//! An archive that fails midway: full, away, and the node killed while it moves segments there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, able};
use crate::invariants::{NODES, check, finish, fsck};
use crate::load::Load;
use crate::office::health;
use crate::support::{Bus, arg, rounds, run, truc, until};

/// MiB: not enough for the segments of one round.
const SMALL: u32 = 1;
/// Enough for those of many.
const LARGE: u32 = 768;

/// How many segments of a node are in the archive alone.
pub(crate) fn away(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            count += away(&path);
        } else if path.extension().is_some_and(|end| end == "away") {
            count += 1;
        }
    }
    count
}

/// `kill -9` and a start, which moves what was open.
async fn killed(bus: &Bus, about: &str, member: &str) {
    let mut processes = bus.processes.lock().await;
    let node = processes.node(bus.layout.node(member).unwrap());
    processes.kill(&node.name).await.unwrap();
    fsck(bus, about, member).await;
    processes.start(vec![node]).await.unwrap();
}

#[test]
fn an_archive_that_fails_midway_loses_nothing() {
    if !able(&["mount"]) {
        return;
    }
    run(async {
        let mut disks = Vec::new();
        let bus = Arc::new(
            Bus::start_prepared(|layout| {
                for member in NODES {
                    let disk = Disk::in_memory(SMALL);
                    let file = layout.node_config(layout.node(member).unwrap());
                    let text = std::fs::read_to_string(&file).unwrap();
                    let folder = disk.place().join("archive");
                    let archive = format!("{text}\n[evidence.archive]\nfolder = {folder:?}\n");
                    std::fs::write(&file, archive).unwrap();
                    disks.push(disk);
                }
            })
            .await,
        );
        for round in 0..rounds(2) {
            let (victim, member) = (round % 2, NODES[round % 2]);
            let about = format!("archive, {member}, round {round}");
            let plan = bus.layout.node(member).unwrap().clone();
            let data = bus.layout.node_folder(&plan).join("data");
            // As good as full; each start tries to move what the last one closed.
            disks[victim].resize(disks[victim].used() + SMALL);
            let load = Load::start(&bus).await;
            for kill in 0..3_u64 {
                load.goes_on(60).await;
                killed(&bus, &about, member).await;
                tokio::time::sleep(Duration::from_millis((round as u64 * 97 + kill * 61) % 400)).await;
            }
            // Whatever still fitted: now nothing does.
            disks[victim].fill();
            load.goes_on(20).await;
            killed(&bus, &about, member).await;
            until(&format!("{about}: /healthz tells of it"), || async {
                health(&bus, &plan).await["keepingAlarms"].to_string().contains("archive")
            })
            .await;
            load.answers(20).await;
            let before = away(&data);
            disks[victim].empty();
            disks[victim].resize(LARGE);
            killed(&bus, &about, member).await;
            until(&format!("{about}: what waited is moved"), || async {
                let told = health(&bus, &plan).await["keepingAlarms"].to_string();
                !told.contains("archive") && away(&data) > before
            })
            .await;
            load.answers(20).await;
            check(&bus, &about, &load.stop().await).await;
        }
        finish(&bus, "archive").await;
        for member in NODES {
            let config = bus.config(member);
            let ran = truc(&["evidence", "fsck", "--archive", "--json", "--config", arg(&config)]).await;
            assert_eq!(ran.code, 0, "{member}, with the archive: {}{}", ran.stdout, ran.stderr);
            let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(found["stamped"], found["records"], "{member}: {found}");
        }
    });
}
