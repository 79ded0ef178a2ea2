//! `truc evidence hold`: bodies that must not expire (`docs/evidence.md` §6.3).

use std::process::ExitCode;

use clap::{Args, Subcommand};
use truc_admin::{ClientError, HoldRelease, HoldView, NewHold};
use truc_evidence::holds_in_force;
use truc_model::{MessageId, visible};
use truc_node::offline::OfflineEvidence;

use super::blocking;
use super::target::Target;
use crate::out;

/// Hold the bodies of exchanges beyond their time, for a case
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc evidence hold list --config node.toml")]
pub(crate) enum Hold {
    /// Hold exchanges for a case; a case in force gets more exchanges. The node must be running
    #[command(
        after_help = "Example:\n  truc evidence hold add --case 'vụ án 12/2026' --reason 'yêu cầu của VKSND' 0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11"
    )]
    Add(Add),
    /// End the hold of a case; copies that no other case needs are destroyed. The node must be running
    #[command(
        after_help = "Example:\n  truc evidence hold release --case 'vụ án 12/2026' --reason 'bản án đã có hiệu lực'"
    )]
    Release {
        /// Which case
        #[arg(long)]
        case: String,
        /// Why, for an auditor
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// List the holds in force
    #[command(after_help = "Example:\n  truc evidence hold list --json")]
    List {
        #[command(flatten)]
        target: Target,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The requests' ids (X-Road-Request-Id)
    #[arg(required = true, value_name = "ID")]
    ids: Vec<MessageId>,
    /// What the hold is called
    #[arg(long)]
    case: String,
    /// Why, for an auditor
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    target: Target,
    /// Print the hold as one JSON object
    #[arg(long)]
    json: bool,
}

impl Hold {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(Add { ids, case, reason, target, json }) => {
                let new = NewHold { case, reason, requests: ids };
                let taken = target.client().await?.hold(&new).await?;
                for gone in &taken.gone {
                    out::note(format!("a body of {gone} had expired before and cannot be held"));
                }
                if json {
                    out::json(&taken)?;
                } else {
                    out::line(format!(
                        "{}\t{} exchanges",
                        visible(&taken.hold.case),
                        taken.hold.requests.len()
                    ))?;
                }
            }
            Self::Release { case, reason, target } => {
                target.client().await?.release_hold(&HoldRelease { case, reason }).await?;
                out::note("released");
            }
            Self::List { target, json } => list(&target, json).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(target: &Target, json: bool) -> anyhow::Result<()> {
    let holds = match target.client().await?.holds().await {
        Err(ClientError::NotRunning { .. }) => {
            out::note("the node is not running; reading its folder");
            let config = target.load().await?;
            let offline = blocking(move || OfflineEvidence::open(&config)).await?;
            let marks = offline.proofs().marks().await?;
            let shown = |hold: truc_evidence::Hold| HoldView {
                case: hold.case,
                reason: hold.reason,
                by: hold.by,
                at: hold.at,
                requests: hold.requests,
            };
            holds_in_force(&marks).into_values().map(shown).collect()
        }
        answered => answered?,
    };
    for hold in holds {
        if json {
            out::json(&hold)?;
        } else {
            out::line(row(&hold))?;
        }
    }
    Ok(())
}

/// A hold on one line: its texts are somebody's own words.
fn row(hold: &HoldView) -> String {
    let [case, reason, by] = [&hold.case, &hold.reason, &hold.by].map(|text| visible(text));
    format!("{}\t{case}\t{by}\t{} exchanges\t{reason}", hold.at, hold.requests.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_one_line_whatever_it_is_called() {
        let hold = HoldView {
            case: "vụ án\u{202e} 12".into(),
            reason: "a\n2026-11-21T00:00:00.000Z\tb".into(),
            by: "x\u{1b}[2J".into(),
            at: "2026-11-21T03:04:05.678Z".parse().unwrap(),
            requests: vec![],
        };
        let shown = "2026-11-21T03:04:05.678Z\tvụ án\\u{202e} 12\tx\\u{1b}[2J\t0 exchanges\ta\\u{a}2026-11-21T00:00:00.000Z\\u{9}b";
        assert_eq!(row(&hold), shown);
    }
}
