//! Enrolment as operators do it: invitation, request, certificates, approval; and what the node asks for afterwards.

use std::path::{Path, PathBuf};

use serde_json::Value;
use truc_demo::bus::{Layout, NodePlan};

use crate::support::{Bus, ECHO, Ran, arg, run, truc, until};

const NODE: &str = "VN/GOV/H49/ss1";
const DESK: &str = "VN/GOV/H49/mot-cua";

fn done(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn refused(ran: &Ran, why: &str) {
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(why), "{why:?} is not told: {}", ran.stderr);
}

struct Desk<'a> {
    bus: &'a Bus,
    plan: NodePlan,
}

impl<'a> Desk<'a> {
    fn new(bus: &'a Bus) -> Self {
        Self { bus, plan: bus.layout.node("H49").unwrap().clone() }
    }

    async fn registry(&self, args: &[&str]) -> Ran {
        let config = self.bus.layout.registry_folder().join("registry.toml");
        truc(&[&["registry"], args, &["--config", arg(&config)]].concat()).await
    }

    async fn node(&self, args: &[&str]) -> Ran {
        truc(&[&["node"], args, &["--config", arg(&self.config())]].concat()).await
    }

    fn config(&self) -> PathBuf {
        self.bus.layout.node_config(&self.plan)
    }

    async fn init(&self, folder: &Path) {
        let anchor = self.bus.layout.anchor();
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let (peer, edge, admin) =
            (listen(self.plan.ports.0), listen(self.plan.ports.1), listen(self.plan.ports.2));
        let mut init = vec!["node", "init", "--dir", arg(folder), "--node", NODE, "--anchor", arg(&anchor)];
        init.extend(["--subsystem", DESK, "--peer-listen", &peer, "--edge-listen", &edge]);
        init.extend(["--admin-listen", &admin]);
        done(truc(&init).await);
    }

    async fn invite(&self) -> String {
        let made: Value =
            serde_json::from_str(&done(self.registry(&["node", "invite", NODE, "--json"]).await)).unwrap();
        made["code"].as_str().unwrap().to_owned()
    }

    /// The newest request.
    async fn request(&self) -> Value {
        let list = done(self.registry(&["request", "list", "--json"]).await);
        serde_json::from_str(list.lines().last().unwrap()).unwrap()
    }

    async fn call(&self) -> u16 {
        let url = format!("{}/r1/{ECHO}/x", self.plan.edge_url());
        let answer = self.bus.http.send("GET", &url, &[("X-Road-Client", DESK)], "").await;
        answer.map_or(0, |answer| answer.status.as_u16())
    }
}

