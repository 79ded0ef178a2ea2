//! A hosted member gets a node of its own, and no call is lost (docs/operate/hosting.md).

use truc_demo::bus::{NodePlan, admin_client};
use truc_policy::ServiceDefinition;

use crate::office::{Api, Calling, add_member, at, done, edit, enrol, new_node, registry, restart, start};
use crate::support::{Bus, DESK, arg, run, until};

const MEMBER: &str = "VN/GOV/H49.1";
const DESK_OF_MEMBER: &str = "VN/GOV/H49.1/mot-cua";
const SERVICE: &str = "VN/GOV/H49.1/mot-cua/ho-so";
const OLD: &str = "VN/GOV/H49/ss1";
const NEW: &str = "VN/GOV/H49.1/ss1";

/// A province's node that hosts a commune, whose service Hà Nội's desk calls.
async fn province(bus: &Bus) -> NodePlan {
    let plan = bus.layout.node("H49").unwrap().clone();
    add_member(bus, "VN/GOV/H49").await;
    add_member(bus, MEMBER).await;
    enrol(bus, &plan, &["VN/GOV/H49/mot-cua", DESK_OF_MEMBER]).await;
    start(bus, &plan).await;
    let url = bus.echo.url().parse().unwrap();
    let admin = admin_client(&bus.layout, &plan).unwrap();
    admin.add_service(&ServiceDefinition::rest(SERVICE.parse().unwrap(), url)).await.unwrap();
    let node = bus.layout.node_folder(&plan);
    done(at(&node, &["access", "grant", SERVICE, "--to", DESK, "--path", "/**"]).await);
    plan
}

/// A call that names its node, several times.
async fn by_node(bus: &Bus, node: &str) -> u16 {
    let url = format!("{SERVICE}/x");
    bus.call("GET", &url, &[("X-Road-Security-Server", node)], "").await.status.as_u16()
}

#[test]
fn a_hosted_member_moves_to_its_own_node_without_a_lost_call() {
    run(async {
        let bus = Bus::start().await;
        let old = province(&bus).await;
        let (api, place) = (Api::new(&bus.layout), tempfile::tempdir().unwrap());
        until("the desk reaches the commune", || async {
            bus.call("GET", &format!("{SERVICE}/x"), &[], "").await.status == 200
        })
        .await;
        let calling = Calling::start(bus.edge(&format!("/r1/{SERVICE}/x")), DESK);
        // The commune calls, too: at first through the province's edge.
        bus.grant(DESK_OF_MEMBER, crate::support::ECHO, "*", "/**").await;
        let echo = format!("/r1/{}/x", crate::support::ECHO);
        let outward = Calling::start(format!("{}{echo}", old.edge_url()), DESK_OF_MEMBER);

        // 1. Its own node, with a second seal; it serves nothing yet.
        let new = new_node(NEW, "h49-1");
        enrol(&bus, &new, &[]).await;
        let seals = api.member(MEMBER).await.unwrap()["signCertificates"].as_array().unwrap().len();
        assert_eq!(seals, 2);
        edit(&bus.layout.node_folder(&new).join("node.toml"), |text| {
            assert!(text.contains("subsystems = []"), "{text}");
            text.replace("subsystems = []", "subsystems = [\"mot-cua\"]")
        });
        start(&bus, &new).await;
        // 2. Services, groups, rights.
        let file = place.path().join("h49-1.toml");
        let (from, to) = (bus.layout.node_folder(&old), bus.layout.node_folder(&new));
        done(at(&from, &["node", "export", "--member", MEMBER, "--output", arg(&file)]).await);
        done(at(&to, &["node", "apply", arg(&file), "--yes"]).await);
        // 3. Both serve.
        done(registry(&bus, &["node", "serve", NEW, DESK_OF_MEMBER]).await);
        // 4. Each is looked at.
        until("the new node answers when it is named", || async { by_node(&bus, NEW).await == 200 }).await;
        assert_eq!(by_node(&bus, OLD).await, 200);
        calling.go_on(20).await;
        outward.none_lost().await;
        let outward = Calling::start(format!("{}{echo}", new.edge_url()), DESK_OF_MEMBER);
        outward.go_on(5).await;
        // 5. The old one stops.
        done(registry(&bus, &["node", "stop-serving", OLD, DESK_OF_MEMBER]).await);
        until("the old node is not named any more", || async { by_node(&bus, OLD).await != 200 }).await;
        calling.go_on(20).await;
        // 6. It forgets the member.
        restart(&bus, &old, |folder| {
            edit(&folder.join("node.toml"), |text| {
                let from = text.find(&format!("[[member]]\nid = \"{MEMBER}\"")).unwrap();
                let to = from + 1 + text[from + 1..].find("\n[").unwrap();
                format!("{}{}", &text[..from], &text[to + 1..])
            });
        })
        .await;
        calling.go_on(20).await;
        calling.none_lost().await;
        outward.none_lost().await;
        let listed = admin_client(&bus.layout, &old).unwrap().status().await.unwrap().hosted;
        assert!(listed.iter().all(|id| id.to_string() != DESK_OF_MEMBER), "{listed:?}");
    });
}
