//! The registry is there and does not answer: calls go on, and another address of it is used (docs/registry.md §6).

use std::time::Duration;

use crate::office::{Calling, Relay, current, done, health, registry, registry_at, signal};
use crate::support::{Bus, ECHO, run, until};

#[test]
fn an_address_that_takes_connections_and_never_answers_gives_way_to_the_next() {
    run(async {
        let mut relay = None;
        let bus = Bus::start_prepared(|layout| {
            let started = Relay::start(layout.registry.0);
            for member in ["H26", "G01"] {
                let node = layout.node_folder(layout.node(member).unwrap());
                registry_at(&node, &[started.port, layout.registry.0]);
            }
            relay = Some(started);
        })
        .await;
        let relay = relay.unwrap();
        assert!(relay.carried() >= 2, "the first address has the first turn");
        let calling = Calling::echo(&bus);
        calling.go_on(5).await;

        relay.black_hole();
        // A decision that only the second address can bring.
        done(registry(&bus, &["node", "suspend", "VN/GOV/G10/ss1", "--reason", "thử"]).await);
        current(&bus, &["H26", "G01"]).await;
        for member in ["H26", "G01"] {
            let told = health(&bus, bus.layout.node(member).unwrap()).await;
            assert_eq!((&told["serving"], &told["directory"]["connected"]), (&true.into(), &true.into()));
        }
        calling.none_lost().await;
    });
}

#[test]
fn with_a_registry_that_hangs_calls_go_on_nodes_start_and_what_is_decided_later_arrives() {
    run(async {
        let bus = Bus::start().await;
        let calling = Calling::echo(&bus);
        signal(&bus, "registry", "-STOP").await;
        calling.go_on(20).await;
        // Its port still takes connections, and nothing comes back: a node starts with what it has.
        let plan = bus.layout.node("G10").unwrap().clone();
        crate::office::restart(&bus, &plan, |_| {}).await;
        until("the node serves and says that it has no registry", || async {
            let told = health(&bus, &plan).await;
            told["serving"] == true && told["directory"]["connected"] == false
        })
        .await;
        calling.go_on(20).await;
        signal(&bus, "registry", "-CONT").await;
        done(registry(&bus, &["member", "suspend", "VN/GOV/H26", "--reason", "thử"]).await);
        until("the suspension has arrived", || async {
            bus.call("GET", &format!("{ECHO}/x"), &[], "").await.status == 403
        })
        .await;
        done(registry(&bus, &["member", "reinstate", "VN/GOV/H26", "--reason", "xong"]).await);
        until("and its end", || async { bus.call("GET", &format!("{ECHO}/x"), &[], "").await.status == 200 })
            .await;
        current(&bus, &["H26", "G01"]).await;
        tokio::time::timeout(Duration::from_secs(60), calling.stop()).await.unwrap();
    });
}