/// A registry that has no pilot CA.
fn without_issuing(layout: &Layout) {
    let file = layout.registry_folder().join("registry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.split("\n[issuing]").next().unwrap()).unwrap();
}

#[test]
fn a_node_joins_by_certificates_of_an_external_ca_and_every_slip_is_told() {
    run(async {
        let bus = Bus::start_prepared(without_issuing).await;
        let desk = Desk::new(&bus);
        refused(&desk.registry(&["node", "invite", NODE]).await, "not a member");
        let names = ["--name-vi", "UBND tỉnh Quảng Ninh", "--name-en", "Quang Ninh"];
        done(desk.registry(&[&["member", "add", "VN/GOV/H49"][..], &names].concat()).await);
        let code = desk.invite().await;
        let folder = bus.layout.node_folder(&desk.plan);
        desk.init(&folder).await;

        refused(&desk.node(&["enroll", "--invitation", "NO.CODE", "--no-wait"]).await, "invitation code");
        let peer = format!("127.0.0.1:{}", desk.plan.ports.0);
        let enroll = ["enroll", "--invitation", &code, "--no-wait", "--address", &peer];
        done(desk.node(&enroll).await);
        let thief = tempfile::tempdir().unwrap();
        let other = thief.path().join("other");
        desk.init(&other).await;
        let stolen = ["node", "enroll", "--invitation", &code, "--no-wait", "--address", &peer, "--config"];
        let config = other.join("node.toml");
        refused(&truc(&[&stolen[..], &[arg(&config)]].concat()).await, "was used for request 1");

        let shown = desk.request().await;
        assert_eq!((shown["number"].as_u64(), shown["state"].as_str()), (Some(1), Some("submitted")));
        let comparison = shown["comparisonCode"].as_str().unwrap().to_owned();
        refused(&desk.registry(&["request", "approve", "1", "--code", "0000-0000"]).await, "does not match");
        refused(&desk.registry(&["request", "approve", "1"]).await, "no security level");
        let level = ["--security-level", "3", "--security-decision", "12/QĐ-UBND"];
        done(desk.registry(&[&["request", "level", "1"][..], &level].concat()).await);
        refused(&desk.registry(&["request", "approve", "1"]).await, "lacks the certificates");

        let out = thief.path().join("to-ca");
        done(desk.registry(&["request", "export", "1", "--out", arg(&out)]).await);
        let pki = bus.layout.pki_folder().join("pki.toml");
        for (usage, holder, request) in
            [("auth", NODE, "auth-VN-GOV-H49-ss1.csr"), ("sign", "VN/GOV/H49", "sign-VN-GOV-H49.csr")]
        {
            let (request, issued) = (out.join(request), thief.path().join(format!("{usage}.pem")));
            let mut issue =
                vec!["pki", "issue", usage, holder, "--csr", arg(&request), "--out", arg(&issued)];
            issue.extend(["--organization", "UBND tỉnh Quảng Ninh", "--config", arg(&pki)]);
            done(truc(&issue).await);
            done(desk.registry(&["request", "certify", "1", arg(&issued)]).await);
        }
        let foreign = bus.layout.node_folder(bus.layout.node("H26").unwrap()).join("certs/auth.pem");
        refused(&desk.registry(&["request", "certify", "1", arg(&foreign)]).await, "none of the keys");
        done(desk.registry(&["request", "approve", "1", "--code", &comparison]).await);
        refused(&desk.registry(&["request", "approve", "1"]).await, "decided already");

        done(desk.node(&["enroll"]).await);
        done(desk.node(&["check-config"]).await);
        {
            let mut processes = bus.processes.lock().await;
            let node = processes.node(&desk.plan);
            processes.start(vec![node]).await.unwrap();
        }
        assert_eq!(desk.call().await, 403, "known, and without a right");
        bus.grant(DESK, ECHO, "*", "/**").await;
        assert_eq!(desk.call().await, 200);

        let log = done(desk.registry(&["audit", "list"]).await);
        for kind in ["invitation.issued", "request.submitted", "request.certified", "request.approved"] {
            assert!(log.contains(kind), "{kind}: {log}");
        }
        let audit = done(desk.registry(&["audit", "list", "--json"]).await);
        assert!(!audit.lines().any(|l| l.contains("invitation.issued") && l.contains("\"key\"")));
        done(desk.registry(&["audit", "verify"]).await);
    });
}

#[test]
fn an_enrolled_node_manages_itself() {
    run(async {
        let bus = Bus::start().await;
        let desk = Desk::new(&bus);
        let names = ["--name-vi", "UBND tỉnh Quảng Ninh", "--name-en", "Quang Ninh"];
        done(desk.registry(&[&["member", "add", "VN/GOV/H49"][..], &names].concat()).await);
        let code = desk.invite().await;
        desk.init(&bus.layout.node_folder(&desk.plan)).await;
        let peer = format!("127.0.0.1:{}", desk.plan.ports.0);
        done(desk.node(&["enroll", "--invitation", &code, "--no-wait", "--address", &peer]).await);
        let approve = ["request", "approve", "1", "--security-level", "3", "--security-decision", "1/QĐ"];
        done(desk.registry(&approve).await);
        done(desk.node(&["enroll"]).await);
        {
            let mut processes = bus.processes.lock().await;
            let node = processes.node(&desk.plan);
            processes.start(vec![node]).await.unwrap();
        }
        bus.grant(DESK, ECHO, "*", "/**").await;
        assert_eq!(desk.call().await, 200);

        done(desk.node(&["request", "maintenance-on", "--message", "Bảo trì đến 18:00"]).await);
        let asked = || async {
            let answer = bus.call("GET", &format!("{DESK}/bat-ky/x"), &[], "").await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            answer.status == 503 && text.contains("MAINTENANCE") && text.contains("18:00")
        };
        until("callers hear of the maintenance", asked).await;
        done(desk.node(&["request", "maintenance-off"]).await);

        done(desk.node(&["request", "register-subsystem", "VN/GOV/H49/mot-cua-2", "--name", "Số 2"]).await);
        let waiting = desk.request().await;
        assert_eq!(
            (waiting["kind"].as_str(), waiting["state"].as_str()),
            (Some("register-subsystem"), Some("submitted"))
        );
        let number = waiting["number"].to_string();
        done(desk.registry(&["request", "refuse", &number, "--reason", "chưa đủ hồ sơ"]).await);

        // New keys while it works: no call is lost, and in the end the new ones are in use.
        let before = done(desk.registry(&["directory", "show", "--json"]).await);
        let renewing = desk.node(&["renew"]);
        let calling = async {
            let mut statuses = Vec::new();
            for _ in 0..100 {
                statuses.push(desk.call().await);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            statuses
        };
        let (renewed, statuses) = tokio::join!(renewing, calling);
        done(renewed);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let after = done(desk.registry(&["directory", "show", "--json"]).await);
        let seals = |text: &str| -> usize {
            let shown: Value = serde_json::from_str(text).unwrap();
            let members = shown["members"].as_array().unwrap();
            let own = members.iter().find(|m| m["id"].as_str().unwrap().ends_with("H49")).unwrap();
            own["signCertificates"].as_array().unwrap().len()
                + own["nodes"][0]["authCertificates"].as_array().unwrap().len()
        };
        assert_eq!((seals(&before), seals(&after)), (2, 4), "old and new overlap");

        done(desk.registry(&["member", "suspend", "VN/GOV/H49", "--reason", "thử"]).await);
        until("a suspended member is refused", || async { desk.call().await == 403 }).await;
        done(desk.registry(&["member", "reinstate", "VN/GOV/H49", "--reason", "xong"]).await);
        until("and comes back", || async { desk.call().await == 200 }).await;
    });
}
