//! `truc verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use truc_directory::Anchor;
use truc_evidence::container::{self, SIZE_LIMIT, Verdict};

use super::{blocking, read};
use crate::out;

/// Check an exported evidence container offline, with nothing but the anchor
///
/// The exit code is 0 only when every check that the conclusion rests on holds.
#[derive(Args)]
#[command(after_help = "Example:\n  truc verify evidence.asice --anchor anchor.json")]
pub(crate) struct Verify {
    /// The container, as truc evidence export wrote it
    container: PathBuf,
    /// The anchor of the bus, from a source you trust: not from whoever gave you the container
    #[arg(long, value_name = "FILE")]
    anchor: PathBuf,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let anchor =
            Anchor::parse(&read(&self.anchor).await?).with_context(|| self.anchor.display().to_string())?;
        let name = self.container.display().to_string();
        if tokio::fs::metadata(&self.container).await.with_context(|| name.clone())?.len() > SIZE_LIMIT {
            bail!("{name} is longer than any container ({} MiB)", SIZE_LIMIT >> 20);
        }
        let bytes = read(&self.container).await?;
        let report = blocking(move || container::verify(&bytes, &anchor)).await.context(name)?;
        if self.json {
            out::json(&report)?;
        } else {
            out::line(&report)?;
        }
        Ok(if report.verdict == Verdict::Holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
