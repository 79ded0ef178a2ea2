//! `truc evidence …`: what a node recorded, through its admin API, or from its folder while it is stopped.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::RawValue;
use truc_admin::{AdminClient, ClientError, EvidenceEntry, EvidenceFilter, EvidenceRecord, EvidenceShown};
use truc_evidence::{Query, RecordKind, StoredRecord, container};
use truc_model::{Digest, MessageId, ServiceId, SubsystemId, Timestamp};
use truc_node::offline::{self, OfflineEvidence};

use super::blocking;
use super::target::Target;
use crate::out;

/// The recorded exchanges of a node, running or stopped
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc evidence list --config node.toml")]
pub(crate) enum Evidence {
    /// List exchanges, newest first
    #[command(
        after_help = "Example:\n  truc evidence list --client VN/GOV/H26/mot-cua-so-1 --since 2026-11-21T00:00:00.000Z --json"
    )]
    List(Box<List>),
    /// Show everything recorded of one exchange, as JSON
    #[command(after_help = "Example:\n  truc evidence show 0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11")]
    Show {
        /// The request's id (X-Road-Request-Id)
        id: MessageId,
        /// With the bodies, in base64
        #[arg(long)]
        bodies: bool,
        #[command(flatten)]
        target: Target,
        /// Print it in one line
        #[arg(long)]
        json: bool,
    },
    /// Write one exchange as an ASiC-E container that a stranger can check
    #[command(
        after_help = "Example:\n  truc evidence export 0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11 --out evidence.asice"
    )]
    Export {
        /// The request's id (X-Road-Request-Id)
        id: MessageId,
        /// The file to write, for the owner's eyes only; it must not exist yet. - is standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Check a stopped node's journals byte by byte; nothing is changed
    #[command(after_help = "Example:\n  truc evidence fsck --config node.toml")]
    Fsck {
        #[command(flatten)]
        target: Target,
        /// Print the report as one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct List {
    /// Of this calling subsystem only
    #[arg(long, value_name = "SUBSYSTEM")]
    client: Option<SubsystemId>,
    /// Of this service only
    #[arg(long)]
    service: Option<ServiceId>,
    /// Recorded at or after this moment
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Recorded before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Where the evidence is read.
enum Source {
    Running(AdminClient),
    Stopped(OfflineEvidence),
}

impl Source {
    /// The running node; when none runs, its folder.
    async fn open(target: &Target) -> anyhow::Result<Self> {
        let client = target.client().await?;
        match client.status().await {
            Err(ClientError::NotRunning { .. }) => {
                out::note("the node is not running; reading its folder");
                let config = target.load().await?;
                Ok(Self::Stopped(blocking(move || OfflineEvidence::open(&config)).await?))
            }
            // What it answers to the question itself says more than that it refuses to tell its status.
            _ => Ok(Self::Running(client)),
        }
    }

    async fn list(&self, filter: EvidenceFilter) -> anyhow::Result<Vec<EvidenceEntry>> {
        let offline = match self {
            Self::Running(client) => return Ok(client.evidence(&filter).await?),
            Self::Stopped(offline) => offline,
        };
        let EvidenceFilter { client, service, since, until, limit } = filter;
        let query = Query { client, service, since, until, limit: limit.unwrap_or(100), ..Query::default() };
        Ok(offline.store().list(query).await?.into_iter().map(EvidenceEntry::from).collect())
    }

    async fn show(&self, id: MessageId, bodies: bool) -> anyhow::Result<EvidenceShown> {
        let offline = match self {
            Self::Running(client) => return Ok(client.evidence_show(id, bodies).await?),
            Self::Stopped(offline) => offline,
        };
        let mut records = Vec::new();
        for record in offline.store().exchange(id).await? {
            let body =
                if bodies && record.has_body { offline.store().body(record.sequence).await? } else { None };
            records.push(shown(record, body.map(|bytes| STANDARD.encode(bytes))));
        }
        if records.is_empty() {
            bail!("no exchange {id} is recorded here");
        }
        Ok(EvidenceShown { id, records })
    }

    async fn container(&self, id: MessageId) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Running(client) => Ok(client.evidence_container(id).await?.to_vec()),
            Self::Stopped(offline) => Ok(container::write(&container::collect(offline.store(), id).await?)?),
        }
    }
}

