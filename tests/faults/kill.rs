//! `kill -9` of the nodes at any moment under load.

use std::sync::Arc;

use crate::invariants::{NODES, check, finish, fsck};
use crate::load::Load;
use crate::support::{Bus, rounds, run};

/// Each round reads the whole journal: with many rounds a new bus is begun now and then, so that the last ones are as short as the
/// first.
const ROUNDS_OF_A_BUS: usize = 20;

#[test]
fn kill_9_of_either_node_or_both_loses_nothing_that_was_answered() {
    run(async {
        let all: Vec<usize> = (0..rounds(3)).collect();
        for some in all.chunks(ROUNDS_OF_A_BUS) {
            let bus = Arc::new(Bus::start().await);
            for round in some {
                one(&bus, *round).await;
            }
            finish(&bus, "kill -9").await;
        }
    });
}

async fn one(bus: &Arc<Bus>, round: usize) {
    let victims: &[&str] = match round % 3 {
        0 => &NODES[..1],
        1 => &NODES[1..],
        _ => &NODES,
    };
    let about = format!("kill -9, {victims:?}, round {round}");
    let load = Load::start(bus).await;
    load.goes_on(u32::try_from(round * 13 % 50).unwrap()).await;
    {
        let mut processes = bus.processes.lock().await;
        let nodes: Vec<_> =
            victims.iter().map(|member| processes.node(bus.layout.node(member).unwrap())).collect();
        for node in &nodes {
            processes.kill(&node.name).await.unwrap();
        }
        for member in victims {
            fsck(bus, &about, member).await;
        }
        processes.start(nodes).await.unwrap();
    }
    load.answers(20).await;
    check(bus, &about, &load.stop().await).await;
    eprintln!("{about}: nothing was lost");
}
