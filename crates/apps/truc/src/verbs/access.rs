//! `truc access …`: who may call the services of a running node.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use truc_admin::{AccessEntry, AccessFilter, AdminClient, Grant, GroupFilter, NewGroup};
use truc_directory::GroupMember;
use truc_model::{InvalidId, ServiceId, SubsystemId, Timestamp};
use truc_policy::{Conditions, GroupCode, Hours, MethodPattern, PathGlob, RightId, Subject};

use super::access_check::Check;
use super::access_succession::Succession;

use super::target::Target;
use crate::out;

/// Groups of one subsystem's own, to which rights may be granted
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc access group list")]
pub(crate) enum Group {
    /// Make a local group
    #[command(
        after_help = "Example:\n  truc access group add VN/GOV/G01/csdl-dancu mot-cua --description 'Các hệ thống một cửa'"
    )]
    Add {
        /// Whose group it is; a subsystem of this node
        owner: SubsystemId,
        /// Its code
        code: GroupCode,
        /// What people call it
        #[arg(long, default_value = "", value_name = "TEXT")]
        description: String,
        #[command(flatten)]
        target: Target,
    },
    /// Remove a local group that no right names
    #[command(after_help = "Example:\n  truc access group remove VN/GOV/G01/csdl-dancu mot-cua")]
    Remove {
        /// Whose group it is
        owner: SubsystemId,
        /// Its code
        code: GroupCode,
        #[command(flatten)]
        target: Target,
    },
    /// Put a subsystem or a member into a local group
    #[command(
        after_help = "Example:\n  truc access group join VN/GOV/G01/csdl-dancu mot-cua VN/GOV/H26/mot-cua-so-1"
    )]
    Join {
        /// Whose group it is
        owner: SubsystemId,
        /// Its code
        code: GroupCode,
        /// A subsystem or a member
        #[arg(value_parser = group_member)]
        who: GroupMember,
        #[command(flatten)]
        target: Target,
    },
    /// Take one out of a local group
    #[command(
        after_help = "Example:\n  truc access group leave VN/GOV/G01/csdl-dancu mot-cua VN/GOV/H26/mot-cua-so-1"
    )]
    Leave {
        /// Whose group it is
        owner: SubsystemId,
        /// Its code
        code: GroupCode,
        /// A subsystem or a member
        #[arg(value_parser = group_member)]
        who: GroupMember,
        #[command(flatten)]
        target: Target,
    },
    /// List the local groups
    #[command(after_help = "Example:\n  truc access group list --owner VN/GOV/G01/csdl-dancu --json")]
    List {
        /// Of this subsystem only
        #[arg(long, value_name = "SUBSYSTEM")]
        owner: Option<SubsystemId>,
        #[command(flatten)]
        target: Target,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

fn group_member(text: &str) -> Result<GroupMember, InvalidId> {
    if text.split('/').count() == 3 {
        text.parse().map(GroupMember::Member)
    } else {
        text.parse().map(GroupMember::Subsystem)
    }
}

impl Group {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { owner, code, description, target } => {
                target.client().await?.add_local_group(&NewGroup { owner, code, description }).await?;
            }
            Self::Remove { owner, code, target } => {
                target.client().await?.remove_local_group(&owner, &code).await?
            }
            Self::Join { owner, code, who, target } => {
                target.client().await?.join_local_group(&owner, &code, &who).await?;
            }
            Self::Leave { owner, code, who, target } => {
                target.client().await?.leave_local_group(&owner, &code, &who).await?;
            }
            Self::List { owner, target, json } => {
                for group in target.client().await?.local_groups(&GroupFilter { owner }).await? {
                    if json {
                        out::json(&group)?;
                        continue;
                    }
                    let members: Vec<String> = group
                        .members
                        .iter()
                        .map(|m| match m {
                            GroupMember::Member(id) => id.to_string(),
                            GroupMember::Subsystem(id) => id.to_string(),
                        })
                        .collect();
                    out::line(format!(
                        "{}\t{}\t{}\t{}",
                        group.owner,
                        group.code,
                        group.description,
                        members.join(" ")
                    ))?;
                }
            }
        }
        Ok(())
    }
}

