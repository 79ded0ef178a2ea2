//! A province joins while the story is told: three commands of its operator and one approval, through the same command line that
//! everybody uses. And a certificate that is withdrawn stops counting at once.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use truc_trust::Certificate;

use super::steps::{LOOK_UP, Tale, Told, expect, shown};
use super::teller::Ended;
use crate::bus::NEWCOMER;

/// Limit for one command.
const COMMAND: Duration = Duration::from_secs(120);
/// What was decided at the registry has reached every node by then, or something is wrong.
const REACHED: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The desk of the newcomer.
const DESK: &str = "VN/GOV/H49/mot-cua";

impl Tale<'_> {
    /// Runs the binary as an operator does; its standard output.
    pub(super) async fn truc(&self, args: &[&str]) -> Result<String, String> {
        let run = Command::new(&self.program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
        let ran = timeout(COMMAND, run).await.map_err(|_| format!("truc {} does not end", args.join(" ")))?;
        let ran = ran.map_err(|e| e.to_string())?;
        if ran.status.success() {
            return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
        }
        Err(format!("truc {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr)))
    }

    /// Runs a verb of the registry's operator.
    pub(super) async fn registry(&self, args: &[&str]) -> Result<String, String> {
        let config = self.layout.registry_folder().join("registry.toml");
        self.truc(&[&["registry"], args, &["--config", text(&config)?]].concat()).await
    }

    /// Runs a verb until it succeeds, for what must first reach a node.
    pub(super) async fn truc_until(&self, args: &[&str]) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            match self.truc(args).await {
                Err(why) if begun.elapsed() > REACHED => return Err(why),
                Err(_) => sleep(LOOK_EVERY).await,
                done => return done,
            }
        }
    }

    async fn newcomers_call(&self) -> Result<crate::http::Answer, String> {
        let node = self.layout.node(NEWCOMER).map_err(|e| e.to_string())?;
        let url = format!("{}/r1/{LOOK_UP}", node.edge_url());
        let headers = [
            ("X-Road-Client", DESK),
            ("X-Road-UserId", "cb-4901"),
            ("Truc-Purpose", "1.004194"),
            ("Content-Type", "application/json"),
        ];
        self.http.send("POST", &url, &headers, self.question().to_string()).await
    }

    /// Asks until the answer is as wanted; tells how long that took.
    async fn newcomers_call_until(&self, wanted: u16) -> Result<Duration, String> {
        let begun = Instant::now();
        loop {
            let answer = self.newcomers_call().await?;
            if answer.status.as_u16() == wanted {
                return Ok(begun.elapsed());
            }
            expect(begun.elapsed() < REACHED, || shown(&answer))?;
            sleep(LOOK_EVERY).await;
        }
    }
}

pub(super) fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is no text", path.display()))
}

/// Three commands on the node, one approval at the registry.
pub(super) async fn newcomer_enrols(tale: &mut Tale<'_>) -> Told {
    let plan = tale.layout.node(NEWCOMER).map_err(|e| e.to_string())?.clone();
    if tale.layout.is_enrolled(&plan) {
        return Ok(Ended::Well(format!("{} đã đăng ký lần trước / enrolled at an earlier telling", plan.id)));
    }
    let (member, node) = (plan.member().to_string(), plan.id.to_string());
    let (vi, en) = (plan.names.0.as_str(), plan.names.1.as_str());
    let known = tale.registry(&["member", "list", "--json"]).await?;
    if !known.contains(&format!("MEMBER:{member}\"")) {
        tale.registry(&["member", "add", &member, "--name-vi", vi, "--name-en", en]).await?;
    }
    let level = ["--security-level", "3", "--security-decision", "12/QĐ-UBND 01/11/2026"];
    let invited = tale.registry(&[&["node", "invite", &node, "--json"][..], &level].concat()).await?;
    let invited: Value = serde_json::from_str(&invited).map_err(|e| e.to_string())?;
    let code = invited["code"].as_str().ok_or("the invitation has no code")?;
    // From hand to hand, not by the list of processes.
    let slip = tale.layout.dir.join("invitation");
    std::fs::write(&slip, code).map_err(|e| e.to_string())?;

    let (folder, anchor) = (tale.layout.node_folder(&plan), tale.layout.anchor());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    }
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let (peer, edge, admin) = (listen(plan.ports.0), listen(plan.ports.1), listen(plan.ports.2));
    let mut init = vec!["node", "init", "--dir", text(&folder)?, "--node", &node, "--anchor", text(&anchor)?];
    init.extend(["--peer-listen", &peer, "--edge-listen", &edge, "--admin-listen", &admin]);
    let (subsystem, name) = plan.subsystems.first().ok_or("the newcomer has no subsystem")?;
    let (subsystem, named) = (subsystem.to_string(), format!("{subsystem}={name}"));
    init.extend(["--subsystem", &subsystem]);
    tale.truc(&init).await?;

    let config = tale.layout.node_config(&plan);
    let mut enroll = vec!["node", "enroll", "--config", text(&config)?, "--invitation-file", text(&slip)?];
    enroll.extend(["--address", &peer, "--name", &named]);
    let (enrolled, approved) = tokio::join!(tale.truc(&enroll), approve(tale, &node));
    let comparison = approved?;
    enrolled?;
    std::fs::remove_file(&slip).map_err(|e| e.to_string())?;
    let process = tale.processes.node(&plan);
    tale.processes.start(vec![process]).await.map_err(|e| e.to_string())?;
    Ok(Ended::Well(format!(
        "{node}: init, enroll, run; mã đối chiếu / comparison code {comparison}; cấp độ an toàn / security level 3"
    )))
}

