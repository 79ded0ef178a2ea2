//! `truc evidence …`: what a node recorded, through its admin API, or from its folder while it is stopped.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::value::RawValue;
use truc_admin::{
    AdminClient, ClientError, DirectoryView, EvidencePage, EvidenceRecord, EvidenceSearch, EvidenceShown,
};
use truc_evidence::{RecordKind, StoredRecord, container};
use truc_model::{Digest, MessageId};
use truc_node::offline::OfflineEvidence;

use super::blocking;
use super::evidence_audit::{Audit, Heads};
use super::evidence_disk::Disk;
use super::evidence_export::Export;
use super::evidence_fsck::Fsck;
use super::evidence_hold::Hold;
use super::evidence_list::List;
use super::evidence_retention::Retention;
use super::evidence_rotate::RotateKeys;
use super::evidence_subject::Subject;
use super::target::Target;
use crate::out;

/// The recorded exchanges of a node, running or stopped
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc evidence list --config node.toml")]
pub(crate) enum Evidence {
    List(Box<List>),
    Subject(Box<Subject>),
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
    Export(Box<Export>),
    Fsck(Fsck),
    Audit(Audit),
    #[command(subcommand)]
    Hold(Hold),
    Retention(Retention),
    Disk(Disk),
    RotateKeys(RotateKeys),
    Heads(Heads),
}

/// How often a node that is busy or away is asked for one thing, and how long between.
const PATIENCE: usize = 30;
const PAUSE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// Asks again while the node is busy or away: what takes many calls is not given up for one of them.
pub(super) async fn patiently<T>(ask: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 1..PATIENCE {
        match ask().await {
            Err(error) if error.downcast_ref::<ClientError>().is_some_and(passes) => {
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
    ask().await
}

fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { fault, .. } => fault.code == "BUSY",
        ClientError::Lost { .. } | ClientError::NotRunning { .. } | ClientError::Timeout { .. } => true,
        ClientError::Settings(_) | ClientError::BadAnswer { .. } => false,
    }
}

/// Where the evidence is read.
pub(super) enum Source {
    Running(AdminClient),
    Stopped(OfflineEvidence),
}

impl Source {
    /// The running node; when none runs, its folder.
    pub(super) async fn open(target: &Target) -> anyhow::Result<Self> {
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

    /// A page of what a search finds.
    pub(super) async fn search(&self, search: &EvidenceSearch) -> anyhow::Result<EvidencePage> {
        let offline = match self {
            Self::Running(client) => return Ok(client.evidence_search(search).await?),
            Self::Stopped(offline) => offline,
        };
        let query = search.clone().query(|text| offline.person_hashes(text)).map_err(anyhow::Error::msg)?;
        Ok(offline.store().list(query).await?.into())
    }

    /// The directory in force, where the node runs and the token may see it.
    pub(super) async fn directory(&self) -> Option<DirectoryView> {
        match self {
            Self::Running(client) => client.directory().await.ok(),
            Self::Stopped(_) => None,
        }
    }

    /// The node's id.
    pub(super) async fn node(&self, target: &Target) -> anyhow::Result<String> {
        match self {
            Self::Running(client) => Ok(client.status().await?.node.to_string()),
            Self::Stopped(_) => Ok(target.load().await?.node.to_string()),
        }
    }

    pub(super) async fn show(&self, id: MessageId, bodies: bool) -> anyhow::Result<EvidenceShown> {
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

    pub(super) async fn container(&self, id: MessageId) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Running(client) => Ok(client.evidence_container(id).await?.to_vec()),
            Self::Stopped(offline) => {
                let exchange = container::collect_proved(offline.store(), offline.proofs(), id).await?;
                Ok(blocking(move || container::write(&exchange)).await?)
            }
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

impl Evidence {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Audit(audit) => return audit.run().await,
            Self::Hold(hold) => return hold.run().await,
            Self::Retention(retention) => return retention.run().await,
            Self::Disk(disk) => return disk.run().await,
            Self::RotateKeys(rotate) => return rotate.run().await,
            Self::Heads(heads) => return heads.run().await,
            Self::List(list) => list.run().await?,
            Self::Subject(subject) => subject.run().await?,
            Self::Show { id, bodies, target, json } => {
                let shown = Source::open(&target).await?.show(id, bodies).await?;
                if json { out::json(&shown)? } else { out::pretty(&shown)? }
            }
            Self::Export(export) => return export.run().await,
            Self::Fsck(fsck) => return fsck.run().await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn one_lost_connection_is_no_end_and_a_refusal_is() {
        let asked = Cell::new(0);
        let lost = || ClientError::Lost { url: "http://127.0.0.1:1".into(), reason: "reset".into() };
        let answered = patiently(async || {
            asked.set(asked.get() + 1);
            if asked.get() < 4 { Err(lost().into()) } else { Ok(asked.get()) }
        });
        assert_eq!(answered.await.unwrap(), 4);
        asked.set(0);
        let away = patiently(async || {
            asked.set(asked.get() + 1);
            Err::<(), _>(lost().into())
        });
        assert!(away.await.is_err());
        assert_eq!(asked.get(), PATIENCE);
        asked.set(0);
        let refused = patiently(async || {
            asked.set(asked.get() + 1);
            Err::<(), _>(ClientError::Settings("x".into()).into())
        });
        assert!(refused.await.is_err());
        assert_eq!(asked.get(), 1);
    }
}
