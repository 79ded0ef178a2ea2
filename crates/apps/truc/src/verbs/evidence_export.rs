//! `truc evidence export`: one exchange as a container, or all that match as one archive with an index.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use truc_admin::{ClientError, EvidenceEntry, EvidenceSearch};
use truc_evidence::container;
use truc_model::{MessageId, ServiceId, SubsystemId, Timestamp};

use super::evidence::{Source, patiently};
use super::evidence_archive::{Archive, Asked, Made, Title};
use super::evidence_list::given;
use super::target::Target;
use super::{blocking, clock, files};
use crate::out;
use crate::stop::on_signal;

/// Write one exchange as an ASiC-E container that a stranger can check, or many as one ZIP with an index
///
/// With an id: one container. Without: every exchange that matches all that is given, newest first, into one ZIP with
/// index.json and index.csv. The exit code is 1 when a container could not be made; the index says which and why.
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence export 0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11 --out evidence.asice\n  truc evidence export --service VN/GOV/G01/csdl-dancu/tra-cuu --since 2026-11-01T00:00:00.000Z --until 2026-12-01T00:00:00.000Z --out november.zip"
)]
pub(crate) struct Export {
    /// The request's id (X-Road-Request-Id)
    #[arg(conflicts_with_all = ["client", "service", "since", "until", "subject", "dossier"])]
    id: Option<MessageId>,
    /// The file to write, for the owner's eyes only; it must not exist yet. - is standard output, for one exchange
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Of this calling subsystem only
    #[arg(long, value_name = "SUBSYSTEM")]
    client: Option<SubsystemId>,
    /// Of this service only
    #[arg(long)]
    service: Option<ServiceId>,
    /// Recorded at or after this moment, in UTC, like 2026-11-01T00:00:00.000Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Recorded before this moment, written the same way
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// About this person: the number as services are told it; - reads it from standard input
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
    /// For this dossier (X-Road-Issue); - reads it from standard input
    #[arg(long, value_name = "CODE")]
    dossier: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Print what was written as one JSON object, for many exchanges
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.id {
            Some(id) => one(id, &self.out, &self.target).await,
            None => Box::pin(self.many()).await,
        }
    }

    async fn many(mut self) -> anyhow::Result<ExitCode> {
        let mut read = false;
        for person in [&mut self.subject, &mut self.dossier] {
            if let Some(text) = person.take() {
                *person = Some(given(text, &mut read).await?);
            }
        }
        let search = EvidenceSearch {
            client: self.client.clone(),
            service: self.service.clone(),
            since: self.since,
            until: self.until,
            subject: self.subject.clone(),
            dossier: self.dossier.clone(),
            limit: Some(1000),
            ..EvidenceSearch::default()
        };
        let asked = Asked {
            client: self.client.as_ref().map(ToString::to_string),
            service: self.service.as_ref().map(ToString::to_string),
            since: self.since,
            until: self.until,
            subject: self.subject.is_some(),
            dossier: self.dossier.is_some(),
        };
        let narrow = self.client.is_some() || self.service.is_some() || self.since.is_some();
        if !narrow && self.until.is_none() && !asked.subject && !asked.dossier {
            bail!(
                "say what to export: the id of one exchange, or at least one of --since, --until, --client, --service, --subject, --dossier"
            );
        }
        if self.out.as_os_str() == "-" {
            bail!("an archive of many exchanges is written to a file: name one with --out");
        }
        let source = Source::open(&self.target).await?;
        let title = title(&source, &self.target, asked).await?;
        let named = || self.out.display().to_string();
        let path = self.out.clone();
        let archive = blocking(move || Archive::create(&path)).await.with_context(named)?;
        let stop = on_signal()?;
        let archive = tokio::select! {
            collected = Box::pin(collect(&source, search, archive)) => collected.with_context(named)?,
            () = stop.cancelled() => bail!("{}: stopped, and nothing is written", named()),
        };
        let (containers, missing) = archive.counts();
        blocking(move || archive.finish(&title)).await.with_context(named)?;
        if self.json {
            out::json(&serde_json::json!({ "file": named(), "containers": containers, "missing": missing }))?;
        }
        out::note(format!(
            "written: {}; {containers} containers, each to be checked with truc verify",
            named()
        ));
        if containers == 0 && missing == 0 {
            out::note("nothing was found: the archive holds an empty index");
        }
        if missing > 0 {
            out::note(format!("{missing} exchanges are not in it; index.csv says which and why"));
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn title(source: &Source, target: &Target, query: Asked) -> anyhow::Result<Title> {
    let config = target.load().await?;
    let by = match source {
        Source::Running(_) => {
            let first = config.admin.tokens.first().map(|t| t.name.clone());
            format!("token {}", target.token.clone().or(first).unwrap_or_default())
        }
        Source::Stopped(_) => "whoever reads the stopped node's folder".to_owned(),
    };
    Ok(Title { v: 1, made: clock().now(), by, node: config.node.to_string(), query })
}

/// Page by page, container by container: no more than one of each is in memory.
async fn collect(
    source: &Source,
    mut search: EvidenceSearch,
    mut archive: Archive,
) -> anyhow::Result<Archive> {
    loop {
        let page = patiently(async || source.search(&search).await).await?;
        for entry in page.exchanges {
            let made = made(source, &entry).await?;
            archive = blocking(move || archive.add(&entry, &made).map(|()| archive)).await?;
        }
        match page.next {
            Some(next) => search.after = Some(next),
            None => return Ok(archive),
        }
    }
}

/// The container, or why there is none; a node that stays away ends the export.
async fn made(source: &Source, entry: &EvidenceEntry) -> anyhow::Result<Made> {
    match patiently(async || source.container(entry.id).await).await {
        Ok(bytes) => {
            let checked = blocking(move || container::is_stamped(&bytes).map(|stamped| (bytes, stamped)));
            Ok(checked.await.map_err(|why| why.to_string()))
        }
        Err(error) => match error.downcast_ref::<ClientError>() {
            // The node's own word about this exchange, or the folder's.
            Some(ClientError::Refused { .. }) | None => Ok(Err(error.to_string())),
            Some(_) => Err(error),
        },
    }
}

async fn one(id: MessageId, file: &Path, target: &Target) -> anyhow::Result<ExitCode> {
    let container = Source::open(target).await?.container(id).await?;
    if file.as_os_str() == "-" {
        out::data(&container)?;
    } else {
        let path = file.to_owned();
        let written = blocking(move || write_new(&path, &container)).await;
        written.with_context(|| file.display().to_string())?;
        out::note(format!("written: {}; check it with truc verify", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes citizens' data: for its owner only, whatever the umask, and never over a file that is there.
fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut begun = files::begun(file)?;
    begun.write_all(bytes)?;
    files::kept(begun, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }
}
