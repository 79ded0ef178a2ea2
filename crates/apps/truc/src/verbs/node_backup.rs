//! `truc node backup` and `truc node restore`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use truc_node::config::NodeConfig;

use super::registry_backup::{tell_backup, tell_restored};
use super::{blocking, clock};
use crate::out;

/// Back a node up into one encrypted file, whether it runs or not
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc node backup --config node.toml --out /backup/ss1-2026-11-22.truc --passphrase-file backup-passphrase --with-evidence"
)]
pub(crate) struct Backup {
    /// The node's configuration file
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    config: PathBuf,
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file with the backup's passphrase in one line, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    /// Take the evidence and its stored bodies along
    #[arg(long)]
    with_evidence: bool,
    /// Print what was backed up as one JSON object
    #[arg(long)]
    json: bool,
}

/// Restore a node from a backup into an empty folder
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc node restore /backup/ss1-2026-11-22.truc --dir /var/lib/truc/ss1 --passphrase-file backup-passphrase"
)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// A new or empty folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A file with the backup's passphrase in one line, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    /// Print what was restored as one JSON object
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { config, out, passphrase_file, with_evidence, json } = self;
        let file = out.clone();
        let made = blocking(move || {
            let config = NodeConfig::load(&config)?;
            truc_node::backup(&config, &out, &passphrase_file, with_evidence, clock().as_ref())
        })
        .await?;
        tell_backup(&file, &made, json)
    }
}

impl Restore {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { file, dir, passphrase_file, json } = self;
        let made =
            blocking(move || truc_node::restore(&file, &dir, &passphrase_file, clock().as_ref())).await?;
        if json {
            return out::json(&json!({ "config": made.config, "backup": made.manifest }));
        }
        out::line(format!("configuration  {}", made.config.display()))?;
        tell_restored(&made.manifest);
        out::note(
            "Make sure that the old node never runs again, then run this one. It begins a new log, and for two minutes from its first start it",
        );
        out::note("refuses as EXPIRED what the old one may have carried out.");
        Ok(())
    }
}
