//! `truc evidence fsck`: whether what a stopped node keeps is what it recorded.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use truc_admin::HeadsDocument;
use truc_node::offline::{self, FsckReport, Problem};

use super::target::Target;
use crate::out;

/// A token later than this after its record is told: what is refused beyond it is the default of `[time-stamping] grace`.
const LATE: Duration = Duration::from_secs(48 * 3600);

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
                let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
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
        "bodies": report.bodies, "artifacts": report.artifacts, "proofs": report.proofs,
        "batches": report.batches, "stamped": report.stamped,
        "waited": report.waited.map(|(record, time)| json!({ "record": record, "seconds": time.as_secs() })),
        "anchored": report.anchored, "anchoredBy": report.anchored_by,
        "firstAffected": report.first_affected,
        "torn": list(&report.torn), "problems": list(&report.problems),
    })
}

fn tell(report: &FsckReport) -> anyhow::Result<()> {
    let FsckReport { segments, records, decisions, bodies, artifacts, proofs, .. } = report;
    out::line(format!(
        "{segments} segments: {records} records, {decisions} decisions, {bodies} bodies, {artifacts} artifacts, {proofs} proofs"
    ))?;
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
        (Some(last), Some(by)) => out::line(format!("anchored outside: up to record {last}, by {by}"))?,
        _ => out::line("anchored outside: nothing was given that says so (--heads)")?,
    }
    for torn in &report.torn {
        out::line(format!("never acknowledged, no loss: {torn}"))?;
    }
    for problem in &report.problems {
        out::line(format!("PROBLEM {problem}"))?;
    }
    if let Some(first) = report.first_affected {
        out::line(format!("FIRST AFFECTED record {first}"))?;
    }
    Ok(())
}