/// The record as the admin API shows it.
fn shown(record: StoredRecord, body: Option<String>) -> EvidenceRecord {
    let signed = record.kind != RecordKind::Unsigned;
    let header = String::from_utf8(record.header.to_vec()).ok();
    EvidenceRecord {
        sequence: record.sequence,
        kind: record.kind,
        owner: record.owner,
        header: header.and_then(|text| RawValue::from_string(text).ok()),
        digest: signed.then_some(record.manifest_digest),
        cms_digest: signed.then(|| Digest::of(&record.cms)),
        statuses: record.statuses,
        local: record.local,
        has_body: record.has_body,
        body,
    }
}

/// Writes citizens' data: for its owner only, whatever the umask, and never over a file that is there.
fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        kind @ io::ErrorKind::AlreadyExists => {
            io::Error::new(kind, "the file exists and is not overwritten: name another one")
        }
        _ => error,
    })?;
    opened.write_all(bytes).and_then(|()| opened.sync_all()).inspect_err(|_| {
        // Half a container is worth nothing and stands in the way of the next try.
        let _ = std::fs::remove_file(file);
    })
}

impl Evidence {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await?,
            Self::Show { id, bodies, target, json } => {
                let shown = Source::open(&target).await?.show(id, bodies).await?;
                if json { out::json(&shown)? } else { out::pretty(&shown)? }
            }
            Self::Export { id, out: file, target } => {
                let container = Source::open(&target).await?.container(id).await?;
                if file.as_os_str() == "-" {
                    out::data(&container)?;
                } else {
                    let path = file.clone();
                    let written = blocking(move || write_new(&path, &container)).await;
                    written.with_context(|| file.display().to_string())?;
                    out::note(format!("written: {}; check it with truc verify", file.display()));
                }
            }
            Self::Fsck { target, json } => return fsck(&target, json).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let filter = EvidenceFilter {
            client: self.client,
            service: self.service,
            since: self.since,
            until: self.until,
            limit: Some(usize::from(self.limit)),
        };
        for entry in Source::open(&self.target).await?.list(filter).await? {
            if self.json {
                out::json(&entry)?;
            } else {
                let EvidenceEntry { id, time, client, service, .. } = &entry;
                let fault = entry.fault.as_ref().map_or_else(String::new, |code| format!(" {code}"));
                out::line(format!("{time}\t{id}\t{client}\t{service}\t{}{fault}", entry.outcome.as_str()))?;
            }
        }
        Ok(())
    }
}

async fn fsck(target: &Target, json: bool) -> anyhow::Result<ExitCode> {
    let config = target.load().await?;
    let report = blocking(move || offline::fsck(&config)).await?;
    if json {
        let list = |problems: &[offline::Problem]| -> Vec<_> {
            problems.iter().map(|p| json!({ "path": p.path, "offset": p.offset, "what": p.what })).collect()
        };
        out::json(&json!({
            "segments": report.segments, "records": report.records, "decisions": report.decisions,
            "bodies": report.bodies, "artifacts": report.artifacts,
            "torn": list(&report.torn), "problems": list(&report.problems),
        }))?;
    } else {
        out::line(format!(
            "{} segments: {} records, {} decisions, {} bodies, {} artifacts",
            report.segments, report.records, report.decisions, report.bodies, report.artifacts
        ))?;
        for torn in &report.torn {
            out::line(format!("never acknowledged, no loss: {torn}"))?;
        }
        for problem in &report.problems {
            out::line(format!("PROBLEM {problem}"))?;
        }
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_export_is_its_owners_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proof.asice");
        write_new(&file, b"first").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = write_new(&file, b"second").unwrap_err().to_string();
        assert!(refused.contains("exists"), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), b"first");
        let link = dir.path().join("link.asice");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(write_new(&link, b"x").is_err(), "a link is not followed");
        assert!(write_new(&dir.path().join("none/x"), b"x").is_err());
    }
}
