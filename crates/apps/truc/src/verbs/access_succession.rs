//! `truc access succession …`: rights of closed members for their successors (protocol P6.4).

use clap::Subcommand;
use truc_admin::SuccessionEntry;
use truc_directory::GroupMember;
use truc_model::MemberId;

use super::access::right_line;
use super::target::Target;
use crate::out;

/// What closed members leave to their successors at this node
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc access succession list")]
pub(crate) enum Succession {
    /// List the rights and places in local groups that successors would be given and were not yet
    #[command(after_help = "Example:\n  truc access succession list --json")]
    List {
        #[command(flatten)]
        target: Target,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Give the successor of a closed member rights equal to those of that member, all at once
    #[command(after_help = "Example:\n  truc access succession accept VN/GOV/H02")]
    Accept {
        /// The closed member
        member: MemberId,
        #[command(flatten)]
        target: Target,
        /// Print what was given as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Succession {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { target, json } => {
                let all = target.client().await?.successions().await?;
                if all.is_empty() {
                    out::note("nothing is left to carry over");
                }
                all.iter().try_for_each(|entry| show(entry, json))
            }
            Self::Accept { member, target, json } => {
                show(&target.client().await?.accept_succession(&member).await?, json)
            }
        }
    }
}

fn show(entry: &SuccessionEntry, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(entry);
    }
    out::line(format!("{}\t->\t{}", entry.member, entry.successor))?;
    for right in &entry.rights {
        out::line(format!("  {}", right_line(right)))?;
    }
    for place in &entry.places {
        let who = match &place.member {
            GroupMember::Member(id) => id.to_string(),
            GroupMember::Subsystem(id) => id.to_string(),
        };
        out::line(format!("  {}\t{}\t{who}", place.owner, place.code))?;
    }
    Ok(())
}