/// The registrar waits for the request, looks at it and approves it.
async fn approve(tale: &Tale<'_>, node: &str) -> Result<String, String> {
    let begun = Instant::now();
    loop {
        let waiting = tale.registry(&["request", "list", "--waiting", "--json"]).await?;
        let found = waiting
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|one| one["node"].as_str().is_some_and(|n| n.ends_with(node)));
        if let Some(one) = found {
            let number = one["number"].to_string();
            let code = one["comparisonCode"].as_str().unwrap_or_default().to_owned();
            tale.registry(&["request", "approve", &number, "--code", &code]).await?;
            return Ok(code);
        }
        expect(begun.elapsed() < COMMAND, || "no request came in".into())?;
        sleep(LOOK_EVERY).await;
    }
}

/// The new desk is nobody's friend until the registrar puts it among the approved desks.
pub(super) async fn newcomer_calls(tale: &mut Tale<'_>) -> Told {
    let first = tale.newcomers_call().await?;
    if first.status == 200 {
        return Ok(Ended::Well("HTTP 200".into()));
    }
    expect(first.status == 403, || shown(&first))?;
    tale.registry(&["group", "add", "mot-cua", DESK]).await?;
    let took = tale.newcomers_call_until(200).await?;
    Ok(Ended::Well(format!(
        "HTTP 403 trước, HTTP 200 sau khi vào nhóm {ms} ms / 403 before, 200 within {ms} ms of joining the group",
        ms = took.as_millis()
    )))
}

/// The registry ends the node's certificate; every node knows at once. Then it is registered again.
pub(super) async fn certificate_is_revoked(tale: &mut Tale<'_>) -> Told {
    let plan = tale.layout.node(NEWCOMER).map_err(|e| e.to_string())?.clone();
    let file = tale.layout.node_folder(&plan).join("certs/auth.pem");
    let pem = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let certificate = Certificate::from_pem(&pem).map_err(|e| e.to_string())?;
    let fingerprint = certificate.fingerprint().to_string();
    tale.registry(&["certificate", "revoke", &fingerprint]).await?;
    let begun = Instant::now();
    let refused = loop {
        let answer = tale.newcomers_call().await?;
        if answer.status != 200 {
            break answer;
        }
        expect(begun.elapsed() < REACHED, || "it still counts".into())?;
        sleep(LOOK_EVERY).await;
    };
    let took = begun.elapsed();
    let error = refused.header("x-road-error").unwrap_or_default().to_owned();
    expect(!error.is_empty(), || shown(&refused))?;
    tale.registry(&["certificate", "add", "auth", plan.id.as_str(), "--file", text(&file)?]).await?;
    tale.newcomers_call_until(200).await?;
    Ok(Ended::Well(format!(
        "{error} sau {ms} ms; đăng ký lại thì gọi được / within {ms} ms; registered again, it may call",
        ms = took.as_millis()
    )))
}
