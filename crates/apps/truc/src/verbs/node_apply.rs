//! `truc node export` and `truc node apply`: a node's services, local groups and rights as one file.

use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use truc_admin::{PlanView, PolicyText};
use truc_model::MemberId;

use super::read;
use super::target::Target;
use crate::out;

/// Write the services, local groups and rights of a running node as one file; no secret is in it
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc node export --output dich-vu.toml\n  truc node export --member VN/GOV/H26.1 --output h26-1.toml"
)]
pub(crate) struct Export {
    /// Of this hosted member only
    #[arg(long, value_name = "MEMBER")]
    member: Option<MemberId>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Print the text as one JSON object, with its digest
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let exported = self.target.client().await?.export(self.member.as_ref()).await?;
        let text = if self.json { serde_json::to_string(&exported)? + "\n" } else { exported.text };
        match &self.output {
            Some(file) => {
                tokio::fs::write(file, text).await.with_context(|| file.display().to_string())?;
            }
            None => out::data(text.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Make a running node's services, local groups and rights what a file says: shows the plan, asks, then does all of it or nothing
///
/// What is not in the file is removed; a file of one member leaves the others alone. Without a terminal it only plans, unless --yes is
/// given. The exit code is 0 when it was applied or nothing was left to do, 1 when the plan was not applied or was refused.
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc node apply dich-vu.toml\n  truc node apply h26-1.toml --member VN/GOV/H26.1 --yes"
)]
pub(crate) struct Apply {
    /// The file, as truc node export writes it
    file: PathBuf,
    /// For this hosted member only; the file must name no other's
    #[arg(long, value_name = "MEMBER")]
    member: Option<MemberId>,
    /// Do not ask
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// Show the plan and leave it at that
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    target: Target,
    /// Print the plan, or what was applied, as one JSON object
    #[arg(long)]
    json: bool,
}

impl Apply {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let text = String::from_utf8(read(&self.file).await?);
        let text = text.with_context(|| format!("{} is not UTF-8 text", self.file.display()))?;
        let client = self.target.client().await?;
        let wanted = PolicyText { text, member: self.member.clone(), digest: None };
        let shown = self.file.display().to_string();
        let plan = client.plan(&wanted).await.context(shown.clone())?;
        if plan.changes.is_empty() {
            self.told(&plan)?;
            out::note("không có gì để làm · nothing is left to do");
            return Ok(ExitCode::SUCCESS);
        }
        if !self.json {
            show(&plan)?;
        }
        if !self.agreed().await? {
            if self.json {
                out::json(&plan)?;
            }
            out::note("chưa áp dụng; thêm --yes để áp dụng · nothing was applied; add --yes to apply it");
            return Ok(ExitCode::FAILURE);
        }
        let planned = PolicyText { digest: Some(plan.digest), ..wanted };
        let applied = client.apply(&planned).await.context(shown)?;
        self.told(&applied)?;
        let done = applied.changes.len();
        out::note(format!("đã áp dụng {done} thay đổi · {done} changes applied"));
        Ok(ExitCode::SUCCESS)
    }

    fn told(&self, plan: &PlanView) -> anyhow::Result<()> {
        if self.json {
            return out::json(plan);
        }
        plan.notes.iter().for_each(|note| out::note(format!("note: {note}")));
        Ok(())
    }

    /// Whether the plan is to be applied: --yes, or "y" on a terminal.
    async fn agreed(&self) -> anyhow::Result<bool> {
        if self.plan || self.yes || !stdin().is_terminal() {
            return Ok(self.yes);
        }
        out::note("Áp dụng tất cả? Apply all of it? [y/N]");
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = answer.await??;
        Ok(["y", "yes", "c", "co", "có"].contains(&answer.trim().to_lowercase().as_str()))
    }
}

fn show(plan: &PlanView) -> anyhow::Result<()> {
    for change in &plan.changes {
        let mark = match change.step.as_str() {
            "add" => '+',
            "remove" => '-',
            _ => '~',
        };
        out::line(format!("{mark} {}\t{}", change.kind, change.what))?;
        change.details.iter().try_for_each(|detail| out::line(format!("    {detail}")))?;
    }
    Ok(())
}