/// Who may call which service; what is not granted is denied
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc access list --config node.toml")]
pub(crate) enum Access {
    /// Grant a right; it takes effect at once
    #[command(
        after_help = "Example:\n  truc access grant VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan --to VN/GOV/H26/mot-cua-so-1 --method POST --path /cong-dan/tra-cuu\n  truc access grant VN/GOV/G01/csdl-dancu/ho-tich --to GROUP:mot-cua --require-legal-basis --hours 'mon-fri 07:30-17:00' --expires 2027-01-01"
    )]
    Grant {
        #[command(flatten)]
        right: RightArgs,
        #[command(flatten)]
        conditions: ConditionArgs,
        #[command(flatten)]
        target: Target,
        /// Print the right as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take a right back, by its id or by what it says; conditions are left out, and rights that differ in them only need the id
    #[command(
        after_help = "Example:\n  truc access revoke --id 5a0c9b1f5a0c9b1f5a0c9b1f5a0c9b1f\n  truc access revoke VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan --to VN/GOV/H26/mot-cua-so-1"
    )]
    Revoke {
        /// The right's id, as truc access list shows it
        #[arg(long, value_name = "ID", conflicts_with_all = ["service", "to", "method", "path"])]
        id: Option<RightId>,
        /// The service
        #[arg(required_unless_present = "id", requires = "to")]
        service: Option<ServiceId>,
        /// To whom it was granted
        #[arg(long, value_name = "SUBJECT")]
        to: Option<Subject>,
        /// The HTTP method it was granted for
        #[arg(long, default_value = "*")]
        method: MethodPattern,
        /// The path it was granted for
        #[arg(long, default_value = "**", value_name = "GLOB")]
        path: PathGlob,
        #[command(flatten)]
        target: Target,
    },
    /// List rights
    #[command(after_help = "Example:\n  truc access list --service VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan")]
    List {
        /// To this service only
        #[arg(long)]
        service: Option<ServiceId>,
        /// To exactly this subject only
        #[arg(long, value_name = "SUBJECT")]
        to: Option<Subject>,
        #[command(flatten)]
        target: Target,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    Check(Box<Check>),
    #[command(subcommand)]
    Group(Group),
    #[command(subcommand)]
    Succession(Succession),
}

#[derive(Args)]
pub(crate) struct RightArgs {
    /// The service
    service: ServiceId,
    /// To whom: a subsystem, a member, GROUP:code (global) or LOCALGROUP:code
    #[arg(long, value_name = "SUBJECT")]
    to: Subject,
    /// For this HTTP method only
    #[arg(long, default_value = "*")]
    method: MethodPattern,
    /// For these paths only: * stands for one segment, ** for any number
    #[arg(long, default_value = "**", value_name = "GLOB")]
    path: PathGlob,
}

/// What a right asks beside who, how and where.
#[derive(Args)]
pub(crate) struct ConditionArgs {
    /// A call under it must name the officer (X-Road-UserId)
    #[arg(long)]
    require_officer: bool,
    /// A call under it must state its purpose (Truc-Purpose)
    #[arg(long)]
    require_purpose: bool,
    /// A call under it must state its legal basis (Truc-Legal-Basis)
    #[arg(long)]
    require_legal_basis: bool,
    /// It holds in these hours only, in the time of Việt Nam (UTC+7)
    #[arg(long, value_name = "HOURS")]
    hours: Option<Hours>,
    /// It ends at this moment: UTC like 2027-01-01T00:00:00.000Z, or time of Việt Nam like 2027-01-01 or 2027-01-01T08:00
    #[arg(long, value_parser = moment, value_name = "TIME")]
    expires: Option<Timestamp>,
}

impl From<ConditionArgs> for Conditions {
    fn from(args: ConditionArgs) -> Self {
        let ConditionArgs { require_officer, require_purpose, require_legal_basis, hours, expires } = args;
        Self { require_officer, require_purpose, require_legal_basis, hours, expires }
    }
}

