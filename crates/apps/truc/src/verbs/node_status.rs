//! `truc node status`.

use clap::Args;

use super::target::Target;
use crate::out;

/// How a running node is: since when, and which directory it believes
#[derive(Args)]
#[command(after_help = "Example:\n  truc node status --config node.toml")]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let status = self.target.client().await?.status().await?;
        if self.json {
            return out::json(&status);
        }
        out::line(format!("node       {} (truc {}, process {})", status.node, status.version, status.pid))?;
        out::line(format!("running    since {} ({} s)", status.started, status.uptime_seconds))?;
        match &status.directory {
            Some(directory) => out::line(format!(
                "directory  {}.{} {}, signed {}, expires {}",
                directory.epoch, directory.version, directory.freshness, directory.issued, directory.expires
            ))?,
            None => out::line("directory  none yet")?,
        }
        for subsystem in &status.hosted {
            out::line(format!("hosts      {subsystem}"))?;
        }
        Ok(())
    }
}
