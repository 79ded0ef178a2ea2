//! A disk that is full, grows again, or goes read-only under a running node.

use std::sync::Arc;

use crate::disk::{Disk, able};
use crate::invariants::{NODES, check, finish, fsck};
use crate::load::Load;
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
