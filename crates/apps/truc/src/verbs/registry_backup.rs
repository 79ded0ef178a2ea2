//! `truc registry backup` and `truc registry restore`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use truc_registry::Manifest;

use super::clock;
use super::registry::At;
use crate::out;

/// Back the registry up into one encrypted file, whether it runs or not
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc registry backup --config registry.toml --out /backup/registry-2026-11-22.truc --passphrase-file backup-passphrase"
)]
pub(crate) struct Backup {
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file with the backup's passphrase in one line, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Restore a registry from a backup into an empty folder; it stays closed until a new epoch is installed
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc registry restore /backup/registry-2026-11-22.truc --dir /var/lib/truc/registry --passphrase-file backup-passphrase"
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
        let made = truc_registry::backup(&self.at.config, &self.out, &self.passphrase_file, clock()).await?;
        tell_backup(&self.out, &made, self.at.json)?;
        if !self.at.json {
            out::note("The root keys are not in it: they are kept apart.");
        }
        Ok(())
    }
}

impl Restore {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let made =
            Box::pin(truc_registry::restore(&self.file, &self.dir, &self.passphrase_file, clock())).await?;
        if self.json {
            return out::json(&json!({ "config": made.config, "backup": made.manifest, "closed": true }));
        }
        out::line(format!("configuration  {}", made.config.display()))?;
        tell_restored(&made.manifest);
        out::note(
            "The registry is closed: nodes may have seen decisions that the backup lacks. Next: ask nodes for the highest head they have seen",
        );
        out::note(
            "(truc node status), then truc registry root draft --new-epoch --above EPOCH.VERSION --out FILE, sign, install, and run it.",
        );
        Ok(())
    }
}

/// What a backup holds.
pub(crate) fn tell_backup(file: &std::path::Path, made: &Manifest, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&json!({ "file": file, "backup": made }));
    }
    out::line(format!("backup         {}", file.display()))?;
    for (name, end) in &made.journals {
        let kept = if name == "evidence" && !made.with_evidence { " (not in it)" } else { "" };
        out::line(format!("{name:<14} {} entries, chain {}{kept}", end.records, end.chain))?;
    }
    if let Some(head) = made.head {
        out::line(format!("directory      {}.{}", head.epoch, head.version))?;
    }
    for path in &made.outside {
        out::note(format!("in it from outside the folder: {path}"));
    }
    Ok(())
}

/// What is to be put back by hand.
pub(crate) fn tell_restored(manifest: &Manifest) {
    out::note(format!("restored {} from a backup of {}", manifest.holder, manifest.made));
    for path in &manifest.outside {
        out::note(format!(
            "lay outside its folder; now under outside/, put it back or correct the configuration: {path}"
        ));
    }
}
