//! Two provinces merge (2025): the old code is closed, callers are told who took over, and its rights go on by the provider's own
//! decision.

use serde_json::Value;

use super::enrolment::text;
use super::steps::{Tale, Told, expect, shown};
use super::teller::Ended;

const OLD: &str = "VN/GOV/H02";
const NEW: &str = "VN/GOV/H05";
const OLD_DESK: &str = "VN/GOV/H02/mot-cua";
const NEW_DESK: &str = "VN/GOV/H05/mot-cua";
const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan";

/// Bắc Giang becomes part of Bắc Ninh.
pub(super) async fn provinces_merge(tale: &mut Tale<'_>) -> Told {
    let config = tale.layout.node_config(tale.layout.node("G01").map_err(|e| e.to_string())?);
    let config = text(&config)?.to_owned();
    let members = tale.registry(&["member", "list", "--json"]).await?;
    let status = members
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|member| member["id"].as_str().is_some_and(|id| id.ends_with(OLD)))
        .map(|member| member["status"].as_str().unwrap_or_default().to_owned());
    if status.as_deref() != Some("closed") {
        close(tale, &config, status.is_some()).await?;
    }
    let answer = tale.call("mot-cua-so-1", "GET", &format!("{OLD_DESK}/ho-so/1"), &Value::Null).await?;
    let told = answer.json();
    expect(answer.status == 410 && told["successor"].as_str().is_some_and(|s| s.contains("H05")), || {
        shown(&answer)
    })?;
    let mut check = vec!["access", "check", "--config", &config, "--client", NEW_DESK, "--service", SERVICE];
    check.extend([
        "--method",
        "POST",
        "--path",
        "/cong-dan/tra-cuu",
        "--user",
        "cb-0501",
        "--purpose",
        "1.004194",
    ]);
    tale.truc(&check).await?;
    Ok(Ended::Well(format!(
        "HTTP 410 MOVED, đơn vị kế thừa / successor {NEW}; quyền tiếp nối theo quyết định của Bộ Công an / its right goes on by the \
         ministry's own decision"
    )))
}

async fn close(tale: &Tale<'_>, config: &str, known: bool) -> Result<(), String> {
    if !known {
        for (member, vi, en, desk) in
            [(OLD, "Bắc Giang", "Bac Giang", OLD_DESK), (NEW, "Bắc Ninh", "Bac Ninh", NEW_DESK)]
        {
            tale.registry(&["member", "add", member, "--name-vi", vi, "--name-en", en]).await?;
            tale.registry(&["subsystem", "add", desk, "--name", "Một cửa điện tử"]).await?;
        }
    }
    let mut grant = vec!["access", "grant", "--config", config, "--to", OLD_DESK, SERVICE];
    grant.extend(["--method", "POST", "--path", "/cong-dan/tra-cuu"]);
    tale.truc(&grant).await?;
    let step = format!("{OLD_DESK}={NEW_DESK}");
    tale.registry(&["member", "close", OLD, "--successor", NEW, "--continue", &step]).await?;
    tale.truc_until(&["access", "succession", "accept", OLD, "--config", config]).await.map(drop)
}
