//! Backup and restore of the registry and of a node, as docs/operate/backup.md says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::AsyncReadExt as _;
use truc_admin::EvidenceFilter;
use truc_policy::ServiceDefinition;

use crate::office::{Api, Calling, alarms, at, current, done, folder, health, refused, registry};
use crate::support::{Bus, DESK, ECHO, arg, run, truc, until};

fn secret(place: &Path) -> std::path::PathBuf {
    let file = place.join("backup-passphrase");
    std::fs::write(&file, "một mật khẩu rất dài của bản sao lưu\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    file
}

#[test]
fn a_restored_registry_goes_on_in_a_new_epoch_without_what_was_decided_since() {
    run(async {
        let bus = Bus::start().await;
        let place = tempfile::tempdir().unwrap();
        let (file, passphrase) = (place.path().join("so-dang-ky.truc"), secret(place.path()));
        let calling = Calling::echo(&bus);
        done(
            crate::office::registry(
                &bus,
                &["member", "add", "VN/GOV/H30", "--name-vi", "Trước", "--name-en", "Before"],
            )
            .await,
        );
        let backup = ["backup", "--out", arg(&file), "--passphrase-file", arg(&passphrase)];
        done(registry(&bus, &backup).await);
        // Decisions that will be lost: nodes have seen them.
        done(
            registry(&bus, &["member", "add", "VN/GOV/H31", "--name-vi", "Sau", "--name-en", "After"]).await,
        );
        done(registry(&bus, &["node", "suspend", "VN/GOV/G10/ss1", "--reason", "thử"]).await);
        current(&bus, &["H26", "G01"]).await;
        let before = Api::new(&bus.layout).get("status").await;

        // The machine is gone; what was in its folder is not used but for the root key, which is kept elsewhere anyway.
        let (dir, lost) = (bus.layout.registry_folder(), place.path().join("lost"));
        bus.processes.lock().await.kill("registry").await.unwrap();
        std::fs::rename(&dir, &lost).unwrap();
        let restore = ["registry", "restore", arg(&file), "--dir", arg(&dir)];
        let wrong = place.path().join("wrong");
        std::fs::write(&wrong, "sai\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&wrong, mode).unwrap();
        let tried = truc(&[&restore[..], &["--passphrase-file", arg(&wrong)]].concat()).await;
        assert!(tried.code != 0 && !dir.exists(), "{}{}", tried.stdout, tried.stderr);
        done(truc(&[&restore[..], &["--passphrase-file", arg(&passphrase)]].concat()).await);
        assert!(!dir.join("root").exists(), "no root key is in a backup");
        let closed = registry(&bus, &["run"]).await;
        assert_eq!(closed.code, 1, "{}{}", closed.stdout, closed.stderr);
        refused(
            &registry(&bus, &["member", "add", "VN/GOV/H32", "--name-vi", "a", "--name-en", "b"]).await,
            "root",
        );

        let head = folder(&bus, "H26").join("data/directory/head.json");
        let draft = place.path().join("root-2.json");
        done(
            registry(&bus, &["root", "draft", "--new-epoch", "--head", arg(&head), "--out", arg(&draft)])
                .await,
        );
        refused(&registry(&bus, &["root", "install", arg(&draft)]).await, "");
        done(truc(&["registry", "root", "sign", arg(&draft), "--key", arg(&lost.join("root"))]).await);
        done(registry(&bus, &["root", "install", arg(&draft)]).await);
        calling.go_on(5).await;
        {
            let mut processes = bus.processes.lock().await;
            let registry = processes.registry();
            processes.start(vec![registry]).await.unwrap();
        }
        current(&bus, &["H26", "G01"]).await;
        let api = Api::new(&bus.layout);
        let after = api.get("status").await;
        assert_eq!(after["epoch"].as_u64(), before["epoch"].as_u64().map(|e| e + 1), "{after}");
        assert!(api.member("VN/GOV/H30").await.is_some(), "decided before the backup");
        assert!(api.member("VN/GOV/H31").await.is_none(), "decided after it");
        assert_ne!(api.member("VN/GOV/G10").await.unwrap()["nodes"][0]["suspended"], true);

        // They are taken again, and nodes follow.
        done(
            registry(&bus, &["member", "add", "VN/GOV/H31", "--name-vi", "Lại", "--name-en", "Again"]).await,
        );
        done(registry(&bus, &["node", "suspend", "VN/GOV/G10/ss1", "--reason", "thử"]).await);
        current(&bus, &["H26", "G01"]).await;
        for member in ["H26", "G01"] {
            assert!(alarms(&bus, bus.layout.node(member).unwrap()).is_empty());
        }
        calling.none_lost().await;
        done(registry(&bus, &["audit", "verify", "--head", arg(&head)]).await);
    });
}

/// Stops a node as if its machine were gone, and starts it from a backup in another folder.
async fn replace(bus: &Bus, member: &str, file: &Path, to: &Path, passphrase: &Path) {
    let plan = bus.layout.node(member).unwrap();
    let mut processes = bus.processes.lock().await;
    let mut node = processes.node(plan);
    processes.kill(&node.name).await.unwrap();
    let restore = ["node", "restore", arg(file), "--dir", arg(to), "--passphrase-file", arg(passphrase)];
    done(truc(&restore).await);
    done(at(to, &["node", "check-config"]).await);
    let (old, new) = (node.config.clone(), to.join("node.toml"));
    for argument in &mut node.args {
        if Path::new(argument.as_str()) == old {
            *argument = arg(&new).to_owned();
        }
    }
    node.config = new;
    processes.start(vec![node]).await.unwrap();
}

#[test]
fn restored_nodes_go_on_and_carry_out_nothing_that_was_sent_before() {
    run(async {
        let bus = Bus::start().await;
        let place = tempfile::tempdir().unwrap();
        let passphrase = secret(place.path());
        let (consumer, provider) = (place.path().join("h26.truc"), place.path().join("g01.truc"));
        let first = bus.call("GET", &format!("{ECHO}/1"), &[], "").await;
        assert_eq!(first.status, 200);
        for (member, file) in [("H26", &consumer), ("G01", &provider)] {
            let backup = ["node", "backup", "--out", arg(file), "--passphrase-file", arg(&passphrase)];
            let with: &[&str] = if member == "G01" { &["--with-evidence"] } else { &[] };
            done(at(&folder(&bus, member), &[&backup[..], with].concat()).await);
        }
        assert_eq!(bus.call("GET", &format!("{ECHO}/2"), &[], "").await.status, 200);

        // The consumer's, without its evidence: it goes on at once.
        replace(&bus, "H26", &consumer, &place.path().join("h26"), &passphrase).await;
        let answer = bus.call("GET", &format!("{ECHO}/3"), &[], "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let id = answer.header("x-road-request-id").unwrap().parse().unwrap();
        assert_eq!(bus.admin("H26").evidence_show(id, false).await.unwrap().records.len(), 2);
        let held = bus.admin("H26").evidence(&EvidenceFilter::default()).await.unwrap();
        assert_eq!(held.len(), 1, "a new log, without the old records: {held:?}");

        // The provider's, with it: it does not know what the lost one carried out since, and carries out nothing sent until then.
        let carried_out = bus.echo.total();
        replace(&bus, "G01", &provider, &place.path().join("g01"), &passphrase).await;
        let answer = bus.call("GET", &format!("{ECHO}/4"), &[], "").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("EXPIRED"), "{} {text}", answer.status);
        assert_eq!(bus.echo.total(), carried_out, "nothing is carried out");
        let id = first.header("x-road-request-id").unwrap().parse().unwrap();
        assert_eq!(bus.admin("G01").evidence_show(id, false).await.unwrap().records.len(), 2);
        for member in ["H26", "G01"] {
            let told = health(&bus, bus.layout.node(member).unwrap()).await;
            assert_eq!(told["serving"], true, "{told}");
        }
        // Two minutes are too long for every run.
        if std::env::var_os("TRUC_ROUNDS").is_some() {
            let wait = tokio::time::Duration::from_secs(130);
            tokio::time::sleep(wait).await;
            assert_eq!(bus.call("GET", &format!("{ECHO}/5"), &[], "").await.status, 200);
        }
    });
}

/// A service that takes requests and never answers: its port, and how many it took.
fn silent_service() -> (u16, Arc<AtomicU32>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut first = [0; 4];
            if socket.read_exact(&mut first).await.is_ok() && first == *b"POST" {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            held.push(socket);
        }
    });
    (port, count)
}

