//! A node that does not reach the registry hears of a revocation from another node (protocol P6.2).

use std::net::TcpListener;

use crate::office::{current, done, health, registry, registry_at};
use crate::support::{Bus, ECHO, run, until};

#[test]
fn a_revocation_reaches_a_node_without_the_registry_through_its_peer() {
    run(async {
        let bus = Bus::start().await;
        let plan = bus.layout.node("H26").unwrap().clone();
        let process = {
            let mut processes = bus.processes.lock().await;
            let process = processes.node(&plan);
            processes.stop(&process.name).await.unwrap();
            process
        };
        done(registry(&bus, &["member", "suspend", "VN/GOV/G10", "--reason", "thử"]).await);
        current(&bus, &["G01"]).await;
        // The system takes connections there, and nobody ever answers.
        let hole = TcpListener::bind("127.0.0.1:0").unwrap();
        registry_at(&bus.layout.node_folder(&plan), &[hole.local_addr().unwrap().port()]);
        bus.processes.lock().await.start(vec![process]).await.unwrap();

        let newest = bus.admin("G01").directory().await.unwrap().head.version;
        let own = bus.admin("H26");
        assert!(own.directory().await.unwrap().head.version < newest);
        assert_eq!(bus.call("GET", &format!("{ECHO}/x"), &[], "").await.status, 200);
        until("the node has its peer's directory", || async {
            own.directory().await.unwrap().head.version == newest
        })
        .await;
        let told = health(&bus, &plan).await;
        assert_eq!(
            (&told["serving"], &told["directory"]["connected"], &told["directory"]["alarm"]),
            (&true.into(), &false.into(), &false.into())
        );
        let members = own.directory().await.unwrap().members;
        let suspended = members.iter().find(|member| member.status == "suspended");
        assert_eq!(suspended.unwrap().id.to_string(), "VN/GOV/G10");
    });
}
