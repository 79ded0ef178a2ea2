//! Everything recorded is time-stamped; without an authority exchanges go on, and what waited is stamped when it is back.

use std::time::Duration;

use serde_json::Value;
use truc_model::Timestamp;
use truc_policy::{ServiceDefinition, TimeStamp};

use crate::office::health;
use crate::support::{Bus, DESK, ECHO, run, until};

async fn stamps(bus: &Bus, member: &str) -> Value {
    health(bus, bus.layout.node(member).unwrap()).await["timeStamps"].clone()
}

#[test]
fn records_are_stamped_and_an_outage_is_made_up_for() {
    run(async {
        let bus = Bus::start_prepared(|layout| {
            for member in ["G01", "H26"] {
                let file = layout.node_config(layout.node(member).unwrap());
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(text.contains("every = \"1m\""), "{text}");
                std::fs::write(&file, text.replace("every = \"1m\"", "every = \"1s\"")).unwrap();
            }
        })
        .await;
        let path = format!("{ECHO}/x");
        assert_eq!(bus.call("GET", &path, &[], "").await.status, 200);
        for member in ["G01", "H26"] {
            until("the records are stamped", || async {
                let told = stamps(&bus, member).await;
                told["last"].is_string() && told["backlog"] == 0
            })
            .await;
            let told = stamps(&bus, member).await;
            assert_eq!((&told["state"], told["authorities"].as_array().unwrap().len()), (&"fresh".into(), 1));
        }
        let before = stamps(&bus, "H26").await["last"].clone();

        let pki = {
            let mut processes = bus.processes.lock().await;
            let pki = processes.pki();
            processes.kill("pki").await.unwrap();
            pki
        };
        assert_eq!(bus.call("GET", &path, &[], "").await.status, 200, "stamping delays nothing");
        until("the outage shows", || async {
            let told = stamps(&bus, "H26").await;
            told["state"] == "degraded" && told["backlog"] != 0
        })
        .await;
        let told = health(&bus, bus.layout.node("H26").unwrap()).await;
        assert_eq!(told["serving"], true);
        assert_eq!(bus.call("GET", &path, &[], "").await.status, 200);

        bus.processes.lock().await.start(vec![pki]).await.unwrap();
        until("what waited is stamped", || async {
            let told = stamps(&bus, "H26").await;
            told["state"] == "fresh" && told["backlog"] == 0 && told["last"] != before
        })
        .await;
    });
}

#[test]
fn an_immediate_service_is_called_only_once_its_request_is_stamped() {
    run(async {
        let bus = Bus::start().await;
        let service = "VN/GOV/G01/csdl-dancu/tuc-thi";
        let mut definition =
            ServiceDefinition::rest(service.parse().unwrap(), bus.echo.url().parse().unwrap());
        definition.evidence.time_stamp = TimeStamp::Immediate;
        bus.admin("G01").add_service(&definition).await.unwrap();
        bus.grant(DESK, service, "*", "/**").await;
        let last = async || {
            let told = stamps(&bus, "G01").await["last"].clone();
            told.as_str().map(|at| at.parse::<Timestamp>().unwrap())
        };
        let before = last().await;
        // A token's time has whole seconds: the next one is later by one at least.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let answer = bus.call("GET", &format!("{service}/x"), &[], "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert!(last().await > before, "nobody waited for the minute");
    });
}
