//! Certificates are renewed without a restart, and one that is withdrawn stops counting at once.

use std::path::Path;

use truc_trust::Certificate;

use crate::support::{Bus, ECHO, arg, run, truc, until};

fn fingerprint(file: &Path) -> String {
    Certificate::all_from_pem(&std::fs::read(file).unwrap()).unwrap()[0].fingerprint().to_string()
}

async fn done(args: &[&str]) -> String {
    let ran = truc(args).await;
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

#[test]
fn a_node_renews_both_certificates_while_it_runs_and_the_old_ones_end() {
    run(async {
        let bus = Bus::start().await;
        let plan = bus.layout.node("H26").unwrap().clone();
        let folder = bus.layout.node_folder(&plan);
        let pki = bus.layout.pki_folder().join("pki.toml");
        let registry = bus.layout.registry_folder().join("registry.toml");
        let (auth, sign) = (folder.join("certs/auth.pem"), folder.join("certs/sign-VN-GOV-H26.pem"));
        let old = [fingerprint(&auth), fingerprint(&sign)];
        assert_eq!(bus.call("GET", &format!("{ECHO}/x"), &[], "").await.status, 200);

        // Issued, registered, put in place, looked at: nothing is restarted.
        let renewed = folder.join("renewed.pem");
        for (usage, holder, request, file) in [
            ("auth", "VN/GOV/H26/ss1", "requests/auth.csr", &auth),
            ("sign", "VN/GOV/H26", "requests/sign-VN-GOV-H26.csr", &sign),
        ] {
            let request = folder.join(request);
            done(&[
                "pki",
                "issue",
                usage,
                holder,
                "--csr",
                arg(&request),
                "--organization",
                "UBND thành phố Hà Nội",
                "--out",
                arg(&renewed),
                "--config",
                arg(&pki),
            ])
            .await;
            done(&[
                "registry",
                "certificate",
                "add",
                usage,
                holder,
                "--file",
                arg(&renewed),
                "--config",
                arg(&registry),
            ])
            .await;
            std::fs::rename(&renewed, file).unwrap();
        }
        let pid = bus.processes.lock().await.pid(&format!("node {}", plan.folder)).unwrap();
        let hangup =
            tokio::process::Command::new("kill").args(["-HUP", &pid.to_string()]).status().await.unwrap();
        assert!(hangup.success());
        let log = bus.layout.dir.join(format!("logs/node-{}.log", plan.folder));
        until("the certificates are replaced", || async {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("certificates replaced"))
        })
        .await;

        for fingerprint in &old {
            done(&["registry", "certificate", "revoke", fingerprint, "--config", arg(&registry)]).await;
        }
        // The connection of the old certificate is cut; calls go on over one with the new.
        until("calls go on under the new certificates", || async {
            bus.call("GET", &format!("{ECHO}/x"), &[], "").await.status == 200
        })
        .await;
        let answer = bus.call("GET", &format!("{ECHO}/y"), &[], "").await;
        let id = answer.header("x-road-request-id").unwrap().parse().unwrap();
        let shown = bus.admin("G01").evidence_show(id, false).await.unwrap();
        let text = serde_json::to_string(&shown).unwrap();
        assert!(
            text.contains(&fingerprint(&sign)) && !text.contains(&old[1]),
            "sealed with the renewed certificate"
        );

        // With no registered certificate left, the member is nobody.
        done(&["registry", "certificate", "revoke", &fingerprint(&sign), "--config", arg(&registry)]).await;
        until("the seal no longer counts", || async {
            let refused = bus.call("GET", &format!("{ECHO}/x"), &[], "").await;
            refused.header("x-road-error").is_some_and(|error| error.ends_with("signature_verification"))
        })
        .await;
    });
}
