//! `truc evidence fsck`: whether what a stopped node keeps is what it recorded.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use truc_admin::HeadsDocument;
use truc_model::visible;
use truc_node::offline::{self, FsckReport, Problem};

use super::files::read_file;
use super::target::Target;
use crate::out;

/// A token later than this after its record is told: what is refused beyond it is the default of `[time-stamping] grace`.
const LATE: Duration = Duration::from_secs(48 * 3600);
/// Longest file of heads read, in bytes.
const HEADS_LIMIT: u64 = 64 * 1024 * 1024;

/// Check a stopped node's journals byte by byte, its log and its time-stamps; nothing is changed
#[derive(Args)]
#[command(after_help = "Example:\n  truc evidence fsck --config node.toml\n  \
    truc evidence fsck --heads heads.json")]
pub(crate) struct Fsck {
    /// What registry and peers hold of this node's log (truc evidence heads): whoever changes the past cannot change that
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Read archived segments too, from the archive that the configuration names
    #[arg(long)]
    archive: bool,
    /// The anchor of the bus from a source you trust; without it the node's own is taken, which its operator can change
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Fsck {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.target.load().await?;
        config.anchor_file = self.anchor.unwrap_or(config.anchor_file);
        let (file, archive) = (self.heads, self.archive);
        let report = tokio::task::spawn_blocking(move || {
            let heads = file.map(|file| {
                let text = read_file(&file, HEADS_LIMIT)?;
                serde_json::from_slice::<HeadsDocument>(&text)
                    .with_context(|| format!("{} is not what truc evidence heads writes", file.display()))
            });
            Ok::<_, anyhow::Error>(offline::fsck(&config, heads.transpose()?.as_ref(), archive)?)
        })
        .await??;
        if self.json {
            out::json(&as_json(&report))?;
        } else {
            tell(&report)?;
        }
        Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn as_json(report: &FsckReport) -> serde_json::Value {
    let list = |problems: &[Problem]| -> Vec<_> {
        problems.iter().map(|p| json!({ "path": p.path, "offset": p.offset, "what": p.what })).collect()
    };
    json!({
        "segments": report.segments, "records": report.records, "decisions": report.decisions,
        "bodies": report.bodies, "bodiesAway": report.bodies_away, "notRead": report.not_read, "expiring": report.expiring,
        "artifacts": report.artifacts, "proofs": report.proofs,
        "batches": report.batches, "stamped": report.stamped,
        "waited": report.waited.map(|(record, time)| json!({ "record": record, "seconds": time.as_secs() })),
        "anchored": report.anchored, "anchoredBy": report.anchored_by,
        "chained": report.chained,
        "firstAffected": report.first_affected,
        "torn": list(&report.torn), "problems": list(&report.problems),
    })
}

fn tell(report: &FsckReport) -> anyhow::Result<()> {
    let FsckReport { segments, records, decisions, bodies, artifacts, proofs, .. } = report;
    out::line(format!(
        "{segments} segments: {records} records, {decisions} decisions, {bodies} bodies, {artifacts} artifacts, {proofs} proofs"
    ))?;
    if let Some(last) = report.not_read.checked_sub(1) {
        out::line(format!("not read: records 0 to {last} lie in the archive (--archive)"))?;
    }
    if report.bodies_away > 0 {
        out::line(format!("not read: {} bodies lie in the archive (--archive)", report.bodies_away))?;
    }
    for of in &report.expiring {
        out::line(format!("expiry of bodies/{of} was begun; the next start of the node ends it"))?;
    }
    match report.stamped.checked_sub(1) {
        Some(last) => out::line(format!("time-stamped: up to record {last}, in {} batches", report.batches))?,
        None => out::line("time-stamped: nothing")?,
    }
    if let Some((record, time)) = report.waited.filter(|(_, time)| *time > LATE) {
        let hours = time.as_secs() / 3600;
        out::line(format!(
            "time-stamped late: record {record} says that it was made {hours} h before its time-stamp; what was stamped late may have been rewritten before"
        ))?;
    }
    match (report.anchored.checked_sub(1), &report.anchored_by) {
        (Some(last), Some(by)) => {
            out::line(format!("anchored outside: up to record {last}, by {}", visible(by)))?;
        }
        _ => out::line("anchored outside: nothing was given that says so (--heads)")?,
    }
    match report.chained.checked_sub(1) {
        Some(last) => out::line(format!(
            "holds, tombstones, decisions and all else beside the records: as heads say up to record {last}"
        ))?,
        None => {
            out::line("holds, tombstones, decisions and all else beside the records: no head speaks of them")?
        }
    }
    for torn in &report.torn {
        out::line(format!("never acknowledged, no loss: {}", visible(&torn.to_string())))?;
    }
    for problem in &report.problems {
        out::line(format!("PROBLEM {}", visible(&problem.to_string())))?;
    }
    if let Some(first) = report.first_affected {
        out::line(format!("FIRST AFFECTED record {first}"))?;
    }
    Ok(())
}
