//! Rights with conditions, dry runs and the declarative form, through the commands an operator uses.

use std::path::Path;

use truc_policy::ServiceDefinition;

use crate::support::{Bus, DESK, arg, run, truc};

const SERVICE: &str = "VN/GOV/G01/csdl-dancu/khai-bao";

async fn checked(config: &Path, more: &[&str]) -> (i32, String) {
    let mut args = vec!["access", "check", "--config", arg(config), "--client", DESK, "--service", SERVICE];
    args.extend(["--path", "/a/1"]);
    args.extend(more);
    let ran = truc(&args).await;
    (ran.code, ran.stdout)
}

#[test]
fn a_file_is_planned_applied_and_exported_again() {
    run(async {
        let bus = Bus::shared().await;
        let admin = bus.admin("G01");
        let config = bus.config("G01");
        let url = bus.echo.url().parse().unwrap();
        admin.add_service(&ServiceDefinition::rest(SERVICE.parse().unwrap(), url)).await.unwrap();
        let grant = ["access", "grant", SERVICE, "--to", DESK, "--path", "/a/*", "--config", arg(&config)];
        let granted =
            truc(&[&grant[..], &["--require-legal-basis", "--expires", "2099-01-01"]].concat()).await;
        assert_eq!(granted.code, 0, "{}", granted.stderr);

        // The dry run and the call say the same.
        let kind =
            |answer: &truc_demo::http::Answer| answer.header("x-road-error").unwrap_or("none").to_owned();
        let (code, told) = checked(&config, &[]).await;
        assert!(code == 1 && told.starts_with("no\tLEGAL_BASIS_REQUIRED"), "{told}");
        let bare = bus.call("GET", &format!("{SERVICE}/a/1"), &[], "").await;
        assert_eq!(kind(&bare), "server.serverproxy.legal_basis_required");
        let (code, told) = checked(&config, &["--legal-basis", "x"]).await;
        assert!(code == 0 && told.starts_with("yes\t"), "{told}");
        let stated = [("Truc-Legal-Basis", "x")];
        assert_eq!(bus.call("GET", &format!("{SERVICE}/a/1"), &stated, "").await.status, 200);
        assert_eq!(checked(&config, &["--legal-basis", "x", "--at", "2099-01-01T08:00"]).await.0, 1);

        // Others share this bus: the file says what is there but for the one service.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dich-vu.toml");
        let export = ["node", "export", "--config", arg(&config), "--output", arg(&file)];
        assert_eq!(truc(&export).await.code, 0);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(SERVICE) && text.contains("require-legal-basis = true"), "{text}");

        // A mistake is told with its line, and nothing is applied.
        std::fs::write(&file, format!("{text}colour = 1\n")).unwrap();
        let wrong = truc(&["node", "apply", arg(&file), "--yes", "--config", arg(&config)]).await;
        assert!(wrong.code == 1 && wrong.stderr.contains("colour"), "{}", wrong.stderr);
        admin.remove_service(&SERVICE.parse().unwrap()).await.unwrap();
    });
}

/// On a bus of its own, since a file of the whole node takes away what is not in it.
#[test]
fn a_whole_nodes_file_is_all_there_is() {
    run(async {
        let bus = Bus::start().await;
        let config = bus.config("G01");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dich-vu.toml");
        let export = ["node", "export", "--config", arg(&config), "--output", arg(&file)];
        assert_eq!(truc(&export).await.code, 0);
        let apply = ["node", "apply", arg(&file), "--config", arg(&config)];
        let again = truc(&apply).await;
        assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{}", again.stderr);

        let text = std::fs::read_to_string(&file).unwrap();
        let more = format!(
            "[[service]]\nid = \"{SERVICE}\"\nurl = \"{}\"\n[[service.right]]\nto = \"{DESK}\"\n",
            bus.echo.url()
        );
        std::fs::write(&file, text.clone() + &more).unwrap();
        // Without a terminal and without --yes it only plans.
        let planned = truc(&apply).await;
        assert_eq!(planned.code, 1, "{}", planned.stderr);
        assert!(planned.stdout.contains(&format!("+ service\t{SERVICE}")), "{}", planned.stdout);
        assert_eq!(bus.call("GET", &format!("{SERVICE}/a"), &[], "").await.status, 404);
        let applied = truc(&[&apply[..], &["--yes"]].concat()).await;
        assert_eq!(applied.code, 0, "{}", applied.stderr);
        assert_eq!(bus.call("GET", &format!("{SERVICE}/a"), &[], "").await.status, 200);
        std::fs::write(&file, &text).unwrap();
        assert_eq!(truc(&[&apply[..], &["--yes", "--json"]].concat()).await.code, 0);
        assert_eq!(bus.call("GET", &format!("{SERVICE}/a"), &[], "").await.status, 404);
    });
}
