//! A node's life with the registry after it was enrolled: renewal up to its end, another address, subsystems, another owner.

use serde_json::{Value, json};
use truc_trust::Certificate;

use crate::office::{
    Api, Calling, Relay, add_member, at, current, done, edit, folder, names, refused, restart,
};
use crate::support::{Bus, DESK, ECHO, run, until};

const NODE: &str = "VN/GOV/H26/ss1";

fn fingerprint(file: &std::path::Path) -> String {
    Certificate::all_from_pem(&std::fs::read(file).unwrap()).unwrap()[0].fingerprint().to_string()
}

/// The fingerprints of a member's seals and of its first node's TLS identities, as registered.
async fn registered(api: &Api, member: &str) -> (Vec<String>, Vec<String>) {
    let entry = api.member(member).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let seals = entry["signCertificates"].as_array().unwrap().iter().map(|c| text(&c["fingerprint"]));
    let auth = entry["nodes"][0]["authCertificates"].as_array().unwrap().iter().map(text);
    (seals.collect(), auth.collect())
}

#[test]
fn renewed_keys_come_into_use_and_the_node_deletes_the_old_ones() {
    run(async {
        let bus = Bus::start_prepared(|layout| {
            edit(&layout.node_config(layout.node("H26").unwrap()), |text| {
                assert!(text.contains("overlap = \"24h\"") && text.contains("settle = \"1m\""), "{text}");
                text.replace("overlap = \"24h\"", "overlap = \"1s\"")
                    .replace("settle = \"1m\"", "settle = \"0s\"")
            });
        })
        .await;
        let (api, node) = (Api::new(&bus.layout), folder(&bus, "H26"));
        let (auth, seal) = (node.join("certs/auth.pem"), node.join("certs/sign-VN-GOV-H26.pem"));
        let old = (fingerprint(&auth), fingerprint(&seal));
        let calling = Calling::echo(&bus);
        calling.go_on(3).await;
        done(at(&node, &["node", "renew"]).await);
        let (seals, identities) = registered(&api, "VN/GOV/H26").await;
        assert_eq!((seals.len(), identities.len()), (2, 2), "old and new overlap");
        until("the old ones are deleted by the node itself", || async {
            let (seals, identities) = registered(&api, "VN/GOV/H26").await;
            (seals.len(), identities.len()) == (1, 1)
        })
        .await;
        let new = (fingerprint(&auth), fingerprint(&seal));
        assert!(new.0 != old.0 && new.1 != old.1);
        assert_eq!(registered(&api, "VN/GOV/H26").await, (vec![new.1.clone()], vec![new.0]));
        until("the renewal is over", || async { !node.join("data/requests/renewal.json").exists() }).await;
        calling.go_on(5).await;

        // Connections of the old identity are cut, so this call came over one of the new.
        let answer = bus.call("GET", &format!("{ECHO}/y"), &[], "").await;
        let id = answer.header("x-road-request-id").unwrap().parse().unwrap();
        let shown = bus.admin("G01").evidence_show(id, false).await.unwrap();
        let text = serde_json::to_string(&shown).unwrap();
        assert!(text.contains(&new.1) && !text.contains(&old.1), "sealed with the new key");
        calling.none_lost().await;

        // It renews a second time, and after a start it stands as it stood.
        done(at(&node, &["node", "renew", "--auth"]).await);
        restart(&bus, &bus.layout.node("H26").unwrap().clone(), |_| {}).await;
        assert_eq!(bus.call("GET", &format!("{ECHO}/z"), &[], "").await.status, 200);
    });
}

/// What a request of the node, filed by its operator, came to when an officer approved it.
async fn approved(bus: &Bus, ask: &[&str]) -> String {
    let (api, node) = (Api::new(&bus.layout), folder(bus, "H26"));
    let ask = [&["node", "request"], ask].concat();
    done(at(&node, &ask).await);
    let (status, told) = api.approve(api.last_request(NODE).await).await.unwrap();
    assert_eq!(status, 200, "{told}");
    done(at(&node, &ask).await)
}

async fn served(api: &Api, subsystem: &str) -> bool {
    let nodes = api.get("nodes").await;
    nodes.as_array().unwrap().iter().any(|node| {
        node["serves"].as_array().is_some_and(|serves| serves.iter().any(|one| names(one, subsystem)))
    })
}

