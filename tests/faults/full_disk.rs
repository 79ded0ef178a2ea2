//! A disk that is full, grows again, or goes read-only under a running node.

use std::sync::Arc;

use crate::disk::{Disk, able};
use crate::invariants::{NODES, check, finish, fsck};
use crate::load::Load;
use crate::office::health;
use crate::support::{Bus, rounds, run, until};

/// MiB: two segments' first steps, what is never taken, and a little.
const SMALL: u32 = 56;

#[test]
fn a_full_disk_is_refused_clearly_and_traffic_goes_on_by_itself_when_there_is_room() {
    if !able(&["mount"]) {
        return;
    }
    run(async {
        let mut disks = Vec::new();
        let bus = Arc::new(
            Bus::start_prepared(|layout| {
                for member in NODES {
                    let disk = Disk::in_memory(SMALL);
                    disk.take(&layout.node_folder(layout.node(member).unwrap()).join("data"));
                    disks.push(disk);
                }
            })
            .await,
        );
        for round in 0..rounds(2) {
            let (victim, to_the_last) = (round % 2, (round + round / 2) % 2 == 0);
            let about =
                format!("full disk, {}, round {round}, to the last byte: {to_the_last}", NODES[victim]);
            let disk = &disks[victim];
            let load = Load::start(&bus).await;
            // To the last byte: the index has no room either. Otherwise the journal stops while the index has what is left to it.
            if to_the_last {
                disk.fill();
            } else {
                disk.resize(disk.used() + 12);
            }
            load.until_told("RECORDING_FAILED", 10).await;
            if to_the_last {
                disk.empty();
            }
            disk.resize(disk.used() + SMALL);
            load.answers(40).await;
            check(&bus, &about, &load.stop().await).await;
        }
        finish(&bus, "full disk").await;
    });
}

/// MiB: far from full.
const ROOMY: u32 = 220;

#[test]
fn a_disk_that_is_nearly_full_is_told_of_before_anything_is_refused() {
    if !able(&["mount"]) {
        return;
    }
    run(async {
        let mut disks = Vec::new();
        let bus = Arc::new(
            Bus::start_prepared(|layout| {
                for member in NODES {
                    let plan = layout.node(member).unwrap();
                    let file = layout.node_config(plan);
                    let text = std::fs::read_to_string(&file).unwrap();
                    let alarm = text.replace("alarm-free = \"10%\"", "alarm-free = \"80 MiB\"");
                    assert_ne!(text, alarm);
                    std::fs::write(&file, alarm).unwrap();
                    let disk = Disk::in_memory(ROOMY);
                    disk.take(&layout.node_folder(plan).join("data"));
                    disks.push(disk);
                }
            })
            .await,
        );
        // Each round waits twice for the node to look at its disk, every 30 s.
        for round in 0..rounds(1).min(4) {
            let (member, disk) = (NODES[round % 2], &disks[round % 2]);
            let (about, plan) =
                (format!("nearly full, {member}, round {round}"), bus.layout.node(member).unwrap());
            let alarms = async || health(&bus, plan).await["keepingAlarms"].to_string();
            assert!(!alarms().await.contains("full"), "{about}: told too early");
            // A node looks at its disk every 30 s; nobody calls meanwhile, so that it is not filled by then.
            disk.resize(disk.used() + 60);
            until(&format!("{about}: /healthz warns"), async || alarms().await.contains("nearly full")).await;
            let load = Load::start(&bus).await;
            // It was told early: there is room still.
            let before = load.told("RECORDING_FAILED");
            load.answers(20).await;
            assert_eq!(load.told("RECORDING_FAILED"), before, "{about}: refused although there is room");
            disk.resize(disk.used() + 8);
            load.until_told("RECORDING_FAILED", 10).await;
            // What is small may still fit; then the last record was kept.
            until(&format!("{about}: /healthz says why"), async || alarms().await.contains("no space left"))
                .await;
            disk.resize(disk.used() + ROOMY);
            load.answers(40).await;
            check(&bus, &about, &load.stop().await).await;
            until(&format!("{about}: the warning ends"), async || !alarms().await.contains("full")).await;
        }
        finish(&bus, "nearly full").await;
    });
}

#[test]
fn a_file_system_that_goes_read_only_is_refused_clearly_and_corrupts_nothing() {
    if !able(&["mount", "mkfs.ext4", "findmnt"]) {
        return;
    }
    run(async {
        let mut disks = Vec::new();
        let bus = Arc::new(
            Bus::start_prepared(|layout| {
                for member in NODES {
                    let disk = Disk::on_loop("ext4");
                    disk.take(&layout.node_folder(layout.node(member).unwrap()).join("data"));
                    disks.push(disk);
                }
            })
            .await,
        );
        for round in 0..rounds(2) {
            let victim = round % 2;
            let about = format!("read-only, {}, round {round}", NODES[victim]);
            let load = Load::start(&bus).await;
            disks[victim].break_structures();
            load.until_told("RECORDING_FAILED", 10).await;
            let plan = bus.layout.node(NODES[victim]).unwrap().clone();
            {
                let mut processes = bus.processes.lock().await;
                let node = processes.node(&plan);
                let log = bus.layout.dir.join(format!("logs/node-{}.log", plan.folder));
                until("the log names the file", || async {
                    std::fs::read_to_string(&log).is_ok_and(|text| text.contains("could not be written"))
                })
                .await;
                processes.stop(&node.name).await.unwrap();
                disks[victim].again();
                fsck(&bus, &about, NODES[victim]).await;
                processes.start(vec![node]).await.unwrap();
            }
            load.answers(40).await;
            check(&bus, &about, &load.stop().await).await;
        }
        finish(&bus, "read-only").await;
    });
}