#[test]
fn a_restored_node_does_not_carry_out_again_what_the_lost_one_was_at() {
    run(async {
        let bus = Bus::start().await;
        let place = tempfile::tempdir().unwrap();
        let (passphrase, file) = (secret(place.path()), place.path().join("g01.truc"));
        let (port, taken) = silent_service();
        let service = "VN/GOV/G01/csdl-dancu/im-lang";
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        bus.admin("G01").add_service(&ServiceDefinition::rest(service.parse().unwrap(), url)).await.unwrap();
        bus.grant(DESK, service, "*", "/**").await;
        let backup = ["node", "backup", "--out", arg(&file), "--passphrase-file", arg(&passphrase)];
        done(at(&folder(&bus, "G01"), &backup).await);

        let (path, to) = (format!("{service}/x"), place.path().join("g01"));
        let calling = bus.call("POST", &path, &[], "một việc");
        let losing = async {
            until("the service is at it", || async { taken.load(Ordering::SeqCst) == 1 }).await;
            replace(&bus, "G01", &file, &to, &passphrase).await;
        };
        // The consumer's node asks the restored one for what became of it, and may send the same request again.
        let (answer, ()) = tokio::join!(calling, losing);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 504 && text.contains("OUTCOME_UNKNOWN"), "{} {text}", answer.status);
        assert_eq!(taken.load(Ordering::SeqCst), 1, "it was carried out once");
    });
}
