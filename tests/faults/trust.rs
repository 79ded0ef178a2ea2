//! Time-stamp authorities and responders that are away, slow, or answer something else: exchanges go on, nothing wrong is
//! kept, and what waited is made up for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::invariants::{NODES, check, finish, fsck, restart, stamped};
use crate::liar::{Liar, Mode, WRONG};
use crate::office::health;
use crate::process_ground::{Callers, works_within};
use crate::support::{Bus, rounds, run, until};

/// A bus with a PKI that can lie.
async fn ground() -> (Arc<Bus>, Liar) {
    let mut liar = None;
    let bus = Bus::start_prepared(|layout| liar = Some(Liar::in_front_of_the_pki(layout))).await;
    (Arc::new(bus), liar.unwrap())
}

async fn stamps(bus: &Bus, member: &str) -> Value {
    health(bus, bus.layout.node(member).unwrap()).await["timeStamps"].clone()
}

async fn killed(bus: &Bus, about: &str, member: &str) {
    let mut processes = bus.processes.lock().await;
    let node = processes.node(bus.layout.node(member).unwrap());
    processes.kill(&node.name).await.unwrap();
    fsck(bus, about, member).await;
    processes.start(vec![node]).await.unwrap();
}

#[test]
fn time_stamps_that_do_not_come_or_are_wrong_delay_nothing_and_are_made_up_for() {
    run(async {
        let (bus, liar) = ground().await;
        for round in 0..rounds(WRONG.len()) {
            let mode = WRONG[round % WRONG.len()];
            // Every second time round a node is killed while nothing is stamped.
            let dies = (round / WRONG.len() + round) % 2 == 1;
            let about = format!("time-stamps {mode:?}, round {round}, with a kill -9: {dies}");
            let callers = Callers::start(&bus).await;
            liar.stamps(mode);
            let mut before = Vec::new();
            for member in NODES {
                until(&format!("{about}: {member} tells of it"), || async {
                    let told = stamps(&bus, member).await;
                    told["state"] == "degraded" && told["backlog"] != 0
                })
                .await;
                before.push(stamps(&bus, member).await["last"].clone());
            }
            if dies {
                killed(&bus, &about, NODES[round / 2 % 2]).await;
            }
            let mut called = works_within(&bus, &about, Duration::from_secs(20)).await;
            for (member, before) in NODES.iter().zip(&before) {
                let plan = bus.layout.node(member).unwrap();
                let told = health(&bus, plan).await;
                assert_eq!(&told["timeStamps"]["last"], before, "{about}: {member} kept a wrong token");
                assert_eq!(told["serving"], true, "{about}: {member} within its grace");
            }
            called.extend(callers.stop().await);
            let refused: Vec<_> = called.iter().filter(|call| !call.is_answered()).collect();
            assert!(dies || refused.is_empty(), "{about}: {refused:?}");
            liar.stamps(Mode::Honest);
            check(&bus, &about, &called).await;
            for member in NODES {
                stamped(&bus, &about, member).await;
            }
        }
        finish(&bus, "time-stamps that are wrong").await;
    });
}

#[test]
fn statuses_that_do_not_come_or_are_wrong_stop_nothing_within_the_grace() {
    run(async {
        let (bus, liar) = ground().await;
        works_within(&bus, "at first", Duration::from_secs(20)).await;
        // What a node knows of certificates is on its disk after a minute, or a stop.
        restart(&bus).await;
        for round in 0..rounds(WRONG.len()) {
            let (mode, member) = (WRONG[round % WRONG.len()], NODES[round % 2]);
            let about = format!("statuses {mode:?}, {member}, round {round}");
            let callers = Callers::start(&bus).await;
            liar.statuses(mode);
            // A node that starts asks for the status of its own certificates, and has none of the others'.
            killed(&bus, &about, member).await;
            until(&format!("{about}: it asks"), || async { liar.asked() > 0 }).await;
            let mut called = works_within(&bus, &about, Duration::from_secs(30)).await;
            called.extend(callers.stop().await);
            check(&bus, &about, &called).await;
            liar.statuses(Mode::Honest);
            works_within(&bus, &about, Duration::from_secs(20)).await;
        }
        finish(&bus, "statuses that are wrong").await;
    });
}
