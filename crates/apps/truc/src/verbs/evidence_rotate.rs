//! `truc evidence rotate-keys`: the next generation of a member's evidence keys (protocol P5.2).

use std::process::ExitCode;

use clap::Args;
use truc_model::MemberId;

use super::blocking;
use super::target::Target;
use crate::out;

/// Make new evidence and index keys for a member of a stopped node; what was recorded before stays readable and is found
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc evidence rotate-keys VN/GOV/H26 --config node.toml\n\nMake a new backup afterwards: the new keys are in no old one."
)]
pub(crate) struct RotateKeys {
    /// The hosted member
    member: MemberId,
    #[command(flatten)]
    target: Target,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl RotateKeys {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.target.load().await?;
        let member = self.member.clone();
        let generation = blocking(move || truc_node::rotate_keys(&config, &member)).await?;
        if self.json {
            out::json(&serde_json::json!({ "member": self.member, "generation": generation }))?;
        } else {
            out::line(format!("{}\tgeneration {generation}", self.member))?;
        }
        out::note("make a new backup now: the new keys are in no old one");
        Ok(ExitCode::SUCCESS)
    }
}
