//! The verbs that act on a running node, and their exit codes.

use serde_json::Value;

use crate::support::{Bus, ECHO, arg, run, truc};

#[test]
fn an_operator_offers_a_service_and_follows_its_evidence() {
    run(async {
        let bus = Bus::shared().await;
        let (g01, h26) = (bus.config("G01"), bus.config("H26"));
        let (g01, h26) = (arg(&g01), arg(&h26));
        let service = "VN/GOV/G01/csdl-dancu/dong-lenh";
        let done = |ran: crate::support::Ran| {
            assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
            ran.stdout
        };
        done(truc(&["service", "add", service, "--url", &bus.echo.url(), "--config", g01]).await);
        assert!(done(truc(&["service", "list", "--config", g01]).await).contains(service));
        let call = ["call", "--config", h26, "--client", "VN/GOV/H26/mot-cua-so-3", service, "GET", "/x"];
        let refused = truc(&call).await;
        assert_eq!(refused.code, 1, "a refusal is exit code 1");
        assert!(refused.stderr.contains("403"), "{}", refused.stderr);
        let grant = ["--to", "VN/GOV/H26/mot-cua-so-3", service, "--method", "GET", "--path", "/x"];
        done(truc(&[&["access", "grant", "--config", g01][..], &grant].concat()).await);
        let told: Value = serde_json::from_str(&done(truc(&call).await)).unwrap();
        assert_eq!(told["method"], "GET");
        done(truc(&[&["access", "revoke", "--config", g01][..], &grant].concat()).await);
        assert_eq!(truc(&call).await.code, 1);

        let list = done(truc(&["evidence", "list", "--json", "--config", g01]).await);
        let ours: Vec<Value> = list
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|entry| entry["service"] == service)
            .collect();
        let outcomes: Vec<&str> = ours.iter().filter_map(|entry| entry["outcome"].as_str()).collect();
        assert_eq!(outcomes, ["refused", "ok", "refused"]);
        for key in ["id", "time", "client", "service", "outcome"] {
            assert!(ours[1][key].is_string(), "{key}: {}", ours[1]);
        }
        let id = ours[1]["id"].as_str().unwrap();
        assert!(done(truc(&["evidence", "show", id, "--config", h26]).await).contains(id));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bang-chung.asice");
        done(truc(&["evidence", "export", id, "--out", arg(&file), "--config", h26]).await);
        let anchor = bus.layout.anchor();
        done(truc(&["verify", arg(&file), "--anchor", arg(&anchor)]).await);
        let mut forged = std::fs::read(&file).unwrap();
        let place = forged.windows(12).position(|w| w == b"mot-cua-so-3").unwrap();
        forged[place + 11] = b'4';
        std::fs::write(&file, forged).unwrap();
        assert_eq!(
            truc(&["verify", arg(&file), "--anchor", arg(&anchor)]).await.code,
            1,
            "a forgery is caught"
        );

        // All of the service's exchanges in one archive, each container of which verifies by itself.
        let many = folder.path().join("tat-ca.zip");
        let export = ["evidence", "export", "--service", service, "--out", arg(&many), "--config", g01];
        done(truc(&export).await);
        assert_eq!(truc(&export).await.code, 1, "nothing is overwritten");
        let anything = truc(&["evidence", "export", "--out", "-", "--config", g01]).await;
        assert!(anything.code == 1 && anything.stderr.contains("--since"), "{}", anything.stderr);
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&many).unwrap()).unwrap();
        let mut read = |name: &str| {
            let mut content = Vec::new();
            std::io::copy(&mut archive.by_name(name).unwrap(), &mut content).unwrap();
            content
        };
        let index: Value = serde_json::from_slice(&read("index.json")).unwrap();
        let containers = index["containers"].as_array().unwrap();
        assert_eq!((&index["complete"], containers.len()), (&true.into(), ours.len()));
        for row in containers {
            let one = folder.path().join("mot.asice");
            std::fs::write(&one, read(row["file"].as_str().unwrap())).unwrap();
            done(truc(&["verify", arg(&one), "--anchor", arg(&anchor)]).await);
        }
    });
}

#[test]
fn mistakes_get_their_exit_code_and_a_sentence() {
    run(async {
        let bus = Bus::shared().await;
        assert_eq!(truc(&["no-such-verb"]).await.code, 2);
        let config = bus.config("H26");
        let checked = truc(&["node", "check-config", "--config", arg(&config)]).await;
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
        let folder = tempfile::tempdir().unwrap();
        let wrong = folder.path().join("node.toml");
        std::fs::write(
            &wrong,
            "config-version = 1\nnode = \"VN/GOV\"\nnonsense = 1\n[peer]\nlisten = \"here\"\n",
        )
        .unwrap();
        let checked = truc(&["node", "check-config", "--config", arg(&wrong)]).await;
        assert_eq!(checked.code, 1);
        for mistake in ["node", "nonsense", "peer.listen", "member"] {
            assert!(checked.stderr.contains(mistake), "{mistake} is not reported: {}", checked.stderr);
        }
        let second = truc(&["node", "run", "--config", arg(&config)]).await;
        assert_eq!(second.code, 1, "a data folder has one owner");
        let unknown =
            truc(&["evidence", "show", "01a1fc0f-a32e-7707-8707-070707070707", "--config", arg(&config)])
                .await;
        assert_eq!(unknown.code, 1);
        let gone =
            truc(&["call", "--config", arg(&wrong), "--client", "VN/GOV/H26/x", ECHO, "GET", "/"]).await;
        assert_eq!(gone.code, 1);
    });
}
