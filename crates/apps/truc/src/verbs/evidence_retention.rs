//! `truc evidence retention`: which bodies are kept, and until when (`docs/evidence.md` §6.2).

use std::process::ExitCode;

use clap::Args;
use truc_admin::{ClientError, KeepingView};
use truc_node::config::show_size;
use truc_node::offline::OfflineEvidence;

use super::blocking;
use super::target::Target;
use crate::out;

/// Show bodies by class and month: how much there is, and when they expire
#[derive(Args)]
#[command(after_help = "Example:\n  truc evidence retention --config node.toml")]
pub(crate) struct Retention {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What is kept where: from the running node, or from its folder.
pub(super) async fn keeping(target: &Target) -> anyhow::Result<KeepingView> {
    match target.client().await?.keeping().await {
        Err(ClientError::NotRunning { .. }) => {
            out::note("the node is not running; reading its folder");
            let config = target.load().await?;
            let opened = config.clone();
            let offline = blocking(move || OfflineEvidence::open(&opened)).await?;
            Ok(offline.keeping(&config).await?)
        }
        answered => Ok(answered?),
    }
}

impl Retention {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let view = keeping(&self.target).await?;
        for month in &view.months {
            if self.json {
                out::json(month)?;
                continue;
            }
            let until = match (&month.expires, month.expiring) {
                (_, true) => "expiring".to_owned(),
                (Some(at), _) => at.to_string(),
                (None, _) => "never".to_owned(),
            };
            let kept = month.retention.as_deref().unwrap_or("-");
            let (here, away) = (show_size(month.bytes), show_size(month.archived_bytes));
            out::line(format!("{}\t{}\t{kept}\t{until}\t{here}\t{away} archived", month.class, month.month))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
