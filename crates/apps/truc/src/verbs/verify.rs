//! `truc verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use truc_directory::Anchor;
use truc_evidence::container::{self, SIZE_LIMIT, Verdict};

use super::blocking;
use super::files::{SMALL_LIMIT, read_file};
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
        let file = self.anchor.clone();
        let anchor = tokio::task::spawn_blocking(move || read_file(&file, SMALL_LIMIT)).await??;
        let anchor = Anchor::parse(&anchor)
            .with_context(|| format!("{}: give the registry's anchor.json", self.anchor.display()))?;
        let name = self.container.display().to_string();
        let container = self.container;
        let bytes = tokio::task::spawn_blocking(move || read_file(&container, SIZE_LIMIT)).await??;
        let report = blocking(move || container::verify(&bytes, &anchor)).await.context(name)?;
        if self.json {
            out::json(&report)?;
        } else {
            out::line(&report)?;
        }
        Ok(if report.verdict == Verdict::Holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
