//! `truc evidence list`: searching what a node recorded.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::Args;
use truc_admin::{EvidenceEntry, EvidenceSearch};
use truc_evidence::{Outcome, Role};
use truc_model::{MessageId, ServiceId, SubsystemId, Timestamp, visible};

use super::blocking;
use super::evidence::{Source, patiently};
use super::target::Target;
use crate::out;

/// Longest text taken from standard input, in bytes.
const INPUT_LIMIT: u64 = 4096;

/// Search for exchanges, newest first
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence list --client VN/GOV/H26/mot-cua-so-1 --since 2026-11-21T00:00:00.000Z --json\n  \
                  truc evidence list --officer cb-0123 --outcome refused"
)]
pub(crate) struct List {
    /// The exchange of this message: the id of a request or of its answer
    #[arg(long, value_name = "ID")]
    message: Option<MessageId>,
    /// Of requests to which their caller gave this id (X-Road-Id)
    #[arg(long, value_name = "TEXT")]
    caller_id: Option<String>,
    /// Of this calling subsystem only
    #[arg(long, value_name = "SUBSYSTEM")]
    client: Option<SubsystemId>,
    /// Of this service only
    #[arg(long)]
    service: Option<ServiceId>,
    /// Asked for by this officer (X-Road-UserId); - reads it from standard input
    #[arg(long, value_name = "TEXT")]
    officer: Option<String>,
    /// About this person, where the service says whom it is about; - reads the number from standard input
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
    /// For this dossier (X-Road-Issue); - reads it from standard input
    #[arg(long, value_name = "TEXT")]
    dossier: Option<String>,
    /// For this agency, as the request writes it
    #[arg(long, value_name = "TEXT")]
    agency: Option<String>,
    /// For this purpose, as the request writes it
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// Ended by this fault, like NO_RIGHT
    #[arg(long, value_name = "CODE")]
    fault: Option<String>,
    /// Ended like this: ok, refused, failed, or unknown (also what has no answer yet)
    #[arg(long, value_parser = word::<Outcome>)]
    outcome: Option<Outcome>,
    /// In which this half of the node took part: consumer or provider
    #[arg(long, value_parser = word::<Role>)]
    role: Option<Role>,
    /// Recorded at or after this moment, in UTC, like 2026-11-21T00:00:00.000Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Recorded before this moment, written the same way
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where a list ended that said so
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// For clap: a word as it stands in JSON.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

/// What the command line says, or standard input where it says `-`: a command line is seen by others and stays in a shell's history.
pub(super) async fn given(text: String, read: &mut bool) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    if std::mem::replace(read, true) {
        bail!("only one of the values can be read from standard input");
    }
    let input = blocking(move || {
        let mut text = String::new();
        std::io::stdin().lock().take(INPUT_LIMIT).read_to_string(&mut text).map(|_| text)
    });
    let text = input.await.context("standard input")?.trim().to_owned();
    if text.is_empty() {
        bail!("standard input is empty: write the value into it, as in echo 001099012345 | truc evidence …");
    }
    Ok(text)
}

/// The exchanges that a search finds, up to its limit in all, and where to go on when there are more.
pub(super) async fn gather(
    source: &Source,
    mut search: EvidenceSearch,
    limit: usize,
) -> anyhow::Result<(Vec<EvidenceEntry>, Option<u64>)> {
    let mut found = Vec::new();
    loop {
        search.limit = Some((limit - found.len()).min(1000));
        let page = patiently(async || source.search(&search).await).await?;
        found.extend(page.exchanges);
        match page.next {
            // A page may be short and have a next one: the node looks at a bounded number of records for each.
            Some(next) if found.len() < limit => search.after = Some(next),
            next => return Ok((found, next)),
        }
    }
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut read = false;
        let mut text = async |given_text: Option<String>| match given_text {
            Some(text) => given(text, &mut read).await.map(Some),
            None => Ok(None),
        };
        let search = EvidenceSearch {
            officer: text(self.officer).await?,
            subject: text(self.subject).await?,
            dossier: text(self.dossier).await?,
            message: self.message,
            caller_id: self.caller_id,
            client: self.client,
            service: self.service,
            agency: self.agency,
            purpose: self.purpose,
            fault: self.fault,
            outcome: self.outcome,
            role: self.role,
            since: self.since,
            until: self.until,
            limit: None,
            after: self.after,
        };
        let source = Source::open(&self.target).await?;
        let (found, next) = gather(&source, search, usize::from(self.limit)).await?;
        for entry in found {
            if self.json {
                out::json(&entry)?;
            } else {
                let EvidenceEntry { id, time, client, service, .. } = &entry;
                let fault =
                    entry.fault.as_ref().map_or_else(String::new, |code| format!(" {}", visible(code)));
                out::line(format!("{time}\t{id}\t{client}\t{service}\t{}{fault}", entry.outcome.as_str()))?;
            }
        }
        if let Some(next) = next {
            out::note(format!("there is more: go on with --after {next}"));
        }
        Ok(())
    }
}
