//! Outages of trust services degrade, they do not stop (design §6).

use crate::support::{Bus, ECHO, run};

#[test]
fn with_pki_and_registry_away_nodes_go_on_and_even_start_again() {
    run(async {
        let bus = Bus::start().await;
        let path = format!("{ECHO}/x");
        assert_eq!(bus.call("GET", &path, &[], "").await.status, 200);
        {
            let mut processes = bus.processes.lock().await;
            for name in ["pki", "registry"] {
                processes.kill(name).await.unwrap();
            }
        }
        assert_eq!(bus.call("GET", &path, &[], "").await.status, 200);
        {
            let mut processes = bus.processes.lock().await;
            for member in ["G01", "H26"] {
                let node = processes.node(bus.layout.node(member).unwrap());
                processes.stop(&node.name).await.unwrap();
                processes.start(vec![node]).await.unwrap();
            }
        }
        let answer = bus.call("GET", &path, &[], "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    });
}