#[test]
fn subsystems_come_and_go_and_a_node_moves() {
    run(async {
        let bus = Bus::start().await;
        let (api, node) = (Api::new(&bus.layout), folder(&bus, "H26"));
        let calling = Calling::echo(&bus);

        let (moi, plan) = ("VN/GOV/H26/mot-cua-moi", bus.layout.node("H26").unwrap().clone());
        approved(&bus, &["register-subsystem", moi, "--name", "Một cửa mới"]).await;
        assert!(served(&api, moi).await);
        let gone = "VN/GOV/H26/mot-cua-so-9";
        done(at(&node, &["node", "request", "delete-subsystem", gone]).await);
        assert!(!served(&api, gone).await);
        let known = api.get("subsystems").await;
        assert!(!known.as_array().unwrap().iter().any(|s| s["id"] == gone), "nobody serves it: it ends");
        refused(&at(&node, &["node", "request", "delete-subsystem", gone]).await, gone);
        let by_gone = || async {
            let url = bus.edge(&format!("/r1/{ECHO}/x"));
            bus.http.send("GET", &url, &[("X-Road-Client", gone)], "").await.unwrap()
        };
        until("its calls are refused", || async {
            by_gone().await.status != 403 || {
                let text = String::from_utf8_lossy(&by_gone().await.body).into_owned();
                text.contains("UNKNOWN_CLIENT") || text.contains("SUSPENDED")
            }
        })
        .await;
        calling.none_lost().await;

        // The new one speaks once the node's own configuration names it.
        bus.grant(moi, ECHO, "*", "/**").await;
        restart(&bus, &plan, |folder| {
            edit(&folder.join("node.toml"), |text| text.replace("\"mot-cua-so-9\"", "\"mot-cua-moi\""));
        })
        .await;
        let url = bus.edge(&format!("/r1/{ECHO}/x"));
        let answer = bus.http.send("GET", &url, &[("X-Road-Client", moi)], "").await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.body);

        // The provider's node answers elsewhere from now on.
        let calling = Calling::echo(&bus);
        calling.go_on(1).await;
        let ports = bus.layout.node("G01").unwrap().ports;
        let relay = Relay::start(ports.0);
        let address = format!("127.0.0.1:{}", relay.port);
        done(at(&folder(&bus, "G01"), &["node", "request", "change-address", &address]).await);
        current(&bus, &["H26"]).await;
        restart(&bus, &plan, |_| {}).await;
        let call = bus.call("GET", &format!("{ECHO}/x"), &[], "").await;
        assert!(call.status == 200 && relay.carried() > 0, "{} {}", call.status, relay.carried());
        drop(calling.stop().await);
    });
}

#[test]
fn a_node_goes_on_under_another_member() {
    run(async {
        let bus = Bus::start().await;
        let (api, node) = (Api::new(&bus.layout), folder(&bus, "H26"));
        let plan = bus.layout.node("H26").unwrap().clone();
        add_member(&bus, "VN/GOV/H27").await;
        let to = "VN/GOV/H27/ss1";
        // The new owner signs too, so it has a seal at this node first.
        refused(&at(&node, &["node", "request", "change-owner", to]).await, "VN/GOV/H27");
        let section = "\n[[member]]\nid = \"VN/GOV/H27\"\nsubsystems = [\"mot-cua\"]\n";
        edit(&node.join("node.toml"), |text| text + section);
        approved(&bus, &["register-subsystem", "VN/GOV/H27/mot-cua", "--name", "Một cửa"]).await;
        restart(&bus, &plan, |_| {}).await;
        let told = approved(&bus, &["change-owner", to]).await;
        let written = told.split_whitespace().find(|word| word.ends_with(".registered.pem"));
        let written = std::path::PathBuf::from(written.unwrap_or_else(|| panic!("no certificate: {told}")));
        assert!(written.ends_with("certs/auth--2.registered.pem"), "a refused attempt makes no key: {told}");
        assert!(api.member("VN/GOV/H26").await.unwrap()["nodes"].as_array().is_none_or(Vec::is_empty));
        let moved = api.member("VN/GOV/H27").await.unwrap()["nodes"][0].clone();
        assert!(names(&moved["id"], to), "{moved}");

        // By hand, as docs/operate/enrol-node.md says: its name and its certificate, then a start.
        // Until then the node is nobody, and says so.
        let before = bus.echo.total();
        until("the node's old name has ended", || async {
            let meanwhile = bus.call("GET", &format!("{ECHO}/x"), &[], "").await;
            String::from_utf8_lossy(&meanwhile.body).contains("UNKNOWN_CLIENT")
        })
        .await;
        restart(&bus, &plan, |folder| {
            std::fs::copy(&written, folder.join("certs/auth.pem")).unwrap();
            edit(&folder.join("node.toml"), |text| text.replacen(NODE, to, 1));
        })
        .await;
        bus.grant("VN/GOV/H27/mot-cua", ECHO, "*", "/**").await;
        for desk in [DESK, "VN/GOV/H27/mot-cua"] {
            let url = bus.edge(&format!("/r1/{ECHO}/x"));
            let answer = bus.http.send("GET", &url, &[("X-Road-Client", desk)], "").await.unwrap();
            assert_eq!(answer.status, 200, "{desk}: {:?}", answer.body);
        }
        assert!(bus.echo.total() > before);
        let status = bus.admin("H26").status().await.unwrap();
        assert_eq!(status.node.to_string(), to);
        // It still speaks for itself at the registry, under its new name.
        done(at(&node, &["node", "request", "maintenance-on", "--message", "Bảo trì"]).await);
        let moved = api.member("VN/GOV/H27").await.unwrap()["nodes"][0].clone();
        assert_eq!(moved["maintenance"], json!({"message": "Bảo trì"}));
    });
}
