//! `truc evidence disk`: what evidence takes of the disk (`docs/evidence.md` §6.5).

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use truc_admin::{ClientError, KeepingView};
use truc_evidence::EvidenceStore;
use truc_node::config::show_size;
use truc_node::offline::OfflineEvidence;

use super::blocking;
use super::target::Target;
use crate::out;

/// Records of which the bytes that had to be kept are counted; the newest ones.
const SAMPLE: u64 = 10_000;

/// Show what evidence takes of the disk, in all and per record; of a stopped node also against the bytes that had to be kept
#[derive(Args)]
#[command(after_help = "Example:\n  truc evidence disk --config node.toml --json")]
pub(crate) struct Disk {
    #[command(flatten)]
    target: Target,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    disk: truc_admin::DiskView,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<Needed>,
}

/// What had to be kept: headers, signatures, local parts and bodies, each as it was.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Needed {
    /// Of so many records.
    records: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes of journal and bodies, archived ones included, per record, over those that had to be kept.
    ratio: f64,
}

async fn needed(store: &dyn EvidenceStore, view: &KeepingView) -> anyhow::Result<Option<Needed>> {
    let disk = &view.disk;
    if disk.records == 0 {
        return Ok(None);
    }
    let first = disk.records.saturating_sub(SAMPLE);
    let mut bytes = 0;
    for sequence in first..disk.records {
        let record = store.read(sequence).await?;
        let body = if record.has_body { store.body(sequence).await? } else { None };
        let parts = record.header.len() + record.cms.len() + record.local_bytes.len();
        bytes += (parts + body.map_or(0, |body| body.len())) as u64;
    }
    let records = disk.records - first;
    let taken = (disk.journal + disk.bodies + disk.archived) as f64 / disk.records as f64;
    Ok(Some(Needed { records, bytes, ratio: taken / (bytes.max(1) as f64 / records as f64) }))
}

impl Disk {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let report = match self.target.client().await?.keeping().await {
            Err(ClientError::NotRunning { .. }) => {
                out::note("the node is not running; reading its folder");
                let config = self.target.load().await?;
                let opened = config.clone();
                let offline = blocking(move || OfflineEvidence::open(&opened)).await?;
                let view = offline.keeping(&config).await?;
                Report { needed: needed(offline.store(), &view).await?, disk: view.disk }
            }
            answered => Report { disk: answered?.disk, needed: None },
        };
        if self.json {
            out::json(&report)?;
            return Ok(ExitCode::SUCCESS);
        }
        let disk = &report.disk;
        let rows = [
            ("journal", disk.journal),
            ("bodies", disk.bodies),
            ("index", disk.index),
            ("only in the archive", disk.archived),
        ];
        for (what, bytes) in rows {
            let each = bytes / disk.records.max(1);
            out::line(format!("{what}\t{}\t{each} B a record", show_size(bytes)))?;
        }
        out::line(format!("free\t{} of {}", show_size(disk.free), show_size(disk.total)))?;
        if let Some(needed) = &report.needed {
            out::line(format!(
                "ratio\t{:.2}\tjournal and bodies, over what the {} newest records had to keep",
                needed.ratio, needed.records
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
