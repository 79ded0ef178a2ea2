//! `truc evidence audit` and `truc evidence heads`: the logs of peers, and what others hold of this node's (protocol P5.3).

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use truc_admin::{AuditFilter, AuditPart, HeadsDocument, HeadsFilter};
use truc_directory::Anchor;
use truc_model::{NodeId, visible};

use super::target::Target;
use super::{clock, read};
use crate::out;

/// Check that a peer's log still holds all that the peer acknowledged, and continues every head that is held of it
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence audit VN/GOV/G01/ss1 --config node.toml\n\nExit code 0: its log holds everything; 1: it does not, or could not be asked."
)]
pub(crate) struct Audit {
    /// The node whose log is checked
    peer: NodeId,
    /// Begin at this record of the own journal
    #[arg(long, default_value_t = 0, value_name = "RECORD")]
    from: u64,
    #[command(flatten)]
    target: Target,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Show the newest head of this node's log to the registry and to connected peers, and write what they hold of it
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence heads --config node.toml --out heads.json\n  truc evidence heads --of VN/GOV/G01/ss1 --anchor anchor.json --out heads.json"
)]
pub(crate) struct Heads {
    /// Ask the registry alone
    #[arg(long)]
    registry: bool,
    /// Ask the registry about this node's log without going through the node: whoever runs it could leave heads out
    #[arg(long, value_name = "NODE", requires = "anchor", conflicts_with = "registry")]
    of: Option<NodeId>,
    /// With --of: the registry's anchor.json, which names the registry
    #[arg(long, value_name = "FILE", requires = "of")]
    anchor: Option<PathBuf>,
    /// The file to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// What all parts of an audit found.
#[derive(Default)]
struct Sum {
    heads: u64,
    checked: u64,
    problems: Vec<String>,
    unasked: Vec<String>,
}

impl Audit {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.target.client().await?;
        let mut filter = AuditFilter { peer: self.peer.to_string(), from: self.from };
        let mut sum = Sum::default();
        let last = loop {
            let part = client.log_audit(&filter).await?;
            sum.heads += part.heads;
            sum.checked += part.checked;
            sum.problems.extend_from_slice(&part.problems);
            sum.unasked.extend_from_slice(&part.unasked);
            match part.next {
                Some(next) if next > filter.from => filter.from = next,
                _ => break part,
            }
        };
        let whole = sum.problems.is_empty() && last.missing.is_none();
        if self.json {
            Self::as_json(&sum, &last, whole)?
        } else {
            Self::tell(&sum, &last)?
        }
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn as_json(sum: &Sum, last: &AuditPart, whole: bool) -> anyhow::Result<()> {
        let AuditPart { peer, log, size, root, missing, .. } = last;
        let Sum { heads, checked, problems, unasked } = sum;
        out::json(&json!({
            "peer": peer, "log": log, "size": size, "root": root, "holds": whole, "heads": heads,
            "checked": checked, "problems": problems, "missing": missing, "unasked": unasked,
        }))
    }

    fn tell(sum: &Sum, last: &AuditPart) -> anyhow::Result<()> {
        out::line(format!(
            "log            {} of {} records, root {}",
            visible(&last.log),
            last.size,
            last.root
        ))?;
        let all = if sum.problems.is_empty() { "all held" } else { "of those held" };
        out::line(format!("heads          {all}: {} continued by it", sum.heads))?;
        let and = if last.missing.is_some() { ", then one that is not" } else { "" };
        out::line(format!("acknowledged   {} leaves, in it{and}", sum.checked))?;
        for problem in &sum.problems {
            out::line(format!("PROBLEM        {}", visible(problem)))?;
        }
        if let Some(missing) = &last.missing {
            out::line(format!(
                "MISSING        exchange {}, record {} here: leaf {} of the peer's log is not {} ({})",
                missing.exchange,
                missing.record,
                missing.index,
                missing.hash,
                visible(&missing.why)
            ))?;
            out::line(format!(
                "               the peer has denied what it acknowledged; its own signature is in `truc evidence export {}`",
                missing.exchange
            ))?;
        }
        for unasked in &sum.unasked {
            out::note(format!("not asked: {}", visible(unasked)));
        }
        Ok(())
    }
}

impl Heads {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let told = match (&self.of, &self.anchor) {
            (Some(node), Some(file)) => {
                let name = || file.display().to_string();
                let anchor = Anchor::parse(&read(file).await?).with_context(name)?;
                truc_node::witnessed(&anchor, node.clone(), clock().now()).await?
            }
            _ => self.target.client().await?.log_heads(HeadsFilter { registry: self.registry }).await?,
        };
        let bytes = format!("{}\n", serde_json::to_string_pretty(&told)?);
        match &self.out {
            None => out::pretty(&told)?,
            Some(file) => {
                tokio::fs::write(file, bytes).await.with_context(|| file.display().to_string())?;
            }
        }
        Self::tell(&told);
        let silent = told.witnesses.iter().all(|witness| witness.logs.is_empty());
        Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn tell(told: &HeadsDocument) {
        for witness in &told.witnesses {
            for log in &witness.logs {
                let alarms = if log.alarms.is_empty() { "" } else { ", and an ALARM about it" };
                out::note(format!(
                    "{} holds {} of {} records{alarms}",
                    visible(&witness.witness),
                    visible(&log.log),
                    log.newest.size
                ));
            }
            if let Some(why) = &witness.failed {
                out::note(format!("{} did not say: {}", visible(&witness.witness), visible(why)));
            }
        }
    }
}