/// For clap: a moment in UTC with milliseconds, or a day or minute in the time of Việt Nam.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    const AHEAD: Duration = Duration::from_secs(7 * 3600);
    let local = match text.len() {
        10 => format!("{text}T00:00:00.000Z"),
        16 => format!("{text}:00.000Z"),
        _ => {
            return text.parse().map_err(|e: truc_model::InvalidTimestamp| {
                format!("{e}; or in the time of Việt Nam, like 2027-01-01 or 2027-01-01T08:00")
            });
        }
    };
    let there: Result<Timestamp, _> = local.parse();
    there
        .map(|moment| moment.minus(AHEAD))
        .map_err(|_| "write a day like 2027-01-01, or a minute like 2027-01-01T08:00".to_owned())
}

impl Access {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Grant { right, conditions, target, json } => {
                let RightArgs { service, to: subject, method, path } = right;
                let client = target.client().await?;
                let entry = client
                    .grant(&Grant { subject, service, method, path, conditions: conditions.into() })
                    .await?;
                show(&entry, json)?;
                warn_of_stranger(&client, &entry.subject).await;
            }
            Self::Revoke { id: Some(id), target, .. } => target.client().await?.revoke(id).await?,
            Self::Revoke { service: Some(service), to: Some(subject), method, path, target, .. } => {
                let said = Grant { subject, service, method, path, conditions: Conditions::default() };
                target.client().await?.revoke_same(&said).await?;
            }
            Self::Revoke { .. } => bail!("name the right by --id, or by its service and --to"),
            Self::List { service, to: subject, target, json } => {
                for entry in target.client().await?.access(&AccessFilter { service, subject }).await? {
                    show(&entry, json)?;
                }
            }
            Self::Check(verb) => return Box::pin(verb.run()).await,
            Self::Group(verb) => Box::pin(verb.run()).await?,
            Self::Succession(verb) => Box::pin(verb.run()).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells when the node's directory does not know whom the right is for; it was granted all the same.
async fn warn_of_stranger(client: &AdminClient, subject: &Subject) {
    // Without a directory, or with a role that may not see it, nothing can be said.
    let Ok(directory) = client.directory().await else { return };
    let member = |id| directory.members.iter().find(|member| member.id == id);
    let known = match subject {
        Subject::Member(id) => member(id.clone()).is_some(),
        Subject::Subsystem(id) => {
            member(id.member()).is_some_and(|m| m.subsystems.iter().any(|s| s.code == id.code()))
        }
        Subject::GlobalGroup(code) => directory.groups.iter().any(|group| group.code == code.as_str()),
        Subject::LocalGroup(_) => true,
    };
    if !known {
        out::note(format!(
            "warning: {subject} is not in the directory this node has; check its spelling. The right is granted, and counts once it is registered."
        ));
    }
}

fn show(entry: &AccessEntry, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(entry);
    }
    Ok(out::line(right_line(entry))?)
}

/// A right in one line.
pub(crate) fn right_line(entry: &AccessEntry) -> String {
    let AccessEntry { id, subject, service, method, path, conditions, by_succession_of } = entry;
    let mut line = format!("{id}\t{subject}\t{service}\t{method} {path}");
    if !conditions.is_none() {
        line.push_str(&format!("\t{conditions}"));
    }
    if let Some(member) = by_succession_of {
        line.push_str(&format!("\tby succession of {member}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_of_viet_nam_unless_they_say_utc() {
        for (text, told) in [
            ("2027-01-01", "2026-12-31T17:00:00.000Z"),
            ("2027-01-01T08:30", "2027-01-01T01:30:00.000Z"),
            ("2027-01-01T08:30:00.000Z", "2027-01-01T08:30:00.000Z"),
        ] {
            assert_eq!(moment(text).unwrap().to_string(), told);
        }
        for bad in ["", "today", "2027-13-01", "2027-01-01T08:61", "2027-01-01T08:30Z"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
