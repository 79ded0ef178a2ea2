//! The past stays as it was: a citizen reads who looked, heads of the log lie elsewhere, and a rewritten record is found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::enrolment::text;
use super::steps::{Tale, Told, expect, shown};
use super::teller::Ended;
use super::{proof, rewriter};
use crate::registers::showcase;

/// Limit for one command.
const COMMAND: Duration = Duration::from_secs(60);
/// The registry, just started, holds the newest head by then.
const WITNESSED: Duration = Duration::from_secs(15);
/// The registry hears a node this often and not more.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many look-ups are told one by one.
const TOLD: usize = 3;

fn ministry(tale: &Tale<'_>) -> Result<PathBuf, String> {
    let plan = tale.layout.node("G01").map_err(|e| e.to_string())?;
    Ok(tale.layout.node_folder(plan))
}

/// `truc evidence subject -`, the number on standard input: it stays in no list of processes.
async fn subject(tale: &Tale<'_>, number: &str) -> Result<Value, String> {
    let config = ministry(tale)?.join("node.toml");
    let mut child = Command::new(&tale.program)
        .args(["evidence", "subject", "-", "--json", "--config", text(&config)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(number.as_bytes()).await.map_err(|e| e.to_string())?;
    drop(input);
    let ran = timeout(COMMAND, child.wait_with_output()).await.map_err(|_| "it does not end")?;
    let ran = ran.map_err(|e| e.to_string())?;
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
    }
    serde_json::from_slice(&ran.stdout).map_err(|e| e.to_string())
}

/// Who asked for the showcase citizen, as the citizen may read it.
pub(super) async fn citizen_asks(tale: &mut Tale<'_>) -> Told {
    let first = tale.first_call.ok_or("there was no first call")?.to_string();
    let number = showcase(tale.layout.seed).id;
    let report = subject(tale, &number).await?;
    let accesses = report["accesses"].as_array().ok_or("the report lists nothing")?;
    expect(accesses.iter().any(|one| one["evidence"] == first.as_str()), || report.to_string())?;
    let word = |one: &Value, key: &str| one[key].as_str().unwrap_or("-").to_owned();
    let line = |one: &Value| {
        let name = word(one, "memberName");
        let (purpose, outcome) = (word(one, "purpose"), word(one, "outcome"));
        format!("{} · {name} · mục đích / purpose {purpose} · {outcome}", word(one, "time"))
    };
    let mut lines = vec![format!(
        "{} lần / times; số định danh chỉ được lưu dưới dạng băm có khóa / the number is indexed only as a keyed hash",
        accesses.len()
    )];
    lines.extend(accesses.iter().take(TOLD).map(line));
    Ok(Ended::Well(lines.join("\n")))
}

/// What registry and peers hold of the ministry's log.
pub(super) async fn heads_lie_elsewhere(tale: &mut Tale<'_>) -> Told {
    let config = ministry(tale)?.join("node.toml");
    let file = tale.layout.dir.join("heads.json");
    let args = ["evidence", "heads", "--config", text(&config)?, "--out", text(&file)?];
    // A node shows its head to those it is connected to.
    let edge = tale.layout.node("G01").map_err(|e| e.to_string())?.edge_url();
    let url = format!("{edge}/r1/VN/GOV/H26/mot-cua-so-1/listMethods");
    let answer = tale.http.send("GET", &url, &[("X-Road-Client", "VN/GOV/G01/csdl-dancu")], "").await?;
    expect(answer.status == 200, || shown(&answer))?;
    let begun = Instant::now();
    loop {
        // The registry has only just come back.
        let ran = tale.truc(&args).await;
        let held = ran.and_then(|_| held(&file))?;
        let sizes: Vec<u64> = held.iter().map(|(_, size)| *size).collect();
        if held.iter().any(|(who, _)| who == "registry") && held.len() > 1 {
            let newest = sizes.into_iter().max().unwrap_or_default();
            let who: Vec<String> = held.into_iter().map(|(who, size)| format!("{who} ({size})")).collect();
            tale.heads = Some(file);
            let who = who.join(", ");
            return Ok(Ended::Well(format!("{newest} bản ghi / records; {who}")));
        }
        expect(begun.elapsed() < WITNESSED, || format!("only these hold it: {held:?}"))?;
        sleep(LOOK_EVERY).await;
    }
}

/// Who holds a head of the log, and of which size.
fn held(file: &Path) -> Result<Vec<(String, u64)>, String> {
    let told = std::fs::read(file).map_err(|e| e.to_string())?;
    let told: Value = serde_json::from_slice(&told).map_err(|e| e.to_string())?;
    let size = |witness: &Value| {
        let note = witness["logs"][0]["newest"]["note"].as_str()?;
        Some((witness["witness"].as_str()?.to_owned(), note.lines().nth(1)?.parse().ok()?))
    };
    Ok(told["witnesses"].as_array().into_iter().flatten().filter_map(size).collect())
}

/// `truc evidence fsck`; whether it found nothing, and its report.
async fn fsck(tale: &Tale<'_>, config: &Path, heads: Option<&Path>) -> Result<(bool, Value), String> {
    let mut args: Vec<OsString> = ["evidence", "fsck", "--json", "--config"].map(Into::into).to_vec();
    args.push(config.into());
    if let Some(heads) = heads {
        args.extend(["--heads".into(), heads.into()]);
    }
    let (well, said) = proof::run(&tale.program, &args).await?;
    Ok((well, serde_json::from_str(&said).map_err(|e| format!("{e}: {said}"))?))
}

/// A copy of the ministry's node, its record of the first call rewritten with all its keys.
pub(super) async fn rewriting_is_found(tale: &mut Tale<'_>) -> Told {
    let id = tale.first_call.ok_or("there was no first call")?;
    let heads = tale.heads.clone().ok_or("nobody holds a head")?;
    let (folder, copy) = (ministry(tale)?, tale.layout.dir.join("rewritten"));
    let config = copy.join("node.toml");
    rewriter::copy_of(&folder, &copy).await?;
    let (whole, told) = fsck(tale, &config, Some(&heads)).await?;
    let anchored = told["anchored"].as_u64().unwrap_or_default();
    expect(whole && anchored > 0, || format!("the copy is not whole: {told}"))?;

    let changed = rewriter::forget(&config, id).await?;
    let (alone, told) = fsck(tale, &config, None).await?;
    expect(alone, || format!("every checksum was to be right: {told}"))?;
    let (whole, told) = fsck(tale, &config, Some(&heads)).await?;
    let first = told["firstAffected"].as_u64().ok_or_else(|| told.to_string())?;
    expect(!whole && first <= changed, || told.to_string())?;
    let what = told["problems"][0]["what"].as_str().unwrap_or_default().to_owned();
    std::fs::remove_dir_all(&copy).map_err(|e| e.to_string())?;
    Ok(Ended::Well(format!(
        "trước: {anchored} bản ghi được bên ngoài xác nhận; sau khi sửa bản ghi {changed}, tự nó vẫn nguyên vẹn, đối chiếu thì lộ từ bản ghi \
         {first}\nbefore: {anchored} records anchored outside; with record {changed} rewritten the folder alone looks whole, compared with \
         the heads it is found out, from record {first} on\n{what}"
    )))
}
