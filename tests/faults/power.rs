//! Power cuts: the file system under a node's data folder is shut down under load, the node is killed, and what is found
//! after the next mount is compared with what was answered.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, able};
use crate::invariants::{NODES, check, finish, fsck};
use crate::load::Load;
use crate::support::{Bus, rounds, run};

#[test]
fn a_power_cut_on_ext4_loses_nothing_that_was_answered() {
    power_cuts("ext4");
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_that_was_answered() {
    power_cuts("xfs");
}

/// In turn: the consumer's node, then the provider's; the process gone at once, or living on over a file system which is gone, as
/// after an error of the disk's own.
fn power_cuts(kind: &'static str) {
    if !able(&["mount", "xfs_io", &format!("mkfs.{kind}")]) {
        return;
    }
    run(async {
        let mut disks = Vec::new();
        let bus = Arc::new(
            Bus::start_prepared(|layout| {
                for member in NODES {
                    let disk = Disk::on_loop(kind);
                    disk.take(&layout.node_folder(layout.node(member).unwrap()).join("data"));
                    disks.push(disk);
                }
            })
            .await,
        );
        for round in 0..rounds(2) {
            let victim = round % 2;
            let outlives = (round + round / 2) % 2 == 1;
            let about = format!("{kind}, {}, round {round}, outlives: {outlives}", NODES[victim]);
            let load = Load::start(&bus).await;
            load.goes_on(u32::try_from(round * 7 % 40).unwrap()).await;
            disks[victim].cut();
            if outlives {
                tokio::time::sleep(Duration::from_millis(500 + 300 * (round as u64 % 6))).await;
            }
            let plan = bus.layout.node(NODES[victim]).unwrap().clone();
            {
                let mut processes = bus.processes.lock().await;
                let node = processes.node(&plan);
                processes.kill(&node.name).await.unwrap();
                disks[victim].again();
                fsck(&bus, &about, NODES[victim]).await;
                processes.start(vec![node]).await.unwrap();
            }
            load.goes_on(20).await;
            check(&bus, &about, &load.stop().await).await;
        }
        finish(&bus, kind).await;
    });
}
